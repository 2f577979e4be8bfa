"""A server with Prometheus's HTTP API: instant queries, and what their answers may be.

API: https://prometheus.io/docs/prometheus/latest/querying/api/ . Thanos, Mimir and VictoriaMetrics answer the same.
"""

import asyncio
import base64
import math
from collections.abc import Mapping, Sequence

import httpx
import msgspec

from services.analysis.sources.asking import NoData, QueryRefused, Site, inert, secret_missing
from services.settings.secrets import SecretRegister, SecretUnavailable
from services.settings.sources import Prometheus


class Sample(msgspec.Struct, frozen=True):
    """One element of an instant vector: ``at`` is the second, of the server's clock, that the query was evaluated for."""

    labels: Mapping[str, str]
    at: float
    value: float


class _Element(msgspec.Struct):
    metric: dict[str, str] = {}
    value: tuple[float, str] | None = None


class _Series(msgspec.Struct):
    metric: dict[str, str] = {}
    values: list[tuple[float, str]] = []


class _Type(msgspec.Struct):
    resultType: str
    result: msgspec.Raw


class _Body(msgspec.Struct):
    status: str
    data: _Type | None = None
    errorType: str = ""
    error: str = ""


class PrometheusServer:
    """Asks one server. Secrets are looked up for each question, so that they may be rotated meanwhile."""

    def __init__(
        self, config: Prometheus, *, register: SecretRegister, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._config = config
        self._register = register
        self._site = Site(config.url, seconds=config.timeout, ca_file=config.ca_file, transport=transport)

    @property
    def host(self) -> str:
        return self._site.host

    async def query(self, promql: str) -> Sequence[Sample]:
        """The instant vector that a query gives now; empty where nothing matches, which is no data.

        Raises :class:`NoData`, and :class:`QueryRefused` with the server's own message where the query is wrong.
        """
        return self._vector(await self._asked("query", {"query": promql}, "vector"))

    async def between(self, promql: str, start: float, end: float, step: float) -> Sequence[Sample]:
        """What a query gave every ``step`` seconds from ``start`` to ``end`` (Unix seconds), of all series together, oldest
        first. Raises as :meth:`query` does."""
        form = {"query": promql, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        return await asyncio.to_thread(self._matrix, await self._asked("query_range", form, "matrix"))

    async def _asked(self, what: str, form: Mapping[str, str], wanted: str) -> msgspec.Raw:
        status, body = await self._site.ask("POST", f"/api/v1/{what}", headers=self._headers(), form=form)
        try:
            answer = msgspec.json.decode(body, type=_Body)
        except (msgspec.MsgspecError, RecursionError):
            if status == 200:
                raise NoData(f"{self.host} answered with something that is not Prometheus's") from None
            raise NoData(f"{self.host} answered {status}{_hint(status)}") from None
        if answer.status != "success" or answer.data is None:
            said = inert(answer.error) or f"status {inert(answer.status)}"
            # bad_data: it can't be parsed; execution: it can't be done.
            if answer.errorType in ("bad_data", "execution"):
                raise QueryRefused(said)
            raise NoData(f"{self.host} answered {status}{_hint(status)}: {said}")
        if status != 200:
            raise NoData(f"{self.host} answered {status}{_hint(status)}")
        kind = answer.data.resultType
        if kind != wanted:
            gives = {"matrix": "a range vector", "vector": "an instant vector", "scalar": "a scalar", "string": "a string"}.get(
                kind, inert(kind)
            )
            raise QueryRefused(f"the query gives {gives}, not {'an instant' if wanted == 'vector' else 'a range'} vector")
        return answer.data.result

    async def close(self) -> None:
        await self._site.close()

    def _matrix(self, raw: msgspec.Raw) -> Sequence[Sample]:
        try:
            found = msgspec.json.decode(raw, type=list[_Series])
            samples = [Sample(one.metric, at, float(value)) for one in found for at, value in one.values]
        except (msgspec.MsgspecError, ValueError):
            raise NoData(f"{self.host} answered with a matrix that makes no sense") from None
        return sorted(samples, key=lambda sample: sample.at)

    def _vector(self, raw: msgspec.Raw) -> Sequence[Sample]:
        try:
            elements = msgspec.json.decode(raw, type=list[_Element])
            return [
                Sample(one.metric, one.value[0], float(one.value[1]))
                for one in elements
                # A native histogram has no value; sums of its classic form have.
                if one.value is not None
            ]
        except (msgspec.MsgspecError, ValueError):
            raise NoData(f"{self.host} answered with a vector that makes no sense") from None

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        try:
            if self._config.token is not None:
                headers["Authorization"] = f"Bearer {self._config.token.reveal(self._register)}"
            elif self._config.password is not None:
                pair = f"{self._config.user}:{self._config.password.reveal(self._register)}".encode()
                encoded = base64.b64encode(pair).decode()
                self._register.register(encoded)
                headers["Authorization"] = f"Basic {encoded}"
        except SecretUnavailable as error:
            raise secret_missing(error) from None
        if self._config.tenant is not None:
            headers["X-Scope-OrgID"] = self._config.tenant
        return headers


def _hint(status: int) -> str:
    return {401: " (our credentials are not accepted)", 403: " (our credentials may not ask this)"}.get(status, "")


def counts(sample: Sample) -> bool:
    """Whether the value can be a count: NaN (0/0), infinite and negative ones are no data."""
    return math.isfinite(sample.value) and sample.value >= 0.0

"""The health endpoint of each new pod, asked again and again; three answers other than 200 in a row are a breach (R5.5), and so
is one that fails now and then, more often than chance."""

import asyncio
from collections.abc import Collection, Sequence

import msgspec

from services.analysis.endpoints import Endpoint, NoAnswer, Proxied, Proxy, Templated
from services.analysis.judge.flapping import RATES, Rates, probed
from services.analysis.judge.flapping import Probes as Flapping
from services.analysis.scrape import CONCURRENCY
from services.analysis.targets import PodTarget
from services.model.errors import Forbidden, Invalid, NotFound, QuarterdeckError, Throttled
from services.settings import Probes

TIMEOUT = 3.0


def rates(probes: Probes) -> Rates:
    """What tells a flapping endpoint from a healthy one, by the settings."""
    return Rates(probes.tolerated, probes.flapping, probes.alpha)


class ProbeResult(msgspec.Struct, frozen=True):
    """One answer: ``ok`` is ``None`` where nobody can say (the way to the pod is down, the pod is gone)."""

    ok: bool | None
    detail: str


class HealthHistory(msgspec.Struct, frozen=True, kw_only=True):
    """One pod's failures in a row. They count from the moment the pod was ready or answered 200 for the first time: a pod that
    is still starting is not unhealthy, it is not ready, which the step's own timeout watches."""

    pod: str
    started: bool = False
    failures: int = 0
    probes: int = 0
    """Those that said something about the pod."""
    told: bool = False
    """The latest probe was one of them."""
    detail: str = ""
    flapping: Flapping = Flapping()
    """Evidence that it fails more often than a healthy one does, from the moment on from which failures count."""
    failed: int = 0
    """Of the probes in ``flapping``."""

    def after(self, result: ProbeResult, *, ready: bool, rates: Rates = RATES) -> "HealthHistory":
        """The history with one more probe. One that says nothing neither counts nor breaks the row."""
        started = self.started or ready or result.ok is True
        if result.ok is None:
            return msgspec.structs.replace(self, started=started, told=False, detail=result.detail)
        failures = 0 if result.ok or not started else self.failures + 1
        return HealthHistory(
            pod=self.pod,
            started=started,
            failures=failures,
            probes=self.probes + 1,
            told=True,
            detail=result.detail,
            flapping=probed(self.flapping, ok=result.ok, rates=rates) if started else self.flapping,
            failed=self.failed + (started and not result.ok),
        )


class HealthProbe:
    """``GET`` the health endpoint of every pod given, each within ``timeout`` wall seconds. Histories of pods that are no
    longer given are dropped."""

    def __init__(self, endpoint: Endpoint, *, path: str = "/healthz", timeout: float = TIMEOUT, rates: Rates = RATES) -> None:
        self._endpoint = endpoint
        self._rates = rates
        self._path = path
        self._timeout = timeout
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._histories: dict[str, HealthHistory] = {}

    @classmethod
    def configured(cls, probes: Probes, connection: Proxy) -> "HealthProbe":
        """As the settings say: at ``probes.url``, else through the API server's proxy."""
        endpoint: Endpoint = Templated(probes.url, appends_path=False) if probes.url else Proxied(connection, "pods", probes.port)
        return cls(endpoint, path=probes.path, rates=rates(probes))

    @property
    def histories(self) -> tuple[HealthHistory, ...]:
        return tuple(self._histories.values())

    async def probe(self, pods: Sequence[PodTarget], *, started: Collection[str] = ()) -> tuple[HealthHistory, ...]:
        """Ask every pod once. Those named in ``started`` are known to have been ready before anybody asked them here."""
        answers = await asyncio.gather(*(self._ask(pod) for pod in pods))
        silent = any(isinstance(answer, QuarterdeckError) for answer in answers)
        reachable = await self._endpoint.reachable() if silent else True
        self._histories = {
            pod.name: self._histories.get(pod.name, HealthHistory(pod=pod.name)).after(
                _result(answer, reachable=reachable), ready=pod.ready or pod.name in started, rates=self._rates
            )
            for pod, answer in zip(pods, answers, strict=True)
        }
        return self.histories

    async def close(self) -> None:
        await self._endpoint.close()

    async def _ask(self, pod: PodTarget) -> int | QuarterdeckError:
        async with self._slots:
            try:
                async with asyncio.timeout(self._timeout):
                    return (await self._endpoint.get(pod.namespace, pod.name, self._path, timeout=self._timeout))[0]
            except TimeoutError:
                return NoAnswer(f"{pod.name} did not answer within {self._timeout:g} s")
            except QuarterdeckError as error:
                return error


def _result(answer: int | QuarterdeckError, *, reachable: bool) -> ProbeResult:
    """Silence is the pod's only where the way to it works."""
    if isinstance(answer, int):
        return ProbeResult(answer == 200, f"answered {answer}")
    unsaid = isinstance(answer, Forbidden | Invalid | NotFound | Throttled) or not reachable
    return ProbeResult(None if unsaid else False, str(answer))

"""One context of the kubeconfig as the checks see it: contacted once, by whoever comes first, for all of them."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from email.utils import parsedate_to_datetime

import msgspec

from console.doctor.examination import SHARE, NotReached
from services.clock import Clock
from services.cluster.answers import CredentialsRefused
from services.cluster.connection import Clusters, Connection
from services.cluster.objects import Page
from services.cluster.transport import Request
from services.model.errors import NotFound, QuarterdeckError, Rejected


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace of an environment."""

    environment: str
    namespace: str

    def __str__(self) -> str:
        return self.environment if self.environment == self.namespace else f"{self.environment}/{self.namespace}"


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the first words with an API server. ``latency`` in wall seconds; ``asked`` and ``answered`` are our clock's
    Unix seconds around the answer that carried ``server_time``, the server's own (whole seconds; ``None``: it sent none)."""

    version: str
    latency: float
    asked: float
    answered: float
    server_time: float | None


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


class _Served(msgspec.Struct, frozen=True):
    resources: tuple[_Named, ...] = ()


class Site:
    """A context, and the places of environments in it."""

    def __init__(self, context: str, places: Sequence[Place], clusters: Clusters, clock: Clock, seconds: float) -> None:
        self.context = context
        self.places = tuple(places)
        self._clusters = clusters
        self._clock = clock
        self._seconds = seconds
        self._contact: asyncio.Task[Contact] | None = None

    async def connection(self) -> Connection:
        """Raises Rejected for a context that is not in the kubeconfig."""
        return await self._clusters.connect(self.context)

    async def known(self) -> Connection:
        """The connection, whether it answers or not; raises :class:`NotReached` where the kubeconfig has none."""
        try:
            return await self.connection()
        except Rejected:
            raise NotReached(self._unusable()) from None

    async def contact(self) -> Contact:
        """Raises the errors of ``services/model/errors``. The same answer for everybody who asks."""
        if self._contact is None:
            self._contact = asyncio.create_task(self._make_contact())
        # Whoever loses patience must not spoil it for the others.
        return await asyncio.shield(self._contact)

    async def reached(self) -> Connection:
        """The connection of a context that answers; raises :class:`NotReached` where it does not."""
        try:
            await self.contact()
        except Rejected:
            raise NotReached(self._unusable()) from None
        except CredentialsRefused:
            raise NotReached(f"context {self.context} does not accept our credentials (see clusters)") from None
        except QuarterdeckError:
            raise NotReached(f"context {self.context} does not answer (see clusters)") from None
        return await self.connection()

    async def close(self) -> None:
        if self._contact is not None:
            self._contact.cancel()
            await asyncio.gather(self._contact, return_exceptions=True)

    def _unusable(self) -> str:
        return f"context {self.context} can't be used (see clusters)"

    async def _make_contact(self) -> Contact:
        connection = await self.connection()
        # The first request pays for credentials and handshake; the second one is what every later one will take.
        await connection.request(self._version(), timeout=self._seconds * SHARE)
        asked, began = self._clock.unix(), self._clock.monotonic()
        answer = await connection.request(self._version(), timeout=self._seconds * SHARE)
        latency, answered = self._clock.monotonic() - began, self._clock.unix()
        try:
            version = str(msgspec.json.decode(answer.body, type=dict[str, object]).get("gitVersion", ""))
        except msgspec.DecodeError:
            version = ""
        return Contact(
            version=version,
            latency=latency,
            asked=asked,
            answered=answered,
            server_time=_unix(answer.headers.get("Date", "")),
        )

    @staticmethod
    def _version() -> Request:
        return Request("GET", "/version", "GET /version", retry=False)


async def first_page(connection: Connection, kind: str, namespace: str, limit: int) -> Page:
    """At most ``limit`` objects of a kind: enough to see whether there are any."""
    async with aclosing(connection.pages(kind, namespace, limit=limit)) as pages:
        return await anext(pages)


async def served(connection: Connection, group: str, version: str) -> frozenset[str]:
    """Plurals of what the API server serves of an API group (empty for the core) and version; none where it serves neither."""
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    try:
        answer = await connection.request(Request("GET", root, f"list what {group or 'core'}/{version} serves"))
    except NotFound:
        return frozenset()
    return frozenset(entry.name for entry in msgspec.json.decode(answer.body, type=_Served).resources)


def _unix(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None

"""What every router has in common: the words, and the one Protocol behind which they stand.

A router knows one kind of object that says how the requests of a service are split between its stable and its canary version.
It reads and computes, and writes nothing: the actuator sends what :meth:`Router.writes` asks for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from services.model.errors import ExitCode, QuarterdeckError
from services.model.objects import Json, ObjectRef

STABLE = "stable"
CANARY = "canary"
CANARY_SUFFIX = "-canary"

Document = dict[str, Any]
"""One Kubernetes object as JSON."""

Write = tuple[str, Json]
"""A JSON pointer and the value to put there."""

Guard = tuple[str, Json]
"""A JSON pointer and the value that must be found there, or the write is refused."""


class NotRoutable(QuarterdeckError):
    """The route can't carry a canary as it is: what is missing, and how to add it. Nothing was changed."""

    exit_code = ExitCode.REJECTED


class Pods(NamedTuple):
    """Pods of the stable and of the canary workload: ready ones where a share is read, wanted ones where it is written."""

    stable: int
    canary: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the cluster has around one service: everything by which its router is chosen."""

    service: str
    namespace: str
    stable: Document
    """Its Deployment."""
    canary: Document | None = None
    """The Deployment ``SERVICE-canary``."""
    own: Document | None = None
    """The Service of its name."""
    canary_own: Document | None = None
    """The Service ``SERVICE-canary``."""
    virtual_services: tuple[Document, ...] = ()
    destination_rules: tuple[Document, ...] = ()
    http_routes: tuple[Document, ...] = ()
    ingresses: tuple[Document, ...] = ()
    classes: Mapping[str, str] | None = None
    """Controller by IngressClass; ``None`` where the classes can't be read. The default class is also listed as ''."""
    unseen: tuple[str, ...] = ()
    """Kinds of routes that may not be read here."""
    context: str = ""
    """The cluster, as command lines name it."""

    @property
    def canary_name(self) -> str:
        return self.service + CANARY_SUFFIX


@dataclass(frozen=True, slots=True)
class Route:
    """How one service's requests will be split. ``ref`` holds the weights; ``body`` is that object as it is, or as it will be
    created."""

    ref: ObjectRef
    body: Document
    labels: Mapping[str, str]
    """What the canary's pods carry besides stable's labels."""
    created: tuple[Document, ...] = ()
    """Objects that the split needs and that are not there yet, in the order of their creation. None of them takes requests."""
    basis: Json = None
    """What the split builds on without changing it (subsets, selectors): part of the plan's digest."""
    notes: tuple[str, ...] = field(default=())


class Router(Protocol):
    """One way to split requests. ``document`` is always the object of :attr:`Route.ref` as the API server sent it.

    Methods raise :class:`NotRoutable` where the object does not carry a split of ``service``, and ``ValueError`` for a weight
    outside 0–100.
    """

    @property
    def name(self) -> str:
        """As the configuration and the plan call it."""

    @property
    def by_pods(self) -> bool:
        """Whether the share follows from the number of pods, so that no capacity has to be there before it."""

    def found(self, around: Surroundings) -> tuple[ObjectRef, ...]:
        """The objects by which this router sends requests to the service now."""

    def carriers(self, around: Surroundings) -> tuple[Document, ...]:
        """The objects that may hold a canary's share of the service's requests now, whoever put it there."""

    def passed_over(self, around: Surroundings) -> tuple[str, ...]:
        """Objects that look like routes of this kind and are not used, each with the reason, in words."""

    def route(self, around: Surroundings, chosen: ObjectRef | None) -> Route:
        """How ``chosen``, one of :meth:`found`, can carry a canary. Raises :class:`NotRoutable` where it can't."""

    def weight_of(self, document: Mapping[str, Any], service: str, pods: Pods) -> int:
        """The canary's share in percent; a share above 0 is never told as 0."""

    def writes(self, document: Mapping[str, Any], service: str, weight: int, pods: Pods) -> tuple[Write, ...]:
        """What to write so that the canary gets ``weight`` percent of what the service gets, and stable the rest."""

    def reaches(self, document: Mapping[str, Any], service: str) -> bool:
        """Whether anything in the object sends requests to the canary, however it is laid out: what carries no split any more
        (somebody rearranged it) may still do so. Never raises."""

    def guards(self, document: Mapping[str, Any], service: str) -> tuple[Guard, ...]:
        """What to ``test`` with the writes, so that an object rearranged meanwhile is refused."""


def checked(weight: int) -> int:
    if not 0 <= weight <= 100:
        raise ValueError(f"weight {weight} is outside 0–100")
    return weight


def name_of(document: Mapping[str, Any] | None) -> str:
    metadata = document.get("metadata") if document else None
    return str(metadata.get("name") or "") if isinstance(metadata, Mapping) else ""


def namespace_of(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("namespace") or "") if isinstance(metadata, Mapping) else ""


def named(documents: tuple[Document, ...], name: str) -> Document | None:
    """The one of ``documents`` with this name."""
    return next((document for document in documents if name_of(document) == name), None)

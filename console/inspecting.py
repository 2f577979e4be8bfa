"""What the service screen asks beyond the picture: revisions and who brought them, routes, events. Read while it is open."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from services.model.errors import QuarterdeckError, Rejected

if TYPE_CHECKING:
    from console.context import Context
    from console.watching import Watching
    from services.cluster.connection import Connection
    from services.cluster.inventory import Inventory
    from services.cluster.objectevents import ObjectEvent
    from services.cluster.revisions import Revision
    from services.rollout.provenance import Origin
    from services.traffic.router import Surroundings
    from services.traffic.rules import RouteRules

MOST_ENTRIES = 300
"""Journal entries of a service that are looked through for who brought its revisions."""
ENTRY_SECONDS = 10.0
"""Wall seconds for which what the journal says is not read again: it is long, and what it tells of here is slow."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A service's revisions, newest first, with their origins by ReplicaSet; and what routes to it."""

    revisions: tuple[Revision, ...] = ()
    origins: dict[str, Origin] | None = None
    routes: tuple[RouteRules, ...] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """The events of a service's objects, or why there are none to show."""

    events: tuple[ObjectEvent, ...] = ()
    whole: bool = True
    problem: str = ""


class Inspecting:
    """Looks at one service at a time. Raises ``Unavailable`` where its cluster is not open yet."""

    def __init__(self, context: Context, watching: Watching) -> None:
        self._context = context
        self._watching = watching
        self._read: dict[tuple[str, str], tuple[float, list[dict[str, Any]]]] = {}
        """Journal entries by environment and service, and when they were read (monotonic)."""

    async def standing(self, environment: str, namespace: str, service: str) -> Standing:
        """What the watched objects, the checkpoints, the records and the journal say."""
        from services.cluster.fleet import rollouts
        from services.cluster.revisions import revisions_of
        from services.coordination.records import records_in
        from services.rollout.provenance import origins
        from services.traffic.rules import rules_around

        settings = self._context.settings.environments.get(environment)
        if settings is None:
            raise Rejected("environment", environment, "is not configured", "one that the fleet shows")
        inventory = self._watching.inventory_of(settings.context)
        revisions = revisions_of(inventory, namespace, service)
        entries = await self._known_entries(environment, service)
        found = origins(
            revisions,
            environment=environment,
            service=service,
            rollouts=[watch.rollout for watch in rollouts(inventory, self._context.clock)],
            records=records_in(inventory.records.values(), service),
            entries=entries,
        )
        around = surroundings(inventory, namespace, service)
        return Standing(revisions, found, rules_around(around) if around is not None else ())

    async def events(self, environment: str, namespace: str, service: str, pods: Sequence[str]) -> Said:
        """What was said of the service's objects; a refusal is an answer here."""
        from services.cluster.objectevents import events_about

        settings = self._context.settings.environments[environment]
        inventory = self._watching.inventory_of(settings.context)
        about = _objects(inventory, namespace, service, pods)
        try:
            connection: Connection = await self._context.clusters.connect(settings.context)
            found = await events_about(connection, namespace, about)
        except QuarterdeckError as error:
            return Said(problem=error.title)
        clean = self._context.redactor.text
        return Said(tuple(msgspec.structs.replace(event, message=clean(event.message)) for event in found.events), found.whole)

    async def _known_entries(self, environment: str, service: str) -> list[dict[str, Any]]:
        now = self._context.clock.monotonic()
        read, entries = self._read.get((environment, service), (-ENTRY_SECONDS, []))
        if now - read >= ENTRY_SECONDS:
            entries = await asyncio.to_thread(self._entries, environment, service)
            self._read[environment, service] = (now, entries)
        return entries

    def _entries(self, environment: str, service: str) -> list[dict[str, Any]]:
        """A journal that can't be read tells of nobody: the origins stay unknown, and the status line says why."""
        try:
            return self._context.journal.entries(service=service, environment=environment, limit=MOST_ENTRIES)
        except (OSError, ValueError, QuarterdeckError):
            return []


def surroundings(inventory: Inventory, namespace: str, service: str) -> Surroundings | None:
    """What the watched objects say of a service's surroundings; ``None`` where it has no Deployment."""
    from services.cluster.revisions import CANARY
    from services.model.objects import ObjectRef
    from services.traffic.router import Surroundings
    from services.traffic.rules import ROUTE_KINDS

    stable = inventory.raw(ObjectRef("Deployment", namespace, service))
    if stable is None:
        return None
    return Surroundings(
        service=service,
        namespace=namespace,
        stable=stable,
        canary=inventory.raw(ObjectRef("Deployment", namespace, service + CANARY)),
        own=inventory.raw(ObjectRef("Service", namespace, service)),
        canary_own=inventory.raw(ObjectRef("Service", namespace, service + CANARY)),
        virtual_services=inventory.whole("VirtualService", namespace),
        destination_rules=inventory.whole("DestinationRule", namespace),
        http_routes=inventory.whole("HTTPRoute", namespace),
        ingresses=inventory.whole("Ingress", namespace),
        unseen=tuple(
            each.kind
            for each in inventory.unreadable
            if each.namespace == namespace and not each.absent and each.kind in ROUTE_KINDS
        ),
    )


def _objects(inventory: Inventory, namespace: str, service: str, pods: Sequence[str]) -> set[tuple[str, str]]:
    """Kind and name of everything whose events tell of the service; ``pods`` that are gone are told of, too."""
    from services.cluster.revisions import CANARY
    from services.cluster.workloads import replicasets_of
    from services.model.objects import ObjectRef

    found = {("Pod", name) for name in pods}
    for name in (service, service + CANARY):
        found |= {(kind, name) for kind in ("Deployment", "Service", "VirtualService", "HTTPRoute", "Ingress")}
        found |= {("HorizontalPodAutoscaler", name)}
        owned = replicasets_of(inventory, ObjectRef("Deployment", namespace, name))
        found |= {("ReplicaSet", each.metadata.name) for each in owned}
    return found

"""What a rollback would restore, in lines for a person to read before the key is pressed."""

import asyncio
import logging

from services.actuator.shown import shown
from services.actuator.undo import fold
from services.cluster.inventory import Inventory
from services.cluster.watched import rollouts
from services.coordination.records import records_in
from services.model.errors import QuarterdeckError
from services.model.objects import Json, dotted
from services.model.release import Target
from services.model.rollout import Rollout
from services.rollout import home as homes
from services.rollout.provenance import TakenBack, taken_back
from services.rollout.revisions import to_revision
from services.rollout.state import expected_rollback
from services.rollout.station import Station

_SHOWN = 100
_MOST_ENDS = 50
"""Ends of rollouts of a service that are looked for in the journal."""
_PATIENCE = 1.0
"""Wall seconds for the journal: nobody waits longer with a rollback for what a warning would say."""

log = logging.getLogger(__name__)


def restored_values(rollout: Rollout) -> tuple[str, ...]:
    """The values that the rollback of a finished rollout puts back, and how long that should take."""
    lines = [
        f"{rollout.release.service} {rollout.release.version} → {rollout.plan.previous_version} "
        f"(rollout {rollout.id}, {rollout.phase.value.replace('_', ' ')})",
        "",
    ]
    return (*lines, *_values(rollout))


async def restoring_revision(station: Station, inventory: Inventory, target: Target, service: str, revision: str = "") -> Rollout:
    """What restores the template of ``revision`` (empty: of the ReplicaSet before), not started. Raises ``Rejected`` where
    there is none."""
    now = station.clock.now()
    return await to_revision(
        inventory.connection,
        target,
        service,
        revision,
        id=homes.new_id(service, now),
        operator=station.user,
        reason="",
        created=now,
        pace=station.clock.pace(),
    )


async def taken_back_before(station: Station, inventory: Inventory, rollout: Rollout) -> TakenBack | None:
    """The last rollback of the version that ``rollout`` restores, as far as the checkpoints and records of the cluster and the
    journal of this home tell. Whatever goes wrong with it hinders no rollback: it is logged, and nothing is told."""
    release = rollout.release
    try:
        found = [watch.rollout for watch in rollouts(inventory, station.clock)]
        return taken_back(
            rollout.plan.previous_version,
            environment=release.target.environment,
            service=release.service,
            rollouts=[each for each in found if each.id != rollout.id],
            records=records_in(inventory.records.values(), release.service),
            entries=await _ends(station, release.service, release.target.environment),
        )
    except Exception:
        log.exception("whether %s was taken back before is not known", rollout.plan.previous_version)
        return None


async def _ends(station: Station, service: str, environment: str) -> list[dict[str, Json]]:
    """A journal that can't be read tells of no rollback; those that the cluster knows of are told all the same."""

    def read() -> list[dict[str, Json]]:
        return station.journal.entries(service=service, environment=environment, event="deployment.completed", limit=_MOST_ENDS)

    try:
        async with asyncio.timeout(_PATIENCE):
            return await asyncio.to_thread(read)
    except (OSError, ValueError, QuarterdeckError, TimeoutError) as error:
        log.warning("what the journal says of earlier rollbacks of %s was not read: %r", service, error)
        return []


def revision_lines(rollout: Rollout, revision: str = "") -> tuple[str, ...]:
    """What :func:`restoring_revision` answers, in lines: why it is this template, and every value that becomes another."""
    why = (
        f"The pod template of revision {revision} is restored, as `kubectl rollout undo --to-revision={revision}` does."
        if revision
        else "No rollout of it is on record here: its previous pod template is restored, as `kubectl rollout undo` does."
    )
    change = f"{rollout.release.service} {rollout.release.version} → {rollout.plan.previous_version}"
    return (change, "", why, *rollout.plan.notes, "", *_values(rollout))


def _values(rollout: Rollout) -> tuple[str, ...]:
    """The values that become others, a line each, and how long that should take."""
    lines = []
    for item in fold(rollout.undo):
        last, original = (_shown(shown(item.path, value, item.guards)) for value in (item.last, item.original))
        lines.append(f"{item.object} {dotted(item.path)}: {last} → {original}")
    return (*lines, "", f"Expected: {expected_rollback(rollout):.0f} s until the requests are where they were.")


def _shown(value: object) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"

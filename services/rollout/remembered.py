"""What a rollout changed, as the journal of its home remembers it: for a rollout whose checkpoint was lost.

Every change was announced there with the values it replaced before it was sent. Values that may not be told are masked in the
journal: those of stable's pod template are taken from the ReplicaSet that the Deployment keeps of it; any other is not known, and
said to be so.
"""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from services.actuator.patch import identities, same
from services.actuator.shown import HIDDEN
from services.actuator.undo import TEMPLATE
from services.audit import Journal
from services.cluster.connection import Connection
from services.model.objects import Json, ObjectRef, value_at
from services.model.release import Target
from services.model.rollout import Guard, Phase, Rollout, UndoRecord
from services.model.steps import PatchImage, SetTraffic
from services.rollout import home as homes
from services.rollout import state
from services.rollout.revisions import owned_sets, revision_of, template_of
from services.rollout.station import Station

LOST = "its checkpoint was lost, and what it changed is known from this home's journal only"
_MASKS = (HIDDEN, "[REDACTED:", "[cut: ")
_NOT_DONE = ("refused", "failed")


def changes_of(entries: Iterable[dict[str, Json]]) -> tuple[UndoRecord, ...]:
    """The undo records of the changes that were announced and, as far as is known, sent; masked values as they stand there.
    What rollbacks have put back since is no change of the rollout's own."""
    executed = [entry for entry in entries if not entry.get("rollback_triggered")]
    not_done = {entry.get("ref") for entry in executed if entry.get("phase") == "outcome" and entry.get("outcome") in _NOT_DONE}
    return tuple(
        UndoRecord(
            object=msgspec.convert(entry["data"]["object"], ObjectRef),
            path=change["path"],
            old=change["old"],
            new=change["new"],
            step=entry["data"]["step"],
            guards=tuple(msgspec.convert(guard, Guard) for guard in change.get("guards", ())),
        )
        for entry in executed
        if entry.get("phase") == "intent" and entry.get("id") not in not_done
        for change in entry["data"].get("changes", ())
    )


def lost(stored: Rollout) -> bool:
    """Whether a rollout is as it was started: nobody has driven it, or what they kept of it is lost. A driver stores itself, and
    then the undo of each change, before it sends one."""
    return bool(stored.plan.steps) and stored.driver is None and not stored.undo and stored.phase is Phase.RUNNING


async def remembered(journal: Journal, connection: Connection, rollout: Rollout, *, pace: float) -> Rollout:
    """``rollout`` as far as the journal knows it: its undo records, the step of its last change, and paused until a person says
    how it goes on. As it is, where nothing was ever announced.

    Raises :class:`OSError` where the journal can't be read, and what the cluster answers where a value has to be looked up.
    """
    entries = await asyncio.to_thread(journal.entries, rollout=rollout.id, event="deployment.executed")
    records = changes_of(entries)
    if not records:
        return rollout
    known, unknown = await _unmasked(connection, rollout, records)
    known += _promoted_elsewhere(rollout, known, await connection.get(rollout.plan.stable))
    step = max(record.step for record in (*records, *known))
    rollout = msgspec.structs.replace(rollout, undo=known, step=max(0, min(step, len(rollout.plan.steps) - 1)))
    weights = [each.weight for each in rollout.plan.steps[: rollout.step + 1] if isinstance(each, SetTraffic)]
    if weights:
        rollout = state.exposed(rollout, weight=weights[-1], pace=pace)
    told = f"; not known: {', '.join(unknown)}" if unknown else ""
    return state.paused(rollout, f"attention: {LOST}{told}. Roll it back; or resume, which does {_named(rollout)} again")


def started_here(home: Path, service: str) -> list[Rollout]:
    """The rollouts of a service that were started from this home, newest first. Reads files."""
    places = home.glob("rollouts/*/rollout.json")
    found = [rollout for place in places if (rollout := homes.read_started(home, place.parent.name)) is not None]
    ours = [rollout for rollout in found if rollout.release.service == service]
    return sorted(ours, key=lambda rollout: rollout.created, reverse=True)


def unfinished(station: Station, service: str, target: Target) -> Rollout | None:
    """The newest rollout of a service that was started from this home, where it has changed something and has no end in the
    journal: one whose checkpoint is gone is found by nothing else. Reads files."""
    place = (target.environment, target.namespace)
    ours = started_here(station.home, service)
    newest = next((each for each in ours if (each.release.target.environment, each.release.target.namespace) == place), None)
    if newest is None or not newest.plan.steps:
        return None
    if station.journal.entries(rollout=newest.id, event="deployment.completed", limit=1):
        return None
    return newest if changes_of(station.journal.entries(rollout=newest.id, event="deployment.executed")) else None


def _promoted_elsewhere(rollout: Rollout, known: Sequence[UndoRecord], live: dict[str, Json]) -> tuple[UndoRecord, ...]:
    """The plan's own changes of stable that are there and that this journal does not know: a driver of another home has gone on
    with it."""
    stable, recorded = rollout.plan.stable, {(record.object, record.path) for record in known}
    return tuple(
        UndoRecord(
            object=stable, path=change.path, old=change.old, new=change.new, step=index, guards=identities(live, change.path)
        )
        for index, step in enumerate(rollout.plan.steps)
        if isinstance(step, PatchImage) and step.workload == stable
        for change in step.changes
        if (stable, change.path) not in recorded and change.object == stable and same(value_at(live, change.path), change.new)
    )


async def _unmasked(
    connection: Connection, rollout: Rollout, records: Sequence[UndoRecord]
) -> tuple[tuple[UndoRecord, ...], tuple[str, ...]]:
    """The records with their true values, and what could not be found out."""
    stable = rollout.plan.stable
    masked = [record for record in records if _masked(record.old) or _masked(record.new)]
    if not masked:
        return tuple(records), ()
    live = {ref: await connection.get(ref) for ref in dict.fromkeys(record.object for record in masked)}
    old = await _old_template(connection, stable, [record for record in records if record not in masked])
    known: list[UndoRecord] = []
    unknown: list[str] = []
    for record in records:
        if record not in masked or not record.path:
            known.append(record)
            continue
        # What it wrote is taken to be what is there: nobody can compare any more.
        new = value_at(live[record.object], record.path) if _masked(record.new) else record.new
        before = record.old
        if _masked(before):
            if record.object != stable or not record.path.startswith(TEMPLATE) or old is None:
                unknown.append(f"{record.object} {record.path}")
                continue
            before = value_at(old, record.path.removeprefix(TEMPLATE))
        known.append(msgspec.structs.replace(record, old=before, new=new))
    return tuple(known), tuple(unknown)


async def _old_template(connection: Connection, stable: ObjectRef, plain: Sequence[UndoRecord]) -> Json:
    """The newest template of stable's history that has everything which is known to have been there before."""
    before: dict[str, Json] = {}
    for record in plain:
        if record.object == stable and record.path.startswith(TEMPLATE):
            before.setdefault(record.path.removeprefix(TEMPLATE), record.old)
    sets = sorted(await owned_sets(connection, stable), key=revision_of, reverse=True)
    templates = [template_of(each) for each in sets]
    return next((each for each in templates if before and all(value_at(each, path) == old for path, old in before.items())), None)


def _masked(value: Json) -> bool:
    if isinstance(value, str):
        return any(mask in value for mask in _MASKS)
    if isinstance(value, dict | list):
        return any(_masked(part) for part in (value.values() if isinstance(value, dict) else value))
    return False


def _named(rollout: Rollout) -> str:
    return repr(rollout.plan.steps[rollout.step].name)

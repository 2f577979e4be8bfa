"""Who brought a revision, and by which rollout: from the rollouts' checkpoints, their records and the journal. A revision that
none of them tells of was made past us, or is older than they are: its origin is unknown, and said to be."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from services.cluster.revisions import Revision
from services.model.rollout import Phase, Record, Rollout

SLACK = 5.0
"""Wall seconds by which the clocks of two machines may differ."""
LONGEST_ROLLOUT = 24 * 3600.0
"""Wall seconds that a rollout takes at most, for all that a record says."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """``source`` is where it is known from: ``rollout``, ``record`` or ``journal``. ``restored``: it is an old revision that a
    rollback put back at that moment (Unix seconds)."""

    operator: str
    rollout: str
    source: str
    restored: float | None = None


def origins(
    revisions: Iterable[Revision],
    *,
    environment: str,
    service: str,
    rollouts: Iterable[Rollout],
    records: Iterable[Record],
    entries: Iterable[Mapping[str, Any]],
) -> dict[str, Origin]:
    """The origin of each revision for which there is one, by the name of its ReplicaSet.

    A revision comes of the latest rollout of its version that began before it was made and was not over by then."""
    rollouts, revisions = list(rollouts), list(revisions)
    told = [
        *_of_rollouts(rollouts, environment, service),
        *_of_records(records, environment, service),
        *_of_journal(entries, environment, service),
    ]
    found: dict[str, Origin] = {}
    for revision in revisions:
        made = revision.created
        if made is None:
            continue
        fitting = [each for each in told if each.version == revision.version and each.spans(made)]
        if fitting:
            best = max(fitting, key=lambda each: each.began if each.began is not None else float("-inf"))
            found[revision.replica_set] = best.origin
    return found | _restored(rollouts, revisions, environment, service)


def _restored(rollouts: Sequence[Rollout], revisions: Sequence[Revision], environment: str, service: str) -> dict[str, Origin]:
    """The origin of the revision that serves, where the last thing that happened to it was a rollback to it: the controller
    takes the old ReplicaSet again, which says nothing of that."""
    mine = [each for each in rollouts if (each.release.target.environment, each.release.service) == (environment, service)]
    last = max((each for each in mine if each.phase is not Phase.REFUSED), key=lambda each: each.created, default=None)
    if last is None or last.phase is not Phase.ROLLED_BACK or last.written is None:
        return {}
    if not any(record.object == last.plan.stable and record.path.startswith("/spec/template") for record in last.undo):
        return {}
    origin = Origin(operator=last.operator, rollout=last.id, source="rollout", restored=last.written.timestamp())
    serving = (each for each in revisions if each.current and each.track == "stable")
    return {each.replica_set: origin for each in serving if each.version == last.plan.previous_version}


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """A change to ``version`` between two moments (Unix seconds; ``None``: not known)."""

    version: str
    began: float | None
    ended: float | None
    origin: Origin

    def spans(self, moment: float) -> bool:
        return (self.began is None or self.began - SLACK <= moment) and (self.ended is None or moment <= self.ended + SLACK)


def _of_rollouts(rollouts: Iterable[Rollout], environment: str, service: str) -> Iterable[_Told]:
    for rollout in rollouts:
        release = rollout.release
        # one that only takes back makes no revision: the old one comes back
        if (release.target.environment, release.service) != (environment, service) or not rollout.plan.steps:
            continue
        if rollout.phase is Phase.REFUSED:
            continue
        ended = rollout.written.timestamp() if rollout.phase.final and rollout.written is not None else None
        origin = Origin(operator=rollout.operator, rollout=rollout.id, source="rollout")
        yield _Told(version=release.version, began=rollout.created.timestamp(), ended=ended, origin=origin)


def _of_records(records: Iterable[Record], environment: str, service: str) -> Iterable[_Told]:
    """A record says only when its rollout ended: how long it took is not known, so it must not span what is far older."""
    for record in records:
        if (record.environment, record.service) == (environment, service) and record.outcome != "refused":
            origin = Origin(operator=record.operator, rollout=record.rollout, source="record")
            ended = record.finished.timestamp()
            yield _Told(version=record.version, began=ended - LONGEST_ROLLOUT, ended=ended, origin=origin)


def _of_journal(entries: Iterable[Mapping[str, Any]], environment: str, service: str) -> Iterable[_Told]:
    started: dict[str, _Told] = {}
    for entry in entries:
        rollout = str(entry.get("rollout") or "")
        if (entry.get("environment"), entry.get("service")) != (environment, service) or not rollout:
            continue
        at = _moment(entry.get("timestamp"))
        if entry.get("event") == "deployment.started" and at is not None:
            origin = Origin(operator=str(entry.get("user") or ""), rollout=rollout, source="journal")
            started[rollout] = _Told(version=str(entry.get("version") or ""), began=at, ended=None, origin=origin)
        elif entry.get("event") == "deployment.completed" and rollout in started:
            started[rollout] = msgspec.structs.replace(started[rollout], ended=at)
    return started.values()


def _moment(stamp: object) -> float | None:
    try:
        return datetime.fromisoformat(str(stamp)).timestamp()
    except ValueError:
        return None

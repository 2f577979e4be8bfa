"""Who brought a revision, and by which rollout, and whether its version was taken back: from the rollouts' checkpoints, their
records and the journal. A revision that none of them tells of was made past us, or is older than they are: its origin is unknown,
and said to be."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.audit.telling import data_of, dict_of, reason_words
from services.cluster.revisions import Revision
from services.model.rollout import Kind, Phase, Record, Rollout

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
    takes the old ReplicaSet again, which says nothing of that. A rollout that left stable as it was, such as a canary that was
    never promoted, has not happened to it."""
    mine = [each for each in rollouts if (each.release.target.environment, each.release.service) == (environment, service)]
    last = max((each for each in mine if _changed_stable(each)), key=lambda each: each.written or each.created, default=None)
    if last is None or last.phase is not Phase.ROLLED_BACK or last.written is None:
        return {}
    origin = Origin(operator=last.operator, rollout=last.id, source="rollout", restored=last.written.timestamp())
    serving = (each for each in revisions if each.current and each.track == "stable")
    return {each.replica_set: origin for each in serving if each.version == last.plan.previous_version}


def _changed_stable(rollout: Rollout) -> bool:
    """Whether the stable workload's template became another one, by the rollout or by its rollback."""
    if rollout.phase in (Phase.REFUSED, Phase.SUCCEEDED):
        return rollout.phase is Phase.SUCCEEDED
    return any(record.object == rollout.plan.stable and record.path.startswith("/spec/template") for record in rollout.undo)


class TakenBack(msgspec.Struct, frozen=True, kw_only=True):
    """That ``version`` was rolled back to version ``to``. ``by``: who rolled it back, empty where a trigger did, or where it is
    not known; ``operator``: who began the rollout; ``reason``: what for, in words, empty where that is not known."""

    version: str
    to: str
    at: datetime
    by: str
    reason: str
    rollout: str
    operator: str

    @property
    def words(self) -> str:
        by, reason = f" by {self.by}" if self.by else "", f": {self.reason}" if self.reason else ""
        return (
            f"{self.version} was rolled back to {self.to or 'another version'} at {self.at:%Y-%m-%d %H:%M:%S}Z{by}{reason} "
            f"(rollout {self.rollout}, begun by {self.operator or 'somebody'})"
        )


def taken_back(
    version: str,
    *,
    environment: str,
    service: str,
    rollouts: Iterable[Rollout],
    records: Iterable[Record],
    entries: Iterable[Mapping[str, Any]],
) -> TakenBack | None:
    """The last rollback of ``version``; ``None`` where none is known of, and where a rollout of it has succeeded since."""
    place = (environment, service)
    # those that tell most come first
    ends = [*_rollout_ends(rollouts, place), *_entry_ends(entries, place), *_record_ends(records, place)]
    known = [each for each in ends if each.version == version]
    last = max(known, key=lambda each: each.at, default=None)
    if last is None or last.to is None:
        return None
    told = next(each for each in known if each.rollout == last.rollout and each.to is not None)
    return TakenBack(
        version=version,
        to=told.to or "",
        at=told.at.astimezone(UTC),
        by=told.by,
        reason=told.reason,
        rollout=told.rollout,
        operator=told.operator,
    )


class _End(msgspec.Struct, frozen=True, kw_only=True):
    """How a rollout of ``version`` ended. ``to``: the version that its rollback restored; ``None``: it succeeded."""

    version: str
    to: str | None
    at: datetime
    rollout: str
    operator: str
    by: str = ""
    reason: str = ""


def _rollout_ends(rollouts: Iterable[Rollout], place: tuple[str, str]) -> Iterable[_End]:
    for rollout in rollouts:
        release, reason = rollout.release, rollout.reason
        if (release.target.environment, release.service) != place or rollout.written is None:
            continue
        if rollout.phase not in (Phase.ROLLED_BACK, Phase.SUCCEEDED):
            continue
        # the last to drive it is who rolled it back, unless a trigger was
        driver = rollout.driver.operator if rollout.driver is not None else ""
        person = driver or (rollout.operator if rollout.kind is Kind.ROLLBACK else "")
        yield _End(
            version=release.version,
            to=rollout.plan.previous_version if rollout.phase is Phase.ROLLED_BACK else None,
            at=rollout.written,
            rollout=rollout.id,
            operator=rollout.operator,
            by=person if reason is None or reason.kind == "operator" else "",
            reason=_why(msgspec.to_builtins(reason)),
        )


def _record_ends(records: Iterable[Record], place: tuple[str, str]) -> Iterable[_End]:
    for record in records:
        if (record.environment, record.service) == place and record.outcome in (Phase.ROLLED_BACK.value, Phase.SUCCEEDED.value):
            back = record.outcome == Phase.ROLLED_BACK.value
            yield _End(
                version=record.version,
                to=record.previous_version if back else None,
                at=record.finished,
                rollout=record.rollout,
                operator=record.operator,
            )


def _entry_ends(entries: Iterable[Mapping[str, Any]], place: tuple[str, str]) -> Iterable[_End]:
    for entry in reversed(list(entries)):
        outcome, at = entry.get("outcome"), _moment(entry.get("timestamp"))
        if (entry.get("environment"), entry.get("service")) != place or entry.get("event") != "deployment.completed":
            continue
        if at is None or outcome not in (Phase.ROLLED_BACK.value, Phase.SUCCEEDED.value):
            continue
        back = outcome == Phase.ROLLED_BACK.value
        yield _End(
            version=str(entry.get("version") or ""),
            to=str(data_of(entry).get("previous_version") or "") if back else None,
            at=datetime.fromtimestamp(at, UTC),
            rollout=str(entry.get("rollout") or ""),
            operator=str(entry.get("user") or ""),
            reason=_why(data_of(entry).get("reason")),
        )


def _why(reason: object) -> str:
    """A reason in words. That an operator rolled back is said already: of that, only what it was for."""
    told = dict_of(reason)
    return str(told.get("detail") or "") if told.get("kind") == "operator" else reason_words(told)


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

"""The story of one rollout, read from its journal entries alone: what happened when, by whom, for how long, and why.

It needs neither the cluster nor the checkpoint, so it can still be told when both are gone. A journal belongs to one home: where
another home drove the rollout for a while, that part is not here, and the story says so (by the epochs, which every driver
raises by one). Moments are wall time; durations are pace seconds: what the rollout measured, where it did, else wall time by the
speed of the pace.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.audit.checks import ChecksOf
from services.audit.telling import (
    change_words,
    confirmed,
    data_of,
    dict_of,
    driver_words,
    end_words,
    evidence_words,
    final_figures,
    gates_met,
    judge_words,
    list_of,
    reason_words,
    step_words,
    trigger_words,
)

Entry = Mapping[str, Any]
MOST_STEPS = 1000
"""No plan has as many: a number above is nobody's step."""
OPEN = "open"
"""The outcome of a step that was begun, and whose end is not on record here."""
SILENT = 5.0
"""Wall seconds from which on the time between two drivers is told."""
_QUIET = frozenset({"holds", "no_data"})
_WELL = frozenset({"ok", "unchanged"})


class Kind(StrEnum):
    """What kind of moment it is."""

    CONFIRMED = "confirmed"
    GATES = "gates"
    DRIVER = "driver"
    STEP = "step"
    TRIGGER = "trigger"
    ROLLBACK = "rollback"
    RESTORED = "restored"
    PAUSED = "paused"
    PERSON = "person"
    UNKNOWN = "unknown"
    MISSING = "missing"
    ENDED = "ended"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Moment:
    """``at`` it began, ``until`` it ended (``None``: an instant, or not over; of an open step until when it is known to have
    lasted). ``outcome`` is one word, ``step`` the number of a step, ``entries`` the sequence numbers it is told from."""

    at: datetime
    kind: Kind
    words: str
    who: str = ""
    until: datetime | None = None
    seconds: float | None = None
    outcome: str = ""
    details: tuple[str, ...] = ()
    entries: tuple[int, ...] = ()
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """``moments`` in their order; it goes from ``previous`` to ``version``. ``only_restores``: it has only a rollback to do.
    ``over``: its end is on record here; ``begun``: so is its beginning."""

    rollout: str
    service: str = ""
    environment: str = ""
    previous: str = ""
    version: str = ""
    strategy: str = ""
    ticket: str = ""
    moments: tuple[Moment, ...] = ()
    begun: bool = False
    over: bool = False
    outcome: str = ""
    only_restores: bool = False


def story_of(rollout: str, entries: Iterable[Entry], *, whole: bool = True, speed: float = 1.0) -> Story:
    """The story that ``entries`` tell of ``rollout``. ``whole``: there are no more of them in this journal. ``speed``: pace
    seconds in a wall second."""
    told = sorted(
        (entry for entry in entries if _moment(entry) is not None),
        key=lambda entry: (str(entry["timestamp"]), entry.get("seq", 0)),
    )
    if not told:
        return Story(rollout)
    return _Telling(rollout, told, whole, speed).story()


class _Telling:
    """One pass over the entries of a rollout."""

    def __init__(self, rollout: str, entries: Sequence[Entry], whole: bool, speed: float) -> None:
        self._rollout = rollout
        self._entries = entries
        self._whole = whole
        self._speed = speed
        self._moments: list[Moment] = []
        self._answered = {str(entry["ref"]): entry for entry in entries if entry.get("ref")}
        self._final = next((entry for entry in reversed(entries) if entry.get("event") == "deployment.completed"), None)
        self._start = next((entry for entry in entries if entry.get("event") == "deployment.started"), None)
        self._epochs: list[int] = []
        self._step: Moment | None = None
        self._number = -1
        self._checks = ChecksOf()
        self._breach: datetime | None = None
        self._undoing: datetime | None = None
        """When the rollback was begun that has not ended yet."""
        self._by_person = False
        self._before = _at(entries[0])
        self._last = _at(entries[0])
        """The last entry of the step under way."""

    def story(self) -> Story:
        begins = self._entries[0]
        asked = any(
            entry.get("event") == "deployment.rollback" and entry.get("outcome") == "requested" for entry in self._entries
        )
        refused = next((entry for entry in self._entries if entry.get("event") == "rollout.refused"), None)
        begun = self._start is not None or asked or refused is not None
        if not self._whole:
            self._missing(begins, "what was before is in the journal, and too much to be told here")
        elif not begun:
            self._missing(begins, "it was begun from another home: what was before is in that home's journal")
        for entry in self._entries:
            self._tell(entry)
            self._before = _at(entry)
        self._close(_at(self._entries[-1]), "" if self._final is not None else OPEN)
        end = self._final or refused
        release = dict_of(data_of(self._start).get("release"))
        facts = {**data_of(self._final), **data_of(self._start)}
        versions = str(facts.get("previous_version") or ""), _first(self._entries, "version")
        goal = self._only_back_to(facts)
        if goal is not None:
            versions = versions[1], goal
        return Story(
            rollout=self._rollout,
            service=_first(self._entries, "service"),
            environment=_first(self._entries, "environment"),
            previous=versions[0],
            version=versions[1],
            strategy=str(release.get("strategy") or facts.get("strategy") or ""),
            ticket=_first(self._entries, "change_ticket"),
            moments=tuple(_paused_until(sorted(self._moments, key=lambda moment: moment.at), self._speed)),
            begun=begun,
            over=end is not None,
            outcome=str(end.get("outcome") or "") if end is not None else "",
            only_restores=goal is not None,
        )

    def _only_back_to(self, facts: Mapping[str, Any]) -> str | None:
        """The version to which a rollout goes that has only a rollback to do; its entries bear the version that is left."""
        if self._final is not None and self._start is None and facts.get("steps") == []:
            return str(facts.get("previous_version") or "")
        told = [data_of(entry) for entry in self._entries if entry.get("event") == "deployment.rollback"]
        return next((str(data.get("to_version") or "") for data in told if data.get("kind") == "rollback"), None)

    # ---- entry by entry

    def _tell(self, entry: Entry) -> None:
        event, outcome = str(entry.get("event", "")), str(entry.get("outcome") or "")
        self._watch_epoch(entry)
        match event:
            case "deployment.started":
                self._say(entry, Kind.CONFIRMED, confirmed(entry), outcome="confirmed")
            case "deployment.approval_checked":
                self._say(entry, Kind.GATES, *gates_met(entry))
            case "deployment.executed":
                self._executed(entry)
            case "deployment.health_check":
                self._checked(entry)
            case "deployment.rollback":
                self._rolled_back(entry)
            case "deployment.completed":
                self._close(_at(entry))
                self._say(entry, Kind.ENDED, end_words(entry), outcome=outcome, details=final_figures(entry), timed=True)
            case "rollout.refused":
                why = reason_words(data_of(entry).get("reason"))
                unmet = ", ".join(str(name) for name in list_of(data_of(entry).get("unmet")))
                self._say(entry, Kind.ENDED, f"refused: {why or unmet or outcome.replace('_', ' ')}", outcome="refused")
            case "rollout.paused":
                self._say(entry, Kind.PAUSED, f"paused: {data_of(entry).get('reason') or outcome}", outcome="paused")
            case "rollout.resumed" | "rollout.promoted":
                said = data_of(entry).get("reason")
                self._say(entry, Kind.PERSON, f"{event.partition('.')[2]}{f': {said}' if said else ''}", outcome="done")
            case "rollout.taken_over":
                where = f" at step {data_of(entry)['step'] + 1}" if isinstance(data_of(entry).get("step"), int) else ""
                self._say(entry, Kind.DRIVER, f"taken over{where}, {driver_words(entry)}", outcome="taken_over")
            case "rollout.superseded":
                epoch = data_of(entry).get("epoch")
                # the last word of a driver may come when the next one is at work already
                if not (isinstance(epoch, int) and self._epochs and epoch < self._epochs[-1]):
                    self._close(_at(entry), OPEN)
                self._handed_over(entry)
            case _:
                self._say(entry, Kind.OTHER, f"{event} {outcome}".strip(), outcome=outcome)

    def _handed_over(self, entry: Entry) -> None:
        """Say who drives from here on; where that is a driver of this home too, nothing of what follows is missing here."""
        by, epoch = str(data_of(entry).get("by") or ""), data_of(entry).get("epoch")
        if isinstance(epoch, int) and any(data_of(other).get("epoch") == epoch + 1 for other in self._entries):
            self._say(entry, Kind.DRIVER, f"replaced by {by or 'the next driver'}", outcome="replaced")
        else:
            words = f"from here on {by or 'another home'} drives it: the rest is in that home's journal"
            self._say(entry, Kind.MISSING, words, outcome="lost")

    def _executed(self, entry: Entry) -> None:
        data, phase = data_of(entry), entry.get("phase")
        if phase == "intent" and data.get("step_name") == "rollback":
            self._undoing = self._undoing or _at(entry)
        answer = self._answered.get(str(entry.get("id"))) if phase == "intent" else None
        if phase == "intent" and answer is None:
            words = f"no outcome on record, unknown whether it was done: {entry.get('command') or data.get('step_name')}"
            self._say(entry, Kind.UNKNOWN, words, outcome="unknown")
        if data.get("step_name") == "claim":
            if phase == "outcome":
                self._say(entry, Kind.DRIVER, f"driven, {driver_words(entry)}", outcome=str(entry.get("outcome") or ""))
            return
        if phase != "outcome":
            return
        told = change_words(entry, self._intent_of(entry))
        if data.get("step_name") == "rollback":
            # a rollback by key restores before its driver says that it has begun
            self._say(entry, Kind.ROLLBACK, told, outcome=str(entry.get("outcome") or ""))
            return
        if isinstance(data.get("step"), int):
            self._at_step(entry, int(data["step"]), str(data.get("step_name") or ""))
            self._detail(entry, told)
        elif str(entry.get("outcome")) not in _WELL:
            self._say(entry, Kind.OTHER, told, outcome=str(entry.get("outcome") or ""))

    def _intent_of(self, entry: Entry) -> Entry:
        return next((other for other in self._entries if other.get("id") == entry.get("ref")), entry)

    def _checked(self, entry: Entry) -> None:
        data, outcome = data_of(entry), str(entry.get("outcome") or "")
        if isinstance(data.get("step"), int):
            self._at_step(entry, int(data["step"]), "")
        self._checks.add(entry)
        fired = [each for each in list_of(data.get("triggers")) if isinstance(each, dict) and each.get("fired")]
        if fired or outcome == "regressed":
            self._breach = self._breach or _at(entry)
            words = "; ".join(trigger_words(each) for each in fired) or "regressed"
            self._say(
                entry,
                Kind.TRIGGER,
                f"fired: {words}",
                outcome="regressed",
                details=(*self._checks.sample(entry), *judge_words(data)),
            )
        elif outcome not in _QUIET and self._step is not None:
            served = f", {data['requests']:,.0f} requests" if isinstance(data.get("requests"), int | float) else ""
            self._step = replace(self._step, outcome=outcome, seconds=_seconds(entry) or self._step.seconds)
            self._detail(entry, f"{outcome}{served}")
            self._detail(entry, evidence_words(data.get("evidence")))

    def _rolled_back(self, entry: Entry) -> None:
        data, outcome = data_of(entry), str(entry.get("outcome") or "")
        if outcome in ("started", "requested"):
            self._close(_at(entry), "aborted")
            self._undoing = self._undoing or _at(entry)
            self._by_person = dict_of(data.get("reason")).get("kind") == "operator"
            began = self._breach
            late = f", {self._between(began, _at(entry)):.1f} s after it was seen" if began is not None else ""
            reason = reason_words(data.get("reason"))
            goal = f" {entry.get('version') or '?'} → {data['to_version']}" if data.get("to_version") else ""
            words = f"roll back{goal}{f': {reason}' if reason else ''}{late}"
            details = tuple(f"also {reason_words(each)}" for each in list_of(data.get("also")))
            self._say(entry, Kind.ROLLBACK, words, outcome=outcome, details=details)
            return
        seconds, since = _seconds(entry), "the breach"
        if self._by_person and seconds is not None:
            # what was measured begins with the driver, which starts after the key
            seconds, since = self._between(self._undoing, _at(entry)) if self._undoing else seconds, "it was asked for"
        after = f" {seconds:.1f} s after {since}" if seconds is not None else ""
        budget = f", {data['budget']:.0f} s are allowed" if isinstance(data.get("budget"), int | float) else ""
        left = tuple(f"{name}: {each}" for name in ("left", "problems", "kept") for each in list_of(data.get(name)))
        now = f" {data['restored_version']}" if data.get("restored_version") else ""
        words = f"{outcome.replace('_', ' ')}{now}{after}{budget}"
        self._say(entry, Kind.RESTORED, words, outcome=outcome, details=left, seconds=seconds)
        if outcome != "overdue":
            self._undoing = None

    # ---- steps

    def _at_step(self, entry: Entry, number: int, name: str) -> None:
        if not 0 <= number < MOST_STEPS:
            return
        if number == self._number:
            if self._step is not None:
                if name and not self._names(number):
                    self._step = replace(self._step, words=step_words(number, name))
                self._step = replace(self._step, entries=(*self._step.entries, _seq(entry)))
            self._last = _at(entry)
            return
        passed = range(self._number + 1 if self._number >= 0 else number, number)
        # steps without an entry of their own (waits) lie between the last one before them and the first one after
        began = self._close(self._last if passed else _at(entry))
        for left_out in passed:
            self._moments.append(self._timed(self._new_step(began, left_out, "", until=_at(entry))))
        self._step, self._number = self._new_step(_at(entry), number, name, entries=(_seq(entry),)), number
        self._checks, self._last = ChecksOf(), _at(entry)

    def _new_step(
        self, at: datetime, number: int, name: str, until: datetime | None = None, entries: tuple[int, ...] = ()
    ) -> Moment:
        ended = self._ended(number)
        seconds = ended.get("seconds")
        return Moment(
            at,
            Kind.STEP,
            step_words(number, self._names(number) or name),
            until=until,
            seconds=float(seconds) if isinstance(seconds, int | float) else None,
            outcome=str(ended.get("outcome") or ("done" if until is not None else "")),
            entries=entries,
            step=number,
        )

    def _timed(self, step: Moment) -> Moment:
        """``step`` with a duration, where nobody measured it."""
        if step.seconds is not None or step.until is None:
            return step
        return replace(step, seconds=self._between(step.at, step.until))

    def _between(self, sooner: datetime, later: datetime) -> float:
        return (later - sooner).total_seconds() * self._speed

    def _close(self, at: datetime, outcome: str = "") -> datetime:
        """The step under way is over, or what is told of it (:data:`OPEN`); returns when."""
        if self._step is not None:
            told = self._checks.words()
            ended = str(self._ended(self._number).get("outcome") or outcome or self._step.outcome or "done")
            step = self._step
            # what the analysis came to says more than that it is done
            verdict = step.outcome if step.outcome and ended == "done" else ended
            over = replace(step, until=at, outcome=verdict, details=(*step.details, *told))
            self._moments.append(replace(over, seconds=None) if verdict == OPEN else self._timed(over))
            self._step = None
        return at

    def _names(self, number: int) -> str:
        for source in (self._start, self._final):
            steps = data_of(source).get("steps")
            if isinstance(steps, list) and number < len(steps):
                return str(dict_of(steps[number]).get("name") or "")
        return ""

    def _ended(self, number: int) -> Mapping[str, Any]:
        steps = data_of(self._final).get("steps")
        return dict_of(steps[number]) if isinstance(steps, list) and number < len(steps) else {}

    def _detail(self, entry: Entry, words: str) -> None:
        if self._step is not None and words:
            self._step = replace(self._step, details=(*self._step.details, words), entries=(*self._step.entries, _seq(entry)))

    # ---- what is not here

    def _watch_epoch(self, entry: Entry) -> None:
        epoch = data_of(entry).get("epoch")
        if not isinstance(epoch, int) or (self._epochs and epoch <= self._epochs[-1]):
            return
        if self._epochs and epoch > self._epochs[-1] + 1:
            self._close(_at(entry), OPEN)
            self._missing(entry, f"in between another home drove it (epoch {self._epochs[-1] + 1}): that part is in its journal")
        elif self._epochs:
            self._undriven(entry)
        self._epochs.append(epoch)

    def _undriven(self, entry: Entry) -> None:
        """The time between the last word of one driver and the first of the next; not of one that was there to be replaced."""
        replaced = any(
            other.get("event") == "rollout.superseded" and data_of(other).get("epoch") == self._epochs[-1]
            for other in self._entries
        )
        if replaced or (_at(entry) - self._before).total_seconds() < SILENT:
            return
        seconds = self._between(self._before, _at(entry))
        words = "nobody drove it, as far as this journal tells"
        self._moments.append(Moment(self._before, Kind.MISSING, words, "", _at(entry), seconds, "undriven", (), (_seq(entry),)))

    def _missing(self, entry: Entry, words: str) -> None:
        self._say(entry, Kind.MISSING, words, outcome="missing", who="")

    def _say(
        self,
        entry: Entry,
        kind: Kind,
        words: str,
        details: tuple[str, ...] = (),
        *,
        outcome: str = "",
        who: str | None = None,
        timed: bool = False,
        seconds: float | None = None,
    ) -> None:
        person = str(entry.get("user") or "") if who is None else who
        seconds = _seconds(entry) if timed else seconds
        at = _at(entry)
        self._moments.append(Moment(at, kind, words, person, None, seconds, outcome, details, (_seq(entry),)))


def _paused_until(moments: Sequence[Moment], speed: float) -> Iterable[Moment]:
    """Every pause with its end: the moment in which somebody, or the rollback, made it go on."""
    for index, moment in enumerate(moments):
        if moment.kind is not Kind.PAUSED:
            yield moment
            continue
        goes_on = (Kind.PERSON, Kind.ROLLBACK, Kind.ENDED)
        end = next((later for later in moments[index + 1 :] if later.kind in goes_on), None)
        seconds = (end.at - moment.at).total_seconds() * speed if end is not None else None
        yield replace(moment, until=end.at if end is not None else None, seconds=seconds)


def _moment(entry: Entry) -> datetime | None:
    try:
        return datetime.fromisoformat(str(entry.get("timestamp")))
    except ValueError:
        return None


def _at(entry: Entry) -> datetime:
    return datetime.fromisoformat(str(entry["timestamp"]))


def _seq(entry: Entry) -> int:
    return int(entry.get("seq") or 0)


def _seconds(entry: Entry) -> float | None:
    value = entry.get("duration_seconds")
    return float(value) if isinstance(value, int | float) else None


def _first(entries: Iterable[Entry], name: str) -> str:
    return next((str(entry[name]) for entry in entries if entry.get(name)), "")

"""Rows and lines that several screens share: services, rollouts and journal entries as an operator reads them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from console.screens.figures import errors_cell, latency_cell, reason_words
from console.view import Picture, Replaced, RollbackAsked, RolloutCard, phase_word
from services.model.fleet import EnvironmentView, Health, ServiceFigures, ServiceView
from services.model.rollout import Phase, Rollout, TriggerName, TriggerReading
from widgets import glyphs, ink
from widgets.format import age, countdown, milliseconds, percent, seconds, weight
from widgets.grid import Column, Row
from widgets.grid.model import Cell, as_line
from widgets.ink import Line, Span, Tone
from widgets.logview import LogEntry
from widgets.triggers import is_over, limit_words

ROLLOUT_COLUMNS = (
    Column("service", "SERVICE", 15, flex=2),
    Column("environment", "ENV", 10),
    Column("version", "VERSION", 17, flex=1, priority=5),
    Column("state", "STATE", 16),
    Column("weight", "SHARE", 5, align="right", priority=1),
    Column("errors", "ERRORS", 11, priority=2),
    Column("latency", "P99", 14, priority=3),
    Column("next", "NEXT", 12, flex=4),
)
SERVICE_COLUMNS = (
    Column("name", "SERVICE", 15, flex=2),
    Column("version", "VERSION", 7, flex=1),
    Column("ready", "READY", 5, align="right"),
    Column("health", "HEALTH", 10),
    Column("errors", "ERROR", 5, align="right", priority=1),
    Column("latency", "   P99", 15, priority=2),
    Column("changed", "CHANGED", 7, align="right", priority=3),
    Column("canary", "CANARY", 13, flex=1, priority=4),
    Column("detail", "", 8, flex=3, priority=5),
)
HOUR = 3600.0
WELL = frozenset({"ok", "done", "succeeded", "restored"})
TROUBLE = frozenset(
    {
        *("failed", "fail", "refused", "rejected", "needs_attention", "unknown", "error"),
        *("not_restored", "overdue", "regressed"),
    }
)


def health_word(health: Health) -> Span:
    """A service's health in a sign and a word. What is well stays quiet."""
    signs = glyphs.current()
    return {
        Health.OK: (f"{signs.live} ok", Tone.MUTED),
        Health.PROGRESSING: (f"{signs.asking} rolling", Tone.ACCENT),
        Health.DEGRADED: (f"{signs.warning} degraded", Tone.WARN),
        Health.FAILED: (f"{signs.bad} failed", Tone.BAD),
        Health.UNKNOWN: (f"{signs.unknown} unknown", Tone.MUTED),
    }[health]


def phase_words(card: RolloutCard) -> Span:
    """A rollout's state in a sign and words; that nobody watches it goes before all else."""
    signs = glyphs.current()
    if card.orphaned:
        return f"{signs.bad} NOBODY WATCHES", Tone.ALARM
    if card.asked is not None:
        words = "rolling back" if card.asked.going_on else "rollback not heard of" if card.asked.silent else "rollback asked for"
        return f"{signs.aborted} {words}", Tone.WARN if card.asked.going_on else Tone.BAD
    if card.gave_up:
        return f"{signs.bad} rollback given up", Tone.ALARM
    sign, tone = {
        Phase.RUNNING: (signs.running, Tone.ACCENT),
        Phase.PAUSED: (signs.paused, Tone.WARN),
        Phase.ROLLING_BACK: (signs.aborted, Tone.WARN),
        Phase.SUCCEEDED: (signs.ok, Tone.GOOD),
        Phase.ROLLED_BACK: (signs.aborted, Tone.WARN),
        Phase.NEEDS_ATTENTION: (signs.bad, Tone.ALARM),
        Phase.REFUSED: (signs.skipped, Tone.MUTED),
    }[card.rollout.phase]
    return f"{sign} {phase_word(card.rollout.phase)}", tone


def asked_words(asked: RollbackAsked) -> str:
    """How far a rollback has come that was asked for from here, and that no checkpoint tells of."""
    if asked.silent:
        return f"rollback accepted {asked.at:%H:%M:%S}Z, and no driver has told of it since: R asks for it again"
    if asked.accepted:
        return f"rollback accepted {asked.at:%H:%M:%S}Z; its driver verifies it"
    return f"rollback asked for {asked.at:%H:%M:%S}Z, not accepted by the cluster yet"


def replaced_words(replaced: Replaced) -> str:
    """That a driver of this home lost its rollout: to whom, when, and what that means."""
    return f"Your driver was replaced by {replaced.by} at {replaced.at:%H:%M:%S}Z; it can no longer change anything."


def driver_words(card: RolloutCard) -> str:
    """Who drives a rollout: person and machine, from which home, since when, and when the lease was last renewed."""
    driver = card.rollout.driver
    parts = [card.driver or (f"{driver.operator}@{driver.host}" if driver is not None else "somebody")]
    if driver is not None:
        parts += [f"home {driver.home[:6]}", f"since {driver.since:%H:%M:%S}Z"]
    if card.lease_age is not None:
        parts.append(f"lease renewed {age(card.lease_age)} ago")
    return ", ".join(parts)


def change_words(card: RolloutCard) -> str:
    """From which version to which. A rollout that only takes back goes to a version, wherever it came from."""
    previous = card.rollout.plan.previous_version
    return f"back to {previous}" if card.only_restores else f"{previous} {glyphs.current().arrow} {card.rollout.release.version}"


def environment_row(view: EnvironmentView) -> Row:
    """An environment with the worst thing to say of it."""
    signs = glyphs.current()
    counts = Counter(service.health for service in view.services)
    failed, degraded, rolling = counts[Health.FAILED], counts[Health.DEGRADED], counts[Health.PROGRESSING]
    state: Span
    if not view.reachable:
        state = (
            f"{signs.unknown} {age(view.age_seconds)} old" if view.age_seconds is not None else f"{signs.unknown} no answer",
            "bad",
        )
        if view.age_seconds is None and not view.problem:
            state = (f"{signs.asking} asking", Tone.MUTED)
    elif failed:
        state = (f"{signs.bad} {failed} failed", Tone.BAD)
    elif degraded:
        state = (f"{signs.warning} {degraded} degraded", Tone.WARN)
    elif rolling:
        state = (f"{signs.asking} {rolling} rolling", Tone.ACCENT)
    elif not view.services:
        state = (f"{signs.none} empty", Tone.MUTED)
    else:
        state = (f"{signs.live} {len(view.services)} ok", Tone.MUTED)
    return Row(view.name, ((view.name, Tone.STRONG if view.tier == "production" else Tone.TEXT), state))


def service_row(
    service: ServiceView, *, reachable: bool, now: float, figures: ServiceFigures | None = None, limit: float = 1.0
) -> Row:
    """A service; grey all over where its cluster can't be reached. ``limit``: the share of errors from which on it is loud."""
    canary = (
        f"{service.canary_version} {weight(service.canary_weight)}" if service.canary_version and service.canary_ready else ""
    )
    since = now - service.changed if service.changed is not None and now else None
    changed = age(since) if since is not None else ""
    cells: tuple[Cell, ...] = (
        (service.name, Tone.TEXT),
        (service.version, Tone.TEXT),
        (f"{service.ready}/{service.desired}", Tone.TEXT if service.ready == service.desired else Tone.BAD),
        health_word(service.health),
        errors_cell(figures, limit),
        latency_cell(figures),
        (changed, Tone.STRONG if since is not None and since < HOUR else Tone.MUTED),
        (canary, Tone.CANARY),
        (service.detail or reason_words(figures), Tone.MUTED),
    )
    row = Row(service.name, cells, unsure=service.health is Health.UNKNOWN)
    return row if reachable else grey(row)


def grey(row: Row) -> Row:
    """A row of a cluster that can't be reached: as it was, without the colours of what is."""
    return replace(row, cells=tuple((ink.plain(as_line(cell)), Tone.MUTED) for cell in row.cells), unsure=True)


def reading_of(rollout: Rollout, name: TriggerName) -> TriggerReading | None:
    return next((reading for reading in rollout.triggers if reading.name is name), None)


def _against(words: str, reading: TriggerReading | None) -> Line:
    """A figure with its limit; loud where its trigger fired or it is over."""
    if reading is None:
        return ((words, Tone.TEXT),)
    over = is_over(reading)
    sign = f" {glyphs.current().warning}" if over else ""
    return ((f"{words}{sign}", Tone.BAD if over else Tone.TEXT), (f" of {limit_words(reading)}", Tone.MUTED))


def rollout_row(card: RolloutCard, pace: float) -> Row:
    """A rollout in one line: what, where, how far, how well, and what comes next."""
    rollout = card.rollout
    total = len(rollout.plan.steps)
    word, tone = phase_words(card)
    if (
        card.live
        and not card.orphaned
        and card.asked is None
        and not card.gave_up
        and rollout.phase in (Phase.RUNNING, Phase.PAUSED)
        and total
    ):
        word += f" {min(rollout.step + 1, total)}/{total}"
    sample = rollout.samples[-1].canary if rollout.samples and card.live else None
    return Row(
        rollout.id,
        (
            rollout.release.service,
            (card.environment, Tone.TEXT),
            (change_words(card), Tone.TEXT if card.live else Tone.MUTED),
            (word, tone),
            (weight(rollout.weight) if card.live and rollout.plan.route else "", Tone.CANARY),
            _against(percent(sample.error_rate), reading_of(rollout, TriggerName.ERROR_RATE)) if sample else "",
            _against(milliseconds(sample.p99), reading_of(rollout, TriggerName.LATENCY_P99)) if sample else "",
            next_line(card, pace, short=True),
        ),
    )


def next_line(card: RolloutCard, pace: float, *, short: bool = False) -> Line:
    """What happens next, and when; for a finished rollout how long one key still rolls it back."""
    rollout = card.rollout
    if card.orphaned:
        return (
            ("T resumes, R rolls back" if short else "nothing: its triggers are off. T resumes it, R rolls it back", Tone.BAD),
        )
    if card.asked is not None:
        return ((asked_words(card.asked), Tone.WARN if card.asked.going_on else Tone.BAD),)
    if card.gave_up:
        return (("R tries again" if short else "nothing by itself: R tries to roll it back again", Tone.BAD),)
    if card.live:
        due = f"{countdown(rollout.next_at - pace)}  " if rollout.next_at is not None else ""
        return ((due, Tone.STRONG if short else Tone.ACCENT), (rollout.next, Tone.TEXT if short else Tone.STRONG))
    if card.window_left > 0:
        left = age(card.window_left)
        return ((f"R for {left}" if short else f"it is over; R rolls it back at once for another {left}", Tone.MUTED),)
    if rollout.reason is not None and short:
        return ((f"{rollout.reason.name}: {rollout.reason.detail}", Tone.MUTED),)
    return (("it is over; nothing follows", Tone.MUTED),)


def entry_line(entry: dict[str, Any], *, commands: bool = False) -> LogEntry:
    """One journal entry as a line: when, how it ended, where, what. With ``commands`` the command instead, where there is one."""
    outcome = outcome_of(entry)
    took = entry.get("duration_seconds")
    command = str(entry.get("command") or "")
    if commands and command:
        words = [command]
    else:
        words = [str(entry.get(part) or "") for part in ("environment", "service", "version", "event")]
        words = [*(words[3:] if commands else words), detail_of(entry)]
    return LogEntry(
        str(entry.get("timestamp", ""))[11:19],
        " ".join(word for word in words if word),
        outcome,
        took * 1000 if isinstance(took, int | float) else None,
        outcome_tone(entry),
    )


def planned_calls(card: RolloutCard, told: Iterable[dict[str, Any]]) -> list[tuple[str, LogEntry]]:
    """The commands of the steps that were begun and of which ``told``, this home's entries, say nothing: by the checkpoint, with
    their moments. Whoever drove then has the answers in his journal."""
    known = {(entry.get("data") or {}).get("step") for entry in told if entry.get("event") == "deployment.executed"}
    found: list[tuple[str, LogEntry]] = []
    for index, (step, own) in enumerate(zip(card.rollout.plan.steps, card.rollout.steps, strict=False)):
        if step.command and own.started is not None and index not in known:
            stamp = _stamp(own.started)
            outcome = own.outcome.value
            tone = {"failed": Tone.BAD, "aborted": Tone.WARN, "done": Tone.GOOD}.get(outcome, Tone.TEXT)
            found.append((stamp, LogEntry(stamp[11:19], step.command, outcome, None, tone)))
    return found


def outcome_tone(entry: dict[str, Any]) -> Tone:
    """Red is for what failed; that something was rolled back is worth a look, and was done as it should be."""
    outcome = outcome_of(entry)
    if is_trouble(entry):
        return Tone.BAD
    return Tone.WARN if outcome == "rolled_back" else Tone.GOOD if outcome in WELL else Tone.TEXT


def detail_of(entry: dict[str, Any]) -> str:
    """What an entry is about, beyond its event: the step, or the reason."""
    data = entry.get("data") or {}
    reason = data.get("reason")
    if isinstance(reason, dict):
        reason = f"{reason.get('name', '')}: {reason.get('detail', '')}"
    # the entry of a rollback bears the version that it left
    if goal := data.get("restored_version") or data.get("to_version"):
        reason = f"to {goal}, {reason}" if reason else f"to {goal}"
    return str(data.get("name") or data.get("step_name") or reason or "")


def outcome_of(entry: dict[str, Any]) -> str:
    return str(entry.get("outcome") or entry.get("phase") or "")


def is_trouble(entry: dict[str, Any]) -> bool:
    """Whether something failed. An intent says nothing about that yet, nor does a step of a rollback."""
    return entry.get("event") == "rollout.refused" or str(entry.get("outcome") or "") in TROUBLE


def telling(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries worth a line at a glance: no looks that found nothing wrong, no intents whose outcome is there too."""
    kept = list(entries)
    answered = {entry.get("ref") for entry in kept if entry.get("ref")}
    return [
        entry
        for entry in kept
        if entry.get("event") not in ("journal.segment",)
        and not (entry.get("event") == "deployment.health_check" and not is_trouble(entry))
        and not (entry.get("phase") == "intent" and entry.get("id") in answered)
    ]


def from_checkpoints(picture: Picture) -> list[dict[str, Any]]:
    """What the checkpoints tell of rollouts that this home's journal is silent about, as it would tell it: that they began, and
    how they ended. Their entries are in the journal of whoever drove them."""
    known = {(entry.get("rollout"), entry.get("event")) for entry in picture.entries}
    ours = {rollout for rollout, event in known if event == "deployment.started"}
    found: list[dict[str, Any]] = []
    for card in picture.rollouts:
        rollout = card.rollout
        if card.key in ours or rollout.phase is Phase.REFUSED:
            continue
        where = "" if card.own else ", not from this home"
        about: dict[str, Any] = {
            "environment": card.environment,
            "service": rollout.release.service,
            "version": rollout.versions[1],
        }
        about["rollout"] = card.key
        by = {"user": rollout.operator, "data": {"name": f"by {rollout.operator}{where}"}}
        found.append(about | by | {"timestamp": _stamp(rollout.created), "event": "deployment.started", "outcome": "started"})
        if (card.key, "deployment.completed") in known:
            continue
        if rollout.finished is not None and rollout.phase.final:
            # whoever drove it last ended it
            last = rollout.driver.operator if rollout.driver is not None else rollout.operator
            by = {"user": last, "data": {"name": f"by {last}{where}"}}
            ended = rollout.created + timedelta(seconds=max(0.0, rollout.finished - rollout.started) / picture.speed)
            event = {"timestamp": _stamp(ended), "event": "deployment.completed", "outcome": rollout.phase.value}
            found.append(about | by | event)
    return found


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def since_words(card: RolloutCard, pace: float) -> str:
    """How long a rollout has taken so far, or took."""
    rollout = card.rollout
    if card.live:
        return f"for {seconds(max(0.0, pace - rollout.started))}"
    return f"took {seconds(rollout.finished - rollout.started)}" if rollout.finished is not None else ""


def urgent_first(cards: Sequence[RolloutCard]) -> list[RolloutCard]:
    """Rollouts in the order in which they need a look; within the same urgency as they came."""

    def urgency(card: RolloutCard) -> int:
        if card.orphaned or card.gave_up or card.rollout.phase is Phase.NEEDS_ATTENTION:
            return 0
        return 1 if card.rollout.phase is Phase.ROLLING_BACK else 2 if card.live else 3

    return sorted(cards, key=urgency)

"""Tables of one service: its revisions, their pods, what was said of its objects, and the rules that route to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from widgets import format as figures
from widgets import glyphs
from widgets.grid import Column, Row
from widgets.ink import Line, Span, Tone

REVISION_COLUMNS = (
    Column("number", "REV", width=4, align="right"),
    Column("version", "VERSION", width=9, flex=1),
    Column("track", "TRACK", width=6, priority=4),
    Column("pods", "PODS", width=5, align="right", priority=1),
    Column("state", "STATE", width=8, flex=1),
    Column("age", "MADE", width=5, align="right", priority=2),
    Column("by", "BY", width=8, flex=2, priority=3),
)
OF_REVISION_COLUMNS = (
    Column("name", "POD", width=16, flex=2),
    Column("state", "STATE", width=18, flex=1),
    Column("revision", "REVISION", width=12, flex=2),
    Column("restarts", "RESTARTS", width=8, align="right", priority=2),
    Column("age", "AGE", width=5, align="right", priority=1),
    Column("node", "NODE", width=12, priority=5),
)
EVENT_COLUMNS = (
    Column("age", "LAST", width=5, align="right"),
    Column("count", "COUNT", width=5, align="right", priority=2),
    Column("reason", "REASON", width=14, flex=1),
    Column("about", "OBJECT", width=14, flex=2, priority=1),
    Column("message", "MESSAGE", width=20, flex=6),
)
ROLLOUT_COLUMNS = (
    Column("change", "CHANGE", width=17, flex=1),
    Column("state", "STATE", width=16, flex=1),
    Column("by", "BY", width=6, flex=1, priority=2),
    Column("age", "BEGUN", width=5, align="right", priority=1),
    Column("next", "NEXT", width=10, flex=3, priority=3),
)
RULE_COLUMNS = (
    Column("when", "REQUESTS", width=14, flex=2),
    Column("to", "GO TO", width=24, flex=1),
)


@dataclass(frozen=True, slots=True)
class RevisionRow:
    """``number`` 0: not numbered; ``age`` in seconds (``None``: unknown); ``by`` empty: unknown; ``restored``: it was put back by
    a rollback that long ago, and made before."""

    key: str
    number: int
    version: str
    canary: bool
    ready: int
    desired: int
    current: bool
    age: float | None
    by: str
    restored: bool = False


def revision_row(value: RevisionRow) -> Row:
    signs = glyphs.current()
    state: Span
    if value.ready:
        tone = Tone.CANARY if value.canary else Tone.GOOD
        state = (f"{signs.live} serves" if value.current else f"{signs.live} serves still", tone if value.current else Tone.WARN)
    elif value.desired:
        state = (f"{signs.pod_failed} not ready", Tone.BAD)
    else:
        state = (f"{signs.asking} empty" if value.current else f"{signs.none} kept", Tone.MUTED)
    words = Tone.STRONG if value.current else Tone.TEXT
    pods = f"{value.ready}/{value.desired}" if value.desired or value.ready else ""
    return Row(
        value.key,
        (
            (str(value.number) if value.number else signs.unknown, words),
            (value.version or "no tag", words),
            ("canary" if value.canary else "stable", Tone.CANARY if value.canary else Tone.STABLE),
            (pods, Tone.TEXT if value.ready == value.desired else Tone.BAD),
            state,
            (figures.age(value.age), Tone.MUTED),
            (f"{value.by}, restored" if value.restored else value.by or "unknown", Tone.TEXT if value.by else Tone.MUTED),
        ),
    )


@dataclass(frozen=True, slots=True)
class RevisionPod:
    """A pod and the revision that it belongs to by its owner."""

    key: str
    name: str
    state: Span
    number: int
    version: str
    canary: bool
    restarts: int
    age: float | None
    node: str


def revision_pod_row(value: RevisionPod) -> Row:
    revision = f"{value.number or glyphs.current().unknown} {value.version}" + (" canary" if value.canary else "")
    return Row(
        value.key,
        (
            value.name,
            value.state,
            (revision, Tone.CANARY if value.canary else Tone.TEXT),
            (str(value.restarts), Tone.WARN if value.restarts else Tone.MUTED),
            (figures.age(value.age), Tone.MUTED),
            (value.node, Tone.MUTED),
        ),
    )


@dataclass(frozen=True, slots=True)
class EventRow:
    key: str
    age: float | None
    count: int
    warning: bool
    reason: str
    about: str
    message: str


def event_row(value: EventRow) -> Row:
    tone = Tone.WARN if value.warning else Tone.TEXT
    sign = f"{glyphs.current().warning} " if value.warning else ""
    return Row(
        value.key,
        (
            (figures.age(value.age), Tone.MUTED),
            (str(value.count) if value.count > 1 else "", Tone.TEXT),
            (f"{sign}{value.reason}", tone),
            (value.about, Tone.MUTED),
            (value.message, tone),
        ),
    )


@dataclass(frozen=True, slots=True)
class RouteRow:
    """``head``: the object that routes, with the canary's share that is wanted and that it gives (percent; ``None``: unknown,
    or none is wanted); else one of its rules."""

    key: str
    head: bool
    when: str
    object: str = ""
    to: tuple[tuple[str, int | None], ...] = ()
    desired: int | None = None
    actual: int | None = None
    problem: str = ""


def route_row(value: RouteRow) -> Row:
    signs = glyphs.current()
    if value.head:
        share: list[Span] = []
        if value.problem:
            share = [(f"{signs.warning} share unknown: {value.problem}", Tone.WARN)]
        else:
            split = value.desired is not None and value.desired != value.actual
            wanted = f"canary {figures.weight(value.actual)}"
            share = [(wanted, Tone.CANARY if value.actual else Tone.MUTED)]
            if value.desired is not None:
                share.append((f"   wanted {figures.weight(value.desired)}", Tone.WARN if split else Tone.MUTED))
        share.append((f"   {value.object}", Tone.MUTED))
        return Row(value.key, ((value.when, Tone.STRONG), tuple(share)))
    to: list[Span] = []
    for name, weight in value.to:
        to += [("   ", Tone.TEXT)] if to else []
        to += [(name, Tone.TEXT)] + ([(f" {weight}", Tone.STRONG)] if weight is not None else [])
    return Row(value.key, ((f"  {value.when}", Tone.TEXT), tuple(to) or (("nowhere", Tone.WARN),)))


@dataclass(frozen=True, slots=True)
class Serving:
    """One version that serves: its pods, its share of the requests in percent (``None``: unknown), and what a rollout that is
    under way measures of it (``measured`` false: nothing)."""

    version: str
    canary: bool
    ready: int
    desired: int
    share: int | None
    measured: bool = False
    errors: float | None = None
    p99: float | None = None


def serving_lines(values: Sequence[Serving]) -> list[Line]:
    """A line for each version, in columns."""
    longest = max((len(each.version) for each in values), default=0)
    lines: list[Line] = []
    for each in values:
        tone = Tone.CANARY if each.canary else Tone.STABLE
        line: list[Span] = [
            ("canary " if each.canary else "stable ", tone),
            (f"{each.version:<{min(longest, 24)}}  ", Tone.STRONG),
            (f"{each.ready}/{each.desired} ready", Tone.TEXT if each.ready == each.desired else Tone.BAD),
            (f"   {figures.weight(each.share)} of the requests", Tone.TEXT),
        ]
        if each.measured:
            errors, latency = figures.percent(each.errors), figures.milliseconds(each.p99)
            line.append((f"   errors {errors}   P99 {latency}", Tone.TEXT))
        lines.append(tuple(line))
    return lines

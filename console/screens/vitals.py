"""The figures of a rollout that a person looks at first: who serves how much, errors and latency of both versions, limits."""

from collections import Counter
from dataclasses import dataclass

from console.screens.evidence import Gauges, draw_gauges, gauges_of, metric_of, missing_words
from services.model.rollout import Arm, Baseline, JudgedMetric, Phase, Rollout, Sample, TriggerName, TriggerReading
from services.model.steps import Analyse
from widgets import glyphs, ink
from widgets.charts import spark
from widgets.drawn import Drawn
from widgets.evidence.judgement import name_of, ratio_words
from widgets.format import age, bare, count, milliseconds, percent, seconds
from widgets.ink import Line, Lines, Span, Tone
from widgets.text import pad
from widgets.traffic import Traffic, draw_traffic
from widgets.triggers import alert_words, is_over, limit_of, limit_words

LABEL = 10
_SPARK = 24
_ROOMY = 84
"""Cells from which on the slow requests have a line of their own."""
_TOLD = frozenset({TriggerName.ERROR_RATE, TriggerName.LATENCY_P99, TriggerName.JUDGE, TriggerName.PROGRESS_DEADLINE})
STALE = 30.0
"""Pace seconds after which a sample is no longer fresh: three intervals of the usual ten."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What is drawn. ``age`` is how old the newest data is (pace s), ``None`` where none counts."""

    traffic: Traffic | None
    samples: tuple[Sample, ...]
    baseline: Baseline | None
    errors: TriggerReading | None
    latency: TriggerReading | None
    wanted: int
    """Requests of the new version that the analysis under way asks for, …"""
    served: float
    """…and those that it has served while it ran; the samples count the last minute only."""
    age: float | None
    compared: tuple[JudgedMetric | None, JudgedMetric | None] = (None, None)
    """Failures and slow requests of both versions, as the judge has them."""
    against: str = "stable"
    gauges: Gauges | None = None
    triggers: tuple[TriggerReading, ...] = ()
    """Those that are told in short."""
    told: float | None = None
    """Seconds since the latest answer about alerts."""
    stale: bool = False
    """Whether the figures are older than they should be."""
    unread: frozenset[str] = frozenset()
    """Versions that can't be read now."""
    missing: str = ""
    """What can't be read of the metrics and since when, or what is missing of them in part."""
    passed: tuple[str, ...] | None = None
    """Of a rollout that succeeded what each analysis came to: then that is told, and no figure, for nothing is measured any
    more and the old version is gone. ``None`` for any other."""


def figures_of(rollout: Rollout, pace: float, live: bool, *, triggers: bool = False) -> Figures:
    """The figures of ``rollout`` at pace second ``pace``; with ``triggers``, those in short that are no line of their own, else
    the alerts alone, and only where nobody watches them."""
    step = rollout.plan.steps[rollout.step] if rollout.step < len(rollout.plan.steps) else None
    readings = {reading.name: reading for reading in rollout.triggers}
    return Figures(
        # when a rollout is over nobody looks at its route any more: what was seen last is no news
        traffic=Traffic(rollout.weight, rollout.actual_weight) if live and rollout.plan.route is not None else None,
        samples=rollout.samples,
        baseline=rollout.baseline,
        errors=readings.get(TriggerName.ERROR_RATE),
        latency=readings.get(TriggerName.LATENCY_P99),
        wanted=step.min_requests if isinstance(step, Analyse) and rollout.phase in (Phase.RUNNING, Phase.PAUSED) else 0,
        served=rollout.steps[rollout.step].requests if rollout.step < len(rollout.steps) else 0.0,
        age=data_age(rollout, pace),
        compared=(metric_of(rollout.judgement, ("errors",)), metric_of(rollout.judgement, ("latency-p99", "latency-p90"))),
        against="before" if rollout.judgement is not None and rollout.judgement.past else "stable",
        gauges=gauges_of(rollout, pace, live),
        triggers=tuple(each for each in rollout.triggers if (each.name not in _TOLD if triggers else _unwatched(each))),
        told=told_ago(rollout, pace),
        stale=_stale(rollout, pace),
        unread=frozenset(rollout.freshness.missing) if rollout.freshness is not None else frozenset(),
        missing=missing_words(rollout, pace) if live else "",
        passed=tuple(each.verdict for each in rollout.steps if each.verdict) if rollout.phase is Phase.SUCCEEDED else None,
    )


def data_age(rollout: Rollout, pace: float) -> float | None:
    """Seconds since the newest data that the figures are drawn from; ``None`` where there is none. A look that could read nothing
    made nothing newer."""
    if not rollout.samples:
        return None
    at = rollout.samples[-1].at if rollout.freshness is None else rollout.freshness.data_at
    return None if at is None else max(0.0, pace - at)


def _stale(rollout: Rollout, pace: float) -> bool:
    """Whether something can't be read, or nobody looks any more. Data that comes late by its nature is as fresh as it gets."""
    looked = rollout.samples[-1].at if rollout.samples else pace
    fresh = rollout.freshness
    return pace - looked >= STALE or (fresh is not None and bool(fresh.missing))


def _unwatched(reading: TriggerReading) -> bool:
    """Whether it is told wherever there is room for a line: that nobody watches the alerts is no figure to look up."""
    return reading.name is TriggerName.ALERT and reading.value is None


def told_ago(rollout: Rollout, pace: float) -> float | None:
    """Seconds since the source of alerts answered; ``None`` where it never did, or nobody asks it."""
    told = next((reading.at for reading in rollout.triggers if reading.name is TriggerName.ALERT), None)
    return None if told is None else max(0.0, pace - told)


def _label(name: str) -> Span:
    return pad(name, LABEL), Tone.MUTED


def _compared(
    name: str, canary: str, stable: str, reading: TriggerReading | None, values: tuple[float | None, ...], width: int
) -> Line:
    signs = glyphs.current()
    over = is_over(reading)
    word = f" {signs.bad} FIRED" if reading is not None and reading.fired else f" {signs.warning} over" if over else ""
    line: Line = (
        _label(name),
        ("canary ", Tone.CANARY),
        (pad(canary, 7, "right"), Tone.BAD if over else Tone.STRONG),
        ("   stable ", Tone.STABLE),
        (pad(stable, 7, "right"), Tone.TEXT),
        (f"   limit {pad(limit_words(reading), 6)}", Tone.MUTED),
        (word, Tone.ALARM if reading is not None and reading.fired else Tone.WARN),
    )
    room = min(_SPARK, width - ink.cells(line) - 2)
    if room >= 8 and values:
        line = (*line, ("  ", Tone.TEXT), *_trend(values, reading, room))
    return line


def _trend(values: tuple[float | None, ...], reading: TriggerReading | None, room: int) -> Line:
    """The canary's values. The limit is the top of the line, so that its height says how near it is."""
    limit = limit_of(reading)
    return spark(values, room, limit=limit, top=limit) if limit else spark(values, room)


def draw_figures(value: Figures, width: int) -> Lines:
    """Traffic, errors, latency, requests; what was measured before the rollout; how old the figures are."""
    if value.passed is not None:
        return tuple(ink.fit(line, width) for line in _what_it_came_to(value.passed, value, width))
    lines: list[Line] = []
    if value.traffic is not None:
        lines.append((_label("TRAFFIC"), *draw_traffic(value.traffic, width - LABEL)))
    if not value.samples:
        lines.append((_label("ERRORS"), ("not measured yet", Tone.MUTED)))
        lines.append((_label("P99"), ("not measured yet", Tone.MUTED)))
    else:
        canary, stable = value.samples[-1].canary, value.samples[-1].stable
        lines += [
            _compared(
                "ERRORS",
                percent(canary.error_rate),
                percent(stable.error_rate),
                value.errors,
                tuple(sample.canary.error_rate for sample in value.samples),
                width,
            ),
            *_ratio(value.compared[0], value.against),
            _compared(
                "P99",
                milliseconds(canary.p99),
                milliseconds(stable.p99),
                value.latency,
                tuple(sample.canary.p99 for sample in value.samples),
                width,
            ),
            *(_ratio(value.compared[1], value.against) if width >= _ROOMY else ()),
            _requests(canary, stable, value, width),
        ]
    if value.missing:
        lines.append((_label("METRICS"), (f"{glyphs.current().unknown} {value.missing}", Tone.WARN)))
    if value.gauges is not None:
        lines += draw_gauges(value.gauges, width, LABEL)
    if value.triggers:
        lines.append(_limits(value.triggers, value.told))
    if value.baseline is not None:
        lines.append(_before(value.baseline, width))
    return tuple(ink.fit(line, width) for line in lines)


_PASSED = {
    "healthy": "healthy",
    "holds": "nothing wrong",
    "promoted": "ended by a person",
    "undecided": "undecided",
    "no_data": "without data",
}
"""What analyses of a rollout that went all the way came to."""


def _what_it_came_to(passed: tuple[str, ...], value: Figures, width: int) -> list[Line]:
    """The verdicts of a rollout that is well over, how both versions compared last, and what was measured before it."""
    counts = Counter(_PASSED.get(each, each) for each in passed)
    words = ", ".join(f"{number} {told}" if len(counts) > 1 else told for told, number in counts.items())
    proven = bool(passed) and set(passed) <= {"healthy", "holds"}
    several = "analyses" if len(passed) > 1 else "analysis"
    sign = glyphs.current().ok if proven else glyphs.current().unknown
    head = f"{sign} {len(passed)} {several}: {words}" if passed else "no analysis: nothing compared the versions"
    lines: list[Line] = [(_label("VERDICT"), (head, Tone.GOOD if proven else Tone.TEXT))]
    for name, metric in zip(("ERRORS", "P99"), value.compared, strict=True):
        if metric is not None and _comparable(metric):
            lines.append((_label(name), (ratio_words(metric, value.against), Tone.MUTED)))
    return [*lines, _before(value.baseline, width)] if value.baseline is not None else lines


def _comparable(metric: JudgedMetric) -> bool:
    """Whether both versions had requests to compare."""
    return metric.n > 0 and metric.m > 0


def _before(before: Baseline, width: int) -> Line:
    """What was measured before the deploy, and what the judge made of it; on what it was measured where there is room."""
    told: Line = (_label("BEFORE"), (f"errors {percent(before.error_rate)}, P99 {milliseconds(before.p99)}", Tone.TEXT))
    on: Line = ((f"  over {seconds(before.seconds)}, {count(before.requests)} requests", Tone.MUTED),)
    if before.replay is None:
        return (*told, *on)
    words = f"  judge: {before.replay.aborted} of {before.replay.splits} aborted"
    judged: Line = ((words, Tone.WARN if before.replay.aborted else Tone.MUTED),)
    whole = (*told, *on, *judged)
    return whole if ink.cells(whole) <= width else (*told, *judged)


def _limits(readings: tuple[TriggerReading, ...], ago: float | None) -> Line:
    """Every trigger that is no line of its own: its value of its limit."""
    parts = [_alerts(each, ago) if each.name is TriggerName.ALERT else _limit(each) for each in readings]
    return (_label("TRIGGERS"), *ink.joined(parts, (f" {glyphs.current().bullet} ", Tone.MUTED)))


def _limit(reading: TriggerReading) -> Line:
    signs = glyphs.current()
    told = f"{reading.name.value} {bare(reading.value, reading.unit)}/{limit_words(reading)}"
    over = reading.fired or is_over(reading)
    return ((f"{signs.bad if reading.fired else signs.warning} {told}", Tone.BAD) if over else (told, Tone.TEXT),)


def _alerts(reading: TriggerReading, ago: float | None) -> Line:
    signs, words = glyphs.current(), alert_words(reading, ago)
    if reading.fired:
        return ((f"{signs.bad} {words}", Tone.BAD),)
    return ((f"{signs.unknown} {words}", Tone.WARN),) if reading.value is None else ((words, Tone.TEXT),)


def _ratio(metric: JudgedMetric | None, against: str) -> Lines:
    """How many times the old version's share it is, over all the time in which both were compared."""
    if metric is None:
        return ()
    slow = "" if metric.edge is None else f"{name_of(metric).partition(', ')[2]}: "
    surely = metric.ratio_low > metric.r
    return (((" " * LABEL, Tone.TEXT), (f"{slow}{ratio_words(metric, against)}", Tone.BAD if surely else Tone.MUTED)),)


def _requests(canary: Arm, stable: Arm, value: Figures, width: int) -> Line:
    """Those of the last minute; those of the step, while it needs more of them; how old all figures are, in fewer words where it
    is narrow."""
    line: Line = (
        _label("REQUESTS"),
        ("canary ", Tone.CANARY),
        (pad(_counted(canary, "canary" in value.unread), 7, "right"), Tone.TEXT),
        ("   stable ", Tone.STABLE),
        (pad(_counted(stable, "stable" in value.unread), 7, "right"), Tone.TEXT),
    )
    if value.served < value.wanted:
        line = (*line, (f"   step {count(value.served)}/{count(value.wanted)}", Tone.WARN))
    if value.age is None:
        return line
    words, tone = f"{age(value.age)} ago", Tone.WARN if value.stale else Tone.MUTED
    whole: Line = (*line, (f"   measured {words}", tone))
    return whole if ink.cells(whole) <= width else (*line, (f"   {words}", tone))


def _counted(arm: Arm, unread: bool) -> str:
    """Requests in the last minute. That a version could not be read is no minute without requests."""
    return count(None if unread and not arm.requests else arm.requests)


class Vitals(Drawn["Figures | None"]):
    """Shows the figures of a rollout."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(None, id=id)

    def show(self, figures: Figures | None) -> None:
        self.replace(figures)

    def draw(self, value: Figures | None, width: int, height: int | None) -> Lines:
        return () if value is None else draw_figures(value, width)

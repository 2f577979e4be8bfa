"""A rollout's judgement for the screen: what the widgets draw, with the judge's own arithmetic and words beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from services.model.rollout import Freshness, JudgedMetric, Judgement, Phase, Replayed, Rollout, of_hundred
from services.model.steps import Analyse
from widgets import glyphs, ink
from widgets.charts import Chart, Series, gauge
from widgets.evidence.judgement import Judged
from widgets.format import age, seconds
from widgets.ink import Lines, Span, Tone

_MARKS = (25.0, 60.0)
"""From here on the evidence is worth a look, and suspicious."""
_TONES = {"quiet": Tone.GOOD, "watch": Tone.WARN, "suspicious": Tone.BAD, "abort": Tone.ALARM}
_ONE_LINE = 84
"""Narrower than this both gauges share a line."""
STALE_LOOKS = 3.5


@dataclass(frozen=True, slots=True)
class Gauges:
    """``regression`` and ``health`` of 100; ``None``: nothing was compared yet. ``word`` is for the first. ``quiet``: why there
    is no data now, if there is none: nothing is proven then. ``age`` of the latest look (pace s), where it is older than it
    should be."""

    regression: float | None
    health: float | None
    word: str = ""
    quiet: str = ""
    age: float | None = None


def gauges_of(rollout: Rollout, pace: float, live: bool) -> Gauges | None:
    """``None`` for a rollout that nothing judges."""
    judgement = rollout.judgement
    if judgement is None:
        return Gauges(None, None) if live and any(isinstance(step, Analyse) for step in rollout.plan.steps) else None
    from services.analysis.judge import suspicion  # not before the first frame: its room loads much

    fresh = rollout.freshness if live else None
    unread = fresh is not None and bool(fresh.missing)
    each = judgement.seconds / judgement.intervals if judgement.intervals else 0.0
    old = pace - judgement.at if live and judgement.at is not None else None
    return Gauges(
        regression=judgement.regression,
        health=judgement.health,
        word=suspicion(judgement.regression),
        quiet=_quiet(judgement, fresh, pace),
        age=old if old is not None and each and not unread and old > STALE_LOOKS * each else None,
    )


def _quiet(judgement: Judgement, fresh: Freshness | None, pace: float) -> str:
    if fresh is not None and fresh.missing:
        return f"not read for {seconds(max(0.0, pace - fresh.since))}" if fresh.since is not None else "not read"
    return f"no data for {seconds(judgement.quiet)}" if judgement.verdict == "no_data" else ""


def missing_words(rollout: Rollout, pace: float) -> str:
    """``can't be read since 5m 12s ago: new-1: no answer``; what is missing in part; empty where nothing is."""
    fresh = rollout.freshness
    if fresh is None or not fresh.why:
        return ""
    if not fresh.missing:
        return f"in part: {fresh.why}"
    since = f" since {age(max(0.0, pace - fresh.since))} ago" if fresh.since is not None else ""
    whose = "" if len(fresh.missing) > 1 else f"{fresh.missing[0]} "
    return f"{whose}can't be read{since}: {fresh.why}"


def draw_gauges(value: Gauges, width: int, label: int) -> Lines:
    """Evidence of a regression and of health: a bar, the figure of 100, a word; on one line where it is narrow."""
    name: Span = ("EVIDENCE".ljust(label), Tone.MUTED)
    if value.regression is None or value.health is None:
        return ((name, ("nothing to compare yet", Tone.MUTED)),)
    said: list[Span] = []
    if value.quiet:
        said.append((f"  {glyphs.current().unknown} {value.quiet}", Tone.WARN))
    if value.age is not None:
        said.append((f"  last look {age(value.age)} ago", Tone.WARN))
    tone = _TONES.get(value.word, Tone.TEXT)
    healthy, strong = Tone.GOOD, Tone.STRONG
    if value.quiet:  # nothing good is known of now
        healthy = strong = Tone.MUTED
        tone = Tone.MUTED if tone is Tone.GOOD else tone
    if width < _ONE_LINE:
        room = max(6, min(16, (width - label - 44 - ink.cells(tuple(said))) // 2))
        bad = (
            ("regression ", Tone.MUTED),
            *gauge(value.regression, room, tone, _MARKS),
            (f" {of_hundred(value.regression)} {value.word}", tone),
        )
        good = (("   health ", Tone.MUTED), *gauge(value.health, room, healthy), (f" {of_hundred(value.health)}", strong))
        return ((name, *bad, *good, *said),)
    room = max(10, min(40, width - label - 50))
    return (
        (
            *(name, ("of a regression ", Tone.MUTED)),
            *gauge(value.regression, room, tone, _MARKS),
            *((f" {of_hundred(value.regression):>3} / 100  ", Tone.STRONG), (value.word, tone)),
            *said,
        ),
        (
            *((" " * label, Tone.TEXT), ("of health       ", Tone.MUTED)),
            *gauge(value.health, room, healthy),
            (f" {of_hundred(value.health):>3} / 100", strong),
            ("  proven" if value.health >= 100 and not value.quiet else "", Tone.GOOD),
        ),
    )


def judged_of(rollout: Rollout) -> Judged | None:
    """What the judge has to go on, for a person who wants to know why; ``None`` before it had anything."""
    judgement, baseline = rollout.judgement, rollout.baseline
    if judgement is None:
        return None
    replay = baseline.replay if baseline is not None else None
    before = seconds(baseline.seconds) if baseline is not None else ""
    over, fresh = rollout.phase.final, rollout.freshness
    # once all has gone over there is nothing left to compare: that is no lack of data
    gone_over = rollout.phase is Phase.SUCCEEDED and judgement.verdict == "no_data"
    return Judged(
        # its memory is for the judge alone: without it what is the same is found so at once
        judgement=msgspec.structs.replace(judgement, memory=None, verdict="" if gone_over else judgement.verdict),
        differences=tuple(_difference(metric) for metric in judgement.metrics),
        noise=frozenset(replay.noise) if replay is not None else frozenset(),
        before=before,
        replay=replay_words(replay, before) if replay is not None else "",
        over=over,
        unread=fresh.words if fresh is not None and (not over or judgement.verdict == "no_data") else "",
    )


def course_of(judgement: Judgement | None) -> Chart | None:
    """The evidence over time up to what aborts, with a line where a regression began, once that is worth a look."""
    if judgement is None or not judgement.path or not judgement.intervals:
        return None
    each = judgement.seconds / judgement.intervals
    begins = judgement.seconds - each * (len(judgement.path) - 1)
    points = tuple((begins + each * number, value) for number, value in enumerate(judgement.path))
    named = metric_of(judgement, (judgement.leading,))
    onset = named.onset if named is not None and judgement.regression >= _MARKS[0] else None
    return Chart("LN E", (Series("regression", points),), "nats", judgement.abort_at, judgement.seconds, mark=onset)


def metric_of(judgement: Judgement | None, names: Sequence[str]) -> JudgedMetric | None:
    """The first of ``names`` that is judged."""
    metrics = {metric.name: metric for metric in judgement.metrics} if judgement is not None else {}
    return next((metrics[name] for name in names if name in metrics), None)


def replay_words(replay: Replayed, before: str) -> str:
    """What the judge made of the time before the deploy, in which nothing was wrong."""
    groups = f"{replay.aborted} of {replay.splits} groups of stable pods"
    told = f"Replayed on {before} before the deploy: {groups} would have been aborted."
    return f"{told} The noise was widened until none was." if replay.aborted else told


def _difference(metric: JudgedMetric) -> tuple[float, float | None] | None:
    from services.analysis.judge import difference_limits

    found = difference_limits(
        (metric.ratio_low, math.inf if metric.ratio_high is None else metric.ratio_high), metric.f, metric.m
    )
    return None if found is None else (found[0], found[1] if math.isfinite(found[1]) else None)

"""What the judge has to go on, metric by metric, and what it makes of it: read by whoever wants to know why."""

import math
from dataclasses import dataclass

from services.model.rollout import JudgedMetric, Judgement, Unproven
from widgets import format as figures
from widgets import glyphs, ink, text
from widgets.charts import Ratio, draw_course, draw_ratio
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Tone

_AXIS = 64
_SOME = 1.0
"""Nats of evidence from which on its course is worth a line."""
_SHORTEST = 10
"""Cells of a course that is worth a line."""
_INDENT = "  "
_CERTAIN = 14.0
"""Nats above which "1 of so many" is a power of ten."""
_WORTH_NAMING = 25.0
"""Of 100: evidence that is worth a look, and a word on when it began."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A judgement with what is said beside it. ``differences``: limits of the difference of the bad shares, for each metric, the
    upper one ``None`` where there is none; ``None`` where the old version failed too rarely to tell. ``noise`` names the metrics
    whose noise was measured before the deploy, on ``before``; ``replay`` is what the judge made of that time. ``over``: the
    rollout has ended. ``unread``: what of the metrics can't be read now, and why."""

    judgement: Judgement
    differences: tuple[tuple[float, float | None] | None, ...] = ()
    noise: frozenset[str] = frozenset()
    before: str = ""
    replay: str = ""
    over: bool = False
    unread: str = ""


def draw_judgement(value: Judged, width: int) -> Lines:
    """The verdict with its reason; how strong the evidence is, in a sentence, and how it came about; the rival's rule; then every
    metric."""
    judgement = value.judgement
    lines = [*_reason(judgement, width, value.unread), *_spoken(strength(judgement), width, Tone.TEXT)]
    if judgement.past:
        words = "The old version serves no more: compared with the time before the deploy, and more is tolerated."
        lines += _spoken(words, width, Tone.WARN)
    lines += _course(judgement, width)
    lines += _spoken(argo_words(judgement, over=value.over), width, Tone.MUTED)
    if not judgement.metrics and not judgement.unproven:
        lines += _spoken("No metric could be compared yet.", width, Tone.MUTED)
    each = judgement.seconds / max(1, judgement.intervals)
    differences = value.differences or (None,) * len(judgement.metrics)
    for metric, difference in zip(judgement.metrics, differences, strict=True):
        against, measured = _against(judgement), _measured(value, metric)
        lines += draw_metric(metric, difference, width, against=against, measured=measured, each=each)
    for unproven in judgement.unproven:
        lines += draw_unproven(unproven, width)
    if value.replay:
        lines += _spoken(value.replay, width, Tone.MUTED)
    return tuple(ink.fit(line, width) for line in lines)


def _spoken(words: str, width: int, tone: str) -> list[Line]:
    return [((part, tone),) for part in text.wrap(words, width)]


def strength(judgement: Judgement) -> str:
    """How strong the strongest evidence of a regression so far is, in words."""
    if judgement.highest <= math.log(1.5):
        return "Nothing speaks for a regression so far."
    told = f"{math.exp(judgement.highest):,.0f}" if judgement.highest < _CERTAIN else f"10^{judgement.highest / math.log(10):.0f}"
    return (
        "If the new version were no worse than the old one, evidence this strong would appear in at most "
        f"1 of {told} deploys."
    )  # fmt: skip


def ratio_words(metric: JudgedMetric, against: str = "stable") -> str:
    """``1.1 × stable (0.7 to 1.8, 95 % at any time), tolerated 1.2``."""
    value = _value(metric)
    low, high = metric.ratio_low, metric.ratio_high
    limits = f"{_times(low)} to {_times(high)}" if high is not None else f"at least {_times(low)}"
    told = f"{_times(value)} × {against}" if value is not None else f"{against} has none"
    return f"{told} ({limits}, 95 % at any time), tolerated {metric.r:.3g}"


def _times(ratio: float) -> str:
    return f"{ratio:.2g}" if ratio < 99.5 else figures.count(ratio)


def name_of(metric: JudgedMetric | Unproven) -> str:
    """The metric; of a latency also from when on a request is slow."""
    return metric.name if metric.edge is None else f"{metric.name}, over {figures.milliseconds(metric.edge)}"


def draw_metric(
    metric: JudgedMetric, difference: tuple[float, float | None] | None, width: int, *, against: str, measured: str, each: float
) -> Lines:
    """Both shares with their counts; the ratio with its limits, in words and on an axis; how its evidence came about, at a look
    every ``each`` seconds; the difference; the noise."""
    value = _value(metric)
    ratio = Ratio(value, metric.ratio_low, metric.ratio_high, metric.r)
    canary, control = (figures.percent(bad / of if of else None) for bad, of in ((metric.s, metric.n), (metric.f, metric.m)))
    rates: Line = (
        (f"{_INDENT}canary ", Tone.CANARY),
        (f"{canary:>6} ", Tone.STRONG),
        (f"{metric.s:,.0f} of {metric.n:,.0f}", Tone.MUTED),
        (f"   {against} ", Tone.STABLE),
        (f"{control:>6} ", Tone.TEXT),
        (f"{metric.f:,.0f} of {metric.m:,.0f}", Tone.MUTED),
    )
    axis = draw_ratio(ratio, min(_AXIS, width - len(_INDENT)))
    never = never_bad(metric)
    legend = f"{_INDENT}{glyphs.current().mark} tolerated: {metric.r:.3g} × and {metric.d * 100:.2g} points"
    noise = f"noise {_times(metric.noise)} × Poisson, {measured}"
    return (
        ((name_of(metric).upper(), Tone.STRONG), (f"  ln E {metric.log_e:.1f}, of health {metric.log_ok:.1f}", Tone.MUTED)),
        rates,
        *(((part, Tone.WARN),) for part in (_wrapped(never, width) if never else ())),
        *(((part, Tone.TEXT),) for part in _wrapped(ratio_words(metric, against), width)),
        *((((_INDENT, Tone.TEXT), *axis),) if axis else ()),
        *_own_course(metric, width, each),
        *(((part, Tone.MUTED),) for part in _wrapped(f"{legend.strip()}; {_difference(metric, difference)}; {noise}", width)),
    )


def _own_course(metric: JudgedMetric, width: int, each: float) -> Lines:
    """How the evidence of this metric came about, where there was some in the time that is known."""
    if metric.alone_at is None or not any(value >= _SOME for value in metric.path):
        return ()
    title = f"{_INDENT}ln E over {figures.seconds(each * len(metric.path))}, by itself an abort at {metric.alone_at:.2f} "
    room = width - len(title)
    if room < _SHORTEST:
        return ()
    return (((title, Tone.MUTED), *draw_course(metric.path, room, metric.alone_at)[0]),)


def never_bad(metric: JudgedMetric) -> str:
    """That no event of it was bad, of either version; empty otherwise. It may be so, and it may be a query with a slip in it."""
    if metric.edge is not None or metric.s + metric.f > 0 or not metric.n + metric.m:
        return ""
    return "no bad event ever seen, of either version: none happened, or the query for them finds none"


def draw_unproven(metric: Unproven, width: int) -> Lines:
    """That nothing of it was compared, and why; in a colour of its own where that keeps the whole from being proven."""
    tone = Tone.WARN if metric.needed else Tone.MUTED
    means = "it is asked for by name, so nothing is proven without it" if metric.needed else "not part of the proof"
    title: Line = ((name_of(metric).upper(), Tone.STRONG), ("  no data", tone))
    return (title, *(((part, tone),) for part in _wrapped(f"{metric.why}; {means}", width)))


def argo_words(judgement: Judgement, *, over: bool = False) -> str:
    """What the rule that most others use by default would have done on the same counts."""
    if judgement.argo_at is not None:
        did = f"would have aborted {figures.seconds(judgement.argo_at)} after the first requests"
        did += ", after five minutes without data" if judgement.argo_unanswered else ""
    else:
        did = "had not aborted by then" if over else "would not have aborted so far"
    return f"Argo's default rule (success below 95 % in any minute) {did}."


def _value(metric: JudgedMetric) -> float | None:
    canary, control = (bad / of if of else 0.0 for bad, of in ((metric.s, metric.n), (metric.f, metric.m)))
    return canary / control if control > 0 else None


def _against(judgement: Judgement) -> str:
    return "before" if judgement.past else "stable"


def _measured(value: Judged, metric: JudgedMetric) -> str:
    return (
        f"measured on {value.before} before the deploy" if metric.name in value.noise else "assumed at first: too little history"
    )


def _difference(metric: JudgedMetric, limits: tuple[float, float | None] | None) -> str:
    if limits is None:
        control = metric.f / metric.m if metric.m else 0.0
        most = metric.n * max(metric.r * control, control + metric.d)
        return f"at most {most:.2g} bad ones of the new version are within it"
    high = f"{limits[1] * 100:+.2g}" if limits[1] is not None else "any"
    return f"difference {limits[0] * 100:+.2g} to {high} points"


def _wrapped(words: str, width: int) -> list[str]:
    return [f"{_INDENT}{part}" for part in text.wrap(words, width - len(_INDENT))]


def _course(judgement: Judgement, width: int) -> Lines:
    """The evidence over time. A beginning is named once there is something that may have begun."""
    if not judgement.path:
        return ()
    each = judgement.seconds / max(1, judgement.intervals)
    span = figures.seconds(each * len(judgement.path))
    title: Line = (("LN E", Tone.STRONG), (f" over {span}, abort at {judgement.abort_at:.2f}", Tone.MUTED))
    named = _leading(judgement)
    begin, words = None, ""
    if named is not None and each and judgement.regression >= _WORTH_NAMING:
        begin = round(named.onset / each) - (judgement.intervals - len(judgement.path))
        since = (
            f"since about {figures.seconds(named.onset)} after the first requests"
            if named.onset
            else "from its first requests on"
        )
        words = f"{named.name} worse {since}"
    return (title, *draw_course(judgement.path, width, judgement.abort_at, begin, words))


def _reason(judgement: Judgement, width: int, unread: str) -> Lines:
    named = _leading(judgement)
    match judgement.verdict:
        case "regressed":
            found = f"; found {figures.seconds(judgement.seconds - named.onset)} later" if named is not None else ""
            words, tone = f"{glyphs.current().bad} REGRESSED: {judgement.detail}{found}", Tone.BAD
        case "undecided" | "healthy" if unread:
            words, tone = f"{glyphs.current().unknown} {unread}: what follows is of before", Tone.WARN
        case "healthy":
            words, tone = f"{glyphs.current().ok} HEALTHY: proven for {_proven(judgement)}", Tone.GOOD
        case "no_data":
            words, tone = f"{glyphs.current().unknown} NO DATA: {unread or quiet_words(judgement)}", Tone.WARN
        case _:
            return ()
    return tuple(_spoken(words, width, tone))


def _proven(judgement: Judgement) -> str:
    """What the proof is of, and of what it is not."""
    if not judgement.unproven:
        return "every metric"
    without = {one.name for one in judgement.unproven}
    names = [metric.name for metric in judgement.metrics if metric.name not in without]
    return f"{', '.join(names)}; not for {', '.join(one.name for one in judgement.unproven)}"


def quiet_words(judgement: Judgement) -> str:
    """What there is no data for, and for how long."""
    since = f" in the last {figures.seconds(judgement.quiet)}" if judgement.quiet else ""
    return f"no requests to compare reached both versions{since}"


def _leading(judgement: Judgement) -> JudgedMetric | None:
    return next((metric for metric in judgement.metrics if metric.name == judgement.leading), None)


class JudgementView(Drawn["Judged | None"]):
    """Shows what the judge has to go on; says so where that is nothing."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(None, id=id)

    def show(self, judged: Judged | None) -> None:
        self.replace(judged)

    def draw(self, value: Judged | None, width: int, height: int | None) -> Lines:
        if value is None:
            return ((("The judge has had nothing to compare yet.", Tone.MUTED),),)
        return draw_judgement(value, width)

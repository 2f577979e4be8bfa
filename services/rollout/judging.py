"""The judge in a rollout: what it is told before, the looks it gets, and what it says as the checkpoint keeps it.

Everything it goes on from is in the rollout's :class:`Judgement`, so whoever drives the rollout next judges on where the last one
stopped. Pace seconds throughout.
"""

import math
from collections.abc import Sequence

import msgspec

from services.analysis import ArmName, Limits, Windows
from services.analysis.baseline import measure, splits
from services.analysis.judge import (
    ERRORS,
    LATENCY_P90,
    LATENCY_P99,
    SENSITIVITY,
    Evidence,
    Metric,
    Parameters,
    Proof,
    Verdict,
    calibrate,
    difference_limits,
    health_gauge,
    leading,
    regression_gauge,
)
from services.analysis.sources import ERRORS_NAME, LATENCY_NAME, Asked, Reading, Tally
from services.analysis.sources.weighing import ratios
from services.analysis.tally import bounded
from services.analysis.trial import Look, Trial, going_into, looked, opened, worst
from services.analysis.windows import Told
from services.model.rollout import (
    ENOUGH_EVIDENCE,
    EVIDENCE_UNIT,
    Baseline,
    Freshness,
    JudgedMetric,
    Judgement,
    Replayed,
    Rollout,
    TriggerName,
    TriggerReading,
    Unproven,
    of_hundred,
)
from services.model.steps import Analyse, SetTraffic
from services.rollout import state
from services.settings import Settings

MAX_PATH = 60
HISTORY_ROWS = 30
"""So many scrapes before the deploy tell how noisy the counts are; fewer, only that they are noisier than is assumed."""
FIRST_SHARE = 0.05
"""Of the pods, for the replay before a deploy that sets no share."""
HOLDS = "holds"
"""Verdict of an analysis that asks for no proof and found nothing wrong."""


def parameters(settings: Settings, baseline: Baseline | None) -> Parameters:
    """What the judge is told: the settings, and what the time before the deploy showed."""
    judge = settings.judge
    tolerance = SENSITIVITY[judge.sensitivity]
    edges = baseline.edges if baseline is not None else {}
    weights = settings.metrics.weights
    metrics = [msgspec.structs.replace(ERRORS, r=tolerance.r, d=tolerance.d, weight=weights.errors)]
    latency = [metric for metric in (LATENCY_P99, LATENCY_P90) if metric.name in edges]
    for metric in latency:
        weight = weights.latency / len(latency)
        skip = settings.metrics.warm_up
        metrics.append(msgspec.structs.replace(metric, weight=weight, group_weight=weights.latency, skip=skip))
    metrics += ratios(settings.metrics)
    replay = baseline.replay if baseline is not None else None
    return Parameters(
        metrics=tuple(_with_history(metric, replay) for metric in metrics),
        interval_s=settings.metrics.interval,
        alpha=judge.alpha,
        beta=judge.beta,
        burst_scrapes=judge.burst_scrapes,
        onset_s=judge.onset_seconds,
        minimum_s=judge.minimum_seconds,
        no_traffic_s=judge.no_traffic_seconds,
    )


def calibrated(settings: Settings, rollout: Rollout, windows: Windows, baseline: Baseline) -> Baseline:
    """The baseline with the judge's replay on it: what the noise is, and whether a version that runs well would be aborted."""
    shares = [step.weight / 100 for step in rollout.plan.steps if isinstance(step, SetTraffic) and step.weight]
    rows = splits(windows, baseline.seconds, shares[0] if shares else FIRST_SHARE, baseline.edges)
    if not rows:
        return baseline
    brief = len(rows[0]) < HISTORY_ROWS
    told = parameters(settings, baseline)
    metrics = tuple(msgspec.structs.replace(metric, rows=len(rows[0]) if brief else None) for metric in told.metrics)
    found = calibrate(msgspec.structs.replace(told, metrics=metrics), rows)
    noise = {metric.name: metric.history for metric in found.parameters.metrics if metric.history is not None}
    replay = Replayed(
        rows=len(rows[0]),
        splits=found.splits,
        aborted=found.aborted,
        noise={} if brief else noise,
        brief=noise if brief else {},
    )
    return msgspec.structs.replace(baseline, replay=replay)


def remembered(settings: Settings, rollout: Rollout, past: Windows) -> Baseline | None:
    """The baseline by what a metrics server remembers, calibrated on it; ``None`` where that is nothing. Some milliseconds, and
    more where the judge is set off: not for the event loop."""
    covered = past.covered(ArmName.STABLE, -math.inf, past.now)
    if not covered:
        return None
    # splits take their time from the baseline: it is all that there is
    measured = msgspec.structs.replace(measure(past, math.inf), seconds=math.inf)
    return msgspec.structs.replace(calibrated(settings, rollout, past, measured), seconds=round(covered, 1))


def texts(asked: Sequence[Asked]) -> tuple[str, ...]:
    """The queries alone, without the times and the pods that they were asked for."""
    return tuple(query for one in asked for query in one.queries)


def _with_history(metric: Metric, replay: Replayed | None) -> Metric:
    if replay is None:
        return metric
    known = metric.name in replay.noise
    noise = replay.noise if known else replay.brief
    return msgspec.structs.replace(metric, history=noise.get(metric.name), rows=None if known else replay.rows)


def counted(windows: Windows, after: float, *, warm_up: float, exposed_at: float, since: float | None = None) -> Reading:
    """What both versions did in the rounds after pace second ``after``, in the time since then in which the new one had requests;
    where some of it was told already, as time without data, in that ``since`` then.

    A version without pods that served nothing is not there. Where one that has pods could not be read, neither is: what the other
    did meanwhile is counted together with it, once it is known.
    """
    began = min(windows.now, max(after if since is None else since, exposed_at))
    if windows.unread:
        return Reading(at=windows.now, since=began)
    told = {
        ArmName.CANARY: windows.told(ArmName.CANARY, after, warm_up=warm_up, exposed_at=exposed_at),
        ArmName.STABLE: windows.told(ArmName.STABLE, after, warm_up=warm_up),
    }
    arms = {arm: _tallies(one) for arm, one in told.items() if arm in windows.there or one.requests or one.durations is not None}
    return Reading(at=windows.now, since=began, arms=arms)


def _tallies(told: Told) -> dict[str, Tally]:
    tallies = {**told.tallies, ERRORS_NAME: Tally(total=told.requests, bad=told.failed)}
    if told.durations is not None:
        tallies[LATENCY_NAME] = Tally(total=told.durations.total, durations=told.durations)
    return tallies


def look(rollout: Rollout, reading: Reading, trial: Trial) -> Look:
    """One interval for the judge: against the old version at the same moment or, where that surely serves no more, against what
    it served before the deploy."""
    counts, missing = {}, {}
    for metric in trial.parameters.metrics:
        edge = trial.edges.get(metric.name)
        tally = metric.name if edge is None else LATENCY_NAME
        interval = reading.interval(tally, edge)
        if interval is None:
            missing[metric.name] = reading.lacking(tally, edge)
        elif interval.n + interval.m > 0:
            counts[metric.name] = (interval.n, interval.m, interval.s, interval.f)
    serving = any(m > 0 for _, m, _, _ in counts.values()) or not _retired(reading)
    past = {} if serving else _past(rollout, reading, trial)
    return Look(
        counts=past or counts,
        seconds=reading.seconds,
        step=rollout.step,
        past=bool(past),
        missing={name: why for name, why in missing.items() if name not in past},
        alone=_alone(rollout, trial) if past else (),
    )


def _alone(rollout: Rollout, trial: Trial) -> tuple[str, ...]:
    """Ratios and endpoints that the time before the deploy has no events of. Without errors, or durations, nothing is proven."""
    before = rollout.baseline.ratios if rollout.baseline is not None else {}
    return tuple(one.name for one in trial.parameters.metrics if one.proof is Proof.ALWAYS and one.name not in before)


def _retired(reading: Reading) -> bool:
    """Whether the old version serves no more: it has no pods, or they were read and had no requests. One that could not be read
    may serve everybody."""
    if not reading.arms or (control := reading.arms.get(ArmName.STABLE)) is None:
        return bool(reading.arms)
    known = [
        tally.total
        for name, tally in control.items()
        if name in (ERRORS_NAME, LATENCY_NAME) and (tally.bad is not None or tally.durations is not None)
    ]
    return bool(known) and not any(known)


def _past(rollout: Rollout, reading: Reading, trial: Trial) -> dict[str, tuple[float, float, float, float]]:
    """The new version beside the baseline, which is spread over twice the step's time: counted once, it proves no more than it
    holds. Nothing outside of an analysis, or after that time."""
    step, baseline = state.current(rollout), rollout.baseline
    if not isinstance(step, Analyse) or baseline is None or state.current_state(rollout).seconds > 2 * step.seconds:
        return {}
    part = reading.seconds / (2 * step.seconds)
    tallies = reading.arms.get(ArmName.CANARY, {})
    found = {}
    errors = tallies.get(ERRORS_NAME)
    if errors is not None and errors.bad is not None and baseline.error_rate is not None:
        served = baseline.requests * part
        found[ERRORS.name] = (errors.total, served, min(errors.bad, errors.total), served * baseline.error_rate)
    latency = tallies.get(LATENCY_NAME)
    for name, edge in baseline.edges.items():
        slow = latency.slower(edge.seconds) if latency is not None and name in trial.edges else None
        if latency is not None and slow is not None:
            found[name] = (latency.total, edge.total * part, slow, edge.slow * part)
    for name, events in baseline.ratios.items():
        tally = tallies.get(name)
        bad = bounded(tally.bad, tally.total) if tally is not None and tally.bad is not None else None
        if tally is not None and bad is not None and any(metric.name == name for metric in trial.parameters.metrics):
            found[name] = (tally.total, events.total * part, bad, events.bad * part)
    return {name: four for name, four in found.items() if four[0] > 0 and four[1] > 0}


def trial_of(rollout: Rollout, settings: Settings) -> Trial:
    """The trial as the checkpoint has it, else a new one. Raises :class:`msgspec.ValidationError` where it can't be read."""
    if rollout.judgement is not None:
        return msgspec.convert(rollout.judgement.memory, Trial)
    edges = rollout.baseline.edges if rollout.baseline is not None else {}
    return opened(parameters(settings, rollout.baseline), {name: edge.seconds for name, edge in edges.items()})


def judged(rollout: Rollout, trial: Trial, one: Look, *, at: float | None = None) -> Judgement:
    """What the judge says after one more look, made at pace second ``at``."""
    trial = looked(trial, one)
    now, told = trial.state, trial.parameters
    before = rollout.judgement.path if rollout.judgement is not None else ()
    paths = {metric.name: metric.path for metric in rollout.judgement.metrics} if rollout.judgement is not None else {}
    evidence = dict(zip((metric.name for metric in told.metrics), now.metrics, strict=True))
    named, _ = leading(told, now)
    used = trial.judging
    metrics = tuple(
        _metric(metric, evidence[metric.name], trial, paths.get(metric.name, ()))
        for metric in used.metrics
        if evidence[metric.name].has_data
    )
    return Judgement(
        verdict=now.verdict.value,
        seconds=round(now.elapsed_s, 3),
        intervals=now.intervals,
        regression=_gauge(regression_gauge(told, now)),
        health=_gauge(health_gauge(used, now)),
        log_e=now.log_e,
        abort_at=told.abort_at,
        highest=now.highest,
        leading=named.name,
        past=one.past,
        metrics=metrics,
        unproven=_unproven(trial, one),
        path=(*before, round(now.log_e, 3))[-MAX_PATH:],
        argo_at=trial.argo.aborted_at,
        argo_unanswered=trial.argo.unanswered,
        at=at,
        quiet=round(now.without_traffic_s, 3),
        detail=_words(trial),
        memory=msgspec.json.decode(msgspec.json.encode(trial)),
    )


def _unproven(trial: Trial, one: Look) -> tuple[Unproven, ...]:
    """What nothing could be compared of so far, or can be no more, with the reason of the latest look."""
    found = []
    for metric, evidence in zip(trial.judging.metrics, trial.state.metrics, strict=True):
        if evidence.has_data:
            if metric.proof is Proof.NEVER:
                why = "the old version serves no more, and before the deploy none of its events were counted"
                found.append(Unproven(name=metric.name, edge=trial.edges.get(metric.name), why=why))
            continue
        cold = f"it is not looked at in the first {metric.skip:.0f} s" if trial.state.elapsed_s <= metric.skip else ""
        why = one.missing.get(metric.name, "") or cold or "none of its events were seen on both versions at the same time"
        found.append(Unproven(name=metric.name, edge=trial.edges.get(metric.name), why=why, needed=metric.proof is Proof.ALWAYS))
    return tuple(found)


def without(judgement: Judgement | None, *, needed: bool = False) -> str:
    """What is not proven, or only what would have to be, and why, in words; empty where that is nothing."""
    found = [one for one in judgement.unproven if one.needed or not needed] if judgement is not None else []
    told: dict[str, list[str]] = {}
    for one in found:
        told.setdefault(one.why, []).append(one.name)
    return "; ".join(f"no proof for {' and '.join(names)} ({why})" for why, names in told.items())


def _gauge(value: float) -> float:
    """Two digits, cut: only what reaches 100 is 100."""
    return math.floor(100.0 * value) / 100.0


def reading(judgement: Judgement | None, fresh: Freshness | None = None) -> TriggerReading:
    """The judge beside the hard triggers: its evidence of a regression, of the 100 that make an abort. Where it has nothing to go
    on, why: with ``fresh``, that the metrics can't be read."""
    unread = fresh.words if fresh is not None else ""
    if judgement is None:
        detail = unread or "nothing to compare yet"
        return TriggerReading(name=TriggerName.JUDGE, value=None, limit=ENOUGH_EVIDENCE, unit=EVIDENCE_UNIT, detail=detail)
    known = bool(judgement.metrics) and judgement.verdict != Verdict.NO_DATA
    return TriggerReading(
        name=TriggerName.JUDGE,
        value=judgement.regression if known else None,
        limit=ENOUGH_EVIDENCE,
        unit=EVIDENCE_UNIT,
        fired=judgement.verdict == Verdict.REGRESSED,
        detail=judgement.detail if known or not unread else unread,
    )


def under_way(judgement: Judgement, step: int) -> Trial:
    """The trial in ``step`` of the plan, in which the judge may not have looked yet. Raises :class:`msgspec.ValidationError`
    where the judgement's memory can't be read."""
    return going_into(msgspec.convert(judgement.memory, Trial), step)


def proven(rollout: Rollout) -> bool:
    """Whether the judge has proof of health, at this share of the requests too."""
    return rollout.judgement is not None and under_way(rollout.judgement, rollout.step).proven


def no_data(rollout: Rollout) -> bool:
    return rollout.judgement is None or rollout.judgement.verdict == Verdict.NO_DATA


def surely_below(rollout: Rollout, limit: float) -> bool:
    """Whether every metric's bad share exceeds the old version's by less than ``limit``, at the upper end of what is likely."""
    judgement = rollout.judgement
    if judgement is None or without(judgement, needed=True):
        return False
    return bool(judgement.metrics) and all(_most(metric) < limit for metric in judgement.metrics)


def _most(metric: JudgedMetric) -> float:
    high = metric.ratio_high if metric.ratio_high is not None else math.inf
    found = difference_limits((metric.ratio_low, high), metric.f, metric.m)
    if found is not None:
        return found[1]
    # Too few failures of the old version to take its rate from: the new one's own, by the rule of three and what was seen.
    return (metric.s + 2.0 * math.sqrt(metric.s) + 3.0) / metric.n if metric.n else math.inf


def evidence_words(rollout: Rollout) -> str:
    """Why an analysis is neither this nor that."""
    judgement, fresh = rollout.judgement, rollout.freshness
    unknown = judgement is None or judgement.verdict == Verdict.NO_DATA
    if unknown and fresh is not None and fresh.missing:
        return fresh.words
    if judgement is None:
        return "the judge has seen nothing to compare"
    if judgement.verdict == Verdict.NO_DATA:
        since = msgspec.convert(judgement.memory, Trial).state.without_traffic_s
        return f"no requests reached the new version, or stable, in the last {since:.0f} s"
    if lacking := without(judgement, needed=True):
        return f"neither health nor a regression is proven: {lacking}"
    words = f"neither health nor a regression is proven: evidence of health {of_hundred(judgement.health)} of 100"
    return f"{words}, of a regression {of_hundred(judgement.regression)} of 100 ({judgement.detail})"


def _metric(metric: Metric, evidence: Evidence, trial: Trial, before: tuple[float, ...]) -> JudgedMetric:
    low, high = evidence.weighed_limits
    seconds = trial.state.elapsed_s / max(1, trial.state.intervals)
    return JudgedMetric(
        name=metric.name,
        edge=trial.edges.get(metric.name),
        n=evidence.n,
        s=evidence.s,
        m=evidence.m,
        f=evidence.f,
        ratio_low=low if math.isfinite(low) else 0.0,
        ratio_high=worst(high),
        r=metric.r,
        d=metric.d,
        noise=evidence.D,
        log_e=evidence.log_e,
        log_ok=evidence.log_ok,
        onset=round(evidence.onset * seconds, 3),
        path=(*before, round(evidence.log_e, 2))[-MAX_PATH:],
        alone_at=round(trial.parameters.abort_at - math.log(metric.weight), 3),
    )


def _words(trial: Trial) -> str:
    """The leading metric: both shares, their ratio with its limits, what is tolerated, since when."""
    metric, evidence = leading(trial.judging, trial.state)
    canary, control = evidence.canary_rate, evidence.control_rate
    if canary is None or control is None:
        return "no requests to compare yet"
    edge = trial.edges.get(metric.name)
    what = "failed" if edge is None else f"took longer than {edge * 1000:.4g} ms"
    against = "before the deploy" if trial.past else "of stable"
    low, high = evidence.weighed_limits
    limits = f"{low:.3g} to {high:.3g}" if math.isfinite(high) else f"at least {low:.3g}"
    words = f"{metric.name}: {_share(canary)} {what} against {_share(control)} {against}, {limits} × (95 % at any time)"
    words += f", tolerated {metric.r:g} × and {metric.d * 100:g} points"
    if trial.state.verdict is Verdict.REGRESSED:
        began = evidence.onset * trial.state.elapsed_s / max(1, trial.state.intervals)
        words += f"; worse since about {began:.0f} s after its first requests, {evidence.s:.0f} requests hit"
    return words


def _share(value: float) -> str:
    return f"{value * 100:.3g} %"


def limits_now(limits: Limits, judgement: Judgement | None) -> Limits:
    """The hard limits at a look: once the judge has found a regression, a rate over its limit is a reason at any time, not only
    in the first minutes after a rise, and the plainer one. How unsteady errors and slow requests are, the judge has measured."""
    if judgement is None:
        return limits
    noise = {metric.name: max(1.0, metric.noise) for metric in judgement.metrics}
    return msgspec.structs.replace(
        limits,
        error_seconds=math.inf if judgement.verdict == Verdict.REGRESSED else limits.error_seconds,
        noise=noise.get(ERRORS.name, 1.0),
        slow_noise=noise.get(LATENCY_P99.name, 1.0),
    )

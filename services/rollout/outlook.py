"""Before a deploy: what each analysis of a plan can and can't see at the service's traffic, in words and numbers.

Pure: a plan, what the running version was measured to do, and the settings. The arithmetic is the judge's own (its power, and the
growth of its evidence of health where the new version is as good as the old one).
"""

import math
from collections.abc import Iterable, Iterator

import msgspec

from services.analysis.judge import ERRORS, Metric, Null, Parameters, plan, visible
from services.analysis.judge.dispersion import Dispersion, noise, predicted
from services.analysis.judge.evidence import HEALTH_GRID
from services.model.release import Release
from services.model.rollout import Baseline, Rollout
from services.model.steps import Analyse, Plan, SetTraffic
from services.rollout import judging
from services.settings import Settings


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """One analysis. Shares are of requests (0–1), ``None`` where not even total failure is seen; seconds are pace."""

    step: int
    """Its place in the plan."""
    weight: int
    """Percent of the requests."""
    rate: float
    """Requests a second to the new version."""
    seconds: float
    now: float
    """Share that fails before the deploy."""
    surely: float | None
    """The smallest share of failures that is seen within its time nine times in ten…"""
    even: float | None
    """…and with even odds."""
    doubled: float | None
    """Seconds until a doubled share is seen, nine times in ten; ``None``: never, the tolerance allows it."""
    health: float | None
    """Seconds until the health of a version that is as good as the old one is about proven; ``None``: never."""

    @property
    def undecided(self) -> bool:
        """Whether a good version has to expect no verdict, not even in twice the time."""
        return self.health is None or self.health > 2 * self.seconds

    def words(self) -> str:
        shown = f"{self.weight} % for {self.seconds:.0f} s ({rate_words(self.rate)} requests a second): "
        if self.surely is None:
            shown += "sees nothing for sure, not even if every request fails"
        else:
            shown += f"sees, nine times in ten, errors from {share_words(self.surely)} on (now {share_words(self.now)})"
            if self.even is not None and self.even < self.surely:
                shown += f", with even odds from {share_words(self.even)}"
        if self.now > 0 and (self.surely is None or self.surely > 2 * self.now):
            shown += f"; twice the errors ({share_words(2 * self.now)}) "
            shown += f"take {time_words(self.doubled)} to see" if self.doubled is not None else "are tolerated at this rate"
            if self.doubled is not None and self.doubled > self.seconds:
                # evidence grows with the failures that are compared: as fast with more traffic as with more time
                shown += f", or {self.doubled / self.seconds:.2g} × the traffic"
        if self.undecided:
            needs = f"would take about {time_words(self.health)}" if self.health is not None else "can't be had"
            shown += f". A good version will end undecided: proof of its health {needs}"
        return shown + "."


def outlook(plan_: Plan, baseline: Baseline, settings: Settings) -> tuple[Outlook, ...]:
    """Every analysis of the plan beside the old version; none where it is not known what that serves, or how much of it fails.
    Those after the promotion are left out: nothing is compared with there but the past."""
    if not baseline.requests or baseline.seconds <= 0 or baseline.error_rate is None:
        return ()
    parameters = judging.parameters(settings, baseline)
    errors = next(metric for metric in parameters.metrics if metric.name == ERRORS.name)
    found: list[Outlook] = []
    for index, weight, seconds in analyses(plan_):
        rate = baseline.requests / baseline.seconds * weight / 100
        found.append(_seen(index, weight, rate, seconds, baseline.error_rate, errors, parameters))
    return tuple(found)


def analyses(plan_: Plan) -> Iterator[tuple[int, int, float]]:
    """Every analysis beside the old version: its place in the plan, the percentage of the requests, its seconds."""
    weight = 0
    for index, step in enumerate(plan_.steps):
        if isinstance(step, SetTraffic):
            weight = step.weight
        if isinstance(step, Analyse) and step.proof and 0 < weight < 100:
            yield index, weight, step.seconds


def replay_words(baseline: Baseline) -> str:
    """What the judge would have said of the time before the deploy, in which nothing was wrong; empty where it was not asked."""
    replay = baseline.replay
    if replay is None:
        return ""
    groups = f"{replay.aborted} of {replay.splits} groups of its pods"
    said = f"Replayed on {replay.rows} looks at the running version: {groups} would have been aborted."
    return f"{said} The judge takes the service for that much noisier now." if replay.aborted else said


def measured_before(rollouts: Iterable[Rollout], release: Release) -> Rollout | None:
    """The newest rollout of the same service in the same place that measured a baseline: good enough to plan with."""
    same = [
        rollout
        for rollout in rollouts
        if rollout.release.service == release.service
        and rollout.release.target.environment == release.target.environment
        and rollout.release.target.namespace == release.target.namespace
        and rollout.baseline is not None
        and rollout.baseline.requests
    ]
    return max(same, key=lambda rollout: rollout.created) if same else None


def _seen(index: int, weight: int, rate: float, seconds: float, p0: float, metric: Metric, parameters: Parameters) -> Outlook:
    share = weight / 100
    D = predicted(Dispersion(bad=p0, requests=1.0), noise(metric.history), rate * parameters.interval_s)

    def least(*, surely: bool) -> float | None:
        return visible(rate, share, p0, seconds, D, surely=surely, metric=metric, parameters=parameters)

    twice = plan(rate, share, p0, min(1.0, 2 * p0), D, metric=metric, parameters=parameters) if p0 > 0 else None
    return Outlook(
        step=index,
        weight=weight,
        rate=rate,
        seconds=seconds,
        now=p0,
        surely=least(surely=True),
        even=least(surely=False),
        doubled=None if twice is None else twice[1],
        health=_health(rate, share, p0, D, metric, parameters),
    )


def _health(rate: float, share: float, p0: float, D: float, metric: Metric, parameters: Parameters) -> float | None:
    """Seconds until the evidence of health has grown to its limit, on average, for a version as good as the control: the mixture
    over the grid and over the two nulls costs ln of their number."""
    n, m = rate, rate * (1.0 - share) / share
    best = 0.0
    for null in (Null(metric.health_r, 0.0), Null(1.0, metric.health_d)):
        for R in HEALTH_GRID:
            spread = R * null.r * n + m
            log_b = math.log((null.r * n + m) / spread)
            growth = n * p0 * (math.log(R) + log_b) + m * p0 * log_b + n * null.d * m * (1.0 - R) / spread
            best = max(best, growth / D)
    if best <= 0.0:
        return None
    barrier = parameters.healthy_at + math.log(2 * len(HEALTH_GRID))
    return max(parameters.earliest_s, math.ceil(barrier / best / parameters.interval_s) * parameters.interval_s)


def share_words(value: float) -> str:
    return f"{value * 100:.3g} %"


def rate_words(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def time_words(seconds: float | None) -> str:
    if seconds is None:
        return "for ever"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"

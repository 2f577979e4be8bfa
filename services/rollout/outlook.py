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
from services.analysis.windows import PodHistory
from services.model.release import Release
from services.model.rollout import Baseline, Events, Rollout
from services.model.steps import Analyse, Plan, SetTraffic
from services.rollout import judging
from services.settings import Settings


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What one analysis can see of one metric. Shares are of requests (0–1), ``None`` where not even total failure is seen;
    seconds are pace."""

    metric: str
    edge: float | None = None
    """What is slow, in seconds; ``None`` for a metric that is no latency."""
    now: float
    """Share that is bad before the deploy."""
    surely: float | None
    """The smallest bad share that is seen within its time nine times in ten…"""
    even: float | None
    """…and with even odds."""
    doubled: float | None
    """Seconds until a doubled share is seen, nine times in ten; ``None``: never, the tolerance allows it."""
    health: float | None
    """Seconds until the health of a version that is as good as the old one is about proven; ``None``: never."""

    def words(self) -> str:
        """Of a metric beside the errors."""
        bad = self.metric if self.edge is None else f"answers slower than {milliseconds_words(self.edge)}"
        seen = f"from {share_words(self.surely)} on" if self.surely is not None else "never for sure"
        return f"{bad} {seen} (now {share_words(self.now)})"


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """One analysis, metric by metric."""

    step: int
    """Its place in the plan."""
    weight: int
    """Percent of the requests."""
    rate: float
    """Requests a second to the new version."""
    seconds: float
    errors: Sight
    others: tuple[Sight, ...] = ()
    """Slow answers, then ratios and endpoints: all that is judged besides and was measured."""

    @property
    def slowest(self) -> Sight:
        """The metric whose health takes longest to prove: all have to be."""
        return max((self.errors, *self.others), key=lambda one: math.inf if one.health is None else one.health)

    @property
    def health(self) -> float | None:
        return self.slowest.health

    @property
    def undecided(self) -> bool:
        """Whether a good version has to expect no verdict, not even in twice the time."""
        return self.health is None or self.health > 2 * self.seconds

    def words(self) -> str:
        errors = self.errors
        shown = f"{self.weight} % for {self.seconds:.0f} s ({rate_words(self.rate)} requests a second): "
        if errors.surely is None:
            shown += "sees no errors for sure, not even if every request fails"
        else:
            shown += f"sees, nine times in ten, errors from {share_words(errors.surely)} on (now {share_words(errors.now)})"
            if errors.even is not None and errors.even < errors.surely:
                shown += f", with even odds from {share_words(errors.even)}"
        if errors.now > 0 and (errors.surely is None or errors.surely > 2 * errors.now):
            shown += f"; twice the errors ({share_words(2 * errors.now)}) "
            shown += f"take {time_words(errors.doubled)} to see" if errors.doubled is not None else "are tolerated at this rate"
            if errors.doubled is not None and errors.doubled > self.seconds:
                # evidence grows with the failures that are compared: as fast with more traffic as with more time
                shown += f", or {errors.doubled / self.seconds:.2g} × the traffic"
        if self.others:
            shown += f"; {', '.join(one.words() for one in self.others)}"
        if self.undecided:
            needs = f"would take about {time_words(self.health)}" if self.health is not None else "can't be had"
            whose = "" if self.slowest is errors else f" in {self.slowest.metric}"
            shown += f". A good version will end undecided: proof of its health{whose} {needs}"
        return shown + "."


class Saturation(msgspec.Struct, frozen=True, kw_only=True):
    """What the running version's busiest pod uses, as a share of its container's limit (0–1), before the triggers that watch the
    same of the new one. ``None`` where it is not known; without a limit it never will be."""

    cpu: float | None
    memory: float | None
    cpu_limited: bool
    memory_limited: bool
    cpu_limit: float
    """The share of the limit above which a new pod takes the release back…"""
    memory_limit: float
    seconds: float
    """…where it stays there for so long (pace)."""

    @classmethod
    def of(cls, pods: Iterable[PodHistory], settings: Settings) -> "Saturation | None":
        """``None`` before any pod was read."""
        read = tuple(pods)
        if not read:
            return None
        limits = settings.triggers
        return cls(
            cpu=max((pod.cpu[-1][1] for pod in read if pod.cpu), default=None),
            memory=max((pod.memory[-1][1] for pod in read if pod.memory), default=None),
            cpu_limited=any(pod.cpu_limited for pod in read),
            memory_limited=any(pod.memory_limited for pod in read),
            cpu_limit=limits.cpu,
            memory_limit=limits.memory,
            seconds=limits.samples * settings.metrics.interval,
        )

    def words(self) -> str:
        told = [
            _resource_words("CPU", self.cpu, self.cpu_limit, limited=self.cpu_limited),
            _resource_words("memory", self.memory, self.memory_limit, limited=self.memory_limited),
        ]
        watched = f", above it for {self.seconds:.0f} s is seen" if self.cpu_limited or self.memory_limited else ""
        return f"Saturation: {', '.join(told)}{watched}."


def _resource_words(what: str, value: float | None, limit: float, *, limited: bool) -> str:
    if not limited:
        return f"{what} is not watched, its containers have no limit"
    now = f"{share_words(value)} now" if value is not None else "unknown now"
    return f"{what} {now} (limit {share_words(limit)})"


def outlook(plan_: Plan, baseline: Baseline, settings: Settings) -> tuple[Outlook, ...]:
    """Every analysis of the plan beside the old version; none where it is not known what that serves, or how much of it fails.
    Those after the promotion are left out: nothing is compared with there but the past."""
    if not baseline.requests or baseline.seconds <= 0 or baseline.error_rate is None:
        return ()
    parameters = judging.parameters(settings, baseline)
    before = _before(baseline)
    judged = [metric for metric in parameters.metrics if metric.name in before]
    found: list[Outlook] = []
    for index, weight, seconds in analyses(plan_):
        sights = [_seen(metric, before[metric.name], weight, seconds, baseline, parameters) for metric in judged]
        found.append(
            Outlook(
                step=index,
                weight=weight,
                rate=baseline.requests / baseline.seconds * weight / 100,
                seconds=seconds,
                errors=next(one for one in sights if one.metric == ERRORS.name),
                others=tuple(one for one in sights if one.metric != ERRORS.name),
            )
        )
    return tuple(found)


def _before(baseline: Baseline) -> dict[str, Events]:
    """What the running version did, by metric of the judge."""
    errors = Events(baseline.requests, baseline.requests * (baseline.error_rate or 0.0))
    slow = {name: Events(edge.total, edge.slow) for name, edge in baseline.edges.items() if edge.total > 0}
    return {ERRORS.name: errors, **slow, **baseline.ratios}


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


def _seen(metric: Metric, before: Events, weight: int, seconds: float, baseline: Baseline, parameters: Parameters) -> Sight:
    share, p0 = weight / 100, before.bad / before.total
    rate = before.total / baseline.seconds * share
    D = predicted(Dispersion(bad=p0, requests=1.0), noise(metric.history, metric.rows), rate * parameters.interval_s)

    def least(*, surely: bool) -> float | None:
        return visible(rate, share, p0, seconds, D, surely=surely, metric=metric, parameters=parameters)

    twice = plan(rate, share, p0, min(1.0, 2 * p0), D, metric=metric, parameters=parameters) if p0 > 0 else None
    return Sight(
        metric=metric.name,
        edge=baseline.edges[metric.name].seconds if metric.name in baseline.edges else None,
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


def milliseconds_words(seconds: float) -> str:
    return f"{seconds * 1000:.4g} ms"


def time_words(seconds: float | None) -> str:
    if seconds is None:
        return "for ever"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"

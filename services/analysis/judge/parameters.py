"""What the judge is told before a rollout, under the names used everywhere: α, β, r, d, r', d', weights, cap, D, H."""

import math
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec


def _demand(met: bool, rule: str) -> None:
    if not met:
        raise ValueError(rule)


class Null(msgspec.Struct, frozen=True):
    """A hypothesis p_canary ≤ r · p_control + d, in every interval, p_control free to move. Health turns the sign round."""

    r: float
    d: float


class Interval(msgspec.Struct, frozen=True):
    """Counts of one scrape interval, the same start and end for both arms: differences of counters, whole or not.

    ``n`` canary requests, ``m`` control requests, ``s`` bad ones among the canary's, ``f`` bad ones among the control's.
    """

    n: float
    m: float
    s: float
    f: float

    @property
    def compared(self) -> bool:
        """Whether both arms were served: without that an interval says nothing."""
        return self.n > 0 and self.m > 0


class Proof(StrEnum):
    """Whether health has to be proven for a metric before the version counts as healthy."""

    WITH_DATA = "with_data"
    """Where there is any: not every service tells all that could be judged."""
    ALWAYS = "always"
    """It was asked for by name: without data of it nothing is proven."""
    NEVER = "never"
    """There is nothing left to compare it with. Evidence of a regression in it stays."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One bad event to watch for. Abort only if the canary is worse than ``r`` times the control's rate **and** worse by more
    than ``d`` (a share, 0.0002 is 0.02 points); proven healthy means better than ``health_r`` times it **or** ``health_d`` more.
    """

    name: str
    r: float
    d: float
    weight: float
    """Share of the α that this metric may spend; all weights together are at most 1."""
    group_weight: float | None = None
    """The weight that the limit of a scrape is made from, where several metrics share one (two edges of one histogram)."""
    skip: float = 0.0
    """Seconds after exposure that are not looked at (cold start)."""
    health_r: float = 1.5
    health_d: float = 0.001
    history: float | None = None
    """D_hist, the dispersion measured on an A/A split before the deploy; ``None`` where there is no such history."""
    rows: int | None = None
    """How many scrapes that history has, where those are too few to say that the counts are calm; that they are not, they can."""
    proof: Proof = Proof.WITH_DATA

    def __post_init__(self) -> None:
        _demand(self.name != "", "a metric needs a name")
        _demand(1.0 <= self.r < math.inf and 0.0 <= self.d < 1.0, f"{self.name}: r is at least 1, d a share")
        _demand(1.0 <= self.health_r < math.inf and 0.0 <= self.health_d < 1.0, f"{self.name}: r' is at least 1, d' a share")
        _demand(0.0 < self.weight <= 1.0, f"{self.name}: its weight is above 0 and at most 1")
        _demand(self.group_weight is None or self.weight <= self.group_weight <= 1.0, f"{self.name}: weight above its group's")
        _demand(0.0 <= self.skip < math.inf, f"{self.name}: skip is 0 or more seconds")
        _demand(self.history is None or 1.0 <= self.history < math.inf, f"{self.name}: a dispersion is at least 1")


ERRORS = Metric(name="errors", r=1.2, d=0.0002, weight=0.5)
"""Failed requests, counted once per user request where that is possible."""
LATENCY_P99 = Metric(
    name="latency-p99", r=1.5, d=0.005, weight=0.2, group_weight=0.4, skip=30.0, health_r=2.0, health_d=0.01
)  # fmt: skip
"""Requests slower than the bucket edge nearest the P99 before the deploy."""
LATENCY_P90 = Metric(
    name="latency-p90", r=1.5, d=0.02, weight=0.2, group_weight=0.4, skip=30.0, health_r=2.0, health_d=0.01
)  # fmt: skip
"""Requests slower than the bucket edge nearest the P90 before the deploy."""
LATENCY = msgspec.structs.replace(LATENCY_P99, name="latency", weight=0.4)
"""One edge for all of latency: requests slower than the P99 before the deploy."""
CUSTOM = Metric(name="custom", r=1.5, d=0.001, weight=0.1)
"""One ratio of the user's own; to be named."""

SENSITIVITY: Mapping[str, Null] = MappingProxyType(
    {"strict": Null(1.1, 0.0001), "normal": Null(1.2, 0.0002), "lenient": Null(1.5, 0.001)}
)
"""Tolerances of the error metric."""


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a verdict depends on besides the counts. Raises ``ValueError`` for what makes no sense."""

    metrics: tuple[Metric, ...] = (ERRORS, LATENCY)
    interval_s: float = 10.0
    """Scrape interval in seconds."""
    alpha: float = 0.01
    """False-abort budget of one rollout: all metrics, however long and however often looked at."""
    beta: float = 0.05
    """Chance of calling a canary healthy that is at the limit of what is acceptable."""
    burst_scrapes: int | None = None
    """How many scrapes an abort needs at least; ``None``: as many as make 30 s."""
    onset_s: float = 3600.0
    """H: how long a regression may begin without extra cost."""
    minimum_s: float = 60.0
    """No proof of health before this time has passed after the longest ``skip``."""
    no_traffic_s: float = 60.0
    """So long without requests on one of the arms, and there is no data, whatever was seen before."""

    def __post_init__(self) -> None:
        names = [metric.name for metric in self.metrics]
        _demand(bool(names) and len(set(names)) == len(names), "there is at least one metric, and none is named twice")
        _demand(sum(metric.weight for metric in self.metrics) <= 1.0 + 1e-12, "the weights of all metrics sum to at most 1")
        _demand(0.0 < self.interval_s < math.inf, "the interval is above 0 s")
        _demand(0.0 < self.alpha < 1.0 and 0.0 < self.beta < 1.0, "alpha and beta are between 0 and 1")
        _demand(self.burst_scrapes is None or 1 <= self.burst_scrapes <= 1000, "burst scrapes are 1 to 1000")
        times = (self.onset_s, self.minimum_s, self.no_traffic_s)
        _demand(all(0.0 <= one < math.inf for one in times), "times are 0 or more seconds")

    @property
    def abort_at(self) -> float:
        """ln(1/α): the evidence, in nats, that ends a canary."""
        return -math.log(self.alpha)

    @property
    def healthy_at(self) -> float:
        """ln(1/β): the evidence, in nats, that proves health."""
        return -math.log(self.beta)

    @property
    def onsets(self) -> int:
        """H in scrapes: at how many of them a regression may begin after the first."""
        return round(self.onset_s / self.interval_s)

    @property
    def earliest_s(self) -> float:
        """When health can be proven at the earliest, seconds after exposure."""
        return max(metric.skip for metric in self.metrics) + self.minimum_s

    @property
    def scrapes_to_abort(self) -> int:
        """How many bad scrapes an abort needs at least."""
        return self.burst_scrapes if self.burst_scrapes is not None else max(1, round(30.0 / self.interval_s))

    def cap(self, metric: Metric) -> float:
        """The most that one scrape may prove, in nats: (ln(1/(α · weight)) + 0.01) / burst scrapes. So many bad scrapes at least
        make an abort, and a burst on the canary alone that is shorter can't cause one."""
        weight = metric.group_weight if metric.group_weight is not None else metric.weight
        return (self.abort_at - math.log(weight) + 0.01) / self.scrapes_to_abort

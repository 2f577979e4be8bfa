"""One metric judged scrape by scrape: regression and health evidence, dispersion, sums for the limits that are shown."""

import math

import msgspec

from services.analysis.judge.dispersion import Dispersion, noise, predicted, updated
from services.analysis.judge.evidence import (
    AT_ONCE,
    HEALTH_GRID,
    REGRESSION_GRID,
    START_MASS,
    Mixture,
    Onsets,
    advance,
    log_add,
)
from services.analysis.judge.parameters import Interval, Metric, Null, Parameters
from services.analysis.judge.sequence import ratio_limits


class Evidence(msgspec.Struct, frozen=True):
    """Where one metric stands. Holds a bounded number of figures, all finite: it can be stored and gone on from."""

    relative: Mixture = Mixture()
    """Against the null p_canary ≤ r p_control."""
    absolute: Mixture = Mixture()
    """Against the null p_canary ≤ p_control + d."""
    healthy_relative: Mixture = Mixture()
    healthy_absolute: Mixture = Mixture()
    dispersion: Dispersion = Dispersion()
    D: float = 1.0
    """The dispersion that the latest interval was tempered by."""
    n: float = 0.0
    m: float = 0.0
    s: float = 0.0
    f: float = 0.0
    tempered_s: float = 0.0
    """Σ w s: what the canary's bad events count for, with their noise."""
    tempered_f: float = 0.0
    tempered_n: float = 0.0
    """Σ w n: the requests that those are of."""
    tempered_m: float = 0.0
    log_e: float = 0.0
    """ln E of a regression: the smaller of the two nulls', since healthy is whatever either allows."""
    log_ok: float = 0.0
    """ln E of health: the mean of the two nulls', since unacceptable is only what both say."""
    lowest: float = 0.0
    """The last minimum of ``log_e``."""
    onset: int = 0
    """How many intervals had passed then: a regression, if there is one, probably began with the next."""

    @property
    def has_data(self) -> bool:
        """Whether any interval outside the warm-up had requests on both arms."""
        return self.relative.used > 0

    @property
    def canary_rate(self) -> float | None:
        return self.s / self.n if self.n > 0 else None

    @property
    def control_rate(self) -> float | None:
        return self.f / self.m if self.m > 0 else None

    @property
    def ratio_limits(self) -> tuple[float, float]:
        """95 % limits of canary rate / control rate, valid at any time while the canary's share of the requests is the same."""
        return ratio_limits(self.tempered_s, self.tempered_f, self.n, self.m)

    @property
    def weighed_limits(self) -> tuple[float, float]:
        """The same where that share was raised: each interval's requests count for as much as its bad events. Those of all
        requests are beside the ratio itself where share and noise rose together."""
        return ratio_limits(self.tempered_s, self.tempered_f, self.tempered_n, self.tempered_m)


def observed(past: Evidence, metric: Metric, parameters: Parameters, interval: Interval, *, number: int) -> Evidence:
    """The evidence after interval ``number`` (1 is the first of the rollout). O(1).

    D from the past only, then both regression mixtures and both health mixtures with w = 1/D, then the dispersion, then the sums.
    An interval in which either arm had no requests changes nothing.
    """
    if not interval.compared:
        return past
    d = predicted(past.dispersion, noise(metric.history, metric.rows), interval.n)
    w, cap = 1.0 / d, parameters.cap(metric)
    onsets = Onsets(START_MASS, parameters.onsets)
    relative = advance(past.relative, REGRESSION_GRID, Null(metric.r, 0.0), onsets, interval, w=w, cap=cap)
    absolute = advance(past.absolute, REGRESSION_GRID, Null(1.0, metric.d), onsets, interval, w=w, cap=cap)
    ok_relative = advance(past.healthy_relative, HEALTH_GRID, Null(metric.health_r, 0.0), AT_ONCE, interval, w=w, cap=cap)
    ok_absolute = advance(past.healthy_absolute, HEALTH_GRID, Null(1.0, metric.health_d), AT_ONCE, interval, w=w, cap=cap)
    log_e = min(relative.log_e, absolute.log_e)
    lowest, onset = (log_e, number) if log_e <= past.lowest else (past.lowest, past.onset)
    return Evidence(
        relative=relative,
        absolute=absolute,
        healthy_relative=ok_relative,
        healthy_absolute=ok_absolute,
        dispersion=updated(past.dispersion, interval, d),
        D=d,
        n=past.n + interval.n,
        m=past.m + interval.m,
        s=past.s + interval.s,
        f=past.f + interval.f,
        tempered_s=past.tempered_s + w * interval.s,
        tempered_f=past.tempered_f + w * interval.f,
        tempered_n=past.tempered_n + w * interval.n,
        tempered_m=past.tempered_m + w * interval.m,
        log_e=log_e,
        log_ok=log_add(ok_relative.log_e, ok_absolute.log_e) - math.log(2.0),
        lowest=lowest,
        onset=onset,
    )

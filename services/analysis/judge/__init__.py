"""The judge: is the canary worse than the control that runs at the same time? Asked at every scrape, with no price for asking.

A two-sample sequential test (an e-process) on counts. H0, healthy: in every interval p_canary ≤ max(r p_control, p_control + d).
Evidence ln E of a regression grows only when the canary is worse by more than that tolerance; under H0, with independent events
within each arm, it ever reaches ln(1/α) with probability at most α, for any stopping rule and whatever moves both arms. Events
that come in clusters, or an arm that wobbles by itself, are met by tempering with a measured dispersion D and by a limit on what
one scrape may prove. Everything here is arithmetic on values: no I/O, no clock, no state but what is handed in and out.

Sources: Lindon & Malek (arXiv 2011.03567), Lindon, Sanden & Shirikian (arXiv 2205.14762), Shin, Ramdas & Rinaldo (e-detectors).
"""

from services.analysis.judge.calibration import Calibration, calibrate
from services.analysis.judge.canary import (
    State,
    Verdict,
    begin,
    combine,
    health_gauge,
    leading,
    observe,
    proven,
    regression_gauge,
    suspicion,
)
from services.analysis.judge.metric import Evidence
from services.analysis.judge.parameters import (
    CUSTOM,
    ERRORS,
    LATENCY,
    LATENCY_P90,
    LATENCY_P99,
    SENSITIVITY,
    Interval,
    Metric,
    Null,
    Parameters,
    Proof,
)
from services.analysis.judge.sequence import difference_limits, ratio_limits, share_limits
from services.analysis.judge.sizing import plan, visible

__all__ = [
    "CUSTOM",
    "ERRORS",
    "LATENCY",
    "LATENCY_P90",
    "LATENCY_P99",
    "SENSITIVITY",
    "Calibration",
    "Evidence",
    "Interval",
    "Metric",
    "Null",
    "Parameters",
    "Proof",
    "State",
    "Verdict",
    "begin",
    "calibrate",
    "combine",
    "difference_limits",
    "health_gauge",
    "leading",
    "observe",
    "plan",
    "proven",
    "ratio_limits",
    "regression_gauge",
    "share_limits",
    "suspicion",
    "visible",
]

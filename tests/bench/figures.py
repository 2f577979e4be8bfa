"""Samples → figures: how many, the middle, the tail, and how they stand against a reference taken in the same run."""

import math
from collections.abc import Sequence
from typing import Any

Figure = dict[str, Any]


def quantile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank quantile: a value that was measured, never one between two."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def figure(
    samples: Sequence[float],
    unit: str,
    *,
    against: tuple[str, Sequence[float]] | None = None,
    target: float | None = None,
    ratio_target: float | None = None,
    what: str = "",
) -> Figure:
    """``target``: the p50 is to be at most this. ``against``: a reference's name and samples; the ratio is p50 to p50."""
    p50 = quantile(samples, 0.5)
    found: Figure = {"n": len(samples), "p50": _short(p50), "p95": _short(quantile(samples, 0.95)), "max": _short(max(samples))}
    found["unit"] = unit
    if what:
        found["what"] = what
    if target is not None:
        found |= {"target_p50": target, "met": p50 <= target}
    if against is not None:
        name, reference = against
        ratio = p50 / quantile(reference, 0.5)
        found |= {"reference": name, "ratio": _short(ratio)}
        if ratio_target is not None:
            found |= {"target_ratio": _short(ratio_target), "ratio_met": ratio <= ratio_target}
    return found


def _short(value: float) -> float:
    return float(f"{value:.4g}")

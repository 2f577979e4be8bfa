"""Cumulative histograms: how many requests took at most how long."""

import math
from collections.abc import Mapping, Sequence

import msgspec


class Histogram(msgspec.Struct, frozen=True):
    """``bounds`` rise (seconds; the last may be +Inf); ``counts[i]`` is how many were at most ``bounds[i]``, and never falls."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    @classmethod
    def of(cls, cumulative: Mapping[float, float]) -> "Histogram":
        """From bound → count. A count below that of a smaller bound (a page written while requests came in) is lifted to it."""
        bounds = tuple(sorted(cumulative))
        counts: list[float] = []
        for bound in bounds:
            counts.append(max(cumulative[bound], counts[-1] if counts else 0.0))
        return cls(bounds, tuple(counts))

    @classmethod
    def merged(cls, parts: Sequence["Histogram"]) -> "Histogram":
        """The sum, at the bounds that all parts have: between other bounds a sum would be a guess."""
        if not parts:
            return cls((), ())
        first = parts[0].bounds
        if all(part.bounds == first for part in parts):
            return cls(first, tuple(math.fsum(column) for column in zip(*(part.counts for part in parts), strict=True)))
        common = sorted(set(first).intersection(*(part.bounds for part in parts)))
        tables = [dict(zip(part.bounds, part.counts, strict=True)) for part in parts]
        return cls(tuple(common), tuple(math.fsum(table[bound] for table in tables) for bound in common))

    @property
    def total(self) -> float:
        return self.counts[-1] if self.counts else 0.0

    @property
    def end(self) -> float | None:
        """The largest bound there is; what took longer is counted, and not how long."""
        return next((bound for bound in reversed(self.bounds) if math.isfinite(bound)), None)

    def scaled(self, share: float) -> "Histogram":
        return self if share == 1.0 else Histogram(self.bounds, tuple(count * share for count in self.counts))

    def since(self, before: "Histogram") -> "Histogram | None":
        """What was added after ``before``; ``None`` where a count fell (the process started anew) or the bounds are others."""
        if self.bounds != before.bounds:
            return None
        if any(now < then for now, then in zip(self.counts, before.counts, strict=True)):
            return None
        return Histogram.of({bound: now - then for bound, now, then in zip(self.bounds, self.counts, before.counts, strict=True)})

    def quantile(self, q: float) -> float | None:
        """The value that a share ``q`` (0–1) stayed at or below, by linear interpolation inside its bucket, the first of which
        begins at 0. In the bucket without an end it is the largest bound there is. ``None`` without requests or bounds."""
        finite = [bound for bound in self.bounds if math.isfinite(bound)]
        if not self.total or not finite:
            return None
        rank = q * self.total
        low, below = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count >= rank and count > below:
                if not math.isfinite(bound):
                    return finite[-1]
                start = min(low, bound)
                return start + (bound - start) * (rank - below) / (count - below)
            low, below = bound, count
        return finite[-1]

    def above(self, limit: float) -> float | None:
        """How many took longer than ``limit``, by the same interpolation; ``None`` where the last finite bound is below
        ``limit``, so that nobody can say."""
        low, below = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if bound >= limit:
                if not math.isfinite(bound):
                    # All beyond the last finite bound: known only if there is nothing to tell apart.
                    return 0.0 if count == below else None
                start = min(low, bound)
                inside = (limit - start) / (bound - start) if bound > start else 1.0
                return self.total - (below + (count - below) * max(0.0, inside))
            low, below = bound, count
        return 0.0 if not self.total else None

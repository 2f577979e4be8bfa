"""Events of one metric: how many there were, and how many of them were bad."""

import math
from collections.abc import Sequence

import msgspec

from services.analysis.histogram import Histogram

SLACK = 1.0
"""Bad events that there may be more than events, or…"""
SLACK_SHARE = 0.01
"""…as a share of the events: two counters are not read at the very same moment."""


def bounded(bad: float, total: float) -> float | None:
    """``bad`` as a part of ``total``. ``None`` where there are more of them than that: then they are not bad ones among these
    events (two queries were exchanged), and cut down they would say that every event is bad, of both versions alike."""
    return min(bad, total) if bad - total <= max(SLACK, SLACK_SHARE * total) else None


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one metric and one version, whole or not: of an interval, or as counters stand. ``bad`` is ``None`` where it is
    not known, or where it is for ``durations`` and an edge to say."""

    total: float
    bad: float | None = None
    durations: Histogram | None = None

    @classmethod
    def of(cls, durations: Histogram) -> "Tally":
        return cls(total=durations.total, durations=durations)

    @classmethod
    def summed(cls, parts: Sequence["Tally"]) -> "Tally | None":
        """The sum over parts that know the same things. Where some parts know their bad events and some don't, those that don't
        are left out, of the total as well: what is compared is told of the same requests."""
        if timed := [part.durations for part in parts if part.durations is not None]:
            return cls.of(Histogram.merged(timed))
        known = [(part.total, part.bad) for part in parts if part.bad is not None]
        if not known:
            return None
        return cls(total=math.fsum(total for total, _ in known), bad=math.fsum(bad for _, bad in known))

    def fell(self, before: "Tally") -> bool:
        """Whether any counter stands lower than it did ``before``."""
        if self.total < before.total or (self.bad is not None and before.bad is not None and self.bad < before.bad):
            return True
        return (
            self.durations is not None
            and before.durations is not None
            and self.durations.bounds == before.durations.bounds
            and self.durations.since(before.durations) is None
        )

    def since(self, before: "Tally") -> "Tally | None":
        """What was added after ``before``; ``None`` where a counter fell, or where what is known now was not known then."""
        if self.fell(before):
            return None
        if self.durations is not None:
            added = self.durations.since(before.durations) if before.durations is not None else None
            return Tally.of(added) if added is not None else None
        if self.bad is None or before.bad is None:
            return None
        return Tally(total=self.total - before.total, bad=self.bad - before.bad)

    def slower(self, edge: float) -> float | None:
        """How many took longer than ``edge`` seconds, which has to be a bound of the histogram; else it is not known."""
        if self.durations is None or edge not in self.durations.bounds:
            return None
        return max(0.0, self.durations.total - self.durations.counts[self.durations.bounds.index(edge)])

"""What every source of metrics answers: what each version did between two looks, how old that is, and what is wrong.

A source is looked at once an interval and never raises for a bad answer of the other side: no data is a value, with its reason.
What could not be told at one look is told at the next one that can: counts then reach back to the last look that was told (a
bridged gap), for both versions alike, so that what is compared began and ended at the same time.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from services.analysis.judge import ERRORS, Interval
from services.analysis.tally import Tally, bounded
from services.analysis.windows import ArmName

ERRORS_NAME = ERRORS.name
"""The tally of all requests and those that failed."""
LATENCY_NAME = "latency"
"""The tally whose ``durations`` say how long all requests took; what counts as slow is the reader's edge."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One look. ``since`` and ``at`` are pace seconds: what ``arms`` counts lies between them.

    ``arms`` has every version that has pods, or none. None is no data: nothing to judge, nothing to count as "no requests"; the
    next reading that has data reaches back over it (its ``since`` is before this look). A metric that could not be told for every
    version is missing in all. A tally of zero requests is data: the version was looked at and served nothing.
    """

    at: float
    since: float
    arms: Mapping[ArmName, Mapping[str, Tally]] = {}
    age: float = 0.0
    """Pace seconds from the newest data that the source has to ``at``; where it has none, since the first look."""
    problem: str = ""
    """Why something is missing, for a person; one line, inert, without secrets. Empty also where data is just not due yet."""

    @property
    def seconds(self) -> float:
        """How long the counts took, in pace seconds: more than the interval after a gap."""
        return self.at - self.since

    def interval(self, metric: str, edge: float | None = None) -> Interval | None:
        """The counts of a metric as the judge takes them; with ``edge``, the bad are those slower than it (s). ``None`` where
        either version's are not known."""
        told = self._told(metric, edge)
        return told if isinstance(told, Interval) else None

    def lacking(self, metric: str, edge: float | None = None) -> str:
        """Why there is no :meth:`interval`, in words; empty where there is one."""
        told = self._told(metric, edge)
        return told if isinstance(told, str) else ""

    def _told(self, metric: str, edge: float | None) -> Interval | str:
        canary = self.arms.get(ArmName.CANARY, {}).get(metric)
        control = self.arms.get(ArmName.STABLE, {}).get(metric)
        if canary is None or control is None:
            return f"no data of it from {_versions(canary is None, control is None)}"
        s = canary.bad if edge is None else canary.slower(edge)
        f = control.bad if edge is None else control.slower(edge)
        if s is None or f is None:
            return f"how many of its events were bad is not known from {_versions(s is None, f is None)}"
        bad, failed = bounded(s, canary.total), bounded(f, control.total)
        if bad is None or failed is None:
            return self.excess(metric)
        return Interval(canary.total, control.total, bad, failed)

    def excess(self, metric: str) -> str:
        """Of which version there were more bad events than events, in words; empty where of none."""
        for arm, tallies in self.arms.items():
            tally = tallies.get(metric)
            if tally is not None and tally.bad is not None and bounded(tally.bad, tally.total) is None:
                whose = _versions(arm is ArmName.CANARY, arm is ArmName.STABLE)
                told = f"{tally.bad:.0f} of {tally.total:.0f}"
                return f"more bad events than events from {whose}, {told}: are its two queries exchanged?"
        return ""


def _versions(canary: bool, control: bool) -> str:
    return " and ".join(name for name, silent in (("the new version", canary), ("the old version", control)) if silent)


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked, in the source's own language, and of which time (Unix seconds). Two placeholders are left as they are, for
    they change at every look: ``{{pods}}`` for the names of a version's pods, ``{{window}}`` for the time. ``of``: the tallies
    that it is about."""

    of: tuple[str, ...]
    queries: tuple[str, ...]
    since: float | None = None
    """Where the counts begin; ``None`` for counters, which are asked for as they stand…"""
    at: float | None = None
    """…at this time."""
    pods: Mapping[str, tuple[str, ...]] = {}
    """By version, where the queries name them."""


class MetricSource(Protocol):
    """Looks at both versions of one service. Counts begin with the first look, which has none itself."""

    @property
    def asked(self) -> tuple[Asked, ...]:
        """What was asked at the latest look at each tally; nothing of one that was not asked for yet."""

    async def read(self, at: float) -> Reading:
        """One look at pace second ``at``; never raises for what the other side does."""

    async def close(self) -> None: ...

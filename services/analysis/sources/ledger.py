"""From counters that stand somewhere, look after look, to what both versions did in the same time.

Counters stand with a *unit*: a process, seen as its pod or as the target of a scrape. All counters of a unit begin anew together.
"""

from collections.abc import Collection, Mapping

import msgspec

from services.analysis.tally import Tally
from services.analysis.windows import ArmName

BRIDGED = 300.0
"""Seconds (of the source's clock) that counts reach back at most. Prometheus forgets a series after as many."""
PATIENCE = 130.0
"""Seconds (of the source's clock) that a unit may be without a new sample before the others are told without it: two scrapes at
Prometheus's own default of one minute."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of one unit, by metric, as they stood at second ``at`` of the source's clock. ``started`` is when its process
    began, where that is known."""

    at: float
    tallies: Mapping[str, Tally]
    started: float | None = None


Standings = Mapping[ArmName, Mapping[str, Standing]]
"""By version and unit."""


BOTH = frozenset(ArmName)


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What one look came to. ``since``: pace second; ``arms`` has every version that there is, or none."""

    since: float
    arms: Mapping[ArmName, Mapping[str, Tally]] = {}
    problem: str = ""


class Ledger:
    """Remembers the counters of the last look that was told."""

    def __init__(self, *, bridged: float = BRIDGED, patience: float = PATIENCE) -> None:
        self._bridged = bridged
        self._patience = patience
        self._base: Standings | None = None
        self._since = 0.0
        self._now = 0.0

    @property
    def since(self) -> float | None:
        """Pace second that the next counts begin at; ``None`` before the first look."""
        return None if self._base is None else self._since

    def missed(self, at: float, why: str) -> Counted:
        """A look at pace second ``at`` that had no answer."""
        return Counted(since=at if self._base is None else self._since, problem=why)

    def take(self, at: float, now: float, arms: Standings, there: Collection[ArmName] = BOTH) -> Counted:
        """One look at pace second ``at``, second ``now`` of the source's clock. ``there``: the versions that have pods.

        Counts are told once every unit has a newer sample than at the last look that was told: of a source that samples less
        often than it is looked at, one look would else see the canary's new sample and the next one stable's.
        """
        if self._base is None or now - self._now > self._bridged:
            why = "" if self._base is None else f"no data for {now - self._now:.0f} s: counting begins anew"
            return self._anew(at, now, arms, why)
        wanted = [arm for arm in ArmName if arm in there]
        if missing := [arm.value for arm in wanted if not arms.get(arm)]:
            return Counted(since=self._since, problem=f"no data of {' and '.join(missing)}")
        known = {arm: arms[arm].keys() & self._base.get(arm, {}).keys() for arm in wanted}
        if fresh := [arm.value for arm in wanted if not known[arm]]:
            return self._anew(at, now, arms, f"all that was seen of {' and '.join(fresh)} is new: counting begins with it")
        # Newer than the sample before, not than the look: a sample bears the time at which its scrape began, and one that was
        # under way at the look came after it.
        late = any(arms[arm][unit].at <= self._base[arm][unit].at for arm in wanted for unit in known[arm])
        if late and now - self._now < self._patience:
            return Counted(since=self._since)
        counted = {arm: self._increases(arm, arms[arm], known[arm]) for arm in wanted}
        shared = set.intersection(*(set(found) for found in counted.values())) if counted else set()
        since = self._since
        if not shared:
            unknown = "no metric is known of both versions" if len(wanted) > 1 else "no metric is known"
            return self._anew(at, now, arms, unknown if wanted else "neither version has pods")
        self._anew(at, now, arms, "")
        return Counted(since=since, arms={arm: {metric: counted[arm][metric] for metric in sorted(shared)} for arm in wanted})

    def _increases(self, arm: ArmName, units: Mapping[str, Standing], known: Collection[str]) -> dict[str, Tally]:
        """What a version did since the last look that was told, by metric."""
        before = self._base[arm] if self._base is not None else {}
        parts: dict[str, list[Tally]] = {}
        for unit in sorted(known):
            if units[unit].at > before[unit].at:
                for metric, tally in increase(before[unit], units[unit]).items():
                    parts.setdefault(metric, []).append(tally)
        sums = {metric: Tally.summed(found) for metric, found in parts.items()}
        return {metric: tally for metric, tally in sums.items() if tally is not None}

    def _anew(self, at: float, now: float, arms: Standings, why: str) -> Counted:
        self._base, self._since, self._now = arms, at, now
        return Counted(since=at, problem=why)


def increase(before: Standing, after: Standing) -> dict[str, Tally]:
    """What a unit did between two samples, by metric; one that can't be told is left out.

    A process that started anew counts from zero, every counter of it (as Prometheus counts, and also one that has overtaken its
    old value by now). It shows by its start time or, where that is not known, by any counter that fell. A counter that fell in a
    process that did not start anew is not known: counting all it stands at would make a flood of it.
    """
    if before.started is not None and after.started is not None:
        reset = abs(after.started - before.started) > 1.0
    else:
        reset = any(tally.fell(then) for metric, tally in after.tallies.items() if (then := before.tallies.get(metric)))
    if reset:
        return dict(after.tallies)
    steps = {metric: tally.since(then) for metric, tally in after.tallies.items() if (then := before.tallies.get(metric))}
    return {metric: step for metric, step in steps.items() if step is not None}

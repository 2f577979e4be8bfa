"""One question to Prometheus for both versions of one group of metrics, and how its answer is read.

Everything is asked at once, so that all of it is of one moment. Counters are summed by unit (the target that was scraped): their
differences are taken here, over the very samples, because ``increase()`` extrapolates and needs windows of several scrapes.
"""

from collections.abc import Mapping, Sequence

import msgspec

from services.analysis.histogram import Histogram
from services.analysis.sources.ledger import Standing, Standings
from services.analysis.sources.prometheus import Sample, counts
from services.analysis.sources.promql import Queries, Unfillable, filled
from services.analysis.sources.subject import Subject
from services.analysis.tally import Tally
from services.analysis.windows import ArmName

UNIT = ("job", "instance", "pod")
"""The labels that name a target. Counters of one begin anew together, since it is one process."""
_ARM, _WHAT = "quarterdeck_arm", "quarterdeck_what"


class Names(msgspec.Struct, frozen=True):
    """What the tallies of a group are called."""

    errors: str
    latency: str

    @property
    def told(self) -> tuple[str, ...]:
        """Both; a group without durations has no name for them."""
        return tuple(filter(None, (self.errors, self.latency)))


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer holds. ``now``: the server's second; ``newest``: that of the newest sample, of the version whose is older
    (``None`` without any)."""

    arms: Standings
    now: float
    newest: float | None


def question(queries: Mapping[ArmName, Queries], subject: Subject, window: float | None = None, *, told: bool = False) -> str:
    """The whole query, for the versions that have pods; ``told``: as :func:`services.analysis.sources.promql.filled`.

    Raises :class:`services.analysis.sources.promql.Unfillable` where a placeholder has no value, and where both versions would
    be asked for by the same query: they would be found equal, whatever they do."""
    there = [arm for arm in ArmName if arm in subject.there]
    if not there:
        raise Unfillable("neither version has pods")
    if len({filled(queries[arm].total, subject, arm, window) for arm in there}) < len(there):
        raise Unfillable("both versions would be asked for by the same query: nothing in it tells them apart")
    return " or ".join(part for arm in there for part in _parts(queries[arm], subject, arm, window, told))


def _parts(queries: Queries, subject: Subject, arm: ArmName, window: float | None, told: bool) -> list[str]:
    by = ", ".join(UNIT)

    def of(query: str) -> str:
        # On lines of its own: a comment at the end of a person's query must not swallow what follows.
        return f"(\n{filled(query, subject, arm, window, told=told)}\n)"

    errors = f"sum by ({by}) {of(queries.errors)} or 0 * sum by ({by}) {of(queries.known)}"
    parts = {"total": f"sum by ({by}) {of(queries.total)}", "errors": errors}
    if window is None:
        parts["sampled"] = " or ".join(f"max by ({by}) (timestamp{of(selector)})" for selector in queries.sampled)
    if queries.latency is not None:
        parts["latency"] = f"sum by ({by}, le) {of(queries.latency)}"
    return [_marked(_marked(query, _WHAT, what), _ARM, arm.value) for what, query in parts.items()]


def _marked(query: str, label: str, value: str) -> str:
    return f'label_replace({query}, "{label}", "{value}", "", "")'


class _Unit(msgspec.Struct):
    total: float | None = None
    errors: float | None = None
    sampled: float | None = None
    buckets: dict[float, float] | None = None
    broken: bool = False


def answered(samples: Sequence[Sample], names: Names, unit: float) -> Look:
    """The counters of every unit of both versions. ``unit``: seconds that bounds are in. What is NaN, infinite or negative is
    not known, and neither is anything that belongs with it."""
    found: dict[ArmName, dict[str, _Unit]] = {arm: {} for arm in ArmName}
    for sample in samples:
        labels = sample.labels
        try:
            arm = ArmName(labels.get(_ARM, ""))
        except ValueError:
            continue
        one = found[arm].setdefault("\n".join(labels.get(label, "") for label in UNIT), _Unit())
        _put(one, labels.get(_WHAT, ""), labels.get("le", ""), sample, unit)
    arms: dict[ArmName, dict[str, Standing]] = {}
    newest: dict[ArmName, float] = {}
    for arm, units in found.items():
        arms[arm] = {}
        for name, one in units.items():
            if one.total is None or one.broken:
                continue
            at = one.sampled if one.sampled is not None else samples[0].at
            tallies = {names.errors: Tally(total=one.total, bad=one.errors)}
            if one.buckets:
                tallies[names.latency] = Tally.of(Histogram.of(one.buckets))
            arms[arm][name] = Standing(at=at, tallies=tallies)
            newest[arm] = max(newest.get(arm, at), at)
    return Look(arms=arms, now=samples[0].at if samples else 0.0, newest=min(newest.values(), default=None))


def _put(one: _Unit, what: str, le: str, sample: Sample, unit: float) -> None:
    if not counts(sample):
        one.broken = True
    elif what == "total":
        one.total = sample.value
    elif what == "errors":
        one.errors = sample.value
    elif what == "sampled":
        one.sampled = sample.value
    elif what == "latency":
        try:
            bound = float(le)
        except ValueError:
            one.broken = True
            return
        if one.buckets is None:
            one.buckets = {}
        # Twelve digits: what a unit's factor does to the last ones must not make another bound of it.
        one.buckets[float(f"{bound * unit:.12g}")] = sample.value

"""One pod's metrics page, reduced to the counters that a rollout is judged by."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from services.analysis.histogram import Histogram
from services.analysis.tally import Tally
from services.settings.query import SeriesOf

CODE_LABELS = ("code", "status", "status_code")


class MetricNames(msgspec.Struct, frozen=True, kw_only=True):
    """What the service calls its metrics. ``requests`` is the sample's full name; its status code is the first label of
    ``codes`` that a sample has, and ``5xx`` (or a code that begins with 5) is an error."""

    requests: str = "http_requests_total"
    codes: tuple[str, ...] = CODE_LABELS
    duration: str = "http_request_duration_seconds"
    cpu: str = "process_cpu_seconds_total"
    memory: str = "process_resident_memory_bytes"
    started: str = "process_start_time_seconds"
    ratios: tuple["PageRatio", ...] = ()
    endpoints: tuple["PageEndpoint", ...] = ()


class PageRatio(msgspec.Struct, frozen=True, kw_only=True):
    """A share of the user's own: series by name and the labels that they have among theirs."""

    name: str
    total: SeriesOf
    bad: SeriesOf


class PageEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint: the requests with this label."""

    name: str
    label: str
    value: str


DEFAULT_NAMES = MetricNames()
_MOST_SAID = 100
"""Characters of the parser's complaint that are kept: it quotes the page, which may be anything and of any length."""


class PodReading(msgspec.Struct, frozen=True, kw_only=True):
    """One pod's counters at one moment (pace second ``at``), as they stand: ``None`` where the pod doesn't export them.

    ``cpu_seconds`` counts seconds of CPU, ``memory`` is bytes; the limits are cores and bytes, ``None`` where there is none.
    """

    at: float
    requests: float | None = None
    errors: float | None = None
    durations: Histogram | None = None
    cpu_seconds: float | None = None
    memory: float | None = None
    started: float | None = None
    cpu_limit: float | None = None
    memory_limit: float | None = None
    tallies: Mapping[str, Tally] = {}
    """Ratios and endpoints, by name; one that the page does not show is missing."""
    never_bad: tuple[str, ...] = ()
    """Ratios of which the page shows events, and no series of bad ones among them."""


class Unreadable(msgspec.Struct, frozen=True):
    """A pod that could not be read at pace second ``at``, and why."""

    at: float
    why: str


Reading = PodReading | Unreadable


class NotMetrics(ValueError):
    """The page is not in the Prometheus text format, or its numbers make no sense."""


def parse(text: str, at: float, names: MetricNames = DEFAULT_NAMES) -> PodReading:
    """Read a page in the Prometheus text format. Series of one metric are summed. Raises :class:`NotMetrics`."""
    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, AssertionError) as error:
        # The parser trusts its input; all of these are its ways of meeting text that is something else.
        said = "".join(character if character.isprintable() else " " for character in str(error)[:_MOST_SAID])
        raise NotMetrics(f"not in the Prometheus text format: {said}") from error
    by_name: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_name[sample.name].append(sample)
    requests = by_name[names.requests]
    errors = _errors(requests, names.codes)
    return PodReading(
        at=at,
        requests=_total(requests),
        errors=errors,
        durations=_histogram(by_name[f"{names.duration}_bucket"]),
        cpu_seconds=_total(by_name[names.cpu]),
        memory=_total(by_name[names.memory]),
        started=_total(by_name[names.started]),
        tallies=_tallies(names, by_name, requests) if names.ratios or names.endpoints else {},
        never_bad=tuple(ratio.name for ratio in names.ratios if _of(by_name, ratio.total) and not _of(by_name, ratio.bad)),
    )


def _errors(requests: Sequence[Sample], codes: Sequence[str]) -> float | None:
    """Without a status code on any series nobody can say how many failed: unknown, not zero."""
    coded = [(code, sample) for sample in requests if (code := _code(sample, codes))]
    return _total([sample for code, sample in coded if code.startswith("5")], empty=0.0) if coded else None


def _tallies(names: MetricNames, by_name: Mapping[str, list[Sample]], requests: Sequence[Sample]) -> dict[str, Tally]:
    found: dict[str, Tally] = {}
    for ratio in names.ratios:
        total = _total(_of(by_name, ratio.total))
        if total is not None:
            # A counter of bad events often has no series before the first of them.
            bad = _total(_of(by_name, ratio.bad), empty=0.0)
            found[ratio.name] = Tally(total=total, bad=bad or 0.0)
    for endpoint in names.endpoints:
        own = ((endpoint.label, endpoint.value),)
        asked = _picked(requests, own)
        total, errors = _total(asked), _errors(asked, names.codes)
        if total is not None and errors is not None:
            found[endpoint.name] = Tally(total=total, bad=errors)
    return found


def _of(by_name: Mapping[str, list[Sample]], wanted: SeriesOf) -> list[Sample]:
    return _picked(by_name.get(wanted.name, ()), wanted.labels)


def _picked(samples: Iterable[Sample], labels: Iterable[tuple[str, str]]) -> list[Sample]:
    wanted = tuple(labels)
    return [sample for sample in samples if all(sample.labels.get(name, "") == value for name, value in wanted)]


def _code(sample: Sample, labels: Iterable[str]) -> str:
    return next((sample.labels[label] for label in labels if label in sample.labels), "")


def _total(samples: Iterable[Sample], empty: float | None = None) -> float | None:
    values = [_number(sample) for sample in samples]
    return math.fsum(values) if values else empty


def _number(sample: Sample) -> float:
    value = float(sample.value)
    if not math.isfinite(value) or value < 0:
        raise NotMetrics(f"{sample.name} is {value:g}")
    return value


def _histogram(buckets: Iterable[Sample]) -> Histogram | None:
    """Cumulative buckets summed over all series; series with other bounds are merged at the bounds that all of them have."""
    series: dict[tuple[tuple[str, str], ...], dict[float, float]] = defaultdict(dict)
    for sample in buckets:
        labels: Mapping[str, str] = sample.labels
        try:
            bound = float(labels["le"])
        except (KeyError, ValueError) as error:
            raise NotMetrics(f"{sample.name} has no number as its label le") from error
        if math.isnan(bound):
            raise NotMetrics(f"{sample.name} has the bound NaN")
        key = tuple(sorted((name, value) for name, value in labels.items() if name != "le"))
        series[key][bound] = series[key].get(bound, 0.0) + _number(sample)
    return Histogram.merged([Histogram.of(counts) for counts in series.values()]) if series else None

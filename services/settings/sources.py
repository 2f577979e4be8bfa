"""Where metrics come from besides the pods' own pages, and what is judged besides errors and latency."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from services.settings import query
from services.settings.query import DistributionQuery, PromQuery, Query, TagQuery
from services.settings.secrets import ACCEPTED, SecretRef
from services.settings.section import FilePath, Line, Name, Section, Url, broken, is_loopback, ranged

PACKS = ("pods", "istio", "nginx", "envoy", "opentelemetry")
LabelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
_HEADER = r"^[\x21-\x7e]{1,200}$"
RATIO_KEYS = ("total", "bad")
"""The keys of a ratio's two queries."""
MOST = 10
"""Ratios, and endpoints, that can be judged at most: each is asked for at every look."""


class PromQueries(Section):
    """The queries of an installation whose metrics follow no convention.

    Each gives counters as they stand (differences are taken here), or counts of ``{{window}}`` where it has that placeholder.
    """

    total: PromQuery = Field(description='PromQL for all requests of one version, e.g. x_total{version="{{version}}"}')
    errors: PromQuery = Field(description="PromQL for those that failed")
    latency: PromQuery | None = Field(default=None, description="PromQL for the buckets of their durations, with the label le")
    milliseconds: bool = Field(default=False, description="true where the buckets are in milliseconds, else seconds")

    @model_validator(mode="after")
    def _of_a_kind(self) -> "PromQueries":
        _same_kind([self.total, self.errors, *([self.latency] if self.latency else [])])
        _apart(self.total, self.errors, "errors")
        return self


class Prometheus(Section):
    """A server with Prometheus's HTTP API (Thanos, Mimir and VictoriaMetrics have it too). ``timeout`` in wall seconds."""

    url: Url = Field(description="the address of the server, with the path before /api/v1 if it has one")
    pack: Literal["pods", "istio", "nginx", "envoy", "opentelemetry"] = Field(
        default="pods", description="pods (their own pages, scraped), istio, nginx, envoy or opentelemetry"
    )
    queries: PromQueries | None = Field(default=None, description="your own queries instead of the pack's")
    token: SecretRef | None = Field(default=None, description=ACCEPTED)
    user: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f:]*$")] = Field(
        default="", description="the user of basic authentication, with password"
    )
    password: SecretRef | None = Field(default=None, description=ACCEPTED)
    tenant: Annotated[str, StringConstraints(pattern=_HEADER)] | None = Field(
        default=None, description="the tenant, sent as X-Scope-OrgID"
    )
    ca_file: FilePath | None = Field(default=None, description="a PEM file with the authority that signed its certificate")
    timeout: float = ranged(0.1, 60, "seconds", default=5.0)

    @model_validator(mode="after")
    def _fits_together(self) -> "Prometheus":
        if bool(self.user) != (self.password is not None):
            raise broken("basic authentication needs both 'user' and 'password'", "user: NAME and password: env:NAME")
        if self.token is not None and self.password is not None:
            raise broken("has both 'token' and 'password'", "one of them")
        secret = self.token is not None or self.password is not None
        if secret and self.url.startswith("http:") and not is_loopback(self.url):
            raise broken("the secret would travel in the clear", "an https:// address (http:// on loopback only)")
        return self


def _rising(edges: tuple[float, ...]) -> tuple[float, ...]:
    if edges[0] <= 0 or any(later <= earlier for earlier, later in pairwise(edges)):
        raise broken("edges must be above 0 and rise", "e.g. [0.01, 0.1, 1]")
    return edges


_EDGES = tuple(float(f"{0.005 * 1.5**step:.3g}") for step in range(20))
"""From 5 ms to 11 s, each half as long again as the one before."""


class Datadog(Section):
    """Metrics in Datadog. ``delay``: wall seconds that its newest points are left to settle; ``timeout`` in wall seconds.

    ``latency`` is a distribution with percentiles enabled: how many values lie at or below each of ``edges`` (seconds) is asked.
    """

    site: Literal[
        "datadoghq.com", "datadoghq.eu", "us3.datadoghq.com", "us5.datadoghq.com", "ap1.datadoghq.com", "ap2.datadoghq.com",
        "ddog-gov.com",
    ] = Field(default="datadoghq.com", description="the site that the account is on")  # fmt: skip
    api_key: SecretRef = Field(description=ACCEPTED)
    application_key: SecretRef = Field(description=ACCEPTED)
    total: TagQuery = Field(
        default="sum:trace.http.request.hits{service:{{service}},version:{{version}}}.as_count()",
        description="a query for the count of all requests of one version",
    )
    errors: TagQuery = Field(
        default="sum:trace.http.request.errors{service:{{service}},version:{{version}}}.as_count()",
        description="a query for the count of those that failed",
    )
    latency: DistributionQuery = Field(
        default="trace.http.request{service:{{service}},version:{{version}}}",
        description="the distribution of their durations, NAME{TAGS}, with percentiles enabled",
    )
    milliseconds: bool = Field(default=False, description="true where the distribution is in milliseconds, else seconds")
    edges: Annotated[tuple[float, ...], AfterValidator(_rising)] = Field(
        default=_EDGES, min_length=3, max_length=40, description="3 to 40 numbers of seconds, rising"
    )
    delay: float = ranged(0, 600, "seconds", default=60.0)
    timeout: float = ranged(0.1, 60, "seconds", default=5.0)

    @model_validator(mode="after")
    def _of_a_kind(self) -> "Datadog":
        _apart(self.total, self.errors, "errors")
        return self


_SERVICES = Field(default=(), max_length=1000, description="the services that have it; absent: every service")


class Ratio(Section):
    """A share of the user's own that the canary must not worsen: bad events of all events.

    ``total`` and ``bad`` are in the language of the source: series of the pods' pages (``orders_total{result="failed"}``),
    PromQL, or a Datadog query. The canary is worse only if it is so by more than ``tolerance`` times the control's share and by
    more than ``difference``. Without data of it no version counts as proven: where not every service has it, ``services`` says
    which do.
    """

    name: Name
    total: Query = Field(description="all events of one version")
    bad: Query = Field(description="the bad ones among them")
    weight: float = ranged(0.001, 1, "(share of the false-abort budget)", default=0.1)
    tolerance: float = ranged(1, 100, "times the control's share", default=1.5)
    difference: float = ranged(0, 0.99, "(a share; 0.001 is 0.1 points)", default=0.001)
    skip: float = ranged(0, 3600, "seconds", default=0.0)
    services: tuple[Name, ...] = _SERVICES

    @model_validator(mode="after")
    def _of_a_kind(self) -> "Ratio":
        _same_kind([self.total, self.bad])
        _apart(self.total, self.bad, "bad")
        return self


class Endpoint(Section):
    """One endpoint whose errors are judged by themselves too: its requests are those with ``label`` = ``value``. ``services`` as
    for a ratio."""

    name: Name
    label: LabelName = Field(default="path", description="the label that names the endpoint")
    value: Line = Field(description="its value, exactly, e.g. /api/payments")
    weight: float = ranged(0.001, 1, "(share of the false-abort budget)", default=0.1)
    tolerance: float = ranged(1, 100, "times the control's share", default=1.2)
    difference: float = ranged(0, 0.99, "(a share; 0.0002 is 0.02 points)", default=0.0002)
    services: tuple[Name, ...] = _SERVICES


class Weights(Section):
    """How the false-abort budget is shared out; all weights together, those of ratios and endpoints too, are at most 1."""

    errors: float = ranged(0.001, 1, "(a share)", default=0.5)
    latency: float = ranged(0.001, 1, "(a share, half for each of two edges)", default=0.4)


def check_together(
    source: str,
    prometheus: Prometheus | None,
    datadog: Datadog | None,
    weights: Weights,
    ratios: tuple[Ratio, ...],
    endpoints: tuple[Endpoint, ...],
) -> None:
    """The rules that bind the parts of ``metrics``. Raises the error of a validator."""
    if source == "prometheus" and prometheus is None:
        raise broken("source prometheus needs the section 'prometheus'", "prometheus: {url: https://…}")
    if source == "datadog" and datadog is None:
        raise broken("source datadog needs the section 'datadog'", "datadog: {api_key: env:…, application_key: env:…}")
    if source == "datadog" and endpoints:
        raise broken("endpoints can't be told apart in Datadog by a label", "'ratios' with a query for each endpoint")
    if source == "prometheus" and prometheus is not None and prometheus.queries is not None and endpoints:
        raise broken("endpoints need a pack; own queries can't be narrowed", "'ratios' with a query for each endpoint")
    names = [*(ratio.name for ratio in ratios), *(endpoint.name for endpoint in endpoints)]
    if len(set(names)) != len(names) or {"errors", "latency", "latency-p99", "latency-p90"} & set(names):
        raise broken("ratios and endpoints share a name, or take one that is in use", "each name once; not errors or latency")
    own: list[Ratio | Endpoint] = [*ratios, *endpoints]
    for service in sorted({"", *(service for one in own for service in one.services)}):
        of = sum(one.weight for one in own if not one.services or service in one.services)
        total = weights.errors + weights.latency + of
        if total > 1.0 + 1e-9:
            whose = f"all metrics of {service}" if service else "all metrics"
            raise broken(f"the weights of {whose} sum to {total:g}", "at most 1: lower 'weights' or those of single metrics")
    for ratio in ratios:
        for key, text in (("total", ratio.total), ("bad", ratio.bad)):
            _check_language(source, f"ratio {ratio.name}: {key}", text)
        if source == "pods":
            _check_part(ratio)


def _check_language(source: str, where: str, text: str) -> None:
    try:
        if source == "prometheus":
            query.check_promql(text)
        elif source == "datadog":
            query.check_tagged(text)
        else:
            query.series(text)
    except PydanticCustomError as error:
        raise broken(f"{where} {error.message()}", str((error.context or {}).get("accepted", ""))) from None


def _check_part(ratio: Ratio) -> None:
    total, bad = query.series(ratio.total), query.series(ratio.bad)
    if bad.name == total.name and set(bad.labels) <= set(total.labels):
        raise broken(
            f"ratio {ratio.name}: bad selects all that total does, or more: every event would be bad",
            "total: all events; bad: those of them that are bad",
        )


def _apart(total: str, bad: str, name: str) -> None:
    if " ".join(total.split()) == " ".join(bad.split()):
        raise broken(f"has the same query for 'total' and '{name}': every event would be bad", f"'{name}' for the bad ones alone")


def _same_kind(queries: list[str]) -> None:
    if len({"{{window}}" in text.replace(" ", "") for text in queries}) > 1:
        raise broken(
            "has {{window}} in one query and not in another", "{{window}} in all of them (counts), or in none (counters)"
        )

"""The sections of the configuration. Every number has a range and a unit; every default is the safe one."""

from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, GetPydanticSchema, StringConstraints, field_validator, model_validator
from pydantic_core import core_schema

from services.model.gates import Person
from services.model.release import Strategy, Tier
from services.model.steps import OnUndecided, SmokeCheck
from services.settings import sources
from services.settings.secrets import ACCEPTED, SecretRef
from services.settings.section import (
    Line,
    Name,
    Port,
    Section,
    Url,
    UrlPath,
    broken,
    is_loopback,
    ranged,
    template,
)


class Environment(Section):
    """Where an environment is: a context of the kubeconfig, and the namespaces that belong to it."""

    tier: Tier = Field(default=Tier.PRODUCTION, description="dev, staging, canary or production (absent: as the name)")
    aliases: tuple[Name, ...] = Field(default=(), description="other names for -e, e.g. [prod]")
    context: Annotated[Line, StringConstraints(max_length=253)] = Field(description="the name of a kubeconfig context")
    namespaces: tuple[Name, ...] = Field(min_length=1, description="namespaces of that cluster, at least one")

    @field_validator("aliases", "namespaces")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise broken("names something twice", "each name once")
        return names


class _PersonEntry(Section):
    name: Line = Field(description="the name of a person")
    login: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$")] = Field(
        description="the person's login on this machine"
    )
    ticket_account: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = Field(
        default="", description="the account in the ticket system (Jira Cloud: accountId; Data Center: user name)"
    )


class _SmokeCheckEntry(Section):
    name: Line = Field(description="a name for people")
    path: UrlPath = Field(description="a path that begins with '/'")
    status: int = ranged(100, 599, "(an HTTP status)", default=200)
    contains: Annotated[str, StringConstraints(max_length=1000)] = ""
    timeout: float = ranged(0.1, 60, "seconds", default=5.0)


def _becomes(entry: type[Section], kind: type[msgspec.Struct]) -> Any:
    """A value that is read as ``entry`` and then is a ``kind`` of the vocabulary."""
    return GetPydanticSchema(
        lambda _source, handler: core_schema.no_info_after_validator_function(
            lambda read: kind(**dict(read)),
            handler.generate_schema(entry),
            serialization=core_schema.plain_serializer_function_ser_schema(msgspec.to_builtins),
        )
    )


PersonField = Annotated[Person, _becomes(_PersonEntry, Person)]
SmokeCheckField = Annotated[SmokeCheck, _becomes(_SmokeCheckEntry, SmokeCheck)]


class Tickets(Section):
    """The system that holds change tickets. ``timeout`` is the total per question, retries included, in wall seconds."""

    kind: Literal["jira"] = Field(default="jira", description="jira")
    flavour: Literal["cloud", "data-center"] = Field(description="cloud or data-center")
    url: Url = Field(description="the address of the site, e.g. https://example.atlassian.net")
    user: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f:]*$")] = Field(
        default="", description="Jira Cloud: the e-mail address the API token belongs to"
    )
    token: SecretRef = Field(description=ACCEPTED)
    approved_statuses: tuple[Line, ...] = Field(default=("Approved",), min_length=1, description="statuses that mean approved")
    timeout: float = ranged(0.1, 9, "seconds", default=5.0)

    @model_validator(mode="after")
    def _fits_together(self) -> "Tickets":
        if self.flavour == "cloud" and not self.user:
            raise broken("Jira Cloud needs 'user', the e-mail address its API token belongs to", "user: NAME@EXAMPLE.COM")
        if self.url.startswith("http:") and not is_loopback(self.url):
            raise broken("the token would travel in the clear", "an https:// address (http:// on loopback only)")
        return self


SeriesName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_:][A-Za-z0-9_:]{0,199}$")]
"""A metric's name in Prometheus (https://prometheus.io/docs/concepts/data_model/)."""


class Series(Section):
    """What services call the metrics that they are judged by, in the Prometheus text format."""

    requests: SeriesName = Field(default="http_requests_total", description="a counter, by status code")
    latency: SeriesName = Field(default="http_request_duration_seconds", description="a histogram in seconds, without _bucket")
    cpu: SeriesName = Field(default="process_cpu_seconds_total", description="a counter in seconds")
    memory: SeriesName = Field(default="process_resident_memory_bytes", description="a gauge in bytes")


class Metrics(Section):
    """How the pods' own metrics are read: through the API server's proxy (``port``), or from ``scrape_url``.

    ``interval`` and ``warm_up`` are pace seconds.
    """

    scrape_url: str | None = Field(default=None, description="a URL with {namespace} and {pod}; absent: through the API server")
    port: Port = 8080
    path: UrlPath = "/metrics"
    interval: float = ranged(1, 300, "seconds", default=10.0)
    warm_up: float = ranged(0, 3600, "seconds", default=30.0)
    names: Series = Series()
    source: Literal["pods", "prometheus", "datadog"] = Field(default="pods", description="pods, prometheus or datadog")
    prometheus: sources.Prometheus | None = None
    datadog: sources.Datadog | None = None
    weights: sources.Weights = sources.Weights()
    ratios: tuple[sources.Ratio, ...] = Field(default=(), max_length=sources.MOST, description="a list of {name, total, bad}")
    endpoints: tuple[sources.Endpoint, ...] = Field(
        default=(), max_length=sources.MOST, description="a list of {name, label, value}"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "Metrics":
        sources.check_together(self.source, self.prometheus, self.datadog, self.weights, self.ratios, self.endpoints)
        return self

    def of(self, service: str) -> "Metrics":
        """With the ratios and endpoints that ``service`` has."""
        own = {
            "ratios": tuple(one for one in self.ratios if not one.services or service in one.services),
            "endpoints": tuple(one for one in self.endpoints if not one.services or service in one.services),
        }
        return self.model_copy(update=own)

    @field_validator("scrape_url")
    @classmethod
    def _template(cls, url: str | None) -> str | None:
        return url if url is None else template("namespace", "pod")(url)


class Probes(Section):
    """The health endpoint of new pods: ``failures`` answers other than 200 in a row fire the trigger (R5.5), and so does one that
    fails now and then: more than the share ``tolerated``, told from a share of ``flapping``; ``alpha`` is the chance to be wrong.
    """

    url: str | None = Field(default=None, description="a URL with {namespace} and {pod}; absent: through the API server")
    port: Port = 8080
    path: UrlPath = "/healthz"
    interval: float = ranged(1, 300, "seconds", default=10.0)
    failures: int = ranged(1, 100, "probes in a row", default=3)
    tolerated: float = ranged(0.0001, 0.5, "(a share of probes)", default=0.02)
    flapping: float = ranged(0.01, 0.99, "(a share of probes)", default=0.4)
    alpha: float = ranged(1e-9, 0.1, "(a chance)", default=0.001)

    @model_validator(mode="after")
    def _fits_together(self) -> "Probes":
        if self.flapping <= self.tolerated:
            raise broken("'flapping' is no more than what is 'tolerated'", "flapping above tolerated, e.g. 0.4 and 0.02")
        return self

    @field_validator("url")
    @classmethod
    def _template(cls, url: str | None) -> str | None:
        return url if url is None else template("namespace", "pod")(url)


class Smoke(Section):
    """Where smoke tests are sent: through the API server's service proxy (``port``), or to ``url`` plus the check's path."""

    url: str | None = Field(default=None, description="a URL with {namespace} and {service}; absent: through the API server")
    port: Port = 80

    @field_validator("url")
    @classmethod
    def _template(cls, url: str | None) -> str | None:
        return url if url is None else template("namespace", "service")(url)


class CanaryStep(Section):
    """``weight`` percent of the requests for ``seconds`` of pace."""

    weight: int = ranged(1, 100, "percent")
    seconds: float = ranged(1, 86_400, "seconds")


_STEPS = (
    CanaryStep(weight=5, seconds=120),
    CanaryStep(weight=10, seconds=120),
    CanaryStep(weight=25, seconds=180),
    CanaryStep(weight=50, seconds=180),
)


class CanaryPlan(Section):
    """Times are pace seconds. ``min_requests`` must have been served by the canary in each step before it passes;
    ``soak_seconds`` is how long the promoted version is watched before the canary is scaled to zero."""

    steps: tuple[CanaryStep, ...] = Field(default=_STEPS, min_length=1, max_length=20, description="1 to 20 of {weight, seconds}")
    min_requests: int = ranged(0, 1_000_000_000, "requests", default=500)
    baseline_seconds: float = ranged(0, 3600, "seconds", default=60.0)
    ready_timeout: float = ranged(1, 7200, "seconds", default=300.0)
    promote_timeout: float = ranged(1, 7200, "seconds", default=300.0)
    soak_seconds: float = ranged(0, 86_400, "seconds", default=60.0)

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: tuple[CanaryStep, ...]) -> tuple[CanaryStep, ...]:
        weights = [step.weight for step in steps]
        if any(later <= earlier for earlier, later in pairwise(weights)):
            raise broken("weights must rise from step to step", "e.g. 5, 10, 25, 50")
        return steps


_ROUTER = r"^((istio|gateway|nginx)(/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?|replicas)$"


class ServiceOptions(Section):
    """What is particular to one service."""

    router: Annotated[str, StringConstraints(pattern=_ROUTER)] = Field(
        default="", description="istio, gateway, nginx or replicas; with /NAME for one of several routes"
    )


class RollingPlan(Section):
    """Times are pace seconds. The new version is watched for ``analyse_seconds`` once all of its pods are ready."""

    analyse_seconds: float = ranged(1, 86_400, "seconds", default=300.0)
    min_requests: int = ranged(0, 1_000_000_000, "requests", default=500)
    baseline_seconds: float = ranged(0, 3600, "seconds", default=60.0)
    ready_timeout: float = ranged(1, 7200, "seconds", default=300.0)


class Triggers(Section):
    """Limits of the automatic rollback (R5.5). How many failed probes fire is ``probes.failures``.

    ``error_rate``, ``cpu`` and ``memory`` are shares (of requests; of the container's limit); ``latency_increase`` is the
    share by which P99 may exceed the baseline. ``error_seconds`` counts pace seconds from the first share of requests. The
    others are the data that a limit needs before it may fire; with less, what happened has to be ``rare`` for a good service.
    Rates are those of the last ``window`` pace seconds.
    """

    error_rate: float = ranged(0.0001, 1, "(a share of requests)", default=0.05)
    error_seconds: float = ranged(10, 86_400, "seconds", default=300.0)
    latency_increase: float = ranged(0.01, 100, "(0.5 is +50 %)", default=0.5)
    cpu: float = ranged(0.01, 1, "(a share of the limit)", default=0.9)
    memory: float = ranged(0.01, 1, "(a share of the limit)", default=0.9)
    min_errors: int = ranged(1, 1_000_000, "failed requests", default=5)
    min_requests: int = ranged(1, 1_000_000_000, "requests", default=50)
    min_slow_requests: int = ranged(1, 1_000_000_000, "requests", default=1000)
    rare: float = ranged(1e-9, 0.1, "(a probability)", default=0.001)
    strict_above: float = ranged(0, 1, "(a share of requests)", default=0.02)
    samples: int = ranged(1, 6, "samples in a row", default=3)
    window: float = ranged(10, 600, "seconds", default=60.0)
    on_shared_incident: Literal["rollback", "pause"] = Field(default="rollback", description="rollback or pause")


class Judge(Section):
    """The sequential comparison of the new version with the old one (``alpha`` and ``beta`` are chances of being wrong). Seconds
    are pace. How long a new pod's latency is left out is ``metrics.warm_up``."""

    sensitivity: Literal["strict", "normal", "lenient"] = Field(default="normal", description="strict, normal or lenient")
    alpha: float = ranged(1e-6, 0.2, "(a chance)", default=0.01)
    beta: float = ranged(1e-6, 0.2, "(a chance)", default=0.05)
    burst_scrapes: int | None = Field(default=None, ge=1, le=100, description="1 to 100; absent: as many as make 30 s")
    onset_seconds: float = ranged(60, 86_400, "seconds", default=3600.0)
    minimum_seconds: float = ranged(10, 86_400, "seconds", default=60.0)
    no_traffic_seconds: float = ranged(10, 3600, "seconds", default=60.0)
    promote_early: bool = False
    on_undecided: OnUndecided = Field(default=OnUndecided.PAUSE, strict=False, description="pause, advance_with_note or rollback")
    advance_below: float = ranged(0, 1, "(a difference of shares)", default=0.05)


class SandboxClock(Section):
    """Written by the sandbox alone: simulated time runs ``speed`` times faster, counted from ``epoch`` (Unix seconds)."""

    speed: float = ranged(0.01, 1000, "times", default=1.0)
    epoch: float = ranged(0, 1e11, "Unix seconds", default=0.0)
    real_cluster: bool = True
    """Whether the objects are a real control plane's, whose controllers know nothing of simulated time."""


class DefaultStrategies(Section):
    """The strategy of a deploy that names none, by tier."""

    dev: Strategy = Field(default=Strategy.ROLLING, description="rolling or canary")
    staging: Strategy = Field(default=Strategy.ROLLING, description="rolling or canary")
    canary: Strategy = Field(default=Strategy.CANARY, description="rolling or canary")
    production: Strategy = Field(default=Strategy.CANARY, description="rolling or canary")

    def __getitem__(self, tier: Tier) -> Strategy:
        strategy: Strategy = getattr(self, tier.value)
        return strategy

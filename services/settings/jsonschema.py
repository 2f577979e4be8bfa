"""The JSON Schema of the configuration, for editors: made from the models that validate it, so that the two can't disagree.

The models' own descriptions say what is accepted; an editor also wants to know what a key is for. What validators check and
pydantic can't express is added as far as JSON Schema can say it. JSON Schema 2020-12: https://json-schema.org/draft/2020-12
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from services.settings.policy import PRODUCTION_APPROVALS
from services.settings.secrets import ACCEPTED
from services.settings.section import NAME
from services.settings.settings import Settings
from services.settings.sinks import SinkField, SinkSection

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ROOT = "Settings"

MEANINGS: Mapping[str, str] = {
    "Settings.version": "The version of this format",
    "Settings.home": "Where journal, rollouts and log are kept, unless --home or QUARTERDECK_HOME says otherwise",
    "Settings.kubeconfig": "The kubeconfig whose contexts are meant",
    "Settings.environments": "Where services are deployed to. There is never a default environment",
    "Settings.policy": "Which gates bind in which tier. What is not written is strict; production can't be relaxed",
    "Settings.people": "Who works here. Who is not listed can't deploy to production; nobody approves their own deploy",
    "Settings.tickets": "The system that holds change tickets and approvals",
    "Settings.alerts": "The system whose alerts roll a deploy back; without it no alert does",
    "Settings.metrics": "Where the pods' metrics are read",
    "Settings.probes": "Where new pods are asked for their health during a rollout",
    "Settings.smoke": "Where smoke tests are sent",
    "Settings.smoke_tests": "HTTP checks that run by themselves after a deploy, by service",
    "Settings.default_strategy": "The strategy of a deploy that names none, by tier",
    "Settings.canary": "The steps of a canary",
    "Settings.rolling": "How a rolling update is watched",
    "Settings.triggers": "The limits that roll a deploy back by themselves",
    "Settings.judge": "How the new version is compared with the old one, scrape by scrape",
    "Settings.journal": "How long the journal is kept, and where it is shipped to",
    "Settings.sandbox": "The simulated clock. Written by the sandbox; never by hand",
    "Environment.tier": "Which policy and default strategy apply",
    "Environment.aliases": "Other words for this environment on the command line",
    "Environment.context": "The context of the kubeconfig that reaches its cluster",
    "Environment.namespaces": "The namespaces that belong to it; each belongs to one environment only",
    "Policies.dev": "Gates of the tier dev",
    "Policies.staging": "Gates of the tier staging",
    "Policies.canary": "Gates of the tier canary",
    "Policies.production": "Gates of the tier production: can be made stricter, never more lenient",
    "Policy.ticket": "An approved change ticket, asked live",
    "Policy.approvals": "How many people other than the operator must have approved; 0 waives it",
    "Policy.smoke_tests": "Smoke tests are defined for the service",
    "Policy.gradual_rollout": "The strategy takes the new version's share up in steps",
    "Policy.rollback_tested": "A rollback of the service was rehearsed",
    "_PersonEntry.name": "How this person is named on screens and in the journal",
    "_PersonEntry.login": "By this login the operator is recognized",
    "_PersonEntry.ticket_account": "By this account the ticket system's approvals are told to be theirs",
    "_SmokeCheckEntry.name": "What the check is called",
    "_SmokeCheckEntry.path": "What is asked for with GET",
    "_SmokeCheckEntry.status": "The status of the answer",
    "_SmokeCheckEntry.contains": "A text that the answer holds; empty: any answer of that status will do",
    "_SmokeCheckEntry.timeout": "How long the answer may take",
    "Tickets.kind": "The product",
    "Tickets.flavour": "Jira Cloud or Jira Data Center",
    "Tickets.url": "Where it is",
    "Tickets.user": "Whom the token belongs to",
    "Tickets.token": "Where the token is; never the token itself",
    "Tickets.approved_statuses": "A ticket in one of these statuses is approved",
    "Tickets.timeout": "How long one question may take, retries included",
    "Alerts.kind": "The product",
    "Alerts.url": "Where it is",
    "Alerts.token": "Where the bearer token is; never the token itself",
    "Alerts.user": "The user of basic authentication",
    "Alerts.password": "Where the user's password is; never the password itself",
    "Alerts.ca_file": "The authority that its certificate is checked with, if not one of the system's",
    "Alerts.severity_label": "Which label says how bad an alert is",
    "Alerts.severities": "Alerts of these severities roll a deploy back",
    "Alerts.match": "Which labels name the service that an alert is about",
    "Alerts.timeout": "How long one question may take, retries included",
    "AlertMatch.service": "An alert is the service's where one of these labels says so",
    "AlertMatch.namespace": "And one of these, where there are any",
    "Metrics.scrape_url": "Where a pod's metrics are, if not at its port",
    "Metrics.port": "The pods' port with metrics",
    "Metrics.path": "The path of the metrics",
    "Metrics.interval": "Time between two readings of a pod",
    "Metrics.warm_up": "How long a new pod is not judged",
    "Metrics.names": "What the services call their metrics, where it is not the usual",
    "Metrics.source": "Who is asked for requests, errors and latency; CPU and memory are always the pods' own",
    "Metrics.prometheus": "The Prometheus server of source: prometheus",
    "Metrics.datadog": "The Datadog account of source: datadog",
    "Metrics.weights": "How the budget of false aborts is shared out",
    "Metrics.ratios": "Shares of your own that the canary must not worsen",
    "Metrics.endpoints": "Endpoints whose errors are judged by themselves as well",
    "Prometheus.url": "Where it is",
    "Prometheus.pack": "Whose metrics it has, and so what they are called",
    "Prometheus.queries": "Where the metrics follow no convention",
    "Prometheus.token": "Where the bearer token is; never the token itself",
    "Prometheus.user": "Whom the password belongs to",
    "Prometheus.password": "Where the password is; never the password itself",
    "Prometheus.tenant": "Whose data is asked for, where one server has that of many",
    "Prometheus.ca_file": "What its certificate is checked against, if not the system's authorities",
    "Prometheus.timeout": "How long one look may take",
    "PromQueries.total": "All requests",
    "PromQueries.errors": "Failed requests",
    "PromQueries.latency": "How long requests took",
    "PromQueries.milliseconds": "The unit of the buckets",
    "Datadog.site": "Where the account is",
    "Datadog.api_key": "Where the API key is; never the key itself",
    "Datadog.application_key": "Where the application key is; never the key itself",
    "Datadog.total": "All requests",
    "Datadog.errors": "Failed requests",
    "Datadog.latency": "How long requests took",
    "Datadog.milliseconds": "The unit of the distribution",
    "Datadog.edges": "Where durations are told apart",
    "Datadog.delay": "Points newer than this may still grow",
    "Datadog.timeout": "How long one look may take",
    "Ratio.name": "What it is called on screens and in the journal",
    "Ratio.total": "Its events",
    "Ratio.bad": "Its bad events",
    "Ratio.weight": "Its share of the budget of false aborts",
    "Ratio.tolerance": "How much worse the canary may be, as a factor",
    "Ratio.difference": "How much worse the canary may be, as a difference",
    "Ratio.skip": "How long after the first requests it is not judged",
    "Endpoint.name": "What it is called on screens and in the journal",
    "Endpoint.label": "By what it is told from others",
    "Endpoint.value": "Which one it is",
    "Endpoint.weight": "The share of its errors in the budget of false aborts",
    "Endpoint.tolerance": "How much worse the canary's errors may be, as a factor",
    "Endpoint.difference": "How much worse the canary's errors may be, as a difference",
    "Weights.errors": "For errors",
    "Weights.latency": "For latency",
    "Series.requests": "Requests served",
    "Series.latency": "How long requests took",
    "Series.cpu": "CPU time used",
    "Series.memory": "Memory in use",
    "Probes.url": "Where a pod's health is, if not at its port",
    "Probes.port": "The pods' port with the health endpoint",
    "Probes.path": "The path of the health endpoint",
    "Probes.interval": "Time between two probes of a pod",
    "Probes.failures": "So many answers other than 200 running roll a deploy back; a pod that flaps does after as many in all",
    "Probes.tolerated": "Failing no more often than this is healthy",
    "Probes.flapping": "How often a pod that flaps fails",
    "Probes.alpha": "How often a healthy pod may be taken for one that flaps",
    "Smoke.url": "Where a service is, if not at its port",
    "Smoke.port": "The services' port",
    "DefaultStrategies.dev": "For the tier dev",
    "DefaultStrategies.staging": "For the tier staging",
    "DefaultStrategies.canary": "For the tier canary",
    "DefaultStrategies.production": "For the tier production",
    "CanaryPlan.steps": "Shares of the requests the canary gets, one after the other, rising",
    "CanaryPlan.min_requests": "The canary must have served so many in a step before the step passes",
    "CanaryPlan.baseline_seconds": "How long the running version is measured first",
    "CanaryPlan.ready_timeout": "How long the canary's pods may take to become ready",
    "CanaryPlan.promote_timeout": "How long stable may take to roll to the new version",
    "CanaryPlan.soak_seconds": "How long the promoted version is watched before the canary goes",
    "CanaryStep.weight": "The canary's share of the requests",
    "CanaryStep.seconds": "How long this share is watched",
    "RollingPlan.analyse_seconds": "How long the new version is watched once all of its pods are ready",
    "RollingPlan.min_requests": "The new version must have served so many before it passes",
    "RollingPlan.baseline_seconds": "How long the running version is measured first",
    "RollingPlan.ready_timeout": "How long the new pods may take to become ready",
    "Triggers.error_rate": "Share of failing requests that rolls back",
    "Triggers.error_seconds": "How long the error rate is watched, from the first requests on",
    "Triggers.latency_increase": "By how much P99 may exceed the baseline",
    "Triggers.cpu": "CPU of new pods that rolls back",
    "Triggers.memory": "Memory of new pods that rolls back",
    "Triggers.min_errors": "Fewer failed requests never fire",
    "Triggers.min_requests": "With so many requests the error rate fires as soon as it is over its limit",
    "Triggers.min_slow_requests": "With so many requests P99 fires as soon as it is over its limit",
    "Triggers.rare": "With fewer requests it has to be at most this likely for a service at the limit",
    "Triggers.strict_above": "With more errors than this before the deploy only what is rare fires",
    "Triggers.samples": "So many samples of a pod running, 10 s apart, over the limit of CPU or memory fire",
    "Triggers.window": "How far back rates are looked at",
    "Triggers.on_shared_incident": "What is done where stable fails as well as the new version",
    "Judge.sensitivity": "How much worse than stable in errors is tolerated: 10 % and 0.01 points, 20 % and 0.02, 50 % and 0.1",
    "Judge.alpha": "Chance that a good version is rolled back, in a whole rollout, however often it is looked at",
    "Judge.beta": "Chance that a version at the limit of the acceptable is called healthy",
    "Judge.burst_scrapes": "So many bad scrapes at least make a rollback",
    "Judge.onset_seconds": "How long a regression may begin at no cost in evidence",
    "Judge.minimum_seconds": "Health is not called proven before",
    "Judge.no_traffic_seconds": "After so long without requests nothing is known, whatever was seen before",
    "Judge.promote_early": "Whether proven health ends an analysis before its time",
    "Judge.on_undecided": "What is done where an analysis is undecided after twice its time",
    "Judge.advance_below": "advance_with_note goes on only where the difference is surely below this; else it pauses",
    "JournalOptions.retention_days": "How long entries are kept on this disk",
    "JournalOptions.sinks": "Where every entry is sent to",
    "SinkSection.kind": "The product or protocol",
    "SinkSection.name": "What it is called on screens and in the journal",
    "SinkSection.required": "Whether entries are kept here until this sink has confirmed them",
    "SinkSection.ca_file": "The authority of its certificate, where the system's are not enough",
    "SinkSection.timeout": "How long one request may take",
    "SinkSection.url": "Where it is",
    "SinkSection.index": "What its indices are called",
    "SinkSection.user": "Whom the password belongs to",
    "SinkSection.password": "Where the password is; never the password itself",
    "SinkSection.token": "Where the token is; never the token itself",
    "SinkSection.api_key": "Where the API key is; never the key itself",
    "SandboxClock.speed": "How much faster simulated time runs",
    "SandboxClock.epoch": "From when simulated time is counted",
    "SandboxClock.real_cluster": "Whether the objects are those of a real control plane, which keeps no simulated time",
}
"""What each key is for, by model and field."""

_SECRET = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"
_NAME_PATTERN = f"^{NAME.pattern}$"


def schema() -> dict[str, Any]:
    """The schema of a configuration file. What it accepts and ``config check`` refuses are rules between several keys."""
    made = copy.deepcopy(Settings.model_json_schema())
    made = {"$schema": DIALECT, **made, "title": "Quarterdeck's configuration", "description": "One file, --config FILE"}
    models = {_ROOT: made, **made["$defs"]}
    _say_what_validators_check(models)
    for name, key, node in _keys(models):
        accepted = str(node.get("description", "")).strip()
        meaning = MEANINGS.get(f"{name}.{key}") or MEANINGS.get(f"{BASES.get(name, name)}.{key}", "")
        if accepted == ACCEPTED:
            node["pattern"] = _SECRET
        node["description"] = f"{meaning or key}. Accepted: {accepted}." if accepted else f"{meaning or key}."
        node.pop("title", None)
    for model in models.values():
        if "description" in model:
            model["description"] = " ".join(model["description"].replace("``", "`").split())
    return made


BASES = {
    "ProductionPolicy": "Policy",
    **{kind.__name__: SinkSection.__name__ for kind in get_args(get_args(SinkField)[0])},
}
"""Models that have the keys of another one."""


def _keys(models: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every key of every section: its model's name, its own, and its schema."""
    for name, model in models.items():
        for key, node in model.get("properties", {}).items():
            yield name, key, node


def _say_what_validators_check(models: Mapping[str, dict[str, Any]]) -> None:
    models[_ROOT]["properties"]["environments"]["additionalProperties"] = False
    models[_ROOT]["properties"]["smoke_tests"]["propertyNames"] = {"pattern": _NAME_PATTERN, "maxLength": 63}
    environment = models["Environment"]["properties"]
    for key in ("aliases", "namespaces"):
        environment[key]["uniqueItems"] = True
        environment[key]["items"] |= {"pattern": _NAME_PATTERN, "maxLength": 63}
    # Written out by the reader before it validates: the environment's own name.
    environment["tier"].pop("default", None)
    for name in ("Ratio", "Endpoint"):
        models[name]["properties"]["name"] |= {"pattern": _NAME_PATTERN, "maxLength": 63}
    for section, key in (("Metrics", "path"), ("Probes", "path"), ("_SmokeCheckEntry", "path")):
        models[section]["properties"][key]["pattern"] = "^/"
    production = models["ProductionPolicy"]["properties"]
    production["approvals"]["minimum"] = PRODUCTION_APPROVALS
    for gate in ("ticket", "smoke_tests", "gradual_rollout", "rollback_tested"):
        production[gate] = {"const": "required", "default": "required", "description": "required"}

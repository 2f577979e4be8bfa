"""A first configuration: valid as it stands, commented, made from what the kubeconfig holds."""

import json
import os
import pwd
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import yaml

from services.settings.section import is_name
from services.settings.settings import ENVIRONMENTS

_WORDS = {
    "dev": ("dev", "development"),
    "staging": ("staging", "stage", "stg"),
    "canary": ("canary",),
    "production": ("production", "prod", "prd"),
}
_YAML_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")
_MAX_KUBECONFIG = 8 * 1024 * 1024

_REST = """\
# Gates apply in every tier: an approved ticket, approvals (production 2, others 1), smoke tests, a gradual rollout and, in
# production, a rehearsed rollback. What is relaxed has to be written here; production can't be relaxed.
# policy:
#   dev: {ticket: waived, approvals: 0, smoke_tests: waived}

# The system that holds change tickets. Secrets are never written here: env:NAME or file:PATH (mode 600).
# tickets:
#   kind: jira
#   flavour: cloud                       # or data-center
#   url: https://example.atlassian.net
#   user: you@example.com                # cloud only
#   token: env:JIRA_TOKEN
#   approved_statuses: [Approved]

# The Alertmanager whose critical alerts for the service roll its deploy back, and the labels that name the service there.
# alerts:
#   url: https://alertmanager.example.com
#   token: env:ALERTMANAGER_TOKEN        # or user and password
#   severities: [critical]
#   match: {service: {service: '{service}', app: '{service}', deployment: '{workload}'}, namespace: {namespace: '{namespace}'}}

# HTTP checks that run by themselves after a deploy, by service.
# smoke_tests:
#   payment-service:
#     - {name: health, path: /healthz, status: 200}

# Where metrics, health and smoke tests are read; through the API server unless a URL is given.
# Requests, errors and latency can come from elsewhere: source: prometheus (pack: pods, istio, nginx, envoy or opentelemetry) or
# datadog. 'ratios' are shares of your own that the canary must not worsen.
# metrics:
#   port: 8080
#   path: /metrics
#   interval: 10
#   warm_up: 30
#   names: {requests: http_requests_total, latency: http_request_duration_seconds, cpu: process_cpu_seconds_total,
#           memory: process_resident_memory_bytes}
#   source: pods
#   prometheus: {url: https://prometheus.example.com, pack: istio, token: env:PROMETHEUS_TOKEN}
#   ratios:
#     - {name: orders, total: orders_total, bad: 'orders_total{result="failed"}', weight: 0.1}
# probes: {port: 8080, path: /healthz, interval: 10, failures: 3}
# smoke: {port: 80}

# The steps of a canary (percent of the requests, seconds), and the limits that roll back by themselves.
# canary:
#   steps: [{weight: 5, seconds: 120}, {weight: 10, seconds: 120}, {weight: 25, seconds: 180}, {weight: 50, seconds: 180}]
# services:
#   payment-service: {router: gateway}   # where two routes lead to it: istio, gateway, nginx or replicas
# triggers: {error_rate: 0.05, latency_increase: 0.5, cpu: 0.9, memory: 0.9}
# How the new version is compared with stable at every scrape, and what is done where that proves nothing in twice a step's time.
# judge: {sensitivity: normal, promote_early: false, on_undecided: pause}

# Every entry of the journal is sent to each of these within a minute, and kept here until those that are required have it.
# journal:
#   retention_days: 400
#   sinks:
#     - {kind: elasticsearch, url: https://search.example.com:9200, index: quarterdeck-audit, api_key: env:ELASTIC_API_KEY}
"""


_EDITORS = """\
# Editors that use yaml-language-server complete and check this file with: quarterdeck config schema > config.schema.json
# beside it, and '# yaml-language-server: $schema=config.schema.json' as its first line.
"""


class KnownContext(msgspec.Struct, frozen=True):
    """A context of a kubeconfig; ``namespace`` is ``default`` where it names none, ``cluster`` the name it gives its cluster."""

    name: str
    namespace: str
    cluster: str = ""


def kubeconfig_paths(env: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that kubectl would read: those of ``KUBECONFIG``, else ``~/.kube/config``."""
    listed = tuple(Path(part) for part in env.get("KUBECONFIG", "").split(os.pathsep) if part)
    return listed or (Path(env.get("HOME") or Path.home()) / ".kube" / "config",)


def contexts(paths: Sequence[Path]) -> tuple[KnownContext, ...]:
    """The contexts of these kubeconfig files, in order, each name once. Raises ``OSError`` or ``ValueError`` for a file that
    is there and can't be read; a missing one holds none."""
    found: dict[str, KnownContext] = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                text = file.read(_MAX_KUBECONFIG)
        except FileNotFoundError:
            continue
        try:
            document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (yaml.YAMLError, RecursionError) as error:
            raise ValueError(f"{path} is not valid YAML") from error
        entries = document.get("contexts") if isinstance(document, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            name = entry.get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str) or not name.isprintable() or not name.strip() or len(name) > 200:
                continue
            body = entry.get("context")
            namespace = body.get("namespace") if isinstance(body, dict) else None
            legal = namespace if isinstance(namespace, str) and is_name(namespace) else "default"
            cluster = body.get("cluster") if isinstance(body, dict) else None
            found.setdefault(name, KnownContext(name, legal, cluster if isinstance(cluster, str) else ""))
    return tuple(found.values())


def starting(known: Sequence[KnownContext], login: str) -> str:
    """The text of a first configuration: an environment for each context whose name says which it is.

    What is not clear is taken for production, the strictest gates, until a person says otherwise: a context whose name says
    nothing, or several things, and an environment whose cluster or namespace is called something else than its context.
    """
    lines = [
        "# Quarterdeck's configuration. Check it with: quarterdeck config check, then: quarterdeck doctor",
        *_EDITORS.splitlines(),
        "version: 1",
        "",
        "# Environments: dev, staging, canary, production. Each is a context of the kubeconfig and namespaces in it; 'aliases'",
        "# are other words for it. There is never a default environment.",
        "environments:",
    ]
    matched, unclear = _assigned(known)
    if not known:
        lines.append("  # The kubeconfig has no context; this is an example to correct.")
        matched = {"production": (KnownContext("production", "default"),)}
    elif "production" not in matched and unclear:
        first, *unclear = unclear
        lines.append(
            f"  # What {_quoted(first.name)} is can't be told from its name, so it is taken for production. Correct this."
        )
        matched["production"] = (first,)
    for name, (chosen, *others) in matched.items():
        lines += [f"  {name}:", f"    context: {_quoted(chosen.name)}", f"    namespaces: [{_quoted(chosen.namespace)}]"]
        if name != "production" and (doubt := _meant(f"{chosen.cluster} {chosen.namespace}") - {name}):
            called = " and ".join(sorted(doubt))
            lines.append(f"    # Its cluster or namespace is called {called}: until the next line is taken out its gates are")
            lines += ["    # production's.", "    tier: production"]
        if others:
            lines.append(f"    # or the context {', '.join(_quoted(other.name) for other in others)}")
    if unclear:
        lines.append(
            f"  # In no environment, since their names don't say which: {', '.join(_quoted(one.name) for one in unclear)}"
        )
    lines += ["", "# Who works here. An operator who is not listed can't deploy to production; nobody approves their own deploy."]
    if _LOGIN.fullmatch(login):
        lines += [
            "# ticket_account: Jira Cloud's accountId, or Data Center's user name.",
            "people:",
            f"  - {{name: {_quoted(_full_name(login))}, login: {_quoted(login)}}}",
        ]
    else:
        lines += ["# people:", '#   - {name: Jane Doe, login: jane, ticket_account: ""}']
    return "\n".join(lines) + "\n\n" + _REST


def write(path: Path, text: str, *, force: bool) -> None:
    """Write a new file that only its owner can read, whole or not at all.

    Raises ``FileExistsError`` where there is one already and ``force`` is not given, ``OSError`` where it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if force:
            os.replace(draft, path)
        else:
            # A link, unlike a rename, never replaces what is there.
            os.link(draft, path)
            os.unlink(draft)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise


def _assigned(known: Sequence[KnownContext]) -> tuple[dict[str, tuple[KnownContext, ...]], list[KnownContext]]:
    """The contexts of each environment, the likeliest first, and those whose names say nothing or several things."""
    said = [(context, _meant(context.name)) for context in known]
    matched = {}
    for environment in ENVIRONMENTS:
        words = _WORDS[environment]
        found = [context for context, meant in said if meant == {environment}]
        if found:
            found.sort(key=lambda context: (context.name != environment, context.name.lower() not in words))
            matched[environment] = tuple(found)
    return matched, [context for context, meant in said if len(meant) != 1]


def _meant(text: str) -> set[str]:
    """The environments that the words of ``text`` name."""
    words = set(re.split(r"[^a-z0-9]+", text.lower()))
    return {environment for environment, names in _WORDS.items() if words & set(names)}


def _full_name(login: str) -> str:
    try:
        name = pwd.getpwnam(login).pw_gecos.split(",")[0].strip()
    except KeyError:
        return login
    return name if name and name.isprintable() and len(name) <= 200 else login


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar; JSON's strings are a subset of them."""
    plain = re.fullmatch(r"[a-z][a-z0-9-]*", text) and text not in _YAML_WORDS
    return text if plain else json.dumps(text)

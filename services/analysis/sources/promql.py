"""Queries with their placeholders filled in, and the packs: what each convention calls its metrics and tells versions by.

Sources: Istio standard metrics, ingress-nginx's monitoring documentation, Envoy's cluster statistics, OpenTelemetry semantic
conventions for HTTP metrics.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from services.analysis.parse import CODE_LABELS
from services.analysis.sources.subject import Subject
from services.analysis.windows import ArmName
from services.settings.query import WINDOW, promql
from services.settings.schema import Series
from services.settings.sources import PromQueries

NOBODY = "-"
"""A name that no pod can have. An empty pattern would match every series without the label."""
_PLAIN = re.compile(r"[A-Za-z0-9 _.:/@|()*+?\[\]^$,=<>~%&;!#-]")


class Unfillable(ValueError):
    """A placeholder has no value now; the text says which."""


class Queries(msgspec.Struct, frozen=True, kw_only=True):
    """The queries of one version. ``known`` has a series wherever ``errors`` would count one that failed; ``total`` where that
    is always so. ``sampled``: the series of ``total``, each by a selector of its own. ``unit``: seconds that the bounds of
    ``latency`` are in."""

    total: str
    errors: str
    known: str
    sampled: tuple[str, ...]
    latency: str | None = None
    unit: float = 1.0

    @property
    def windowed(self) -> bool:
        """Whether they count what happened in a window, rather than say where counters stand."""
        return any(part.place == WINDOW for part in promql(self.total))


def string(value: str) -> str:
    """``value`` for the inside of a PromQL string in either quotes: whatever could end it is written as an escape, and so
    are braces, which would make a placeholder of it."""
    return "".join(char if _PLAIN.fullmatch(char) else "".join(f"\\x{byte:02x}" for byte in char.encode()) for char in value)


def pattern(value: str) -> str:
    """``value`` as a regular expression (RE2) that matches it alone, for the inside of a PromQL string."""
    return string(
        "".join(
            char if char.isalnum() or char in "-_/:@" else f"[{char}]" if char not in "^\\" else f"\\{char}" for char in value
        )
    )


def filled(query: str, subject: Subject, arm: ArmName, window: float | None = None, *, told: bool = False) -> str:
    """The query of one version. ``window`` in seconds. With ``told`` what changes at every look (pods, window) stays a
    placeholder. Raises :class:`Unfillable`."""
    values = subject.values(arm)
    made = []
    for part in promql(query):
        if not part.place:
            made.append(part.text)
        elif told and part.place in (WINDOW, "pods"):
            made.append(f"{{{{{part.place}}}}}")
        elif part.place == WINDOW:
            if window is None:
                raise Unfillable("{{window}} has no value yet")
            made.append(f"{max(1, round(window * 1000))}ms")
        elif part.place == "pods":
            made.append("|".join(pattern(pod) for pod in sorted(subject.versions[arm].pods)) or NOBODY)
        elif not values[part.place]:
            # An empty value would match every series without the label.
            raise Unfillable(f"the {part.place} of {arm.value} is not known")
        else:
            made.append(pattern(values[part.place]) if part.regex else string(values[part.place]))
    return "".join(made)


def of_anybody(query: str) -> str | None:
    """The query of whatever service and version there is: it shows whether its metrics and labels exist at all. ``None`` where
    it can't be asked so: where a placeholder is but a part of a value that is compared as it is."""
    parts = promql(query)
    made = ""
    for index, part in enumerate(parts):
        if not part.place:
            made += part.text
        elif part.place == WINDOW:
            made += "300s"
        elif part.regex:
            made += ".*"
        else:
            after = parts[index + 1].text if index + 1 < len(parts) else ""
            opened = re.search(r"[^!=~](=)\s*([\"'])$", made)
            if opened is None or not after.startswith(opened[2]):
                return None
            made = f"{made[: opened.start(1)]}=~{opened[2]}.+"
    return made


def own(queries: PromQueries) -> Queries:
    """The queries that a person wrote."""
    return Queries(
        total=queries.total,
        errors=queries.errors,
        known=queries.total,
        sampled=(queries.total,),
        latency=queries.latency,
        unit=0.001 if queries.milliseconds else 1.0,
    )


def _pods(names: Series, where: str) -> Queries:
    """The services' own pages, scraped with the labels ``namespace`` and ``pod``. The status code may be called three ways."""
    picked = f'namespace="{{{{namespace}}}}",pod=~"{{{{pods}}}}"{where}'

    def by_code(match: str) -> str:
        return " or ".join(f"{names.requests}{{{picked},{label}{match}}}" for label in CODE_LABELS)

    return Queries(
        total=f"{names.requests}{{{picked}}}",
        errors=by_code('=~"5.*"'),
        known=by_code('!=""'),
        sampled=(f"{names.requests}{{{picked}}}",),
        latency=f"{names.latency}_bucket{{{picked}}}",
    )


def _istio(subject: Subject, arm: ArmName, where: str) -> Queries:
    picked = (
        'reporter=~"destination|waypoint",destination_workload_namespace="{{namespace}}",'
        'destination_workload="{{workload}}"' + ("" if subject.apart else ',pod=~"{{pods}}"') + where
    )
    return Queries(
        total=f"istio_requests_total{{{picked}}}",
        errors=f'istio_requests_total{{{picked},response_code=~"5.."}} '
        f'or istio_requests_total{{{picked},grpc_response_status!~"0|"}}',
        known=f'istio_requests_total{{{picked},response_code!=""}}',
        sampled=(f"istio_requests_total{{{picked}}}",),
        latency=f"istio_request_duration_milliseconds_bucket{{{picked}}}",
        unit=0.001,
    )


def _nginx(subject: Subject, arm: ArmName, where: str) -> Queries:
    """The series of the main Ingress; those of requests that went to its canary carry the label ``canary``."""
    ingress = string(subject.route or subject.service)
    picked = f'ingress="{ingress}",canary{"!=" if arm is ArmName.CANARY else "="}""{where}'
    # The label is the controller's own namespace, unless the labels of its page are honoured.
    places = (f'exported_namespace="{{{{namespace}}}}",{picked}', f'namespace="{{{{namespace}}}}",exported_namespace="",{picked}')
    requests = "nginx_ingress_controller_requests"

    def each(metric: str, more: str = "") -> tuple[str, ...]:
        return tuple(f"{metric}{{{place}{more}}}" for place in places)

    return Queries(
        total=" or ".join(each(requests)),
        errors=" or ".join(each(requests, ',status=~"5.."')),
        known=" or ".join(each(requests, ',status!=""')),
        sampled=each(requests),
        latency=" or ".join(each("nginx_ingress_controller_request_duration_seconds_bucket")),
    )


def _envoy(subject: Subject, arm: ArmName, where: str) -> Queries:
    """A cluster for each Service, named ``NAMESPACE_SERVICE_PORT`` (or with ``/``)."""
    service = "{{service}}-canary" if arm is ArmName.CANARY else "{{service}}"
    picked = f'envoy_cluster_name=~"(.*[_/])?{{{{namespace}}}}[_/]{service}[_/].*"{where}'
    return Queries(
        total=f"envoy_cluster_upstream_rq_completed{{{picked}}}",
        errors=f'envoy_cluster_upstream_rq_xx{{{picked},envoy_response_code_class="5"}}',
        # Envoy begins to tell a class of answers with the first of it: any class shows that it tells them.
        known=f"envoy_cluster_upstream_rq_xx{{{picked}}}",
        sampled=(f"envoy_cluster_upstream_rq_completed{{{picked}}}",),
        latency=f"envoy_cluster_upstream_rq_time_bucket{{{picked}}}",
        unit=0.001,
    )


def _opentelemetry(subject: Subject, arm: ArmName, where: str) -> Queries:
    """``job`` is service.namespace/service.name; service.version has to be promoted to a label."""
    picked = f'job="{{{{namespace}}}}/{{{{service}}}}",service_version="{{{{version}}}}"{where}'
    count = "http_server_request_duration_seconds_count"
    return Queries(
        total=f"{count}{{{picked}}}",
        errors=f'{count}{{{picked},http_response_status_code=~"5.."}}',
        known=f'{count}{{{picked},http_response_status_code!=""}}',
        sampled=(f"{count}{{{picked}}}",),
        latency=f"http_server_request_duration_seconds_bucket{{{picked}}}",
    )


_PACKS: Mapping[str, Callable[[Subject, ArmName, str], Queries]] = {
    "istio": _istio,
    "nginx": _nginx,
    "envoy": _envoy,
    "opentelemetry": _opentelemetry,
}


def packed(pack: str, names: Series, subject: Subject, arm: ArmName, where: str = "") -> Queries:
    """The queries of one version by the convention ``pack``, narrowed by ``where`` (empty, or ``,label="value"``)."""
    return _pods(names, where) if pack == "pods" else _PACKS[pack](subject, arm, where)

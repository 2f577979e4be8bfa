"""The objects of the fleet, as one would write them in files: the same for the embedded API and for a real one."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from services.model.rollout import Record
from services.sandbox import fleet
from services.sandbox.fleet import Offer, Workload
from services.sandbox.registry import config_map
from services.sandbox.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    DESTINATIONRULES,
    HTTPROUTES,
    INGRESSCLASSES,
    INGRESSES,
    SERVICES,
    VIRTUALSERVICES,
    Object,
    Resource,
)

Manifest = tuple[Resource, str, Object]
"""What kind it is, its namespace (empty: none), and the object."""

INGRESS_CLASS, INGRESS_CONTROLLER = "nginx", "k8s.io/ingress-nginx"


def manifests(deadline: int = fleet.PROGRESS_DEADLINE) -> Iterator[Manifest]:
    """Every workload of every namespace with its Service and, where it has them, its routes; ``deadline`` in its seconds."""
    yield INGRESSCLASSES, "", ingress_class()
    for namespace in fleet.NAMESPACES:
        for workload in fleet.WORKLOADS:
            yield DEPLOYMENTS, namespace, deployment(workload, namespace, deadline)
            yield SERVICES, namespace, service(workload)
            match workload.router:
                case "istio":
                    yield DESTINATIONRULES, namespace, destination_rule(workload)
                    yield VIRTUALSERVICES, namespace, virtual_service(workload)
                case "gateway":
                    yield HTTPROUTES, namespace, http_route(workload)
                case "nginx":
                    yield INGRESSES, namespace, ingress(workload)


def deployment(workload: Workload, namespace: str, deadline: int) -> Object:
    labels = {"app": workload.name, "track": "stable"}
    container = {
        "name": workload.name,
        "image": fleet.image(workload.name, workload.version(namespace)),
        "ports": [{"name": "http", "containerPort": fleet.PORT}],
        "env": [{"name": "ENVIRONMENT", "value": namespace}],
        "resources": {
            "requests": {"cpu": "250m", "memory": "128Mi"},
            "limits": {"cpu": workload.cpu, "memory": workload.memory},
        },
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": fleet.PORT}, "periodSeconds": 5},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": workload.name, "labels": dict(labels)},
        "spec": {
            "replicas": workload.replicas_in(namespace),
            "progressDeadlineSeconds": deadline,
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": dict(labels)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": dict(labels)}, "spec": {"containers": [container]}},
        },
    }


def service(workload: Workload) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": fleet.PORT}]
    labels = {"app": workload.name}
    # A mesh knows the versions by its subsets; routes that name Services need one that holds stable's pods alone.
    selector = {**labels, "track": "stable"} if workload.router in ("gateway", "nginx") else dict(labels)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": workload.name, "labels": labels},
        "spec": {"selector": selector, "ports": ports},
    }


def virtual_service(workload: Workload) -> Object:
    def route(subset: str, weight: int) -> Object:
        return {"destination": {"host": workload.name, "subset": subset}, "weight": weight}

    return {
        "apiVersion": VIRTUALSERVICES.api_version(),
        "kind": "VirtualService",
        "metadata": {"name": workload.name, "labels": {"app": workload.name}},
        "spec": {"hosts": [workload.name], "http": [{"name": "primary", "route": [route("stable", 100), route("canary", 0)]}]},
    }


def destination_rule(workload: Workload) -> Object:
    subsets = [{"name": track, "labels": {"track": track}} for track in ("stable", "canary")]
    return {
        "apiVersion": DESTINATIONRULES.api_version(),
        "kind": "DestinationRule",
        "metadata": {"name": workload.name, "labels": {"app": workload.name}},
        "spec": {"host": workload.name, "subsets": subsets},
    }


def http_route(workload: Workload) -> Object:
    """Two rules, as most have: one for testers, one for everybody."""
    backend = {"name": workload.name, "port": 80}
    testers = [{"path": {"type": "PathPrefix", "value": "/"}, "headers": [{"name": "x-tester", "value": "yes"}]}]
    everybody = [{"path": {"type": "PathPrefix", "value": "/"}}]
    return {
        "apiVersion": HTTPROUTES.api_version(),
        "kind": "HTTPRoute",
        "metadata": {"name": workload.name, "labels": {"app": workload.name}},
        "spec": {
            "parentRefs": [{"name": "public"}],
            "hostnames": [f"{workload.name}.sandbox.internal"],
            "rules": [
                {"matches": testers, "timeouts": {"request": "30s"}, "backendRefs": [dict(backend)]},
                {"matches": everybody, "backendRefs": [dict(backend)]},
            ],
        },
    }


def ingress(workload: Workload) -> Object:
    backend = {"service": {"name": workload.name, "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": INGRESSES.api_version(),
        "kind": "Ingress",
        "metadata": {
            "name": workload.name,
            "labels": {"app": workload.name},
            "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "8m"},
        },
        "spec": {
            "ingressClassName": INGRESS_CLASS,
            "rules": [{"host": f"{workload.name}.sandbox.internal", "http": {"paths": [path]}}],
        },
    }


def ingress_class() -> Object:
    return {
        "apiVersion": INGRESSCLASSES.api_version(),
        "kind": "IngressClass",
        "metadata": {"name": INGRESS_CLASS},
        "spec": {"controller": INGRESS_CONTROLLER},
    }


def rehearsals(now: datetime) -> Iterator[Manifest]:
    """The records that a colleague's rehearsals of the releases on offer left in staging."""
    for offer in fleet.OFFERS:
        yield _rehearsal(offer, now)


def _rehearsal(offer: Offer, now: datetime) -> Manifest:
    """Rolled back from 25 %, all restored."""
    finished = (now - timedelta(days=2, hours=3)).replace(microsecond=0)
    name = f"rehearsal-{finished:%Y%m%d}" + ("" if offer.service == fleet.OFFER_SERVICE else f"-{offer.service}")
    record = Record(
        rollout=name,
        service=offer.service,
        version=offer.version,
        previous_version=fleet.version("staging", offer.service),
        environment="staging",
        tier="staging",
        strategy="canary",
        outcome="rolled_back",
        restored=True,
        operator="Sam Chen",
        finished=finished,
        journal_id="sandbox-rehearsal",
        journal_seq=41,
        journal_hash=hashlib.sha256(f"{name}{finished}".encode()).hexdigest(),
        # The canary's image and replicas and both weights of the route, taken back at its third share.
        values_restored=4,
        highest_weight=25,
        pods=3,
        served=True,
    )
    labels = {"quarterdeck/kind": "record", "quarterdeck/service": offer.service, "quarterdeck/rollout": name}
    data = {"record": msgspec.json.encode(record).decode()}
    return CONFIGMAPS, "staging", config_map(f"quarterdeck-record-{name}", data, labels)

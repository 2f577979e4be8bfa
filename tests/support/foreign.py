"""Routes of a shop that was there before: many rules, nearly all about others, and what our services own in between."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.model.objects import ObjectRef

NS = "production"
EPOCH = "quarterdeck/epoch"
NGINX = "nginx.ingress.kubernetes.io/"

_TEAM_LABELS = {"team": "shop", "argocd.argoproj.io/instance": "shop", "app.kubernetes.io/managed-by": "Helm"}
_TEAM_ANNOTATIONS = {
    "argocd.argoproj.io/tracking-id": "shop:networking/route:production/shop",
    "example.com/a.b_c": "~0 ~1 / \\ \" ' \t ✓ späte Gäste",
    "meta.helm.sh/release-name": "shop",
}


@dataclass(frozen=True, slots=True)
class Foreign:
    """A route, and how it is laid out: ``weight`` reads the share that is given to the canary in an object of it, and
    ``without_ours`` leaves of it what is none of ours."""

    service: str
    ref: ObjectRef
    resource: str
    """As kubectl has it."""
    document: dict[str, Any]
    weight: Callable[[dict[str, Any]], int]
    without_ours: Callable[[dict[str, Any]], dict[str, Any]]


def routes() -> tuple[Foreign, ...]:
    return (
        Foreign(
            "payment-service",
            ObjectRef("VirtualService", NS, "payment-service"),
            "virtualservices.networking.istio.io",
            virtual_service(),
            _istio_weight,
            _istio_rest,
        ),
        Foreign(
            "catalog",
            ObjectRef("HTTPRoute", NS, "catalog"),
            "httproutes.gateway.networking.k8s.io",
            http_route(),
            _gateway_weight,
            _gateway_rest,
        ),
        Foreign(
            "web-frontend",
            ObjectRef("Ingress", NS, "web-frontend-canary"),
            "ingresses.networking.k8s.io",
            canary_ingress(),
            _nginx_weight,
            _nginx_rest,
        ),
    )


def kept(document: dict[str, Any]) -> dict[str, Any]:
    """An object without what the API server counts and signs by itself, and without the mark that fences it."""
    found = copy.deepcopy(document)
    metadata = found["metadata"]
    for own in ("resourceVersion", "generation", "managedFields"):
        metadata.pop(own, None)
    metadata.get("annotations", {}).pop(EPOCH, None)
    return found


# ---- Istio

ISTIO_OURS = (3, 11)
"""Positions of the rules that split payment-service."""


def virtual_service() -> dict[str, Any]:
    """Twelve rules, of which the fourth and the last are ours."""
    other = "search.production.svc.cluster.local"
    elsewhere = "payment-service.staging.svc.cluster.local"
    rules: list[dict[str, Any]] = [
        {
            "name": "moved",
            "match": [{"uri": {"exact": "/old"}}],
            "redirect": {"uri": "/new", "authority": "pay.example.com", "redirectCode": 308},
        },
        {
            "match": [
                {"headers": {"x-user": {"regex": "^[a-f]~1/.*$"}}, "uri": {"prefix": "/v2"}},
                {"headers": {"x-user": {"exact": "~0"}}, "ignoreUriCase": True, "uri": {"prefix": "/V2"}},
            ],
            "rewrite": {"uri": "/", "authority": "search.internal"},
            "route": [_to(other, "stable", 70), _to(other, "canary", 30)],
            "mirrors": [{"destination": {"host": "shadow.audit.svc.cluster.local"}, "percentage": {"value": 12.5}}],
        },
        {
            "name": "elsewhere",
            "match": [{"uri": {"prefix": "/invoices"}}],
            "delegate": {"name": "invoices", "namespace": "billing"},
        },
        {
            "name": "beta",
            "match": [{"headers": {"cookie": {"regex": "^(.*?;)?(beta=1)(;.*)?$"}}}],
            "route": [
                {**_to("payment-service", "canary", 0), "headers": {"response": {"set": {"x-served-by": "new"}}}},
                _to("payment-service.production.svc.cluster.local", "stable", 100),
            ],
            "retries": {"attempts": 3, "perTryTimeout": "1.5s", "retryOn": "5xx,reset"},
            "timeout": "5s",
        },
        {
            "name": "chaos",
            "match": [{"headers": {"x-chaos": {"exact": "yes"}}}],
            "fault": {
                "abort": {"httpStatus": 503, "percentage": {"value": 0.1}},
                "delay": {"fixedDelay": "2s", "percentage": {"value": 5}},
            },
            "route": [_to(other, "stable", 100)],
        },
        {
            "name": "the same name in another namespace",
            "match": [{"method": {"exact": "OPTIONS"}}],
            "corsPolicy": {
                "allowOrigins": [{"regex": "^https://([a-z]+\\.)?example\\.com$"}],
                "allowMethods": ["GET", "POST"],
                "allowHeaders": ["x-user"],
                "maxAge": "24h",
                "allowCredentials": False,
            },
            "route": [_to(elsewhere, "stable", 60), _to(elsewhere, "canary", 40)],
        },
        {"name": "closed", "match": [{"uri": {"prefix": "/admin/shell"}}], "directResponse": {"status": 404}},
        {
            "name": "operators",
            "match": [{"uri": {"prefix": "/admin"}, "method": {"exact": "POST"}}],
            "route": [{"destination": {"host": "payment-service", "subset": "stable", "port": {"number": 80}}}],
            "mirror": {"host": "payment-service", "subset": "stable"},
            "mirrorPercentage": {"value": 100},
        },
        {
            "match": [
                {
                    "gateways": ["mesh"],
                    "port": 8443,
                    "queryParams": {"version": {"prefix": "1."}},
                    "sourceLabels": {"app": "checkout"},
                    "withoutHeaders": {"x-user": {}},
                }
            ],
            "route": [{"destination": {"host": "legacy.example.com", "port": {"number": 8443}}, "weight": 100}],
        },
        {
            "match": [{"authority": {"exact": "search.example.com"}, "scheme": {"exact": "https"}}],
            "headers": {"request": {"add": {"x-a": "1"}, "remove": ["x-b"], "set": {"x-c": "\u202eabc"}}},
            "route": [_to("search", "stable", 50), _to("search", "canary", 50)],
        },
        {
            "name": "späte Gäste ✓ / ~0~1",
            "match": [{"uri": {"prefix": "/größe"}}],
            "route": [_to("cart", None, 1), _to("accounts", None, 99)],
        },
        {
            "name": "primary",
            "route": [_to("payment-service", "stable", 100), _to("payment-service", "canary", 0)],
            "headers": {"response": {"remove": ["server"]}},
            "timeout": "10s",
        },
    ]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": _metadata("payment-service"),
        "spec": {
            "hosts": ["pay.example.com", "*.pay.example.com", "payment-service"],
            "gateways": ["mesh", "istio-system/public"],
            "exportTo": [".", "istio-system"],
            "http": rules,
            "tls": [
                {
                    "match": [{"port": 443, "sniHosts": ["bank.example.com"]}],
                    "route": [{"destination": {"host": "bank"}, "weight": 100}],
                }
            ],
            "tcp": [
                {
                    "match": [{"port": 5432, "destinationSubnets": ["10.0.0.0/8"]}],
                    "route": [_to("ledger", "stable", 95), _to("ledger", "canary", 5)],
                }
            ],
        },
    }


def _to(host: str, subset: str | None, weight: int) -> dict[str, Any]:
    return {"destination": {"host": host, **({"subset": subset} if subset else {})}, "weight": weight}


def _istio_weight(document: dict[str, Any]) -> int:
    beta, primary = (document["spec"]["http"][index]["route"] for index in ISTIO_OURS)
    shares = {(route[stable]["weight"], route[canary]["weight"]) for route, stable, canary in ((beta, 1, 0), (primary, 0, 1))}
    ((stable, canary),) = shares
    assert stable + canary == 100
    return int(canary)


def _istio_rest(document: dict[str, Any]) -> dict[str, Any]:
    found = kept(document)
    for index in ISTIO_OURS:
        for destination in found["spec"]["http"][index]["route"]:
            del destination["weight"]
    return found


# ---- Gateway API

GATEWAY_OURS = (2, 5)
"""Positions of the rules that send requests to catalog."""


def http_route() -> dict[str, Any]:
    """Six rules, of which the third (where nothing names the canary yet) and the last (where it has no share) are ours."""
    everything = {"type": "PathPrefix", "value": "/"}
    rules: list[dict[str, Any]] = [
        {
            "matches": [{"path": {"type": "Exact", "value": "/old"}}],
            "filters": [
                {
                    "type": "RequestRedirect",
                    "requestRedirect": {"scheme": "https", "hostname": "shop.example.com", "port": 8443, "statusCode": 301},
                }
            ],
        },
        {
            "name": "search",
            "matches": [
                {
                    "path": {"type": "PathPrefix", "value": "/suche/größe"},
                    "headers": [{"type": "RegularExpression", "name": "x-user", "value": "^[a-f]~1/.*$"}],
                    "queryParams": [{"name": "version", "value": "1.~0"}],
                }
            ],
            "filters": [
                {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}},
                {
                    "type": "RequestHeaderModifier",
                    "requestHeaderModifier": {"set": [{"name": "x-a", "value": "1"}], "remove": ["x-b"]},
                },
            ],
            "backendRefs": [{"name": "search", "port": 80, "weight": 3}, {"name": "search-canary", "port": 80, "weight": 1}],
            "timeouts": {"request": "10s", "backendRequest": "2s"},
        },
        {
            "name": "testers",
            "matches": [{"path": everything, "headers": [{"name": "x-tester", "value": "yes"}]}],
            "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "x-t", "value": "1"}]}}],
            "backendRefs": [
                {
                    "name": "catalog",
                    "port": 80,
                    "filters": [
                        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"add": [{"name": "x-via", "value": "shop"}]}}
                    ],
                }
            ],
            "timeouts": {"request": "30s"},
        },
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/cart"}, "method": "POST"}],
            "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "catalog", "port": 80}}}],
            "backendRefs": [{"name": "cart", "port": 80}],
        },
        {
            "name": "elsewhere",
            "matches": [{"path": {"type": "PathPrefix", "value": "/staging"}}],
            "filters": [{"type": "ExtensionRef", "extensionRef": {"group": "example.com", "kind": "Plugin", "name": "p"}}],
            "backendRefs": [
                {"name": "catalog", "namespace": "staging", "port": 80, "weight": 40},
                {"name": "catalog-canary", "namespace": "staging", "port": 80, "weight": 60},
            ],
        },
        {
            "name": "primary",
            "matches": [{"path": everything}],
            "backendRefs": [
                {"name": "catalog-canary", "port": 80, "weight": 0},
                {"name": "catalog", "port": 80, "weight": 100},
            ],
        },
    ]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": _metadata("catalog"),
        "spec": {
            "parentRefs": [
                {"name": "public", "namespace": "istio-system", "sectionName": "https", "port": 443},
                {"name": "internal", "namespace": "istio-system"},
            ],
            "hostnames": ["shop.example.com", "*.shop.example.com"],
            "rules": rules,
        },
    }


def _gateway_weight(document: dict[str, Any]) -> int:
    testers, primary = (document["spec"]["rules"][index]["backendRefs"] for index in GATEWAY_OURS)
    canary, stable = primary
    weight = int(canary["weight"])
    assert stable["weight"] == 100 - weight
    own, *more = testers
    if more or weight:
        assert own["weight"] == 100 - weight
        assert more == [{**own, "name": "catalog-canary", "weight": weight}]
    else:
        assert own.get("weight", 1) == 1
    return weight


def _gateway_rest(document: dict[str, Any]) -> dict[str, Any]:
    """Of the rule that gets its second backend from the rollout, the first one stays what it was but for its weight."""
    found = kept(document)
    testers, primary = (found["spec"]["rules"][index]["backendRefs"] for index in GATEWAY_OURS)
    del testers[1:]
    for ref in (*testers, *primary):
        ref.pop("weight", None)
    return found


# ---- NGINX


def ingress() -> dict[str, Any]:
    """The Ingress of web-frontend: paths of others too, and all kinds of annotations."""
    annotations = {
        f"{NGINX}affinity": "cookie",
        f"{NGINX}auth-url": "https://auth.example.com/verify?rd=$escaped_request_uri",
        f"{NGINX}configuration-snippet": 'more_set_headers "x-a: 1";\n  # ~0 ~1 {{ }}\n',
        f"{NGINX}proxy-body-size": "8m",
        "cert-manager.io/cluster-issuer": "letsencrypt",
    }
    paths = [_path("/", "web-frontend"), _path("/api", "search"), _path("/assets", "web-frontend", "http")]
    found = _ingress("web-frontend", annotations, paths)
    found["spec"]["rules"].append({"host": "other.example.com", "http": {"paths": [_path("/", "accounts")]}})
    found["spec"]["tls"] = [{"hosts": ["web-frontend.sandbox.internal"], "secretName": "web-tls"}]
    return found


def canary_ingress() -> dict[str, Any]:
    """A canary Ingress that the team made itself: a total of its own, and a header that the rollout has nothing to do with."""
    annotations = {
        f"{NGINX}canary": "true",
        f"{NGINX}canary-by-header": "x-always-new",
        f"{NGINX}canary-weight": "0",
        f"{NGINX}canary-weight-total": "1000",
        f"{NGINX}configuration-snippet": 'more_set_headers "x-served-by: new";\n',
        "cert-manager.io/cluster-issuer": "letsencrypt",
    }
    name = "web-frontend-canary"
    return _ingress(name, annotations, [_path("/", name), _path("/assets", name, "http"), _path("/beta", name)])


def _ingress(name: str, annotations: dict[str, str], paths: list[dict[str, Any]]) -> dict[str, Any]:
    metadata = _metadata(name)
    metadata["annotations"] |= annotations
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata,
        "spec": {
            "ingressClassName": "nginx",
            "rules": [{"host": "web-frontend.sandbox.internal", "http": {"paths": paths}}],
        },
    }


def _path(path: str, service: str, port: str = "") -> dict[str, Any]:
    return {
        "path": path,
        "pathType": "Prefix",
        "backend": {"service": {"name": service, "port": {"name": port} if port else {"number": 80}}},
    }


def _nginx_weight(document: dict[str, Any]) -> int:
    weight = int(document["metadata"]["annotations"][f"{NGINX}canary-weight"])
    assert weight % 10 == 0
    return weight // 10


def _nginx_rest(document: dict[str, Any]) -> dict[str, Any]:
    found = kept(document)
    del found["metadata"]["annotations"][f"{NGINX}canary-weight"]
    return found


def _metadata(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": NS,
        "labels": {"app": name.removesuffix("-canary"), **_TEAM_LABELS},
        "annotations": dict(_TEAM_ANNOTATIONS),
    }

"""Which router splits a service's requests: whatever sends them to it already, and the number of pods where nothing does.

==============================================================  =============
a VirtualService that routes to the service's host              ``istio``
an HTTPRoute with the service's Service among its backendRefs   ``gateway``
an Ingress of ingress-nginx with that Service as a backend      ``nginx``
none of these                                                   ``replicas``
==============================================================  =============

Two that match are two ways in: a share set on one of them would not be the share of the requests. That is refused, naming both,
unless the configuration says which one to use (``services.SERVICE.router``: a router's name, or ``router/OBJECT``).
"""

from dataclasses import dataclass

from services.model.objects import ObjectRef
from services.traffic.gateway import Gateway
from services.traffic.istio import Istio
from services.traffic.nginx import Nginx
from services.traffic.replicas import Replicas
from services.traffic.router import Document, NotRoutable, Pods, Route, Router, Surroundings, name_of

REPLICAS = Replicas()
ROUTERS: dict[str, Router] = {router.name: router for router in (Istio(), Gateway(), Nginx(), REPLICAS)}
"""Every router by its name, in the order in which they are looked for."""

BY_KIND: dict[str, Router] = {
    "VirtualService": ROUTERS["istio"],
    "HTTPRoute": ROUTERS["gateway"],
    "Ingress": ROUTERS["nginx"],
    "Deployment": REPLICAS,
}
"""The router that reads the share from an object of a kind."""

_KINDS = {"istio": "VirtualService", "gateway": "HTTPRoute", "nginx": "nginx Ingress"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """The router of one service, how it will split, and why it is this one."""

    router: Router
    route: Route
    reason: str


def choose(around: Surroundings, configured: str = "") -> Chosen:
    """The router of a service. Raises :class:`NotRoutable` where none can carry a canary, or more than one would have to."""
    if configured:
        return _configured(around, configured)
    found = {name: refs for name, router in ROUTERS.items() if (refs := router.found(around))}
    ways = [(name, ref) for name, refs in found.items() for ref in (refs[:1] if name == "nginx" else refs)]
    if len(ways) > 1:
        listed = " and ".join(f"{ref} ({name})" for name, ref in ways)
        one = len(found) == 1
        answers = " or ".join(f"{name}/{ref.name}" if one else name for name, ref in ways)
        raise NotRoutable(
            f"{listed} send requests to {around.service}",
            "A share set on one of them would not be the share of the requests.",
            f"the one to split, in the configuration: services: {{{around.service}: {{router: {answers}}}}}",
        )
    if ways:
        name, ref = ways[0]
        why = f"{', '.join(str(each) for each in found[name])} {'routes' if len(found[name]) == 1 else 'route'} to it"
        return Chosen(ROUTERS[name], ROUTERS[name].route(around, ref), why + _unseen(around))
    if around.unseen:
        kinds = ", ".join(around.unseen)
        raise NotRoutable(
            f"it can't be told what routes to {around.service}: {kinds} may not be read in {around.namespace}",
            "Where one of them does, a canary by replica counts would not get the share it shows.",
            f"the permission to list them; or, where none exists: services: {{{around.service}: {{router: replicas}}}} in the "
            f"configuration",
        )
    passed = "; ".join(why for router in ROUTERS.values() for why in router.passed_over(around))
    why = "no VirtualService, HTTPRoute or nginx Ingress routes to it" + (f" ({passed})" if passed else "")
    return Chosen(REPLICAS, REPLICAS.route(around, None), why)


@dataclass(frozen=True, slots=True)
class Held:
    """What one object says of the canary's share: ``weight`` in percent, or why it can't be told."""

    router: Router
    ref: ObjectRef
    body: Document
    weight: int
    problem: NotRoutable | None = None


def is_routed(around: Surroundings) -> bool:
    """Whether any route sends requests to the service."""
    return any(router.found(around) for router in ROUTERS.values())


def shares(around: Surroundings, ready: Pods) -> tuple[Held, ...]:
    """What sends the canary requests now, and what may do so without its share being told; ``ready``: the ready pods of both
    workloads. The number of pods counts only where nothing routes to the service."""
    found: list[Held] = []
    routed = is_routed(around)
    for router in ROUTERS.values():
        for body in router.carriers(around) if not (router.by_pods and routed) else ():
            kind = next(kind for kind, each in BY_KIND.items() if each is router)
            ref = ObjectRef(kind, around.namespace, name_of(body))
            try:
                weight = router.weight_of(body, around.service, ready)
            except NotRoutable as problem:
                found.append(Held(router, ref, body, 0, problem))
            else:
                if weight:
                    found.append(Held(router, ref, body, weight))
    return tuple(found)


def _configured(around: Surroundings, configured: str) -> Chosen:
    name, _, wanted = configured.partition("/")
    router = ROUTERS.get(name)
    if router is None:
        raise NotRoutable(f"{name} is no router", "", f"one of {', '.join(ROUTERS)}")
    found = router.found(around)
    matching = [ref for ref in found if ref.name == wanted] if wanted else list(found)
    if wanted and not matching:
        raise NotRoutable(
            f"no {_KINDS.get(name, name)} {wanted} routes to {around.service}",
            f"These do: {', '.join(str(ref) for ref in found) or 'none'}.",
            f"services.{around.service}.router as {' or '.join(f'{name}/{ref.name}' for ref in found) or 'another router'}",
        )
    if len(matching) > 1 and name != "nginx":
        listed = " and ".join(str(ref) for ref in matching)
        raise NotRoutable(
            f"{listed} send requests to {around.service}",
            "A share set on one of them would not be the share of the requests.",
            f"services.{around.service}.router as {' or '.join(f'{name}/{ref.name}' for ref in matching)}",
        )
    chosen = matching[0] if matching else None
    others = [
        str(ref)
        for other in ROUTERS.values()
        for ref in other.found(around)
        if (other is not router or ref not in matching) and not (other is router and name == "nginx")
    ]
    reason = f"services.{around.service}.router says {configured}"
    if others:
        reason += f"; what comes through {', '.join(others)} is not split"
    return Chosen(router, router.route(around, chosen), reason)


def _unseen(around: Surroundings) -> str:
    return f"; {', '.join(around.unseen)} may not be read here" if around.unseen else ""

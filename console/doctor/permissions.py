"""What Quarterdeck asks of a cluster, with what breaks where it is not allowed; and whether it is.

Asked of the API server itself (SelfSubjectAccessReview, authorization.k8s.io/v1), one question a permission: its answer is the
one that counts, whoever decides behind it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from console.doctor.finding import Check, Finding, Group, Topic
from console.doctor.site import Place, Site, first_page, served
from services.cluster.connection import Connection
from services.cluster.inventory import ALL
from services.cluster.objects import OLDER, RESOURCES, WITHOUT_NAMESPACE
from services.model.errors import Forbidden
from services.settings import Settings

AT_ONCE = 8
"""Reviews of one namespace under way at a time: doctors must not be what a busy API server dies of."""
ROUTES = ("VirtualService", "DestinationRule", "HTTPRoute", "Ingress")
"""Kinds that a service may have or not: what can't be done to them matters where there are any."""


@dataclass(frozen=True, slots=True)
class Permission:
    """``verb`` on ``kind`` (or a ``subresource`` of it), and what does not work ``without`` it. ``essential``: deploys, rollbacks
    or the fleet; else a convenience. ``writes``: not needed in observer mode."""

    verb: str
    kind: str
    without: str
    subresource: str = ""
    essential: bool = True

    @property
    def writes(self) -> bool:
        return self.verb not in ("get", "list", "watch")

    @property
    def name(self) -> str:
        plural = RESOURCES[self.kind].plural
        return f"{self.verb} {plural}/{self.subresource}" if self.subresource else f"{self.verb} {plural}"


def _rows(kind: str, verbs: str, without: str, *, essential: bool = True) -> tuple[Permission, ...]:
    return tuple(Permission(verb, kind, without, essential=essential) for verb in verbs.split())


_DEPLOYED = "no deploy and no rollback of any service"
_ROUTED = "no canary of a service with such a route, and no rollback of its traffic"
TABLE: tuple[Permission, ...] = (
    *_rows("Deployment", "get list watch", "no service is seen"),
    *_rows("Deployment", "patch", _DEPLOYED),
    *_rows("Deployment", "create", "no canary: its Deployment can't be made"),
    *_rows("ReplicaSet", "list watch", "revisions and their pods are not told apart; no rollback to a revision"),
    *_rows("Pod", "get list watch", "the health of no version is seen; nothing is promoted"),
    *_rows("Service", "get list watch", "what routes to a service is not known"),
    *_rows("Service", "create patch delete", "no canary by HTTPRoute or Ingress: it needs a Service", essential=False),
    *_rows("ConfigMap", "get list watch", "rollouts and records are not seen, of others neither"),
    *_rows("ConfigMap", "create update patch", "no rollout: its checkpoint can't be kept"),
    *_rows("ConfigMap", "delete", "old checkpoints and records pile up", essential=False),
    *_rows("Lease", "get list watch", "who drives what is not seen"),
    *_rows("Lease", "create update", "no rollout: its service can't be held against others"),
    *_rows("VirtualService", "get list watch", _ROUTED),
    *_rows("VirtualService", "patch", _ROUTED),
    *_rows("DestinationRule", "get list watch", _ROUTED),
    *_rows("HTTPRoute", "get list watch patch", _ROUTED),
    *_rows("Ingress", "get list watch create patch delete", _ROUTED),
    *_rows("Event", "list", "why a pod fails is not shown", essential=False),
    Permission("get", "Pod", "logs are not shown", "log", essential=False),
)
PROXIED = {
    "metrics": Permission("get", "Pod", "no metrics of pods (or set metrics.scrape_url): nothing is promoted", "proxy"),
    "probes": Permission("get", "Pod", "no health probes (or set probes.url)", "proxy"),
    "smoke": Permission("get", "Service", "no smoke tests (or set smoke.url)", "proxy"),
}
"""What is read through the API server unless a URL of the configuration leads there."""


def needed(settings: Settings, *, read_only: bool) -> tuple[Permission, ...]:
    """The permissions that this configuration needs. Kinds that are watched and not in the table are told all the same."""
    urls = {"metrics": settings.metrics.scrape_url, "probes": settings.probes.url, "smoke": settings.smoke.url}
    proxied: dict[tuple[str, str], Permission] = {}
    for name, permission in PROXIED.items():
        if urls[name] is None:
            proxied.setdefault((permission.kind, permission.subresource), permission)
    told = {permission.kind for permission in TABLE}
    untold = [row for kind in ALL if kind not in told for row in _rows(kind, "list watch", f"no {kind} is seen", essential=False)]
    rows = (*TABLE, *untold, *proxied.values())
    # A kind that no connection knows where to find is one that nothing asks for.
    return tuple(row for row in rows if row.kind in RESOURCES and not (read_only and row.writes))


def checks(site: Site, settings: Settings, *, read_only: bool) -> list[Check]:
    wanted = needed(settings, read_only=read_only)
    found = []
    for place in site.places:
        topic = Topic(Group.PERMISSIONS, "permissions", str(place))
        found.append(Check(topic, lambda place=place: _permissions(site, place, wanted)))  # type: ignore[misc]
    return found


async def _permissions(site: Site, place: Place, wanted: Sequence[Permission]) -> list[Finding]:
    connection = await site.reached()
    slots = asyncio.Semaphore(AT_ONCE)

    async def allowed(permission: Permission) -> bool:
        resource = RESOURCES[permission.kind]
        namespace = "" if permission.kind in WITHOUT_NAMESPACE else place.namespace
        async with slots:
            return await connection.review(
                permission.verb, resource.group, resource.plural, namespace, subresource=permission.subresource
            )

    answers = await asyncio.gather(*(allowed(permission) for permission in wanted))
    missing = [permission for permission, allowed in zip(wanted, answers, strict=True) if not allowed]
    unused = await _unused(connection, place.namespace, {row.kind for row in missing} & set(ROUTES))
    return [
        _told(row, answer, place, site.context, unused=row.kind in unused) for row, answer in zip(wanted, answers, strict=True)
    ]


def _told(permission: Permission, allowed: bool, place: Place, context: str, *, unused: bool) -> Finding:
    topic = Topic(Group.PERMISSIONS, permission.name, str(place))
    if allowed:
        return topic.ok("allowed")
    if unused:
        return topic.skipped(f"not allowed; there is no {permission.kind} here")
    found = f"not allowed to context {context} in namespace {place.namespace}"
    action = "Ask whoever runs the cluster for this, or use a context that has it."
    without = f"without it, {permission.without}"
    return topic.problem(found, without, action) if permission.essential else topic.warning(found, without, action)


async def _unused(connection: Connection, namespace: str, kinds: set[str]) -> set[str]:
    """Those of ``kinds`` of which the namespace has none, as far as we may see; those that are not even served."""
    unused = set()
    for kind in kinds:
        resource = RESOURCES[kind]
        try:
            versions = (resource.version, *OLDER.get(kind, ()))
            if not [one for one in versions if resource.plural in await served(connection, resource.group, one)]:
                unused.add(kind)
                continue
            if not (await first_page(connection, kind, namespace, 1)).items:
                unused.add(kind)
        except Forbidden:
            continue  # there may be some
    return unused

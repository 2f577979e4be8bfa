"""Which APIs each context serves: those nothing works without, and those by which requests can be split."""

from collections.abc import Mapping

import msgspec

from console.doctor.finding import Check, Finding, Group, Topic
from console.doctor.site import Site, served
from services.cluster.objects import OLDER, RESOURCES
from services.cluster.transport import Request

REQUIRED = ("Deployment", "ReplicaSet", "Pod", "Service", "ConfigMap", "Lease")
SPLITTING: Mapping[str, tuple[str, ...]] = {
    "Istio": ("networking.istio.io", "virtualservices", "destinationrules"),
    "Gateway API": ("gateway.networking.k8s.io", "httproutes"),
    "Ingress": ("networking.k8s.io", "ingresses"),
}
"""API group and plurals of each way to split requests."""


class _Group(msgspec.Struct, frozen=True):
    name: str = ""
    versions: tuple[dict[str, str], ...] = ()


class _Groups(msgspec.Struct, frozen=True):
    groups: tuple[_Group, ...] = ()


def checks(site: Site) -> list[Check]:
    required = Topic(Group.APIS, "required", site.context)
    found = [Check(required, lambda: _required(required, site))]
    for router, (group, *plurals) in SPLITTING.items():
        topic = Topic(Group.APIS, router, site.context)
        found.append(
            Check(topic, lambda topic=topic, group=group, plurals=tuple(plurals): _splitting(topic, site, group, plurals))  # type: ignore[misc]
        )
    return found


async def _required(topic: Topic, site: Site) -> list[Finding]:
    connection = await site.reached()
    known: dict[str, frozenset[str]] = {}
    missing = []
    for kind in REQUIRED:
        resource = RESOURCES[kind]
        if resource.api_version not in known:
            known[resource.api_version] = await served(connection, resource.group, resource.version)
        if resource.plural not in known[resource.api_version]:
            missing.append(f"{resource.plural}.{resource.api_version}")
    if missing:
        return [topic.problem(f"not served: {', '.join(missing)}", "these kinds, for everything", "Update the cluster.")]
    return [topic.ok(f"serves {', '.join(sorted(known))}")]


async def _splitting(topic: Topic, site: Site, group: str, plurals: tuple[str, ...]) -> list[Finding]:
    connection = await site.reached()
    answer = await connection.request(Request("GET", "/apis", "list the API groups"))
    groups = {found.name: found for found in msgspec.json.decode(answer.body, type=_Groups).groups}
    if group not in groups:
        return [topic.skipped("not installed")]
    versions = [entry.get("version", "") for entry in groups[group].versions]
    kinds = {kind: at for kind, at in RESOURCES.items() if at.group == group and at.plural in plurals}
    for kind, resource in kinds.items():
        usable = (resource.version, *OLDER.get(kind, ()))
        if not [version for version in usable if resource.plural in await served(connection, group, version)]:
            found = f"{group} serves {', '.join(versions)}, but no {resource.plural} of {' or '.join(usable)}"
            needed = f"{' or '.join(usable)}: without it no request is split by {topic.name}"
            return [topic.warning(found, needed, f"Update {topic.name}.")]
    return [topic.ok(f"{group} {', '.join(versions)}")]

"""The discovery documents: which groups, versions and resources there are, and the little of OpenAPI that kubectl asks for."""

from typing import Any

from services.sandbox.resources import RESOURCES, REVIEW_GROUP, VERBS, Resource

VERSION = {
    "major": "1",
    "minor": "30",
    "gitVersion": "v1.30.0+sandbox",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}

_REVIEWS = [
    {
        "name": "selfsubjectaccessreviews",
        "singularName": "selfsubjectaccessreview",
        "namespaced": False,
        "kind": "SelfSubjectAccessReview",
        "verbs": ["create"],
    }
]


def core_versions() -> dict[str, Any]:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups() -> dict[str, Any]:
    found: dict[str, tuple[str, ...]] = {resource.group: resource.versions for resource in RESOURCES if resource.group}
    found[REVIEW_GROUP] = ("v1",)
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name, versions) for name, versions in found.items()]}


def group(name: str) -> dict[str, Any] | None:
    found = next((item for item in groups()["groups"] if item["name"] == name), None)
    return found and {"kind": "APIGroup", "apiVersion": "v1", **found}


def _group(name: str, versions: tuple[str, ...]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resources(group_name: str, version: str) -> dict[str, Any] | None:
    """The APIResourceList of one group and version."""
    if group_name == REVIEW_GROUP and version == "v1":
        listed = _REVIEWS
    else:
        served = [resource for resource in RESOURCES if resource.group == group_name and version in resource.versions]
        listed = [entry for resource in served for entry in _entries(resource)]
    if not listed:
        return None
    name = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": listed}


def _entries(resource: Resource) -> list[dict[str, Any]]:
    main: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(VERBS),
        "shortNames": list(resource.short),
        "categories": list(resource.categories),
    }
    entries = [main]
    if resource.status:
        entries.append(_sub(resource, "status", {"kind": resource.kind}))
    if resource.scale:
        entries.append(_sub(resource, "scale", {"group": "autoscaling", "version": "v1", "kind": "Scale"}))
    entries += [_sub(resource, name, {"kind": resource.kind}, ["get"]) for name in resource.subresources]
    return entries


def _sub(resource: Resource, name: str, kind: dict[str, str], verbs: list[str] | None = None) -> dict[str, Any]:
    base = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
    return base | kind | {"verbs": verbs or ["get", "patch", "update"]}


def openapi_index() -> dict[str, Any]:
    paths = {f"apis/{resource.api_version(version)}" for resource in RESOURCES for version in resource.versions if resource.group}
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in ("api/v1", *sorted(paths))}}


def openapi(path: str) -> dict[str, Any] | None:
    """One group's OpenAPI: just enough to tell kubectl that fields are validated here, so that it doesn't want every schema."""
    paths: dict[str, Any] = {}
    for resource in RESOURCES:
        for version in resource.versions:
            root = f"apis/{resource.group}/{version}" if resource.group else f"api/{version}"
            if root != path:
                continue
            space = "/namespaces/{namespace}" if resource.namespaced else ""
            marks = {"x-kubernetes-group-version-kind": {"group": resource.group, "version": version, "kind": resource.kind}}
            asked = [
                {"name": name, "in": "query", "schema": {"type": "string"}}
                for name in ("dryRun", "fieldManager", "fieldValidation")
            ]
            operation = {"parameters": asked, "responses": {"200": {"description": "OK"}}, **marks}
            paths[f"/{root}{space}/{resource.plural}"] = {"post": {**operation, "x-kubernetes-action": "post"}}
            paths[f"/{root}{space}/{resource.plural}/{{name}}"] = {
                verb: {**operation, "x-kubernetes-action": verb} for verb in ("put", "patch")
            }
    if not paths:
        return None
    return {
        "openapi": "3.0.0",
        "info": {"title": "Quarterdeck sandbox", "version": VERSION["gitVersion"]},
        "paths": paths,
        "components": {},
    }

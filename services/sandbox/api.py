"""The Kubernetes API over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from services.clock import Clock
from services.sandbox import discovery, patches
from services.sandbox.access import Tokens, User
from services.sandbox.errors import ApiError, bad_request, not_found, patch_failed
from services.sandbox.faults import Faults
from services.sandbox.paging import Pages
from services.sandbox.podweb import PodWeb
from services.sandbox.registry import Registry
from services.sandbox.resources import PODS, REVIEW_GROUP, Object, meta
from services.sandbox.selectors import Match, field_selector, label_selector
from services.sandbox.tables import table
from services.sandbox.target import Target, target
from services.sandbox.watching import Watch

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Api:
    """Answers every request below ``/api``, ``/apis``, ``/openapi``, ``/version`` and the health paths."""

    def __init__(self, registry: Registry, tokens: Tokens, clock: Clock, faults: Faults, pods: PodWeb | None) -> None:
        self._registry = registry
        self._store = registry.store
        self._tokens = tokens
        self._clock = clock
        self._faults = faults
        self._pods = pods
        self._pages = Pages()

    @property
    def _pod_web(self) -> PodWeb:
        """What runs inside the pods. Raises ApiError 404 where this API has no pods."""
        if self._pods is None:
            raise ApiError(404, "NotFound", "no pods are served here")
        return self._pods

    def compact(self) -> None:
        """Forget history and unfinished lists: what clients hold from before now is too old."""
        self._store.forget_history()
        self._pages.forget()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        try:
            await self._faults.api(request, changes=request.method != "GET")
            if request.path in ("/readyz", "/healthz", "/livez"):
                return web.Response(text="ok")
            user = self._tokens.user(request.headers.get("Authorization", ""))
            if request.method == "GET" and (document := _document(request.path)) is not None:
                return answer(document)
            if request.path.startswith(f"/apis/{REVIEW_GROUP}/v1/selfsubjectaccessreviews"):
                return await self._review(request, user)
            return await self._resource(request, user, target(request.path))
        except ApiError as error:
            headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
            return answer(error.status(), error.code, headers)

    async def _resource(self, request: web.Request, user: User, at: Target) -> web.StreamResponse:
        verb = _VERBS.get(request.method)
        if verb is None:
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        watching = request.query.get("watch") in ("1", "true")
        if not at.name:
            verb = {"get": "watch" if watching else "list", "delete": "deletecollection"}.get(verb, verb)
        path = at.resource.plural + (f"/{at.subresource}" if at.subresource else "")
        user.require(verb, at.resource.group, path, at.space)
        if at.subresource in ("log", "proxy"):
            return await (self._log if at.subresource == "log" else self._proxy)(request, at)
        if verb in ("list", "watch"):
            return await (self._watch if watching else self._list)(request, at)
        handlers: dict[str, Callable[[web.Request, Target], Awaitable[web.StreamResponse]]] = {
            "get": self._get,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_all,
        }
        return await handlers[verb](request, at)

    async def _get(self, request: web.Request, at: Target) -> web.Response:
        found = self._registry.read(at.resource, at.space, at.name)
        if at.subresource == "scale":
            return answer(_scale_of(found))
        if _wants_table(request):
            return answer(table(at.resource, [found], {"resourceVersion": meta(found)["resourceVersion"]}, self._clock.now()))
        return self._answer_object(at, found)

    def _selects(self, request: web.Request, at: Target) -> Match:
        by_label = label_selector(request.query.get("labelSelector", ""))
        by_field = field_selector(request.query.get("fieldSelector", ""), at.resource.plural)
        return lambda found: by_label(found) and by_field(found)

    async def _list(self, request: web.Request, at: Target) -> web.Response:
        selects = self._selects(request, at)
        try:
            limit = int(request.query.get("limit") or 0)
        except ValueError:
            raise bad_request("limit is not a number") from None
        objects = [found for found in self._store.all(at.resource, at.namespace) if selects(found)]
        items, metadata = self._pages.page(objects, self._store.revision, limit, request.query.get("continue", ""))
        if _wants_table(request):
            return answer(table(at.resource, items, metadata, self._clock.now()))
        listed = {"kind": f"{at.resource.kind}List", "apiVersion": at.api_version, "metadata": metadata}
        if at.version != at.resource.versions[0]:
            items = [{**found, "apiVersion": at.api_version} for found in items]
        return answer({**listed, "items": items})

    async def _watch(self, request: web.Request, at: Target) -> web.StreamResponse:
        watch = Watch(self._store, at, self._selects(request, at), as_table=_wants_table(request), now=self._clock.now)
        return await watch.serve(request, self._faults)

    async def _create(self, request: web.Request, at: Target) -> web.Response:
        if at.name:
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        body = await _body(request)
        if body.get("kind") not in (None, at.resource.kind):
            raise bad_request(f"{body['kind']} in version {at.version!r} cannot be handled as a {at.resource.kind}")
        return self._answer_object(at, self._registry.create(at.resource, at.space, body, dry_run=_dry_run(request)), 201)

    async def _update(self, request: web.Request, at: Target) -> web.Response:
        return self._write(request, at, await _body(request))

    def _write(self, request: web.Request, at: Target, body: Object) -> web.Response:
        dry_run = _dry_run(request)
        if at.subresource == "scale":
            old = self._registry.read(at.resource, at.space, at.name)
            wanted = (body.get("spec") or {}).get("replicas", 0)
            metadata = meta(old) | {"resourceVersion": (body.get("metadata") or {}).get("resourceVersion", "")}
            body = {**old, "metadata": metadata, "spec": {**old["spec"], "replicas": wanted}}
            return answer(_scale_of(self._registry.update(at.resource, at.space, at.name, body, dry_run=dry_run)))
        new = self._registry.update(at.resource, at.space, at.name, body, subresource=at.subresource, dry_run=dry_run)
        return self._answer_object(at, new)

    async def _patch(self, request: web.Request, at: Target) -> web.Response:
        kind = request.content_type
        if kind not in (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH) or (kind == STRATEGIC_PATCH and at.resource.custom):
            accepted = [JSON_PATCH, MERGE_PATCH] + ([] if at.resource.custom else [STRATEGIC_PATCH])
            why = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
            raise ApiError(415, "UnsupportedMediaType", why)
        patch = await _json(request)
        old = self._registry.read(at.resource, at.space, at.name)
        current = _scale_of(old) if at.subresource == "scale" else {**old, "apiVersion": at.api_version}
        try:
            if kind == JSON_PATCH:
                new = patches.json_patch(current, patch)
            elif kind == MERGE_PATCH:
                new = patches.merge_patch(current, patch)
            else:
                new = patches.strategic_merge(current, patch)
        except patches.PatchFailed:
            raise patch_failed() from None
        except patches.PatchMalformed as error:
            raise bad_request(str(error)) from None
        if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
            raise patch_failed()
        return self._write(request, at, new)

    async def _delete(self, request: web.Request, at: Target) -> web.Response:
        options = await _json(request) if request.can_read_body else {}
        options = options if isinstance(options, dict) else {}
        last = self._delete_one(request, at, at.space, at.name, options)
        if "deletionTimestamp" in meta(last):
            return self._answer_object(at, last)
        details = {"name": at.name, "kind": at.resource.plural, "uid": meta(last)["uid"]}
        details |= {"group": at.resource.group} if at.resource.group else {}
        return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    def _delete_one(self, request: web.Request, at: Target, namespace: str, name: str, options: dict[str, Any]) -> Object:
        grace = request.query.get("gracePeriodSeconds", options.get("gracePeriodSeconds"))
        found = self._registry.read(at.resource, namespace, name)
        policy = request.query.get("propagationPolicy", options.get("propagationPolicy"))
        dry_run = _dry_run(request) or bool(options.get("dryRun"))
        if not dry_run and (policy == "Orphan" or options.get("orphanDependents")):
            self._registry.orphan(found)
        preconditions = options.get("preconditions")
        grace = None if grace is None else int(grace)
        return self._registry.delete(at.resource, namespace, name, grace=grace, preconditions=preconditions, dry_run=dry_run)

    async def _delete_all(self, request: web.Request, at: Target) -> web.Response:
        options = await _json(request) if request.can_read_body else {}
        selects = self._selects(request, at)
        items = [found for found in self._store.all(at.resource, at.namespace) if selects(found)]
        for found in items:
            self._delete_one(request, at, meta(found).get("namespace", ""), meta(found)["name"], options)
        metadata = {"resourceVersion": str(self._store.revision)}
        return answer({"kind": f"{at.resource.kind}List", "apiVersion": at.api_version, "metadata": metadata, "items": items})

    async def _log(self, request: web.Request, at: Target) -> web.StreamResponse:
        pod = self._registry.read(PODS, at.space, at.name)
        return await self._pod_web.log.serve(request, pod)

    async def _proxy(self, request: web.Request, at: Target) -> web.Response:
        if request.method != "GET":
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        name = at.name.removeprefix("http:").split(":")[0]
        if at.resource is PODS:
            self._registry.read(PODS, at.space, name)
            return await self._pod_web.pod(request, at.space, name, at.rest)
        if self._store.get(at.resource, at.space, name) is None:
            raise not_found(at.resource.plural, at.resource.group, name)
        return await self._pod_web.service(request, at.space, name, at.rest)

    async def _review(self, request: web.Request, user: User) -> web.Response:
        if request.method != "POST":
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        body = await _body(request)
        spec = body.get("spec") or {}
        asked = spec.get("resourceAttributes") or {}
        name = asked.get("resource", "") + (f"/{asked['subresource']}" if asked.get("subresource") else "")
        allowed = user.may(asked.get("verb", ""), asked.get("group", ""), name)
        metadata = {"creationTimestamp": None}
        kind = {"kind": "SelfSubjectAccessReview", "apiVersion": f"{REVIEW_GROUP}/v1"}
        return answer({**kind, "metadata": metadata, "spec": spec, "status": {"allowed": allowed}}, 201)

    def _answer_object(self, at: Target, found: Object, code: int = 200) -> web.Response:
        return answer(found if at.api_version == found["apiVersion"] else {**found, "apiVersion": at.api_version}, code)


def answer(document: Any, code: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(body=msgspec.json.encode(document), status=code, content_type="application/json", headers=headers)


def _document(path: str) -> dict[str, Any] | None:
    parts = path.strip("/").split("/")
    match parts:
        case ["version"]:
            return discovery.VERSION
        case ["api"]:
            return discovery.core_versions()
        case ["apis"]:
            return discovery.groups()
        case ["api", version]:
            return discovery.resources("", version)
        case ["apis", group]:
            return discovery.group(group)
        case ["apis", group, version]:
            return discovery.resources(group, version)
        case ["openapi", "v3"]:
            return discovery.openapi_index()
        case ["openapi", "v3", *rest]:
            return discovery.openapi("/".join(rest))
    return None


def _scale_of(found: Object) -> Object:
    kept = {key: meta(found)[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    selector = (found["spec"].get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": kept,
        "spec": {"replicas": found["spec"].get("replicas", 0)},
        "status": {
            "replicas": (found.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(selector.items())),
        },
    }


def _wants_table(request: web.Request) -> bool:
    return "as=Table" in request.headers.get("Accept", "")


def _dry_run(request: web.Request) -> bool:
    if (wanted := request.query.get("dryRun")) not in (None, "", "All"):
        raise bad_request(f"Invalid value: {wanted!r}: dryRun accepts only 'All'")
    return request.query.get("dryRun") == "All"


async def _json(request: web.Request) -> Any:
    try:
        return msgspec.json.decode(await request.read())
    except msgspec.DecodeError as error:
        if "yaml" in request.content_type:
            raise ApiError(415, "UnsupportedMediaType", "YAML is not accepted here: send JSON") from None
        raise bad_request(f"the body is not JSON: {error}") from None


async def _body(request: web.Request) -> Object:
    body = await _json(request)
    if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict):
        raise bad_request("the body is not a Kubernetes object")
    return body

"""Reading a cluster. What the house holds of a cluster can look and ask, and nothing else (design, section 3).

::

    Clusters      the contexts of a kubeconfig, one cached connection each
    Connection    get, list, watch, proxied GET, access review, dry run
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from services.clock import Clock
from services.cluster.answers import Garbled, refusal, status_of
from services.cluster.calls import CallLog
from services.cluster.credentials import (
    IN_CLUSTER,
    CredentialSource,
    InCluster,
    Kubeconfig,
    OnLoopback,
    context_names,
    kubeconfig_paths,
)
from services.cluster.lines import Events, events_of
from services.cluster.objects import OLDER, RESOURCES, TYPES, Page, path_of
from services.cluster.transport import DEFAULT_SECONDS, REVIEWS, Answer, Request, Transport
from services.model.errors import NotFound, ObserverMode, Rejected
from services.model.objects import Json, ObjectRef

T = TypeVar("T")

PAGE_SIZE = 500
LIST_SECONDS = 30.0
"""Time for one page of a list (wall)."""
QUIET_SECONDS = 90.0
"""A watch that says nothing for so long is opened again; API servers send a bookmark about every minute."""

_CONNECTS = ("/exec", "/attach", "/portforward")


class _GroupVersion(msgspec.Struct, frozen=True):
    version: str = ""


class _Group(msgspec.Struct, frozen=True):
    """What discovery says of one API group."""

    versions: tuple[_GroupVersion, ...] = ()


class Connection:
    """Reads of one context's cluster. Every method raises the errors of ``services/model/errors``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def context(self) -> str:
        return self._transport.context

    @property
    def server(self) -> str:
        """URL of the API server; the context's name until the first request."""
        return self._transport.server

    async def request(self, request: Request, *, timeout: float = DEFAULT_SECONDS) -> Answer:
        """Send a request that changes nothing; raises ObserverMode for any other, before anything is sent."""
        self._check(request)
        return await self._transport.request(request, timeout)

    async def get(self, ref: ObjectRef, *, timeout: float = DEFAULT_SECONDS) -> dict[str, Json]:
        """The object as it is now."""
        while True:
            request = Request("GET", self._path(ref.kind, ref.namespace, ref.name), f"GET {ref}")
            try:
                return _document(await self.request(request, timeout=timeout), self.server)
            except NotFound:
                if not await self._serves_another_version(ref.kind):
                    raise

    async def pages(
        self,
        kind: str,
        namespace: str,
        *,
        labels: str = "",
        fields: str = "",
        retry: bool = True,
        limit: int = PAGE_SIZE,
        on_sent: Callable[[], None] | None = None,
    ) -> AsyncGenerator[Page]:
        """The pages of a list, items undecoded. The last page's resource version is where a watch goes on. ``on_sent`` is called
        whenever a page has been asked for."""
        params = {"limit": str(limit)}
        if labels:
            params["labelSelector"] = labels
        if fields:
            params["fieldSelector"] = fields
        what = f"list {RESOURCES[kind].plural} in {namespace}"
        while True:
            path = self._path(kind, namespace)
            request = Request("GET", path, what, params=dict(params), retry=retry, compressed=True, on_sent=on_sent)
            try:
                page = _decoded(await self.request(request, timeout=LIST_SECONDS), Page, self.server)
            except NotFound:
                if "continue" in params or not await self._serves_another_version(kind):
                    raise
                continue
            yield page
            if not page.metadata.continue_:
                return
            params["continue"] = page.metadata.continue_

    async def list(
        self, kind: str, namespace: str, *, labels: str = "", fields: str = "", type: type[Any] | None = None
    ) -> list[Any]:
        """All objects of a kind in a namespace, as the kind's struct in ``objects.TYPES`` or as ``type`` (``dict``: raw)."""
        wanted = type if type is not None else TYPES[kind]
        found: list[Any] = []
        async with aclosing(self.pages(kind, namespace, labels=labels, fields=fields)) as pages:
            async for page in pages:
                for item in page.items or ():
                    try:
                        found.append(msgspec.json.decode(item, type=wanted))
                    except msgspec.DecodeError as error:
                        raise Garbled(f"{self.server} listed a {kind} in {namespace} that can't be read: {error}") from error
        return found

    async def watch(
        self, kind: str, namespace: str, *, resource_version: str, labels: str = "", quiet_seconds: float = QUIET_SECONDS
    ) -> AsyncGenerator[Events]:
        """Batches of events since ``resource_version``, as they arrive, until the server ends the watch (after 4–5 minutes).

        The first batch is empty: the server has accepted the watch. Raises Unavailable where the stream breaks, Garbled where it
        can't be read; an ERROR event is handed on like any other.
        """
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(random.randint(240, 300)),
        }
        if labels:
            params["labelSelector"] = labels
        request = Request("GET", self._path(kind, namespace), f"watch {RESOURCES[kind].plural} in {namespace}", params=params)
        self._check(request)
        async with aclosing(self._transport.stream(request, quiet_seconds)) as chunks:
            async for events in events_of(chunks, self.server):
                yield events

    async def log(
        self, namespace: str, pod: str, params: Mapping[str, str], *, quiet_seconds: float = QUIET_SECONDS
    ) -> AsyncGenerator[bytes]:
        """Chunks of a container's log, the first one empty: the server has accepted. ``params``: container, follow, previous,
        timestamps, sinceTime, sinceSeconds, tailLines (PodLogOptions of the Kubernetes API)."""
        path = f"{self._path('Pod', namespace, pod)}/log"
        request = Request("GET", path, f"read the log of pod/{pod} in {namespace}", params=params)
        self._check(request)
        async with aclosing(self._transport.stream(request, quiet_seconds)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def proxy(
        self, namespace: str, kind: str, name: str, port: int | str, path: str, timeout: float = DEFAULT_SECONDS
    ) -> tuple[int, bytes]:
        """``GET path`` of a pod or service (``kind`` is ``pods`` or ``services``) through the API server: its status and body.

        Raises where the API server itself refused or could not reach it.
        """
        if kind not in ("pods", "services"):
            raise ValueError(f"only pods and services have a proxy, not {kind}")
        way, _, query = path.partition("?")
        url = (
            f"/api/v1/namespaces/{quote(namespace, safe='')}/{kind}/{quote(f'{name}:{port}', safe=':')}"
            f"/proxy/{quote(way.lstrip('/'), safe='/%~:@!$&()*+,;=')}"
        )
        params = dict(part.partition("=")[::2] for part in query.split("&")) if query else {}
        what = f"GET {path} of {kind[:-1]}/{name} in {namespace}"
        request = Request("GET", url, what, params=params, passes=True, retry=False)
        answer = await self.request(request, timeout=timeout)
        if answer.status == 401 and status_of(answer.body) is not None and self._transport.renew():
            answer = await self.request(request, timeout=timeout)
        if answer.status >= 400 and status_of(answer.body) is not None:
            raise refusal(answer.status, answer.body, answer.headers, context=self.context, server=self.server, what=what)
        return answer.status, answer.body

    async def review(self, verb: str, group: str, resource: str, namespace: str, *, subresource: str = "") -> bool:
        """Whether we may do ``verb`` (get, patch, …) to ``resource`` (plural) of API ``group`` in ``namespace``, or to the
        ``subresource`` (proxy, log) of it."""
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
        if subresource:
            attributes["subresource"] = subresource
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        what = f"ask whether we may {verb} {resource} in {namespace}"
        request = Request("POST", f"{REVIEWS}selfsubjectaccessreviews", what, body=msgspec.json.encode(body))
        document = _document(await self.request(request), self.server)
        status = document.get("status")
        return isinstance(status, dict) and status.get("allowed") is True

    async def dry_run(
        self, method: str, ref: ObjectRef, body: Json, content_type: str = "application/json", *, timeout: float = DEFAULT_SECONDS
    ) -> dict[str, Json]:
        """What a write would make of the object, checked by the server and thrown away. POST creates ``ref``."""
        path = self._path(ref.kind, ref.namespace, "" if method == "POST" else ref.name)
        request = Request(
            method,
            path,
            f"dry run of {method} {ref}",
            params={"dryRun": "All"},
            body=msgspec.json.encode(body),
            content_type=content_type,
        )
        return _document(await self.request(request, timeout=timeout), self.server)

    async def latency(self) -> float:
        """Wall seconds of one small request to the API server."""
        started = time.perf_counter()
        await self.request(Request("GET", "/version", "GET /version", retry=False))
        return time.perf_counter() - started

    async def distrust(self) -> None:
        """Send what comes next over new connections: after an outage an old one may be dead without a sign."""
        await self._transport.distrust()

    async def close(self) -> None:
        await self._transport.close()

    def _path(self, kind: str, namespace: str, name: str = "") -> str:
        return path_of(kind, namespace, name, version=self._transport.versions.get(kind, ""))

    async def _serves_another_version(self, kind: str) -> bool:
        """Whether the server turned out to serve an older version of the kind only, which is asked for from here on."""
        if kind not in OLDER or kind in self._transport.versions:
            return False
        resource = RESOURCES[kind]
        try:
            answer = await self.request(Request("GET", f"/apis/{resource.group}", f"GET /apis/{resource.group}"))
        except NotFound:
            return False
        served = {found.version for found in _decoded(answer, _Group, self.server).versions}
        chosen = next((version for version in (resource.version, *OLDER[kind]) if version in served), "")
        if chosen:
            self._transport.versions[kind] = chosen
        return chosen not in ("", resource.version)

    def _check(self, request: Request) -> None:
        allowed = (
            (request.method == "GET" and not request.path.endswith(_CONNECTS))
            or (request.method == "POST" and request.path.startswith(REVIEWS))
            or (request.method in ("POST", "PUT", "PATCH", "DELETE") and request.params.get("dryRun") == "All")
        )
        if not allowed:
            raise ObserverMode("this connection only reads", f"{request.what} was not sent to {self.context}.")


class Clusters:
    """The contexts of a kubeconfig, and a connection to each that is asked for.

    ``kubeconfig`` is the configured file; ``None`` means KUBECONFIG, ``~/.kube/config``, or the pod's own service account.
    ``on_secret`` is told every token that is loaded (for the redactor). ``loopback_only`` refuses servers on other machines.
    ``calls`` is told every request, the doors' included.
    """

    def __init__(
        self,
        kubeconfig: Path | None,
        clock: Clock,
        *,
        on_secret: Callable[[str], None] | None = None,
        environment: Mapping[str, str] | None = None,
        loopback_only: bool = False,
        calls: CallLog | None = None,
    ) -> None:
        self._kubeconfig = kubeconfig
        self._clock = clock
        self._on_secret = on_secret
        self._environment = os.environ if environment is None else environment
        self._loopback_only = loopback_only
        self._calls = calls
        self._connections: dict[str, Connection] = {}

    def contexts(self) -> tuple[str, ...]:
        """Names of the contexts, read anew. Raises Rejected where the kubeconfig can't be read."""
        paths = kubeconfig_paths(self._kubeconfig, self._environment)
        if not paths and self._environment.get("KUBERNETES_SERVICE_HOST"):
            return (IN_CLUSTER,)
        return context_names(paths)

    async def connect(self, context: str) -> Connection:
        """The connection to a context. Nothing is sent yet: a cluster that is down shows at the first request.

        Raises Rejected for a context that is not in the kubeconfig.
        """
        if context not in self._connections:
            known = self.contexts()
            if context not in known:
                raise Rejected("context", context, "not in the kubeconfig", ", ".join(known) or "none: no kubeconfig was found")
            paths = kubeconfig_paths(self._kubeconfig, self._environment)
            source: CredentialSource = (
                Kubeconfig(paths, context, self._clock, self._on_secret) if paths else InCluster(self._clock, self._on_secret)
            )
            if self._loopback_only:
                source = OnLoopback(source)
            self._connections[context] = Connection(Transport(context, source, self._clock, self._calls))
        return self._connections[context]

    async def close(self) -> None:
        """All at once: one that is slow to close holds no other up."""
        connections = list(self._connections.values())
        self._connections.clear()
        await asyncio.gather(*(connection.close() for connection in connections))


def _decoded(answer: Answer, type: type[T], server: str) -> T:
    try:
        return msgspec.json.decode(answer.body, type=type)
    except msgspec.DecodeError as error:
        raise Garbled(f"{server} sent an answer that can't be read: {error}") from error


def _document(answer: Answer, server: str) -> dict[str, Json]:
    return _decoded(answer, dict[str, Any], server)

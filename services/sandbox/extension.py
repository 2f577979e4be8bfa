"""The routes of a real cluster whose API server can't define them: served from here through API aggregation.

An API server before 1.23 that was built with Go 1.18 or newer ends as soon as a custom resource is created: the JSON library it
carries (modern-go/reflect2 before 1.0.2) does not fit that Go. On such a server VirtualService, DestinationRule and HTTPRoute are
therefore not defined by CRDs, but by an extension API server of the sandbox's own: the real one authenticates, authorises and
forwards.
It listens on the address of a Service, which works where Services have loopback addresses, as test control planes do.
https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/
"""

import asyncio
import base64
import contextlib
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import web

from services.clock import Clock
from services.model.errors import Unavailable
from services.sandbox import certificate, discovery, fleet, home
from services.sandbox.access import ADMIN, Tokens, User
from services.sandbox.api import Api, answer
from services.sandbox.errors import ApiError
from services.sandbox.faults import Faults
from services.sandbox.registry import Registry
from services.sandbox.remote import Remote, path_of
from services.sandbox.resources import CUSTOM_GROUPS, ENDPOINTS, RESOURCES, SERVICES, Object, Resource
from services.sandbox.store import Store

NAME, NAMESPACE, PORT = "quarterdeck-sandbox-routes", "default", 8443
_APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
_NOWHERE = "198.18.255.254"
"""Endpoints may not be on loopback, so this one is of the range for benchmarks; nothing is ever sent to it."""
_SETTLE_SECONDS, _PATIENCE = 0.2, 150
_SERVED = tuple(
    (resource, version)
    for group in CUSTOM_GROUPS
    for resource in [next(resource for resource in RESOURCES if resource.group == group)]
    for version in resource.versions
)
"""One resource of each group, in each of its versions: what shows whether the group is served."""


async def needed(remote: Remote) -> bool:
    """Whether the API server would not survive a custom resource."""
    version = await remote.call("GET", "/version")
    kubernetes = re.match(r"v1\.(\d+)", str(version.get("gitVersion", "")))
    go = re.match(r"go1\.(\d+)", str(version.get("goVersion", "")))
    return kubernetes is not None and go is not None and int(kubernetes[1]) < 23 and int(go[1]) >= 18


@contextlib.asynccontextmanager
async def serve(remote: Remote, directory: Path, clock: Clock, random: Random) -> AsyncIterator[None]:
    """Register the routes' groups with the real API server and serve it. Raises Unavailable where it can't be reached there."""
    try:
        address = await _service(remote)
        authority, key = certificate.self_signed("Quarterdeck sandbox routes", names=(f"{NAME}.{NAMESPACE}.svc",))
        runner = await _listen(address, _application(clock, random), directory, authority + key)
        try:
            for resource, version in _SERVED:
                await _put(remote, _APISERVICES, _registration(resource, version, authority))
            await _until_served(remote)
            yield
        finally:
            await _withdraw(remote)
            await runner.cleanup()
    except ApiError as error:
        raise Unavailable(
            "The API server refused the routes' extension", f"{error.code} {error.reason}: {error.message}"
        ) from error


class _Forwarded(Tokens):
    """Who comes through the real API server has been authenticated and authorised by it."""

    def user(self, authorization: str) -> User:
        return ADMIN


def _application(clock: Clock, random: Random) -> web.Application:
    registry = Registry(Store(), clock.now, random)
    for namespace in fleet.NAMESPACES:
        registry.ensure_namespace(namespace)
    api = Api(registry, _Forwarded("", ""), clock, Faults(), None)

    async def resources(request: web.Request) -> web.Response:
        document = discovery.resources(request.match_info["group"], request.match_info["version"])
        return answer(_without_deletion(document)) if document is not None else web.Response(status=404)

    app = web.Application(client_max_size=4 << 20)
    groups = "|".join(re.escape(group) for group in CUSTOM_GROUPS)
    app.router.add_get(f"/apis/{{group:{groups}}}/{{version}}", resources)
    app.router.add_route("*", f"/apis/{{group:{groups}}}/{{path:.*}}", api.handle)
    return app


def _without_deletion(document: dict[str, Any]) -> dict[str, Any]:
    """The garbage collector wants to watch all that can be deleted, and stops collecting while one such watch is away."""
    kept = [
        {**found, "verbs": [verb for verb in found["verbs"] if not verb.startswith("delete")]} for found in document["resources"]
    ]
    return {**document, "resources": kept}


async def _listen(address: str, app: web.Application, directory: Path, pem: str) -> web.AppRunner:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, PORT))
    except OSError as error:
        listener.close()
        raise Unavailable(f"The sandbox can't listen on {address}:{PORT}, the address of its Service", str(error)) from error
    home.place(directory / "routes.pem", pem, 0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "routes.pem")
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.SockSite(runner, listener, ssl_context=context).start()
    return runner


async def _service(remote: Remote) -> str:
    """The address of the Service that stands for us, made anew where it is missing."""
    ports = [{"port": PORT, "protocol": "TCP"}]
    path = path_of(SERVICES, NAMESPACE, NAME)
    found = await remote.find(path)
    if found is None:
        found = await remote.call("POST", path_of(SERVICES, NAMESPACE), {"metadata": {"name": NAME}, "spec": {"ports": ports}})
    address = str(found["spec"]["clusterIP"])
    if not ipaddress.ip_address(address).is_loopback:
        await remote.call("DELETE", path)
        raise Unavailable(
            "This API server can't serve VirtualServices and HTTPRoutes",
            "It ends when a custom resource is created (built with a Go that its JSON library does not fit), and its Services "
            f"have addresses ({address}) that the sandbox can't listen on.",
            "Use an API server of 1.23 or newer, or the embedded one.",
        )
    subsets = [{"addresses": [{"ip": _NOWHERE}], "ports": ports}]
    await _put(remote, path_of(ENDPOINTS, NAMESPACE), {"metadata": {"name": NAME}, "subsets": subsets})
    return address


def _registration(resource: Resource, version: str, authority: str) -> Object:
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{version}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "version": version,
            "groupPriorityMinimum": 1000,
            "versionPriority": 20 - resource.versions.index(version),
            "caBundle": base64.b64encode(authority.encode()).decode(),
            "service": {"namespace": NAMESPACE, "name": NAME, "port": PORT},
        },
    }


async def _put(remote: Remote, collection: str, body: Object) -> None:
    name = body["metadata"]["name"]
    found = await remote.find(f"{collection}/{name}")
    if found is None:
        await remote.call("POST", collection, body)
    else:
        version = {"name": name, "resourceVersion": found["metadata"]["resourceVersion"]}
        await remote.call("PUT", f"{collection}/{name}", {**body, "metadata": version})


async def _until_served(remote: Remote) -> None:
    for _ in range(_PATIENCE):
        listed = [await _list(remote, resource, version) for resource, version in _SERVED]
        if all(listed):
            return
        await asyncio.sleep(_SETTLE_SECONDS)
    raise Unavailable("The API server does not forward the routes to the sandbox", "Its APIServices are not available.")


async def _list(remote: Remote, resource: Resource, version: str) -> bool:
    try:
        return await remote.find(path_of(resource, version=version)) is not None
    except ApiError as error:
        if error.code != 503:
            raise
        return False


async def _withdraw(remote: Remote) -> None:
    """An API service that nobody answers for would trouble every client's discovery."""
    paths = [f"{_APISERVICES}/{version}.{resource.group}" for resource, version in _SERVED]
    for path in (*paths, path_of(SERVICES, NAMESPACE, NAME)):
        with contextlib.suppress(ApiError, Unavailable):
            await remote.call("DELETE", path)

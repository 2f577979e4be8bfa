"""What answers behind the address of a simulated pod: metrics, health, and the paths that smoke tests ask for."""

from random import Random

import msgspec
from aiohttp import web

from services.clock import Clock
from services.sandbox import fleet
from services.sandbox.behaviour import Behaviours, split_image
from services.sandbox.controllers.rules import ready, selected
from services.sandbox.errors import not_found, unavailable
from services.sandbox.exposition import merged
from services.sandbox.faults import Faults
from services.sandbox.podlog import PodLog
from services.sandbox.resources import PODS, SERVICES, Object, meta
from services.sandbox.store import Store
from services.sandbox.traffic import Traffic

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class PodWeb:
    """The pods' own HTTP servers, reached through the API server's proxy or by URL."""

    def __init__(
        self, store: Store, traffic: Traffic, behaviours: Behaviours, faults: Faults, clock: Clock, random: Random
    ) -> None:
        self._store = store
        self._traffic = traffic
        self._faults = faults
        self._random = random
        self.log = PodLog(store, behaviours, traffic, faults, clock)

    async def pod(self, request: web.Request, namespace: str, name: str, path: str) -> web.Response:
        """``GET path`` of one pod. Raises ApiError 404 where there is none, 503 where its process does not run."""
        pod = self._store.get(PODS, namespace, name)
        if pod is None:
            raise not_found("pods", "", name)
        if (broken := await self._faults.other("metrics", request)) is not None:
            return broken
        return self._answer(pod, path)

    async def prometheus(self, request: web.Request) -> web.Response:
        """Every running pod's metrics on one page, with the labels that a cluster's Prometheus would give them."""
        if (broken := await self._faults.other("metrics", request)) is not None:
            return broken
        pages = []
        for namespace in fleet.NAMESPACES:
            for pod in self._store.all(PODS, namespace):
                if not runs(pod):
                    continue
                service, version = split_image(pod["spec"]["containers"][0]["image"])
                own = {"namespace": namespace, "pod": meta(pod)["name"], "app": service, "version": version}
                pages.append((own, self._traffic.page(pod)))
        return web.Response(body=merged(pages).encode(), headers={"Content-Type": METRICS_TYPE})

    async def service(self, request: web.Request, namespace: str, name: str, path: str) -> web.Response:
        """``GET path`` of one ready pod of a Service; ApiError 503 where it has none."""
        name = name.split(":")[0]
        service = self._store.get(SERVICES, namespace, name)
        if service is None:
            raise not_found("services", "", name)
        pods = [pod for pod in self._store.all(PODS, namespace) if selected(service, pod) and ready(pod)]
        if not pods:
            raise unavailable(f'no endpoints available for service "{name}"')
        return self._answer(self._random.choice(pods), path)

    def _answer(self, pod: Object, path: str) -> web.Response:
        if not runs(pod):
            address = pod["status"].get("podIP", "")
            raise unavailable(f"error trying to reach service: dial tcp {address}:{fleet.PORT}: connect: connection refused")
        path = path.split("?")[0]
        if path == "/metrics":
            return web.Response(body=self._traffic.page(pod).encode(), headers={"Content-Type": METRICS_TYPE})
        if path in ("/healthz", "/readyz"):
            return web.Response(text="ok") if ready(pod) else web.Response(status=503, text="not ready")
        image = pod["spec"]["containers"][0]["image"]
        service, version = split_image(image)
        if not path.startswith("/api/"):
            return web.Response(status=404, text="not found")
        # Only what the version itself breaks shows here: the rest of the errors come from what real requests carry.
        failed = self._random.random() < self._traffic.behaviour(pod).errors
        body = {"service": service, "version": version, "pod": meta(pod)["name"], "ok": not failed}
        return web.Response(status=500 if failed else 200, body=msgspec.json.encode(body), content_type="application/json")


def runs(pod: Object) -> bool:
    """Whether a process is there to answer."""
    statuses = pod["status"].get("containerStatuses") or []
    return bool(statuses) and all("running" in (status.get("state") or {}) for status in statuses)

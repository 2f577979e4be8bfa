"""The table of permissions, held to its word: with those and no others a canary, a rollback and the fleet work."""

import asyncio
import contextlib
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from support.configuration import redactor
from support.fake_api import kubeconfig, status
from support.world import NO_SINKS, SHORT, World, world

from console.doctor.permissions import needed
from services.cluster.objects import RESOURCES
from services.settings import load

pytestmark = pytest.mark.long

NAMESPACED = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/[^/]+/namespaces/[^/]+/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+).*)?)?"
)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
Asked = tuple[str, str, str, str]
"""Verb, API group, plural, subresource."""


def asked(request: web.BaseRequest) -> Asked | None:
    """What an API server would ask its authorizer; None for what is not in a namespace."""
    found = NAMESPACED.fullmatch(request.path)
    if found is None:
        return None
    reading = "get" if found["name"] else "watch" if request.query.get("watch") else "list"
    return VERBS.get(request.method, reading), found["group"] or "", found["plural"], found["sub"] or ""


class Strict:
    """Stands before an API server and lets through what is allowed, in a thread with a loop of its own."""

    def __init__(self, server: str, allowed: set[Asked]) -> None:
        self.used: set[Asked] = set()
        self.refused: set[Asked] = set()
        self.port = 0
        self._server = server
        self._allowed = allowed
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        anyone = ssl.create_default_context()
        anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=anyone, limit=0), timeout=timeout) as self._session:
            runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()
            # Watches go on until somebody ends them.
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0.25)  # TLS connections are let go of some turns of the loop after the session

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        wanted = asked(request)
        if wanted is not None:
            if wanted not in self._allowed:
                self.refused.add(wanted)
                return status(403, f"not in the table: {wanted}")
            self.used.add(wanted)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "content-length")}
        body = await request.read()
        async with self._session.request(
            request.method, self._server + request.path_qs, headers=headers, data=body or None, auto_decompress=False
        ) as upstream:
            passed = {name: value for name, value in upstream.headers.items() if name in ("Content-Type", "Content-Encoding")}
            response = web.StreamResponse(status=upstream.status, headers=passed)
            with contextlib.suppress(ConnectionError):  # who asked has left
                await response.prepare(request)
                async for chunk in upstream.content.iter_any():
                    await response.write(chunk)
            return response


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Path, Strict]]:
    place = tmp_path_factory.mktemp("strict")
    with world(place, speed=40, journal=NO_SINKS) as running:
        known: dict[str, Any] = yaml.safe_load(Path(running.ready["kubeconfig"]).read_text())
        allowed = {
            (row.verb, RESOURCES[row.kind].group, RESOURCES[row.kind].plural, row.subresource)
            for row in needed(load(running.config, redactor=redactor()), read_only=False)
        }
        before = Strict(known["clusters"][0]["cluster"]["server"], allowed)
        token = next(user["user"]["token"] for user in known["users"] if user["name"] == "admin")
        file = kubeconfig(place, before.port, {"token": token}, context="staging")
        environments = {"staging": {"context": "staging", "namespaces": ["staging"]}}
        config = running.variant("strict", kubeconfig=str(file), environments=environments, canary=SHORT)
        try:
            yield running, config, before
        finally:
            before.close()


def test_a_deploy_a_rollback_and_the_fleet_need_nothing_that_is_not_in_the_table(strict: tuple[World, Path, Strict]) -> None:
    sandbox, config, server = strict
    home = sandbox.new_home("strict")
    words = ("-e", "staging", "--strategy", "canary", "--ticket", "CHG-4821")
    deployed = sandbox.deploy(home, "payment-service", "v2.15.0", *words, config=config)
    assert deployed.code == 0, deployed.out
    assert sandbox.run(home, "rollback", "payment-service", "-e", "staging", config=config).code == 0
    assert sandbox.run(home, "status", config=config).code == 0
    assert sandbox.run(home, "doctor", config=config).code == 0
    assert server.refused == set()
    writes = {wanted for wanted in server.used if wanted[0] in VERBS.values()}
    assert {("patch", "apps", "deployments", ""), ("create", "coordination.k8s.io", "leases", "")} <= writes
    assert len(server.used) > 15

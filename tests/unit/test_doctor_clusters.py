"""What the doctor says of a cluster, against servers on loopback that are late, wrong, foreign, strict or expired."""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from support.configuration import configured
from support.doctor import unexpected
from support.fake_api import FakeApi, Handler, kubeconfig, manifest, status

from console.doctor import apis, clusters, permissions
from console.doctor.examination import examine
from console.doctor.finding import Check, Finding, Outcome
from console.doctor.site import Place, Site
from services.clock import SystemClock
from services.cluster.connection import Clusters
from services.cluster.signin import sign_in
from services.model.errors import Rejected
from services.sandbox.certificate import self_signed

SHOP = Place(environment="production", namespace="shop")
CLOCK = SystemClock()


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    server = FakeApi()
    server.always(says({"gitVersion": "v1.30.0"}), path="/version")
    server.always(reviewed(lambda _: True), method="POST", path="selfsubjectaccessreviews")
    await server.start()
    yield server
    await server.stop()


def says(body: object, **headers: str) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(body, headers=headers)

    return answer


def refuses(code: int) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return status(code)

    return answer


def reviewed(allows: Callable[[dict[str, str]], bool]) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        asked = (await request.json())["spec"]["resourceAttributes"]
        return web.json_response({"status": {"allowed": allows(asked)}})

    return answer


async def examined(file: Path, make: Callable[[Site], Sequence[Check]], seconds: float = 30.0) -> dict[str, Finding]:
    known = Clusters(file, CLOCK)
    site = Site("test", [SHOP], known, CLOCK, seconds)
    try:
        return {finding.name: finding for finding in await examine(make(site), seconds, unexpected)}
    finally:
        await site.close()
        await known.close()


async def of_cluster(file: Path, seconds: float = 30.0) -> dict[str, Finding]:
    return await examined(file, lambda site: clusters.checks(site, [file], CLOCK), seconds)


def jwt(expires: float) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, {"exp": expires})]
    return ".".join([*parts, "signature"])


async def test_a_cluster_in_order(api: FakeApi, tmp_path: Path) -> None:
    found = await of_cluster(kubeconfig(tmp_path, api.port))
    assert {name: finding.outcome for name, finding in found.items()} == {
        "reachable": Outcome.OK,
        "certificate": Outcome.SKIPPED,
        "credentials": Outcome.OK,
        "clock": Outcome.OK,
        "namespace shop": Outcome.OK,
    }
    assert "v1.30.0" in found["reachable"].found
    assert {method for method, path, _ in api.requests if "selfsubjectaccessreviews" not in path} == {"GET"}


@pytest.mark.parametrize(("ahead", "outcome"), [(-3600, Outcome.PROBLEM), (3600, Outcome.PROBLEM), (9, Outcome.WARNING)])
async def test_a_clock_that_is_wrong(ahead: float, outcome: Outcome, tmp_path: Path) -> None:
    api = FakeApi()

    async def wrong(_: web.Request) -> web.Response:
        return web.json_response({}, headers={"Date": formatdate(time.time() + ahead, usegmt=True)})

    api.always(wrong, path="/version")
    await api.start()
    found = (await of_cluster(kubeconfig(tmp_path, api.port)))["clock"]
    await api.stop()
    assert found.outcome is outcome
    assert ("ahead of" if ahead > 0 else "behind") in found.found


async def test_nobody_listens(tmp_path: Path) -> None:
    api = FakeApi()
    await api.start()
    await api.stop()
    found = await of_cluster(kubeconfig(tmp_path, api.port))
    assert found["reachable"].outcome is Outcome.PROBLEM
    assert "refused" in found["reachable"].found
    others = [finding for name, finding in found.items() if name != "reachable"]
    assert {finding.outcome for finding in others} == {Outcome.SKIPPED}, "said once"


async def test_a_server_that_says_nothing_does_not_hold_it_up(api: FakeApi, tmp_path: Path) -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    api.once(silent, path="/version")
    began = time.monotonic()
    found = await of_cluster(kubeconfig(tmp_path, api.port), 0.5)
    assert time.monotonic() - began < 5
    assert found["reachable"].outcome is Outcome.PROBLEM
    assert found["namespace shop"].outcome is Outcome.SKIPPED


async def test_a_token_that_is_not_accepted_is_named_and_never_shown(tmp_path: Path) -> None:
    api = FakeApi()
    api.always(refuses(401))
    await api.start()
    token = jwt(time.time() - 7200)
    found = await of_cluster(kubeconfig(tmp_path, api.port, {"token": token}))
    await api.stop()
    assert found["credentials"].outcome is Outcome.PROBLEM
    assert "They expired 2 hours ago" in found["credentials"].found
    assert found["namespace shop"].outcome is Outcome.SKIPPED
    assert token not in str(found)


async def test_a_token_that_ends_soon(api: FakeApi, tmp_path: Path) -> None:
    for left, outcome in ((600, Outcome.WARNING), (86_400 * 3, Outcome.OK)):
        found = await of_cluster(kubeconfig(tmp_path, api.port, {"token": jwt(time.time() + left)}))
        assert found["credentials"].outcome is outcome


async def test_namespaces_are_missing_or_can_not_be_asked_for(api: FakeApi, tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, api.port)
    api.once(refuses(404), path="/namespaces/shop")
    assert (await of_cluster(file))["namespace shop"].outcome is Outcome.PROBLEM
    api.once(refuses(403), path="/namespaces/shop")
    assert (await of_cluster(file))["namespace shop"].outcome is Outcome.UNKNOWN
    api.put("deployments", manifest("Deployment", "web"))
    api.once(refuses(403), path="/namespaces/shop")
    assert (await of_cluster(file))["namespace shop"].outcome is Outcome.OK


async def test_a_context_that_is_not_there(api: FakeApi, tmp_path: Path) -> None:
    found = await of_cluster(kubeconfig(tmp_path, api.port, context="other"))
    assert found["reachable"].outcome is Outcome.PROBLEM
    assert "other" in found["reachable"].needed
    assert {finding.outcome for name, finding in found.items() if name != "reachable"} == {Outcome.SKIPPED}


@pytest.mark.parametrize(("days", "outcome"), [(0, Outcome.PROBLEM), (5, Outcome.WARNING), (100, Outcome.OK)])
async def test_a_server_certificate_that_ends(days: int, outcome: Outcome, tmp_path: Path) -> None:
    certificate, key = self_signed("test", days=days)
    (tmp_path / "cert").write_text(certificate + key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert")

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.json_response({"gitVersion": "v1.30.0", "status": {"allowed": True}})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    file = kubeconfig(tmp_path, 0)
    document = json.loads(file.read_text())
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    document["clusters"][0]["cluster"] = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority-data": base64.b64encode(certificate.encode()).decode(),
    }
    file.write_text(json.dumps(document))
    found = await of_cluster(file)
    await runner.cleanup()
    assert found["certificate"].outcome is outcome
    assert found["reachable"].outcome is (Outcome.PROBLEM if days == 0 else Outcome.OK)
    if days == 0:
        assert "expired" in found["certificate"].found
        assert "expired" in found["reachable"].found


def of_user(directory: Path, user: dict[str, Any]) -> Any:
    return sign_in([kubeconfig(directory, 1, user)], "test")


def test_how_long_credentials_last(tmp_path: Path) -> None:
    certificate, _ = self_signed("client", days=30)
    month = pytest.approx(time.time() + 30 * 86_400, abs=60)
    (tmp_path / "client.pem").write_text(certificate)
    encoded = base64.b64encode(certificate.encode()).decode()
    assert of_user(tmp_path, {"client-certificate-data": encoded}).expires == month
    assert of_user(tmp_path, {"client-certificate": "client.pem"}).expires == month
    assert of_user(tmp_path, {"token": "opaque"}).expires is None
    assert of_user(tmp_path, {"token": "a.b.c"}).expires is None
    (tmp_path / "token").write_text(jwt(1234.0))
    assert of_user(tmp_path, {"tokenFile": "token"}).expires == 1234.0
    plugin = of_user(tmp_path, {"exec": {"command": "/usr/bin/aws", "apiVersion": "v1"}})
    assert (plugin.kind, plugin.renewed) == ("the plugin aws", True)
    with pytest.raises(Rejected):
        of_user(tmp_path, {"client-certificate": "absent.pem"})


async def of_permissions(file: Path, text: str = "", *, read_only: bool = False) -> dict[str, Finding]:
    settings = configured() if not text else configured(text)
    return await examined(file, lambda site: permissions.checks(site, settings, read_only=read_only))


async def test_each_missing_permission_says_what_breaks_without_it(api: FakeApi, tmp_path: Path) -> None:
    asked: list[dict[str, str]] = []

    def allows(attributes: dict[str, str]) -> bool:
        asked.append(attributes)
        return attributes["verb"] in ("get", "list", "watch") and "subresource" not in attributes

    api.rules.clear()
    api.always(says({"gitVersion": "v1.30.0"}), path="/version")
    api.always(reviewed(allows), method="POST", path="selfsubjectaccessreviews")
    istio = {"resources": [{"name": "virtualservices"}], "items": [manifest("VirtualService", "web")]}
    api.always(says(istio), path="networking.istio.io/v1beta1")
    found = await of_permissions(kubeconfig(tmp_path, api.port))
    problems = {name for name, finding in found.items() if finding.outcome is Outcome.PROBLEM}
    assert {"patch deployments", "create leases", "update leases", "patch configmaps", "get pods/proxy"} <= problems
    assert "patch virtualservices" in problems, "there is one"
    assert found["delete configmaps"].outcome is Outcome.WARNING
    assert found["list pods"].outcome is Outcome.OK
    assert all(
        finding.needed.startswith("without it, ") and finding.action for finding in found.values() if finding.name in problems
    )
    assert {"verb": "get", "group": "", "resource": "pods", "namespace": "shop", "subresource": "proxy"} in asked
    observer = await of_permissions(kubeconfig(tmp_path, api.port), read_only=True)
    assert not {name for name in observer if name.split()[0] in ("create", "patch", "update", "delete")}


async def test_a_route_that_is_not_there_needs_no_permission(api: FakeApi, tmp_path: Path) -> None:
    api.rules.clear()
    api.always(says({"gitVersion": "v1.30.0"}), path="/version")
    api.always(reviewed(lambda _: False), method="POST", path="selfsubjectaccessreviews")
    api.always(refuses(404), path="networking.istio.io")
    found = await of_permissions(kubeconfig(tmp_path, api.port))
    assert found["patch virtualservices"].outcome is Outcome.SKIPPED
    assert found["patch deployments"].outcome is Outcome.PROBLEM


async def test_urls_of_the_configuration_need_no_proxy(api: FakeApi, tmp_path: Path) -> None:
    text = """\
environments: {production: {context: test, namespaces: [shop]}}
metrics: {scrape_url: "http://m.example/{namespace}/{pod}"}
probes: {url: "http://m.example/{namespace}/{pod}"}
"""
    found = await of_permissions(kubeconfig(tmp_path, api.port), text)
    assert "get pods/proxy" not in found
    assert "get services/proxy" in found


async def test_apis_that_are_missing(api: FakeApi, tmp_path: Path) -> None:
    groups = [{"name": "networking.istio.io", "versions": [{"version": "v1"}]}]
    api.always(says({"groups": groups}), path="/apis/networking.istio.io")
    api.always(refuses(404), path="/apis/coordination.k8s.io")
    plurals = ["deployments", "replicasets", "pods", "services", "configmaps"]
    api.always(says({"resources": [{"name": name} for name in plurals]}), path="/v1")
    api.always(says({"groups": groups}), path="/apis")
    found = await examined(kubeconfig(tmp_path, api.port), apis.checks)
    assert found["required"].outcome is Outcome.PROBLEM
    assert "leases" in found["required"].found
    assert found["Istio"].outcome is Outcome.WARNING, "the version that is read is not served"
    assert found["Gateway API"].outcome is Outcome.SKIPPED

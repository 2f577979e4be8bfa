"""The connection reads and only reads; its errors say what an API server meant; nothing is sent twice that must not be."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from aiohttp import web
from support.fake_api import FakeApi, QuickClock, SteadyClock, connected, eventually, kubeconfig, manifest, status
from support.processes import commands

from services.clock import SystemClock
from services.cluster.answers import CredentialsRefused
from services.cluster.connection import Clusters
from services.cluster.objects import Pod
from services.cluster.transport import Request
from services.cluster.writer import Writer
from services.model.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    ObserverMode,
    OutcomeUnknown,
    QuarterdeckError,
    Rejected,
    Throttled,
    Unavailable,
)
from services.model.objects import ObjectRef

REF = ObjectRef("Deployment", "shop", "cart")
PATH = "/apis/apps/v1/namespaces/shop/deployments/cart"
PATCH = [{"op": "replace", "path": "/spec/replicas", "value": 2}]


async def _abort(request: web.Request) -> web.StreamResponse:
    request.transport.abort()  # type: ignore[union-attr]
    return web.Response()


async def _hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


def _refuse(code: int, message: str = "no", headers: dict[str, str] | None = None, **more: object):
    async def answer(_: web.Request) -> web.StreamResponse:
        response = status(code, message, **more)
        response.headers.update(headers or {})
        return response

    return answer


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_a_connection_sends_no_write(tmp_path: Path, method: str) -> None:
    async with connected(tmp_path) as (api, connection):
        with pytest.raises(ObserverMode, match="only reads"):
            await connection.request(Request(method, PATH, "a write"))
        with pytest.raises(ObserverMode):
            await connection.request(Request(method, PATH, "a write", params={"dryRun": "no"}))
        assert api.requests == []


@pytest.mark.parametrize("way", ["exec", "attach", "portforward"])
async def test_a_get_that_reaches_into_a_pod_is_no_read(tmp_path: Path, way: str) -> None:
    async with connected(tmp_path) as (api, connection):
        with pytest.raises(ObserverMode):
            await connection.request(Request("GET", f"/api/v1/namespaces/shop/pods/a/{way}", way))
        assert api.requests == []


async def test_reviews_and_dry_runs_pass(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):

        async def allow(request: web.Request) -> web.StreamResponse:
            asked = (await request.json())["spec"]["resourceAttributes"]
            return web.json_response({"status": {"allowed": asked["verb"] == "get"}})

        api.always(allow, method="POST", path="selfsubjectaccessreviews")
        assert await connection.review("get", "apps", "deployments", "shop")
        assert not await connection.review("patch", "apps", "deployments", "shop")
        await connection.dry_run("PATCH", REF, PATCH, "application/json-patch+json")
        assert api.requests[-1] == ("PATCH", PATH, {"dryRun": "All"})


@pytest.mark.parametrize(
    ("code", "kind"),
    [(403, Forbidden), (404, NotFound), (409, Conflict), (400, Invalid), (405, Invalid), (418, Unavailable)],
)
async def test_refusals_have_their_own_errors(tmp_path: Path, code: int, kind: type[QuarterdeckError]) -> None:
    async with connected(tmp_path) as (api, connection):
        api.always(_refuse(code, "because of this"))
        with pytest.raises(kind) as caught:
            await connection.get(REF)
        assert "because of this" in caught.value.title
        assert "deployment/cart" in caught.value.detail
        assert len(api.requests) == 1


async def test_a_failed_test_is_a_conflict_and_a_broken_rule_is_not(tmp_path: Path) -> None:
    """The bodies are those of a real API server."""
    async with connected(tmp_path) as (api, connection):
        message = "the server rejected our request due to an error in our request"
        api.once(_refuse(422, message, reason="Invalid", details={}), method="PATCH")
        with pytest.raises(Conflict):
            await Writer(connection).patch(REF, PATCH)
        causes = [{"reason": "FieldValueInvalid", "message": "must not be negative", "field": "spec.replicas"}]
        api.once(_refuse(422, "spec.replicas: must not be negative", details={"causes": causes}), method="PATCH")
        with pytest.raises(Invalid, match=r"spec\.replicas"):
            await Writer(connection).patch(REF, PATCH)
        api.once(_refuse(422, message, details={}), method="PUT")
        with pytest.raises(Invalid):
            await Writer(connection).replace(REF, {})


async def test_a_read_survives_hiccups(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):
        api.collections["cart"] = {}
        for handler in (_refuse(503), _refuse(429, headers={"Retry-After": "2"}), _abort, _refuse(500)):
            api.once(handler, path="/cart")
        assert await connection.get(REF)
        assert len(api.requests) == 5


async def test_a_throttled_read_says_when_to_come_back(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):
        api.always(_refuse(429, headers={"Retry-After": "100"}))
        with pytest.raises(Throttled) as caught:
            await connection.get(REF)
        assert caught.value.retry_after == 100
        assert len(api.requests) == 1


@pytest.mark.parametrize("handler", [_abort, _refuse(500), _refuse(503), _refuse(504)])
async def test_a_write_whose_answer_is_lost_is_unknown_and_never_repeated(tmp_path: Path, handler) -> None:
    async with connected(tmp_path) as (api, connection):
        api.always(handler, method="PATCH")
        with pytest.raises(OutcomeUnknown) as caught:
            await Writer(connection).patch(REF, PATCH)
        assert "Look at the object" in caught.value.hint
        assert len(api.requests) == 1


async def test_a_write_that_hangs_is_unknown_in_time(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):
        await connection.get(REF)  # the credentials, which a thread loads, are there
        api.always(_hang, method="PATCH")
        with pytest.raises(OutcomeUnknown, match=r"did not answer within 1 s"):
            await Writer(connection).patch(REF, PATCH, timeout=1.0)
        assert api.count(method="PATCH") == 1


async def test_a_write_that_found_nobody_did_not_happen(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):
        await api.stop()
        with pytest.raises(Unavailable, match=r"connection refused by http://127\.0\.0\.1") as caught:
            await Writer(connection).patch(REF, PATCH)
        assert not isinstance(caught.value, OutcomeUnknown)
        assert "was not sent" in caught.value.detail


async def test_a_throttled_write_was_not_applied_and_is_sent_again(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):
        api.once(_refuse(429, headers={"Retry-After": "1"}), method="PATCH")
        await Writer(connection).patch(REF, PATCH)
        assert api.count(method="PATCH") == 2


async def test_the_writer_sends_what_it_is_given(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):
        seen: list[tuple[str, str, str, object]] = []

        async def keep(request: web.Request) -> web.StreamResponse:
            seen.append((request.method, request.path, request.content_type, await request.json()))
            return web.json_response({"kind": "x"})

        for method in ("PATCH", "POST", "PUT", "DELETE"):
            api.always(keep, method=method)
        writer = Writer(connection)
        await writer.patch(REF, PATCH)
        await writer.create(REF, {"a": 1})
        await writer.replace(REF, {"b": 2})
        await writer.delete(REF, resource_version="7")
        assert [(method, path, kind) for method, path, kind, _ in seen] == [
            ("PATCH", PATH, "application/json-patch+json"),
            ("POST", PATH.removesuffix("/cart"), "application/json"),
            ("PUT", PATH, "application/json"),
            ("DELETE", PATH, "application/json"),
        ]
        assert seen[0][3] == PATCH
        assert seen[3][3]["preconditions"] == {"resourceVersion": "7"}  # type: ignore[index]


async def test_a_hanging_read_ends_in_time_and_at_once_when_cancelled(tmp_path: Path) -> None:
    clock = SteadyClock(1.0)
    async with connected(tmp_path, clock=clock) as (api, connection):
        await connection.latency()  # the credentials, which a thread loads, are there
        api.always(_hang)
        with pytest.raises(Unavailable, match=r"did not answer within 1 s"):
            await connection.get(REF, timeout=1.0)
        task = asyncio.create_task(connection.get(REF))
        await eventually(lambda: api.count(path="/cart") == 2)
        started = clock.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert clock.monotonic() - started < 0.2


async def test_garbage_is_an_error_with_the_servers_name(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):

        async def garbage(_: web.Request) -> web.StreamResponse:
            return web.Response(body=b'{"half": ')

        api.always(garbage)
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1.*can't be read"):
            await connection.get(REF)
        with pytest.raises(Unavailable, match="can't be read"):
            await connection.list("Pod", "shop")


async def test_lists_are_read_page_by_page(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):

        async def pages(request: web.Request) -> web.StreamResponse:
            number = int(request.query.get("continue", "0"))
            meta = {"resourceVersion": "5", "continue": str(number + 1) if number < 2 else ""}
            return web.json_response({"metadata": meta, "items": [manifest("Pod", f"p{number}")]})

        api.always(pages)
        pods = await connection.list("Pod", "shop", labels="app=cart")
        assert [pod.metadata.name for pod in pods] == ["p0", "p1", "p2"]
        assert all(isinstance(pod, Pod) for pod in pods)
        assert {request[2]["labelSelector"] for request in api.requests} == {"app=cart"}
        assert (await connection.list("Pod", "shop", type=dict))[0]["metadata"]["name"] == "p0"


async def test_the_proxy_hands_on_what_the_pod_said(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):

        async def page(request: web.Request) -> web.StreamResponse:
            return web.Response(status=int(request.query.get("code", "200")), body=b"up 1")

        api.always(page, path="/proxy/")
        assert await connection.proxy("shop", "pods", "cart-1", 8080, "/metrics?code=503") == (503, b"up 1")
        assert api.requests[-1][1] == "/api/v1/namespaces/shop/pods/cart-1:8080/proxy/metrics"
        api.rules.clear()
        api.always(_refuse(403, "pods/proxy is forbidden"))
        with pytest.raises(Forbidden, match="pods/proxy is forbidden"):
            await connection.proxy("shop", "pods", "cart-1", 8080, "/metrics")


# ---- who we are


def _plugin(directory: Path, body: str) -> dict[str, object]:
    script = directory / "plugin.py"
    script.write_text(body)
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(script)],
            "env": [{"name": "COUNT", "value": str(directory / "count")}],
        }
    }


COUNTING = """
import json, os, sys
assert sys.stdin.read() == ""
assert json.loads(os.environ["KUBERNETES_EXEC_INFO"])["spec"]["interactive"] is False
path = os.environ["COUNT"]
count = int(open(path).read()) + 1 if os.path.exists(path) else 1
open(path, "w").write(str(count))
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": f"t{count}"}}))
"""


class Stepped(SystemClock):
    """A clock that only a test moves ahead."""

    ahead = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.ahead


def _only(api: FakeApi, token: str) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return status(401, "Unauthorized")

    api.rules.append((lambda request: request.headers.get("Authorization") != f"Bearer {token}", refuse))


async def test_an_expired_token_is_replaced_once_for_all_who_wait(tmp_path: Path) -> None:
    async with connected(tmp_path, user=_plugin(tmp_path, COUNTING)) as (api, connection):
        await connection.get(REF)
        assert api.headers[-1]["Authorization"] == "Bearer t1"
        _only(api, "t2")
        await asyncio.gather(*(connection.get(REF) for _ in range(20)))
        assert (tmp_path / "count").read_text() == "2"
        assert await Writer(connection).patch(REF, PATCH)


async def test_a_write_refused_for_an_expired_token_is_sent_again(tmp_path: Path) -> None:
    async with connected(tmp_path, user=_plugin(tmp_path, COUNTING)) as (api, connection):
        await connection.get(REF)
        _only(api, "t2")
        assert await Writer(connection).patch(REF, PATCH)


async def test_credentials_that_stay_refused_are_said_to_be_and_not_hammered(tmp_path: Path) -> None:
    async with connected(tmp_path, user=_plugin(tmp_path, COUNTING), clock=SteadyClock(1.0)) as (api, connection):
        _only(api, "none of these")
        for _ in range(5):
            with pytest.raises(CredentialsRefused, match="expired or are not accepted"):
                await connection.get(REF)
        assert (tmp_path / "count").read_text() == "2"


async def test_a_plugin_that_fails_says_why_and_is_not_started_over_and_over(tmp_path: Path) -> None:
    body = COUNTING + "\nprint('session expired, log in', file=sys.stderr)\nsys.exit(3)"
    async with connected(tmp_path, user=_plugin(tmp_path, body), clock=SteadyClock(1.0)) as (api, connection):
        for _ in range(5):
            with pytest.raises(Unavailable, match=r"ended with code 3: session expired, log in"):
                await connection.get(REF)
        assert (tmp_path / "count").read_text() == "1"
        assert api.requests == []


async def test_a_plugin_that_takes_its_time_is_waited_for_not_started_again(tmp_path: Path) -> None:
    body = COUNTING.replace("print(", "import time\nwhile not os.path.exists(path + '.go'): time.sleep(0.01)\nprint(")
    async with connected(tmp_path, user=_plugin(tmp_path, body)) as (_, connection):
        for _ in range(2):
            with pytest.raises(Unavailable, match="credentials of context test are still being loaded"):
                await connection.get(REF, timeout=0.5)
        (tmp_path / "count.go").touch()
        assert await connection.get(REF)
        assert (tmp_path / "count").read_text() == "1"


async def test_a_credential_with_an_end_is_replaced_before_it(tmp_path: Path) -> None:
    body = COUNTING.replace('"status": {', '"status": {"expirationTimestamp": "2020-01-01T00:00:00Z", ')
    clock = Stepped()
    async with connected(tmp_path, user=_plugin(tmp_path, body), clock=clock) as (api, connection):
        for _ in range(5):  # expired on arrival, by a clock that is ahead of its issuer's: no reason to ask at each request
            await connection.get(REF)
            assert api.headers[-1]["Authorization"] == "Bearer t1"
        clock.ahead = 6.0
        await connection.get(REF)
        assert api.headers[-1]["Authorization"] == "Bearer t2"


async def test_a_token_that_expired_is_replaced_where_only_pods_are_asked(tmp_path: Path) -> None:
    """Through the proxy a 401 may be the pod's own: the API server's is known by its form."""
    async with connected(tmp_path, user=_plugin(tmp_path, COUNTING)) as (api, connection):

        async def own(_: web.Request) -> web.StreamResponse:
            return web.Response(status=401, body=b"who are you?")

        api.once(own, path="/proxy/")
        assert await connection.proxy("shop", "pods", "cart-1", 8080, "/healthz") == (401, b"who are you?")
        assert (tmp_path / "count").read_text() == "1"
        _only(api, "t2")
        assert (await connection.proxy("shop", "pods", "cart-1", 8080, "/healthz"))[0] == 200
        assert (tmp_path / "count").read_text() == "2"


async def test_closing_ends_a_plugin_and_what_it_started(tmp_path: Path) -> None:
    body = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(os.environ["COUNT"] + ".new", "w") as file: file.write(f"{os.getpid()} {child.pid}")
os.rename(os.environ["COUNT"] + ".new", os.environ["COUNT"])
child.wait()
"""
    async with connected(tmp_path, user=_plugin(tmp_path, body)) as (_, connection):
        asking = asyncio.create_task(connection.get(REF))
        await eventually((tmp_path / "count").exists)
    with pytest.raises((asyncio.CancelledError, Unavailable)):
        await asking
    pids = [int(word) for word in (tmp_path / "count").read_text().split()]
    await eventually(lambda: not set(pids) & set(commands()))


async def test_a_rotated_token_file_is_read_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with connected(tmp_path, user={"tokenFile": "token"}) as (api, connection):
        await connection.get(REF)
        assert api.headers[-1]["Authorization"] == "Bearer first"
        token.write_text("second\n")
        _only(api, "second")
        await connection.get(REF)


async def test_acting_as_somebody_else_is_kept(tmp_path: Path) -> None:
    user = {"username": "u", "password": "p", "as": "jane", "as-groups": ["oncall"]}
    async with connected(tmp_path, user=user) as (api, connection):
        await connection.get(REF)
        assert api.headers[-1]["Impersonate-User"] == "jane"
        assert api.headers[-1]["Impersonate-Group"] == "oncall"
        assert api.headers[-1]["Authorization"].startswith("Basic ")


async def test_tokens_are_told_to_the_redactor(tmp_path: Path) -> None:
    api = FakeApi()
    await api.start()
    told: list[str] = []
    clusters = Clusters(kubeconfig(tmp_path, api.port), QuickClock(), on_secret=told.append)
    await (await clusters.connect("test")).get(REF)
    await clusters.close()
    await api.stop()
    assert told == ["secret-token"]


async def test_what_the_closing_breaks_off_opens_no_connection_that_nobody_closes(tmp_path: Path) -> None:
    """As a watch that is still there for a moment: it asks again at once."""
    api = FakeApi()
    await api.start()
    clusters = Clusters(kubeconfig(tmp_path, api.port), QuickClock())
    connection = await clusters.connect("test")
    asked = asyncio.Event()

    async def never(request: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.sleep(3600)
        return web.Response()

    api.always(never)
    under_way = asyncio.create_task(connection.get(REF))
    await asyncio.wait_for(asked.wait(), 30.0)
    requests = len(api.headers)
    await clusters.close()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(under_way, 30.0)
    with pytest.raises(Unavailable, match="not asked any more"):
        await connection.get(REF)
    assert len(api.headers) == requests
    await api.stop()


# ---- which clusters there are


async def test_contexts_come_from_every_file_of_the_path(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        kubeconfig(tmp_path / name, 1, context=name)
    paths = f"{tmp_path}/one/kubeconfig:{tmp_path}/absent:{tmp_path}/two/kubeconfig"
    clusters = Clusters(None, QuickClock(), environment={"KUBECONFIG": paths})
    assert clusters.contexts() == ("one", "two")
    assert await clusters.connect("two") is await clusters.connect("two")
    with pytest.raises(Rejected, match="context") as caught:
        await clusters.connect("three")
    assert "one, two" in caught.value.accepted


@pytest.mark.parametrize("text", ["[1, 2", "just words", '{"contexts": [{"nome": "x"}]}'])
def test_a_broken_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken"
    path.write_text(text)
    with pytest.raises(Rejected, match="kubeconfig") as caught:
        Clusters(path, QuickClock()).contexts()
    assert str(path) in caught.value.value


def test_a_missing_kubeconfig_is_named_and_none_at_all_is_empty(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="no such file"):
        Clusters(tmp_path / "absent", QuickClock()).contexts()
    assert Clusters(None, QuickClock(), environment={"KUBECONFIG": str(tmp_path / "absent")}).contexts() == ()
    inside = {"KUBECONFIG": str(tmp_path / "absent"), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert Clusters(None, QuickClock(), environment=inside).contexts() == ("in-cluster",)


async def test_a_context_without_a_cluster_is_unusable_not_fatal(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, 1)
    document = json.loads(path.read_text())
    document["clusters"] = []
    path.write_text(json.dumps(document))
    clusters = Clusters(path, QuickClock())
    with pytest.raises(Unavailable, match="credentials of context test can't be loaded"):
        await (await clusters.connect("test")).get(REF)
    await clusters.close()


async def test_after_an_outage_no_old_connection_is_used_and_what_is_under_way_goes_on(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):
        ports: list[int] = []
        may_answer = asyncio.Event()

        async def slowly(request: web.Request) -> web.StreamResponse:
            await may_answer.wait()
            return web.json_response({"kind": "Deployment", "metadata": {"name": "cart"}})

        async def quickly(request: web.Request) -> web.StreamResponse:
            ports.append(request.transport.get_extra_info("peername")[1])  # type: ignore[union-attr]
            return web.json_response({"kind": "Deployment"})

        api.always(quickly, path="/version")
        for _ in range(2):
            await connection.latency()
        api.once(slowly, path="/deployments/cart")
        under_way = asyncio.create_task(connection.get(REF))
        await eventually(lambda: api.count(path="/deployments/cart") == 1)
        await connection.distrust()
        await connection.latency()
        may_answer.set()
        assert (await under_way)["metadata"] == {"name": "cart"}
        first, second, after = ports
        assert first == second != after

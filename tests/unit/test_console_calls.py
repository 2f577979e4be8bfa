"""The log of calls: what was asked of which cluster, as command lines, with what answer, and no secret in any of them."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from support.clock import ManualClock
from support.consoles import TestConsole, entry, picture, until, words_on
from support.fake_api import FakeApi, QuickClock, kubeconfig, manifest, status

from console.calls import merged
from services.actuator.called import HIDDEN, command_of
from services.cluster.answers import JSON_PATCH
from services.cluster.calls import CallLog
from services.cluster.connection import Clusters
from services.cluster.transport import Request
from services.cluster.writer import Writer
from services.model.errors import NotFound, Unavailable
from services.model.objects import ObjectRef
from widgets.grid import Grid

DEPLOYMENT = "/apis/apps/v1/namespaces/production/deployments/payment-service"


def request(method: str, path: str, body: object = None, content_type: str = "application/json", **params: str) -> Request:
    return Request(
        method,
        path,
        "a test",
        params=params,
        body=None if body is None else msgspec.json.encode(body),
        content_type=content_type,
    )


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (request("GET", "/version"), "kubectl version --context prod"),
        (request("GET", DEPLOYMENT), "kubectl get deployments payment-service -o yaml -n production --context prod"),
        (
            request("GET", "/api/v1/namespaces/production/pods", limit="500", labelSelector="app=x,track in (a,b)"),
            "kubectl get pods -l 'app=x,track in (a,b)' -n production --context prod",
        ),
        (
            request("GET", "/apis/networking.istio.io/v1beta1/namespaces/p/virtualservices", watch="1", resourceVersion="7"),
            "kubectl get virtualservices.networking.istio.io --watch -n p --context prod",
        ),
        (
            request("GET", "/api/v1/namespaces/p/pods/x-1/log", container="app", follow="true"),
            "kubectl logs x-1 -c app -f -n p --context prod",
        ),
        (
            request("GET", "/api/v1/namespaces/p/pods/x-1:8080/proxy/metrics"),
            "kubectl get --raw /api/v1/namespaces/p/pods/x-1:8080/proxy/metrics --context prod",
        ),
        (
            request(
                "POST",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                {"spec": {"resourceAttributes": {"verb": "patch", "group": "apps", "resource": "deployments", "namespace": "p"}}},
            ),
            "kubectl auth can-i patch deployments.apps -n p --context prod",
        ),
        (
            request("DELETE", "/api/v1/namespaces/p/configmaps/c", {"kind": "DeleteOptions"}),
            "kubectl delete configmaps c -n p --context prod",
        ),
        (
            request("PUT", "/apis/coordination.k8s.io/v1/namespaces/p/leases/l", {"spec": {"holderIdentity": "me"}}),
            "kubectl replace -f - -n p --context prod  # leases.coordination.k8s.io/l",
        ),
        (
            request("PATCH", DEPLOYMENT, [{"op": "replace", "path": "/spec/replicas", "value": 3}], JSON_PATCH, dryRun="All"),
            "kubectl patch deployments payment-service --type=json -p "
            '\'[{"op":"replace","path":"/spec/replicas","value":3}]\' --dry-run=server -n production --context prod',
        ),
    ],
)
def test_a_request_is_told_as_the_command_that_makes_it(asked, line):
    assert command_of("prod", asked) == line


SECRET = "hunter2-correct-horse"


@pytest.mark.parametrize(
    "asked",
    [
        request(
            "PATCH",
            DEPLOYMENT,
            [{"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": SECRET}],
            JSON_PATCH,
        ),
        request(
            "PATCH",
            DEPLOYMENT,
            [
                {
                    "op": "replace",
                    "path": "/spec/template",
                    "value": {"spec": {"containers": [{"env": [{"name": "X", "value": SECRET}]}]}},
                }
            ],
            JSON_PATCH,
        ),
        request(
            "PATCH", "/api/v1/namespaces/p/configmaps/c", [{"op": "add", "path": "/data/rollout", "value": SECRET}], JSON_PATCH
        ),
        request("PATCH", DEPLOYMENT, {"spec": {"password": SECRET}}, "application/merge-patch+json"),
        request("PUT", DEPLOYMENT, {"spec": {"password": SECRET}}),
        request("POST", "/api/v1/namespaces/p/secrets", {"data": {"a": SECRET}}),
    ],
)
def test_no_command_tells_a_secret(asked):
    assert SECRET not in command_of("prod", asked)


def test_the_data_of_a_config_map_is_hidden_and_its_epoch_is_not():
    told = command_of(
        "prod",
        request(
            "PATCH",
            "/api/v1/namespaces/p/configmaps/c",
            [
                {"op": "test", "path": "/metadata/annotations/quarterdeck~1epoch", "value": "4"},
                {"op": "add", "path": "/data/rollout", "value": "{}"},
            ],
            JSON_PATCH,
        ),
    )
    assert '"value":"4"' in told
    assert HIDDEN in told


def log(most: int = 10) -> CallLog:
    return CallLog(ManualClock(), command_of, lambda words: words.replace(SECRET, "***"), most=most)


def test_equal_reads_are_one_line_that_counts_and_every_change_is_its_own():
    calls = log()
    for _ in range(3):
        calls.note("prod", request("GET", "/version"), status=200, seconds=0.01)
    calls.note("prod", request("GET", "/version"), status=None, seconds=3.0, problem=f"no connection {SECRET}")
    for _ in range(2):
        calls.note("prod", request("PATCH", DEPLOYMENT, [], JSON_PATCH), status=200, seconds=0.02)
    assert [(call.times, call.status, call.changes) for call in calls.calls] == [
        (3, 200, False),
        (1, None, False),
        (1, 200, True),
        (1, 200, True),
    ]
    assert calls.made == 6
    assert SECRET not in repr(calls.calls)


def test_the_log_is_bounded_and_changes_stay_longest():
    calls = log(most=5)
    calls.note("prod", request("PATCH", DEPLOYMENT, [], JSON_PATCH), status=200, seconds=0.02)
    for index in range(50):
        calls.note("prod", request("GET", f"/api/v1/namespaces/n{index}/pods"), status=200, seconds=0.01)
    assert len(calls.calls) == 5
    assert calls.calls[0].changes
    for _ in range(50):
        calls.note("prod", request("PATCH", DEPLOYMENT, [], JSON_PATCH), status=200, seconds=0.02)
    assert len(calls.calls) == 5


def entry_of(pid: int, **changes: object) -> dict[str, object]:
    return entry(
        7,
        "deployment.executed",
        phase="outcome",
        command="kubectl scale deployment/x --replicas=3 -n p --context prod",
        prog={"name": "quarterdeck drive", "host": "laptop", "pid": pid},
        data={"status": 200, "milliseconds": 4.5},
        **changes,
    )


def test_what_drivers_changed_is_merged_by_time_and_what_we_changed_is_told_once():
    calls = log()
    calls.note("prod", request("PATCH", DEPLOYMENT, [], JSON_PATCH), status=200, seconds=0.02)
    own, theirs = entry_of(1), entry_of(2)
    intent = entry(6, "deployment.executed", phase="intent")
    told = merged(calls.calls, [intent, own, theirs], process=("laptop", 1))
    assert sorted(each.by for each in told) == ["console", "driver 2"]
    assert [each.at for each in told] == sorted(each.at for each in told)
    theirs_told = next(each for each in told if each.by == "driver 2")
    assert (theirs_told.answer, theirs_told.seconds, theirs_told.failed) == ("200", 0.0045, False)
    refused = merged([], [entry_of(2, outcome="refused")], process=("laptop", 1))[0]
    assert refused.failed


def test_that_something_is_not_there_is_an_answer_to_a_read_and_a_failure_of_a_change():
    calls = log()
    calls.note("prod", request("GET", DEPLOYMENT), status=404, seconds=0.01, problem="not found")
    calls.note("prod", request("PATCH", DEPLOYMENT, [], JSON_PATCH), status=404, seconds=0.01, problem="not found")
    assert [each.failed for each in merged(calls.calls, [], process=("laptop", 1))] == [False, True]


async def test_a_read_that_nobody_waits_for_any_more_is_given_up_and_no_fault(tmp_path: Path):
    api, clock = FakeApi(), QuickClock()
    calls = CallLog(clock, command_of, str)
    await api.start()
    clusters = Clusters(kubeconfig(tmp_path, api.port), clock, calls=calls)
    asked = asyncio.Event()

    async def hangs(_: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.sleep(60)
        return web.Response()

    try:
        connection = await clusters.connect("test")
        api.once(hangs, path="slow")
        reading = asyncio.create_task(connection.get(ObjectRef("Deployment", "p", "slow")))
        await asyncio.wait_for(asked.wait(), 10)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    finally:
        await clusters.close()
        await api.stop()
    app = TestConsole(picture(entries=()))
    app.session.calls = calls.calls
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("at")
        await until(pilot, lambda: "given up" in words_on(app))
        assert "no answer" not in words_on(app)
        await pilot.press("ctrl+z")
        await until(pilot, lambda: "faults only" in words_on(app))
        assert "given up" not in words_on(app)


def test_a_change_that_was_given_up_stays_a_fault_since_nobody_knows_whether_it_took_effect():
    calls = log()
    calls.note("prod", request("PATCH", DEPLOYMENT, [], JSON_PATCH), status=None, seconds=0.1, problem="given up")
    told = merged(calls.calls, [], process=("laptop", 1))[0]
    assert (told.answer, told.failed) == ("given up", True)


async def test_the_line_that_is_selected_is_copied(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    calls = log()
    calls.note("prod", request("GET", "/version"), status=200, seconds=0.01)
    calls.note("prod", request("PATCH", DEPLOYMENT, [], JSON_PATCH), status=200, seconds=0.02)
    app = TestConsole(picture(entries=()))
    app.session.calls = calls.calls
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("at")
        await until(pilot, lambda: app.screen.where == "calls" and "1 changes, 1 reads" in words_on(app))
        await pilot.press("c")
        await until(pilot, lambda: app.clipboard == calls.calls[1].command)
        await pilot.press("g", "c")
        await until(pilot, lambda: app.clipboard == "kubectl version --context prod")


async def test_whoever_reads_further_up_is_left_alone_by_what_comes():
    calls = log(most=100)
    for index in range(30):
        calls.note("prod", request("GET", f"/api/v1/namespaces/n{index}/pods"), status=200, seconds=0.01)
    app = TestConsole(picture(entries=()))
    app.session.calls = calls.calls
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("at")
        await until(pilot, lambda: app.screen.where == "calls")
        grid = app.screen.query_one("#calls", Grid)
        await until(pilot, lambda: grid.selected == "call 30")
        calls.note("prod", request("GET", "/version"), status=200, seconds=0.01)
        app.session.calls = calls.calls
        app.new_picture(app.picture)
        await until(pilot, lambda: grid.selected == "call 31")
        await pilot.press("k", "k")
        kept = grid.selected
        calls.note("prod", request("GET", "/readyz"), status=200, seconds=0.01)
        app.session.calls = calls.calls
        app.new_picture(app.picture)
        await until(pilot, lambda: grid.row_count == 32)
        assert grid.selected == kept


async def test_every_request_of_a_connection_is_noted_with_its_answer(tmp_path: Path):
    api, clock = FakeApi(), QuickClock()
    calls = CallLog(clock, command_of, str)
    await api.start()
    clusters = Clusters(kubeconfig(tmp_path, api.port), clock, calls=calls)
    try:
        connection = await clusters.connect("test")
        await connection.latency()
        api.once(_not_there, path="gone")
        with pytest.raises(NotFound):
            await connection.get(ObjectRef("Deployment", "p", "gone"))
        api.put("pods", manifest("Pod", "a"))
        watch = connection.watch("Pod", "p", resource_version="1")
        api.once(_ended, watch=True)
        async for _ in watch:
            break
        await watch.aclose()
        await Writer(connection).patch(ObjectRef("Deployment", "p", "cart"), [{"op": "remove", "path": "/metadata/labels/x"}])
        told = {call.command: call for call in calls.calls}
        assert told["kubectl version --context test"].status == 200
        gone = told["kubectl get deployments gone -o yaml -n p --context test"]
        assert (gone.status, gone.changes) == (404, False)
        assert gone.problem
        assert told["kubectl get pods --watch -n p --context test"].status == 200
        assert calls.calls[-1].changes
        assert calls.calls[-1].command.startswith("kubectl patch deployments cart --type=json")
        await api.stop()
        with pytest.raises(Unavailable):
            await connection.latency()
        assert calls.calls[-1].status is None
        assert calls.calls[-1].problem
    finally:
        await clusters.close()
        await api.stop()


async def _not_there(_: web.Request) -> web.StreamResponse:
    return status(404, "not found")


async def _ended(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"")


def test_a_page_that_is_read_of_every_pod_is_one_line():
    calls = log(most=50)
    for pod in range(40):
        path = f"/api/v1/namespaces/shop/pods/cart-{pod}:8080/proxy/metrics"
        calls.note("prod", Request("GET", path, "read", passes=True), status=200, seconds=0.01)
    calls.note("prod", Request("GET", path, "read", passes=True), status=404, seconds=0.01)
    assert [(call.times, call.status) for call in calls.calls] == [(40, 200), (1, 404)]
    assert "cart-39:8080" in calls.calls[0].command

"""The inventory keeps the picture current through everything a server and a network do, and is honest about its age."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from support.fake_api import FakeApi, SteadyClock, connected, event, eventually, manifest, status

from services.cluster.inventory import Inventory
from services.cluster.picture import KINDS, Picture
from services.cluster.workloads import Scaling, autoscaler_of
from services.model.objects import ObjectRef


@contextlib.asynccontextmanager
async def running(
    directory: Path, *, kinds: tuple[str, ...] = ("Pod",), factor: float = 50.0, wait: bool = True
) -> AsyncIterator[tuple[FakeApi, Inventory, list[int]]]:
    clock = SteadyClock(factor)
    changes: list[int] = []
    async with connected(directory, clock=clock) as (api, connection):
        api.put("pods", manifest("Pod", "first"))
        inventory = Inventory(connection, ["shop"], clock, kinds=kinds, on_change=lambda: changes.append(inventory.version))
        task = asyncio.create_task(inventory.run())
        try:
            if wait:
                assert await inventory.wait_synced(30)
                await eventually(lambda: len(api.watchers.get("pods", [])) == 1)
            yield api, inventory, changes
        finally:
            started = clock.monotonic()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert clock.monotonic() - started < 0.2 * factor


def lists(api: FakeApi) -> int:
    """How often pods were listed; signs of life are asked for in the same place."""
    return sum("watch" not in params and params.get("limit") != "1" for _, way, params in api.requests if "/pods" in way)


def resumed(api: FakeApi) -> dict[str, str]:
    """What the latest watch asked for."""
    return [params for _, _, params in api.requests if "watch" in params][-1]


def names(inventory: Picture) -> set[str]:
    return {name for _, name in inventory.pods}


def fixed(answer: web.StreamResponse | None = None, code: int = 0, message: str = "no"):
    async def handler(_: web.Request) -> web.StreamResponse:
        return status(code, message) if answer is None else answer

    return handler


async def test_it_lists_then_follows(tmp_path: Path) -> None:
    async with running(tmp_path) as (api, inventory, _):
        api.put("pods", manifest("Pod", "second"))
        await eventually(lambda: names(inventory) == {"first", "second"})
        api.put("pods", manifest("Pod", "second", metadata={"labels": {"a": "b"}}))
        await eventually(lambda: inventory.pods["shop", "second"].metadata.labels == {"a": "b"})
        api.delete("pods", "first")
        await eventually(lambda: names(inventory) == {"second"})
        assert inventory.problem == ""
        await eventually(lambda: (inventory.age() or 0) < 6)


async def test_one_call_for_a_batch_and_a_wakeup_for_everybody(tmp_path: Path) -> None:
    async with running(tmp_path) as (api, inventory, changes):
        waiting = [asyncio.create_task(inventory.changed()) for _ in range(5)]
        await asyncio.sleep(0)
        before, version = len(changes), inventory.version
        api.say("pods", b"".join(event("ADDED", manifest("Pod", f"p{number}")) for number in range(50)))
        assert await asyncio.gather(*waiting) == [version + 1] * 5
        assert len(changes) == before + 1
        assert len(inventory.pods) == 51
        assert await inventory.changed(version) == version + 1


async def test_a_listener_that_fails_does_not_end_the_watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("a defect")

    async with connected(tmp_path) as (api, connection):
        inventory = Inventory(connection, ["shop"], SteadyClock(), kinds=("Pod",), on_change=fail)
        task = asyncio.create_task(inventory.run())
        assert await inventory.wait_synced(30)
        for name in ("first", "second"):
            await eventually(lambda: bool(api.watchers.get("pods")))
            api.put("pods", manifest("Pod", name))
            await eventually(lambda name=name: name in names(inventory))  # type: ignore[misc]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert "a defect" in caplog.text


async def test_a_line_of_200_kib_arrives(tmp_path: Path) -> None:
    async with running(tmp_path) as (api, inventory, _):
        line = event("ADDED", manifest("Pod", "big", metadata={"annotations": {"x": "y" * 200 * 1024}}))
        for start in range(0, len(line), 30_000):
            api.say("pods", line[start : start + 30_000])
        await eventually(lambda: "big" in names(inventory))


async def test_a_cut_in_the_middle_of_a_line_is_resumed_where_it_was(tmp_path: Path) -> None:
    async with running(tmp_path) as (api, inventory, _):
        api.put("pods", manifest("Pod", "second"))
        await eventually(lambda: "second" in names(inventory))
        before, last = lists(api), str(api.version)
        api.say("pods", event("ADDED", manifest("Pod", "third"))[:40])
        api.cut("pods")
        await eventually(lambda: api.count(path="/pods", watch=True) >= 2)
        assert resumed(api)["resourceVersion"] == last
        assert resumed(api)["allowWatchBookmarks"] == "true"
        await eventually(lambda: bool(api.watchers["pods"]))
        api.put("pods", manifest("Pod", "third"))
        await eventually(lambda: "third" in names(inventory))
        assert lists(api) == before


async def test_a_bookmark_moves_on_where_it_resumes(tmp_path: Path) -> None:
    async with running(tmp_path) as (api, inventory, changes):
        before = len(changes)
        seen = inventory.age() or 0
        api.say("pods", event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "4711"}}))
        await eventually(lambda: (inventory.age() or 0) <= seen)
        assert len(changes) == before
        api.cut("pods")
        await eventually(lambda: api.count(path="/pods", watch=True) >= 2)
        assert resumed(api)["resourceVersion"] == "4711"


@pytest.mark.parametrize("how", ["event", "http", "garbage", "other error", "nameless"])
async def test_what_it_missed_is_listed_anew(tmp_path: Path, how: str) -> None:
    """An expired version (410 as an answer or an event) or a stream that can't be trusted: list again, drop what is gone."""
    async with running(tmp_path) as (api, inventory, _):
        api.collections["pods"] = {}
        api.put("pods", manifest("Pod", "newer"), tell=False)
        if how == "http":
            api.once(fixed(code=410, message="too old resource version"), path="/pods", watch=True)
            api.cut("pods")
        else:
            expired = {"kind": "Status", "code": 410 if how == "event" else 500, "message": "too old resource version"}
            said = {"garbage": b"{]\n", "nameless": event("ADDED", {"metadata": {}})}.get(how, event("ERROR", expired))
            api.say("pods", said)
        await eventually(lambda: names(inventory) == {"newer"})
        await eventually(lambda: inventory.problem == "")


async def test_a_server_that_always_says_expired_is_not_hammered(tmp_path: Path) -> None:
    async with running(tmp_path, factor=1.0) as (api, _, _):
        api.always(fixed(code=410), path="/pods", watch=True)
        before = len(api.requests)
        api.cut("pods")
        await eventually(lambda: len(api.requests) >= before + 4)
        assert len(api.requests) < before + 12


async def test_expired_credentials_are_replaced_below_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (api, inventory, _):
        api.once(fixed(code=401), path="/pods", watch=True)
        api.cut("pods")
        await eventually(lambda: api.count(path="/pods", watch=True) >= 3)
        await eventually(lambda: bool(api.watchers["pods"]))
        api.put("pods", manifest("Pod", "second"))
        await eventually(lambda: "second" in names(inventory))


async def test_it_heals_soon_after_an_outage_of_any_length(tmp_path: Path) -> None:
    """Ten minutes of the fast clock: backoff has long reached its longest."""
    async with running(tmp_path, kinds=("Pod", "Deployment", "Lease"), factor=200.0) as (api, inventory, _):
        await api.stop()
        await eventually(lambda: (inventory.age() or 0) > 600)
        assert "connection refused by http://127.0.0.1" in inventory.problem
        assert names(inventory) == {"first"}
        api.put("pods", manifest("Pod", "second"), tell=False)
        await api.start()
        started = inventory._clock.monotonic()
        api.always(fixed(code=410), path="/pods", watch=True)  # its history is as long gone as the server was
        await eventually(lambda: names(inventory) == {"first", "second"})
        assert inventory._clock.monotonic() - started < 5 + 200 * 0.1  # a tenth of a real second for the work itself
        api.rules.clear()
        await eventually(lambda: inventory.problem == "" and (inventory.age() or 0) < 6)


async def test_what_was_asked_in_the_dark_is_asked_again_once_the_server_is_back(tmp_path: Path) -> None:
    """The network swallows: watches break, lists and signs of life go out and are never answered, not even afterwards."""
    dark = False

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            request.transport.abort()  # type: ignore[union-attr]
            return web.Response()
        await asyncio.Event().wait()
        raise AssertionError

    async with running(tmp_path, factor=10) as (api, inventory, _):
        before = lists(api)
        api.rules.append((lambda request: dark, answer))
        dark = True
        api.cut("pods")
        await eventually(lambda: lists(api) > before and inventory.problem != "" and (inventory.age() or 0) > 8)
        api.put("pods", manifest("Pod", "meanwhile"))
        asked = len(api.requests)
        await eventually(lambda: len(api.requests) > asked)  # a sign of life has just gone out, and will wait for its timeout
        dark, began = False, inventory._clock.monotonic()
        await eventually(lambda: "meanwhile" in names(inventory) and inventory.problem == "" and (inventory.age() or 0) < 1)
        assert inventory._clock.monotonic() - began < 2 * 10  # a sign of life alone would wait for 3 s, and a list for 30


async def test_a_server_down_at_the_start_is_a_problem_with_no_age(tmp_path: Path) -> None:
    async with running(tmp_path, wait=False) as (api, inventory, _):
        await api.stop()
        await eventually(lambda: "connection refused" in inventory.problem)
        assert inventory.age() is None
        assert not inventory.synced
        await api.start()
        assert await inventory.wait_synced(30)
        await eventually(lambda: inventory.problem == "")


async def test_it_says_why_when_the_server_answers_errors(tmp_path: Path) -> None:
    async with running(tmp_path) as (api, inventory, _):
        api.always(fixed(code=500, message="etcdserver: request timed out"))
        api.cut("pods")
        await eventually(lambda: "etcdserver: request timed out" in inventory.problem)
        await eventually(lambda: (inventory.age() or 0) > 20)
        api.rules.clear()
        await eventually(lambda: inventory.problem == "" and (inventory.age() or 99) < 6)


async def test_where_watches_do_not_work_lists_keep_the_picture_current(tmp_path: Path) -> None:
    async with running(tmp_path) as (api, inventory, _):
        api.always(fixed(code=500, message="no watches today"), path="/pods", watch=True)
        api.cut("pods")
        await eventually(lambda: "no watches today" in inventory.problem)
        for name in ("second", "third"):
            api.put("pods", manifest("Pod", name))
            await eventually(lambda name=name: name in names(inventory))  # type: ignore[misc]
        assert (inventory.age() or 0) < 15


async def test_a_quiet_cluster_is_asked_for_a_sign_of_life(tmp_path: Path) -> None:
    async with running(tmp_path) as (api, inventory, _):
        before = api.count(path="/pods", watch=False)
        await eventually(lambda: api.count(path="/pods", watch=False) >= before + 3)
        assert api.requests[-1][2] == {"limit": "1"}
        await eventually(lambda: (inventory.age() or 0) < 6.5)


async def test_one_kind_forbidden_one_unknown_and_the_rest_works(tmp_path: Path) -> None:
    async with running(tmp_path, kinds=KINDS, wait=False) as (api, inventory, _):
        api.always(fixed(code=403, message="leases is forbidden"), path="/leases")
        api.always(fixed(web.Response(status=404, body=b"404 page not found")), path="/virtualservices")
        assert await inventory.wait_synced(30)
        await eventually(lambda: bool(api.watchers.get("pods")))
        assert "can't read leases in shop: test answered 403 Forbidden: leases is forbidden" in inventory.problem
        assert {(one.kind, one.absent) for one in inventory.unreadable} == {("Lease", False), ("VirtualService", True)}
        assert not inventory.can_read("Lease", "shop")
        assert inventory.can_read("Pod", "shop")
        api.put("pods", manifest("Pod", "second"))
        await eventually(lambda: "second" in names(inventory) and (inventory.age() or 0) < 6)
        api.rules.clear()  # the right was given, the definition installed
        await eventually(lambda: inventory.unreadable == () and inventory.problem == "")


def autoscaler(name: str, target: str, kind: str = "Deployment") -> dict[str, object]:
    spec = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": target}, "minReplicas": 2, "maxReplicas": 9}
    return manifest("HorizontalPodAutoscaler", name, spec=spec)


async def test_who_sets_the_replicas_of_a_deployment_is_known_or_said_not_to_be(tmp_path: Path) -> None:
    cart, other = ObjectRef("Deployment", "shop", "cart"), ObjectRef("Deployment", "shop", "other")
    plural = "horizontalpodautoscalers"
    async with running(tmp_path, kinds=KINDS) as (api, inventory, _):
        assert autoscaler_of(inventory, cart) == Scaling(known=True)
        api.put(plural, autoscaler("scales", "cart"))
        api.put(plural, autoscaler("another-kind", "other", "StatefulSet"))
        await eventually(lambda: len(inventory.autoscalers) == 2)
        found = autoscaler_of(inventory, cart)
        assert found.autoscaler is not None
        assert (found.known, found.autoscaler.spec.min_replicas, found.autoscaler.spec.max_replicas) == (True, 2, 9)
        assert autoscaler_of(inventory, other) == Scaling(known=True)
        assert autoscaler_of(inventory, ObjectRef("Deployment", "elsewhere", "cart")) == Scaling(known=False)
        api.put(plural, manifest("HorizontalPodAutoscaler", "odd", spec={"scaleTargetRef": "?"}))
        await eventually(lambda: bool(inventory.undecodable()))
        assert autoscaler_of(inventory, other) == Scaling(known=False)
        assert autoscaler_of(inventory, cart).known


@pytest.mark.parametrize("code", [403, 404])
async def test_autoscalers_that_can_not_be_read_are_no_problem_and_unknown(tmp_path: Path, code: int) -> None:
    async with running(tmp_path, kinds=KINDS, wait=False) as (api, inventory, _):
        api.always(fixed(code=code), path="/horizontalpodautoscalers")
        assert await inventory.wait_synced(30)
        assert [one.kind for one in inventory.unreadable] == ["HorizontalPodAutoscaler"]
        assert inventory.problem == ""
        assert autoscaler_of(inventory, ObjectRef("Deployment", "shop", "cart")) == Scaling(known=False)


async def test_autoscalers_that_can_not_be_kept_current_make_nothing_else_old(tmp_path: Path) -> None:
    async with running(tmp_path, kinds=KINDS) as (api, inventory, _):
        await eventually(lambda: bool(api.watchers.get("horizontalpodautoscalers")))
        assert autoscaler_of(inventory, ObjectRef("Deployment", "shop", "cart")).known
        api.always(fixed(code=500), path="/horizontalpodautoscalers")
        api.cut("horizontalpodautoscalers")
        await eventually(lambda: not autoscaler_of(inventory, ObjectRef("Deployment", "shop", "cart")).known)
        beats = api.count(path="/deployments", watch=False)
        await eventually(lambda: api.count(path="/deployments", watch=False) >= beats + 4)
        assert "horizontalpodautoscalers" in inventory.problem
        assert (inventory.age() or 0) < 12


async def test_only_our_own_config_maps_and_leases_are_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path, kinds=KINDS) as (api, _, _):
        asked = {way.rpartition("/")[2]: params.get("labelSelector") for _, way, params in api.requests}
        assert asked["configmaps"] == "quarterdeck/kind"
        assert asked["leases"] == "quarterdeck/service"
        assert asked["pods"] is None


async def test_an_object_without_the_form_of_its_kind_is_named_not_fatal(tmp_path: Path) -> None:
    async with running(tmp_path) as (api, inventory, _):
        api.put("pods", manifest("Pod", "odd", spec={"containers": "none"}))
        api.put("pods", manifest("Pod", "second"))
        await eventually(lambda: "second" in names(inventory))
        assert list(inventory.undecodable()) == [ObjectRef("Pod", "shop", "odd")]
        api.put("pods", manifest("Pod", "odd"))
        await eventually(lambda: "odd" in names(inventory) and not inventory.undecodable())


async def test_cancelling_ends_at_once_while_the_server_hangs(tmp_path: Path) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with running(tmp_path, kinds=KINDS, wait=False) as (api, inventory, _):
        api.always(hang)
        await eventually(lambda: len({way for _, way, _ in api.requests}) == len(KINDS))
        assert not await inventory.wait_synced(0.01)


async def test_ten_thousand_pods_are_decoded_page_by_page(tmp_path: Path, record_property) -> None:
    """A bench note, not a limit: seconds to decode, and the longest the loop stood still."""
    containers = [{"name": "main", "image": "registry/cart:v1", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]
    pods = [
        json.dumps(manifest("Pod", f"p{number}", metadata={"labels": {"app": "cart"}}, spec={"containers": containers})).encode()
        for number in range(10_000)
    ]
    picture = Picture()
    started = time.perf_counter()
    stall = 0.0
    for first in range(0, len(pods), 500):
        page = time.perf_counter()
        entries = [picture.decode("Pod", pod) for pod in pods[first : first + 500]]
        stall = max(stall, time.perf_counter() - page)
        assert len(entries) == 500
    record_property("seconds to decode 10,000 pods", round(time.perf_counter() - started, 3))
    record_property("longest page, seconds", round(stall, 4))


def test_whatever_happens_to_objects_their_owners_know_them() -> None:
    """Random puts, removals, moves between owners and fresh lists: the index always agrees with the objects."""
    rng = random.Random(7)
    picture = Picture()
    for _ in range(2000):
        name, owner = f"p{rng.randrange(12)}", f"o{rng.randrange(4)}"
        body = manifest("Pod", name, metadata={"ownerReferences": [{"uid": owner, "controller": True}]})
        encoded = json.dumps(body).encode()
        choice = rng.random()
        if choice < 0.6:
            picture.put("Pod", encoded)
        elif choice < 0.9:
            picture.remove("Pod", encoded)
        else:
            picture.replace("Pod", "shop", [picture.decode("Pod", encoded)])
        for uid in ("o0", "o1", "o2", "o3"):
            wanted = {pod.metadata.name for pod in picture.pods.values() if pod.metadata.controller == uid}
            assert {pod.metadata.name for pod in picture.pods_of(uid)} == wanted


def test_the_whole_object_is_kept_for_plans_and_each_asker_gets_a_copy() -> None:
    picture = Picture()
    body = manifest("Deployment", "cart", spec={"anything": {"we": "don't know"}})
    del body["kind"]  # as the items of a list come
    picture.put("Deployment", json.dumps(body).encode())
    ref = ObjectRef("Deployment", "shop", "cart")
    found = picture.raw(ref)
    assert found == {"apiVersion": "apps/v1", "kind": "Deployment", **body}
    found["spec"]["anything"] = None
    assert picture.raw(ref) != found
    assert picture.raw(ObjectRef("Deployment", "shop", "other")) is None


@pytest.mark.parametrize(("code", "known"), [(403, "is forbidden"), (404, "not found")])
async def test_a_server_that_refuses_for_a_moment_what_it_allowed_does_not_empty_the_picture(
    tmp_path: Path, code: int, known: str
) -> None:
    """As one does that has just started and has not loaded its roles, or the definitions of custom resources."""
    async with running(tmp_path) as (api, inventory, _):
        api.always(fixed(code=code, message=known), path="/pods")
        api.cut("pods")
        await eventually(lambda: known in inventory.problem)
        assert names(inventory) == {"first"}
        assert inventory.unreadable == ()
        api.rules.clear()
        await eventually(lambda: inventory.problem == "")
        assert names(inventory) == {"first"}
        api.always(fixed(code=code, message=known), path="/pods")  # and now for good
        api.cut("pods")
        await eventually(lambda: [one.absent for one in inventory.unreadable] == [code == 404])
        assert names(inventory) == set()


async def test_a_watch_that_is_not_accepted_does_not_pass_for_current(tmp_path: Path) -> None:
    """Short requests are answered, watches hang: signs of life say nothing about pods then."""

    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with running(tmp_path) as (api, inventory, _):
        api.once(fixed(web.Response()), path="/pods", watch=True)  # ends in good order, as every few minutes
        api.always(hang, path="/pods", watch=True)
        api.cut("pods")
        await eventually(lambda: (inventory.age() or 0) > 20)


async def test_an_expired_version_after_a_slow_list_is_not_hammered(tmp_path: Path) -> None:
    async def slowly(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.03)  # a second and a half of the fast clock
        return web.json_response({"metadata": {"resourceVersion": "7"}, "items": []})

    async with running(tmp_path) as (api, _, _):
        api.always(slowly, path="/pods", watch=False)
        api.always(fixed(code=410), path="/pods", watch=True)
        before = time.monotonic()
        api.cut("pods")
        await eventually(lambda: api.count(path="/pods", watch=True) >= 30)
        # The lists take 44 s; with backoff there are about 2 s more between two of them.
        assert (time.monotonic() - before) * 50 > 65

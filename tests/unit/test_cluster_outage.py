"""A server that comes back: what went into the dark is asked again, what is slow gets its time, who said when is asked then."""

import asyncio
import contextlib
import gc
import ssl
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
import yaml
from aiohttp import web
from support.fake_api import FakeApi, SteadyClock, connected, eventually, kubeconfig, manifest, status
from support.proxy import Line, proxies

from services.cluster.connection import Clusters
from services.cluster.inventory import Inventory

EMPTY = {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": []}
BUSY = {"kind": "Status", "code": 429, "message": "slow down"}


@contextlib.asynccontextmanager
async def kept(inventory: Inventory) -> AsyncIterator[None]:
    task = asyncio.create_task(inventory.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def is_beat(request: web.Request) -> bool:
    return "watch" not in request.query and request.query.get("limit") == "1"


def is_list(request: web.Request) -> bool:
    return "watch" not in request.query and request.query.get("limit") != "1"


@pytest.mark.parametrize("seconds", [9.0, 14.0], ids=["within its patience", "longer than that"])
async def test_a_slow_list_is_finished_however_often_the_server_seems_gone_meanwhile(tmp_path: Path, seconds: float) -> None:
    factor, beats = 10.0, 0
    clock = SteadyClock(factor)

    async def every_other(_: web.Request) -> web.StreamResponse:
        nonlocal beats
        beats += 1
        return status(504, "timeout") if beats % 2 else web.json_response(EMPTY)

    async def slowly(_: web.Request) -> web.StreamResponse:
        await clock.sleep(seconds)
        return web.json_response(EMPTY | {"items": [manifest("Pod", "first")]})

    async with connected(tmp_path, clock=clock) as (api, connection):
        api.rules += [(is_beat, every_other), (is_list, slowly)]
        inventory = Inventory(connection, ["shop"], clock, kinds=("Pod",))
        began = clock.monotonic()
        async with kept(inventory):
            await eventually(lambda: ("shop", "first") in inventory.pods)
            assert clock.monotonic() - began < 60
            assert beats >= 2, "it seemed gone, and was back"


async def test_a_list_of_many_pages_is_begun_once(tmp_path: Path) -> None:
    factor, beats, begun = 10.0, 0, 0
    clock = SteadyClock(factor)

    async def once_gone(_: web.Request) -> web.StreamResponse:
        nonlocal beats
        beats += 1
        return status(504, "timeout") if beats == 1 else web.json_response(EMPTY)

    async def by_pages(request: web.Request) -> web.StreamResponse:
        nonlocal begun
        page = int(request.query.get("continue", "0"))
        begun += page == 0
        await clock.sleep(6.5 if page == 0 else 4.0)
        more = {"metadata": {"resourceVersion": "1", "continue": str(page + 1)}} if page < 3 else {}
        return web.json_response(EMPTY | more | {"items": [manifest("Pod", f"pod-{page}")]})

    async with connected(tmp_path, clock=clock) as (api, connection):
        await connection.latency()  # the credentials, which a thread loads, are there
        api.rules += [(is_beat, once_gone), (is_list, by_pages)]
        inventory = Inventory(connection, ["shop"], clock, kinds=("Pod",))
        began = clock.monotonic()
        async with kept(inventory):
            await eventually(lambda: ("shop", "pod-3") in inventory.pods)
            assert clock.monotonic() - began < 60
    assert beats >= 2
    assert begun == 1


async def test_who_said_when_to_come_again_is_asked_then_and_over_the_same_connection(tmp_path: Path) -> None:
    factor, beats = 20.0, 0
    clock = SteadyClock(factor)
    ports: set[int] = set()

    async def every_other(request: web.Request) -> web.StreamResponse:
        nonlocal beats
        beats += 1
        ports.add(request.transport.get_extra_info("peername")[1])  # type: ignore[union-attr]
        busy = web.json_response(BUSY, status=429, headers={"Retry-After": "30"})
        return busy if beats % 2 else web.json_response(EMPTY)

    async def busy(_: web.Request) -> web.StreamResponse:
        return web.json_response(BUSY, status=429, headers={"Retry-After": "30"})

    async with connected(tmp_path, clock=clock) as (api, connection):
        api.rules += [(is_beat, every_other), (lambda _: True, busy)]
        async with kept(Inventory(connection, ["shop"], clock, kinds=("Pod", "Service"))):
            await clock.sleep(100)
        lists = sum(is_list_query(query) for _, _, query in api.requests)
    assert beats > 10
    assert lists <= 2 * 4, "two kinds, every 30 s"
    assert len(ports) <= 3


def is_list_query(query: dict[str, str]) -> bool:
    return "watch" not in query and query.get("limit") != "1"


async def test_connections_begun_in_the_dark_are_not_waited_for(tmp_path: Path) -> None:
    """They would be given up after 3 s, and tried again some seconds later."""
    factor = 5.0
    clock = SteadyClock(factor)
    async with secure(tmp_path) as api:
        with proxies(api.port, "only") as lines:
            line = lines["only"]
            clusters = Clusters(trusting(tmp_path, line.port), clock)
            inventory = Inventory(
                await clusters.connect("test"), ["shop"], clock, kinds=("Pod", "Service", "Deployment", "ReplicaSet", "Lease")
            )
            async with kept(inventory):
                assert await inventory.wait_synced(30)
                await asyncio.to_thread(line.set, Line.CUT)
                await eventually(lambda: "refused" in inventory.problem)
                await asyncio.to_thread(line.set, Line.HALF_OPEN)
                await eventually(lambda: "did not answer within 3 s" in inventory.problem)
                await asyncio.sleep(0.7)  # by then their backoff is over, and they have begun again
                await asyncio.to_thread(line.set, Line.OPEN)
                began = clock.monotonic()
                await eventually(lambda: inventory.problem == "" and (inventory.age() or 99) < factor)
                assert clock.monotonic() - began < 1.2 * factor
            await clusters.close()


async def test_no_backoff_is_waited_for_once_the_server_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SteadyClock(10.0)
    monkeypatch.setattr("services.cluster.watch.FIRST_PAUSE", 60.0)
    monkeypatch.setattr("services.cluster.watch.LONGEST_PAUSE", 60.0)
    async with connected(tmp_path, clock=clock) as (api, connection):
        inventory = Inventory(connection, ["shop"], clock, kinds=("Pod",))
        async with kept(inventory):
            assert await inventory.wait_synced(30)
            await api.stop()
            await eventually(lambda: "refused" in inventory.problem)
            await eventually(lambda: inventory._silence != "")
            await api.start()
            began = clock.monotonic()
            await eventually(lambda: inventory.problem == "" and (inventory.age() or 99) < 6)
            assert clock.monotonic() - began < 20


async def test_a_dead_connection_that_was_kept_is_not_used_after_the_outage(tmp_path: Path) -> None:
    clock = SteadyClock(5.0)
    async with connected(tmp_path, clock=clock) as (api, _):
        with proxies(api.port, "only") as lines:
            line = lines["only"]
            clusters = Clusters(kubeconfig(tmp_path, line.port), clock)
            connection = await clusters.connect("test")
            inventory = Inventory(connection, ["shop"], clock, kinds=("Pod",))
            async with kept(inventory):
                assert await inventory.wait_synced(30)
                await asyncio.gather(*(connection.latency() for _ in range(20)))  # as many are kept
                await asyncio.to_thread(line.set, Line.HALF_OPEN)
                await eventually(lambda: "did not answer" in inventory.problem)
                await asyncio.to_thread(line.set, Line.OPEN)
                began = clock.monotonic()
                await eventually(lambda: inventory.problem == "")
                await asyncio.gather(*(connection.latency() for _ in range(20)))
                assert clock.monotonic() - began < 1.5 * 5
            await clusters.close()


def test_a_server_that_is_gone_keeps_no_connection_open_that_was_given_up(tmp_path: Path) -> None:
    """TLS says good-bye and waits for the answer."""

    async def given_up(until_then: contextlib.ExitStack) -> None:
        async with secure(tmp_path) as api:
            line = until_then.enter_context(proxies(api.port, "only"))["only"]
            clusters = Clusters(trusting(tmp_path, line.port), SteadyClock())
            inventory = Inventory(await clusters.connect("test"), ["shop"], SteadyClock(), kinds=("Pod", "Service"))
            async with kept(inventory):
                assert await inventory.wait_synced(30)
                await eventually(lambda: all(api.watchers.get(each) for each in ("pods", "services")))
                await asyncio.to_thread(line.set, Line.HALF_OPEN)
            await clusters.close()

    with warnings.catch_warnings(record=True) as told, contextlib.ExitStack() as network:
        warnings.simplefilter("always")
        asyncio.run(given_up(network))
        gc.collect()
    assert [str(warning.message) for warning in told if "unclosed" in str(warning.message)] == []


@contextlib.asynccontextmanager
async def secure(directory: Path) -> AsyncIterator[FakeApi]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    api = FakeApi()
    await api.start(tls=context)
    try:
        yield api
    finally:
        await api.stop()


def trusting(directory: Path, port: int) -> Path:
    path = kubeconfig(directory, port)
    document = yaml.safe_load(path.read_text())
    document["clusters"][0]["cluster"] = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority": str(directory / "ca.pem"),
    }
    path.write_text(yaml.safe_dump(document))
    return path


async def test_a_question_that_fails_late_says_nothing_against_an_answer_that_came_meanwhile(tmp_path: Path) -> None:
    clock = SteadyClock(10.0)
    lost, beats = asyncio.Event(), 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal beats
        beats += 1
        if beats == 1:
            return status(503, "gone")
        if beats == 2:
            await lost.wait()
            return status(503, "gone long ago")
        return web.json_response(EMPTY)

    async with connected(tmp_path, clock=clock) as (api, connection):
        api.rules.append((is_beat, answer))
        inventory = Inventory(connection, ["shop"], clock, kinds=("Pod",))
        said: list[str] = []
        async with kept(inventory):
            await eventually(lambda: beats >= 3 and inventory.problem == "")
            inventory._on_change = lambda: said.append(inventory.problem)
            lost.set()
            await asyncio.sleep(0.2)
            assert not any("gone long ago" in problem for problem in said)
            assert inventory.problem == ""


async def test_a_defect_in_the_heartbeat_is_logged_once_and_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SteadyClock(50.0)
    async with connected(tmp_path, clock=clock) as (_, connection):
        inventory = Inventory(connection, ["shop"], clock, kinds=("Pod",))

        def broken() -> None:
            raise RuntimeError("a defect")

        monkeypatch.setattr(inventory, "_question", broken)
        async with kept(inventory):
            await eventually(lambda: "internal error: RuntimeError('a defect')" in inventory.problem)
            await asyncio.sleep(0.5)
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


async def test_connections_that_are_not_trusted_any_more_are_closed(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):
        open_: set[asyncio.BaseTransport] = set()
        may_answer = asyncio.Event()

        async def slowly(request: web.Request) -> web.StreamResponse:
            open_.add(request.transport)  # type: ignore[arg-type]
            await may_answer.wait()
            return web.json_response({"gitVersion": "v1"})

        def left() -> int:
            return sum(not transport.is_closing() for transport in open_)

        api.always(slowly, path="/version")
        first = asyncio.create_task(connection.latency())
        await eventually(lambda: len(open_) == 1)
        await connection.distrust()
        assert left() == 1, "who uses it goes on"
        may_answer.set()
        await first
        await eventually(lambda: left() == 0)

        may_answer.clear()
        second = asyncio.create_task(connection.latency())
        await eventually(lambda: left() == 1)
        await connection.distrust()
        await connection.close()
        async with asyncio.timeout(30):
            await asyncio.gather(second, return_exceptions=True)
        await eventually(lambda: left() == 0)

"""The key that rolls back at once: a driver follows, whatever becomes of the first patch and of the home directory."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.clock import ManualClock
from support.memory_cluster import memory_connection, refusal_of
from support.rollouts import deployment, rollout, virtual_service

from services.actuator import Actuator
from services.audit import Journal
from services.cluster.inventory import Inventory
from services.cluster.transport import Answer, Request
from services.cluster.watched import RolloutWatch
from services.model.errors import Rejected, Unavailable
from services.model.objects import ObjectRef
from services.model.rollout import Phase, Rollout, UndoRecord
from services.redaction import Redactor
from services.rollout import immediate
from services.rollout.home import read_started, write_started
from services.rollout.immediate import Immediate, rollback_now
from services.rollout.intents import Answer as Told
from services.rollout.intents import Ask, Intent, IntentServer

BASE = rollout(epoch=3)
ROUTE = BASE.plan.route
assert ROUTE is not None
UNDO = (
    UndoRecord(object=ROUTE, path="/spec/http/0/route/0/weight", old=100, new=75, step=1),
    UndoRecord(object=ROUTE, path="/spec/http/0/route/1/weight", old=0, new=25, step=1),
)


class Pressed:
    """R, over a cluster in memory; ``started`` are the drivers that were started."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        connection, self.cluster = memory_connection()
        self.started: list[dict[str, Any]] = []
        self.rollout = msgspec.structs.replace(BASE, undo=UNDO)
        assert ROUTE is not None
        self.cluster.put(BASE.plan.stable, deployment(BASE.plan.stable))
        self.cluster.put(ROUTE, virtual_service(ROUTE, canary=25, epoch=3))
        clock = ManualClock()
        self.inventory = Inventory(connection, ("production",), clock)
        monkeypatch.setattr(self.inventory, "raw", self._raw)
        monkeypatch.setattr(immediate, "start_driver", lambda station, id, **how: self.started.append(how))

        journal = Journal.open(place / "journal", redactor=Redactor(), clock=clock)
        self.station: Any = SimpleNamespace(home=place, user="jane", read_only=False, journal=journal, clock=clock)

    def _raw(self, ref: ObjectRef) -> dict[str, Any] | None:
        return self.cluster.at(ref) if self.cluster.has(ref) else None

    async def press(self) -> Immediate:
        return await rollback_now(self.station, self.inventory, self.rollout)

    def share(self) -> int:
        assert ROUTE is not None
        weight: int = self.cluster.at(ROUTE)["spec"]["http"][0]["route"][1]["weight"]
        return weight


async def test_one_patch_and_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on = Pressed(tmp_path, monkeypatch)
    answer = await on.press()
    assert (answer.object, answer.problem, on.share(), len(on.started)) == (ROUTE, None, 0, 1)


async def test_a_home_that_takes_no_file_stops_no_rollback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on = Pressed(tmp_path, monkeypatch)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("services.rollout.home.lock_rollback", full)
    await on.press()
    assert (on.share(), [how["holding"] for how in on.started]) == (0, [None])


async def test_a_console_that_is_closed_under_the_patch_still_starts_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = Pressed(tmp_path, monkeypatch)
    sent = asyncio.Event()

    async def hangs(*_: object, **__: object) -> None:
        sent.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Actuator, "force", hangs)
    pressing = asyncio.create_task(on.press())
    await sent.wait()
    pressing.cancel()
    await asyncio.gather(pressing, return_exceptions=True)
    assert len(on.started) == 1, "the driver that was running is fenced off, and nobody would go on"


async def test_a_defect_of_the_fast_way_leaves_the_slow_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on = Pressed(tmp_path, monkeypatch)

    async def broken(*_: object, **__: object) -> None:
        raise ValueError("writes overlap")

    monkeypatch.setattr(Actuator, "force", broken)
    answer = await on.press()
    assert len(on.started) == 1
    assert answer.problem is not None
    assert "writes overlap" in str(answer.problem)


@pytest.mark.parametrize(("heard", "fenced"), [(True, False), (False, False), (True, True)])
async def test_a_cluster_that_refuses_us_may_still_listen_to_the_driver_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: bool, fenced: bool
) -> None:
    on = Pressed(tmp_path, monkeypatch)
    answer, asks = on.cluster.request, list[Ask]()

    async def refuses(request: Request, seconds: float = 10.0) -> Answer:
        if "/configmaps" in request.path and fenced:
            return await answer(request, seconds)
        raise refusal_of(403, request)

    async def rolls_back(ask: Ask) -> Told:
        asks.append(ask)
        return Told(ok=True, detail="rolling back")

    monkeypatch.setattr(on.cluster, "request", refuses)
    driver = IntentServer(tmp_path, on.rollout.id, rolls_back)
    if heard:
        await driver.open()
    try:
        done = await on.press()
    finally:
        await driver.close()
    if heard and not fenced:
        assert (done.joined, on.started) == (True, []), "a second driver would be refused as we are, and fence the first off"
        assert [ask.intent for ask in asks] == [Intent.ROLLBACK]
    else:
        # Fenced, the one at work can't store anything any more: the one that follows has to finish.
        assert (done.joined, len(on.started), asks) == (False, 1, [])
        assert done.problem is not None


async def test_a_finished_rollout_is_not_taken_back_under_one_that_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = Pressed(tmp_path, monkeypatch)
    on.rollout = msgspec.structs.replace(on.rollout, phase=Phase.SUCCEEDED)
    for phase, refused in ((Phase.PAUSED, True), (Phase.SUCCEEDED, False)):
        other = msgspec.structs.replace(rollout("r2"), phase=phase)
        monkeypatch.setattr(immediate, "rollouts", lambda *_, other=other: (RolloutWatch(rollout=other),))
        if refused:
            with pytest.raises(Rejected, match="r2 is under way"):
                await on.press()
            assert (on.share(), on.started) == (25, [])
        else:
            await on.press()
            assert on.share() == 0


async def test_the_driver_of_a_rollout_of_another_home_is_handed_what_is_known_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = Pressed(tmp_path, monkeypatch)
    kept: list[Rollout | None] = []
    monkeypatch.setattr(immediate, "start_driver", lambda _, id, **__: kept.append(read_started(tmp_path, id)))
    monkeypatch.setattr(on.cluster, "request", _no_answer)
    await on.press()
    assert [known and known.undo for known in kept] == [UNDO], "with the cluster away there is no other place to find it in"


async def test_what_was_started_here_stays_as_it_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on = Pressed(tmp_path, monkeypatch)
    write_started(tmp_path, BASE)
    await on.press()
    assert read_started(tmp_path, BASE.id) == BASE


async def _no_answer(request: Request, seconds: float = 10.0) -> Answer:
    raise Unavailable("no answer")

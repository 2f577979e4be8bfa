"""Who keeps a shipper at work: every process that may still write, for as long as it lives, and nobody else."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.shipping import QuickClock, ScriptedSink, shipping
from support.sinks import LeapingClock

from console.commands.ship import _orphaned
from console.shipping import kept_shipping
from services.audit.place import Disk
from services.audit.shipping import launch
from services.audit.shipping.given import Given
from services.audit.shipping.launch import attach, attached, ensure
from services.audit.shipping.shipper import ShipperRuns, only_one
from services.audit.shipping.status import ShippingStatus, SinkState, SinkStatus, read, running, write
from services.audit.sinks.base import Delivery, Trouble
from services.clock import SystemClock
from services.sandbox.home import lock

HOLDER = """
import sys
from pathlib import Path
from services.audit.shipping.launch import attach
attach(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_writer_keeps_it_until_it_lets_go_or_dies(tmp_path: Path) -> None:
    assert not attached(tmp_path)
    mine = attach(tmp_path)
    assert attached(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    os.close(mine)
    assert attached(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not attached(tmp_path)


def test_one_ships_a_home_and_looking_takes_nothing_away(tmp_path: Path) -> None:
    assert not running(tmp_path)
    with only_one(tmp_path):
        assert running(tmp_path)
        with pytest.raises(ShipperRuns, match=tmp_path.name), only_one(tmp_path):
            raise AssertionError("two at once")
    assert not running(tmp_path)


async def test_a_driver_has_a_shipper_at_work_for_as_long_as_it_drives() -> None:
    class Kept:
        clock = LeapingClock()
        asked = 0

        def keep_shipping(self) -> bool:
            self.asked += 1
            return True

    context = Kept()
    async with kept_shipping(context):  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            while context.asked < 3:  # noqa: ASYNC110 - it is asked by a task of its own
                await asyncio.sleep(0)
    there = context.asked
    await asyncio.sleep(0.2)
    assert context.asked <= there + 1, "what was asked last may still be under way in its thread, and nothing follows"


def test_a_journal_that_was_moved_away_is_shipped_by_another_from_then_on(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    with only_one(directory) as held:
        assert held()
        directory.rename(tmp_path / "away")
        assert not held()
        with only_one(directory) as again:
            assert again()
            assert not held()


def test_only_a_sandbox_that_is_gone_orphans_its_shipper(tmp_path: Path) -> None:
    """One whose log store is away for minutes is shipped to when that is back."""
    settings = SimpleNamespace(sandbox=object(), home=tmp_path)
    failing = SimpleNamespace(failing_seconds=600.0)
    file = lock(tmp_path)
    assert not _orphaned(settings, failing)  # type: ignore[arg-type]
    file.close()
    assert _orphaned(settings, failing)  # type: ignore[arg-type]
    assert not _orphaned(settings, SimpleNamespace(failing_seconds=5.0))  # type: ignore[arg-type]
    assert not _orphaned(SimpleNamespace(sandbox=None, home=tmp_path), failing)  # type: ignore[arg-type]


class Started:
    """The shippers that are started: each says what it was given, and that a person has to mend its sink."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = home / "journal"
        self.home = home
        self.words: list[list[str]] = []
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(launch.subprocess, "Popen", self._start)
        monkeypatch.setattr(launch, "_children", [])

    def says(self, given: Given, *states: tuple[str, SinkState]) -> None:
        sinks = tuple(
            SinkStatus(name=name, kind="elasticsearch", assurance="durable", required=True, state=state) for name, state in states
        )
        status = ShippingStatus(journal="j", pid=os.getpid(), started=0.0, updated=SystemClock().unix(), sinks=sinks, given=given)
        write(self.directory, status, disk=Disk())

    def by_a_new_process(self, given: Given) -> bool:
        """Whether one is started by a process with this environment that has just begun."""
        self._monkeypatch.setattr(launch, "_tried", set())
        return ensure(self.home, None, given)

    def _start(self, words: list[str], **options: Any) -> Any:
        self.words.append(words)
        return SimpleNamespace(poll=lambda: 0)


def environment(**secrets: str) -> Given:
    return Given(config="c", sinks=dict.fromkeys(secrets, "a section"), secrets=secrets)


def test_only_what_a_renewed_secret_can_mend_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(tmp_path, monkeypatch)
    with only_one(started.directory):
        started.says(environment(one="1", other="2"), ("one", SinkState.HELD), ("other", SinkState.SHIPPING))
        assert not started.by_a_new_process(environment(one="1", other="renewed")), "the sink that is held has the same secret"
        assert not started.by_a_new_process(environment(one="1", other="2"))
        assert not started.by_a_new_process(environment(one="renewed", other="")), "it does not have all of them"
        assert not started.by_a_new_process(environment(one="renewed")), "it has other sinks"
        assert started.words == []
        assert started.by_a_new_process(environment(one="renewed", other="2"))
        assert launch.INSTEAD in started.words[-1]
        assert not ensure(tmp_path, None, environment(one="renewed", other="2")), "the same process tries it once"
        started.says(environment(one="1", other="2"), ("one", SinkState.RETRYING), ("other", SinkState.SHIPPING))
        assert not started.by_a_new_process(environment(one="renewed", other="2"))


def test_environments_that_all_have_a_wrong_secret_do_not_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(tmp_path, monkeypatch)
    wrong = [environment(central=secret) for secret in ("first", "second", "third")]
    at_work, replaced = wrong[0], 0
    with only_one(started.directory):
        for number in range(12):
            started.says(at_work, ("central", SinkState.HELD))
            mine = wrong[number % 3]
            if started.by_a_new_process(mine):
                at_work, replaced = mine.following(at_work), replaced + 1
        assert replaced == 2, "each was tried once"
        changed = Given(config="c", sinks={"central": "another section"}, secrets={"central": "third"})
        assert changed.following(at_work).tried == (), "what was tried for another sink says nothing"
        assert at_work.following(at_work).tried == at_work.tried


async def test_what_was_tried_is_forgotten_once_every_sink_takes_entries(tmp_path: Path) -> None:
    """The secret that was wrong then may be the right one after the next change."""
    sinks = [ScriptedSink("one"), ScriptedSink("other")]
    sinks[1].answers = [Delivery(trouble=Trouble.HOLD, detail="401: who are you")] * 10_000
    had = msgspec.structs.replace(environment(one="1", other="2"), tried=("before",))
    async with shipping(tmp_path, sinks, entries=3, clock=QuickClock(60.0), given=had) as place:
        await place.until(lambda: place.shipper.sinks and place.shipper.sinks[0].last_ok and place.shipper.sinks[1].error)
        assert place.shipper.given is not None
        assert place.shipper.given.tried == ("before",), "one of them is held"
        sinks[1].answers.clear()
        await place.until(lambda: place.shipper.drained)
        assert place.shipper.given == environment(one="1", other="2")
        await place.until(lambda: (said := read(place.directory)) and said.given == environment(one="1", other="2"))

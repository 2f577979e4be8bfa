"""Who keeps a shipper at work: every process that may still write, for as long as it lives, and nobody else."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.sinks import LeapingClock

from console.commands.ship import _orphaned
from console.shipping import kept_shipping
from services.audit.shipping.launch import attach, attached
from services.audit.shipping.shipper import ShipperRuns, only_one
from services.audit.shipping.status import running
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
    await asyncio.sleep(0)
    assert context.asked == there


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

"""A journal that another process holds: waited for once, when it is opened."""

import fcntl
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.clock import ManualClock

from services.audit import Event, Journal, place
from services.redaction import Redactor


async def test_a_journal_that_is_held_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Journal.open(tmp_path, redactor=Redactor(), clock=ManualClock()).close()
    held = os.open(tmp_path / "lock", os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        journal = Journal.open(tmp_path, redactor=Redactor(), clock=ManualClock())
        assert not journal.health.ok
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            if threading.current_thread().name != "journal-keeping":  # nobody waits for what it looks after
                waits.append(seconds)
            time.sleep(seconds)

        monkeypatch.setattr(place, "time", SimpleNamespace(sleep=sleep))
        assert await journal.append_within(Event(event="rollout.refused", user="jane"), 2.0) is None
        journal.close()
        assert 0 < sum(waits) < 1.9, "the look at it, the entry and the end would each wait two seconds again"
        assert "another process" in journal.health.detail
    finally:
        os.close(held)

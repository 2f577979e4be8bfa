"""A journal that another process holds: waited for once, when it is opened."""

import fcntl
import os
import time
from pathlib import Path

from support.clock import ManualClock

from services.audit import Event, Journal
from services.redaction import Redactor


async def test_a_journal_that_is_held_is_waited_for_once(tmp_path: Path) -> None:
    Journal.open(tmp_path, redactor=Redactor(), clock=ManualClock()).close()
    held = os.open(tmp_path / "lock", os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        journal = Journal.open(tmp_path, redactor=Redactor(), clock=ManualClock())
        assert not journal.health.ok
        began = time.monotonic()
        assert await journal.append_within(Event(event="rollout.refused", user="jane"), 2.0) is None
        journal.close()
        assert time.monotonic() - began < 1.9, "the look at it, the entry and the end would each wait two seconds again"
        assert "another process" in journal.health.detail
    finally:
        os.close(held)

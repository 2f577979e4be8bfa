"""The clocks of a machine that slept."""

import time

import pytest

from services.clock import SystemClock


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the monotonic clock counts sleep here")
def test_the_time_a_machine_slept_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asleep, Linux stops its monotonic clock and not its boot time."""
    read, slept = time.clock_gettime, 0.0
    monkeypatch.setattr(time, "clock_gettime", lambda clock: read(clock) + (slept if clock == time.CLOCK_BOOTTIME else 0.0))
    clock = SystemClock(speed=2.0)
    monotonic, pace = clock.monotonic(), clock.pace()
    slept = 3600.0
    assert clock.monotonic() - monotonic == pytest.approx(3600.0, abs=5.0)
    assert clock.pace() - pace == pytest.approx(7200.0, abs=10.0)

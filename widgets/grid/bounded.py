"""Searching with a pattern that a person typed, in bounded time.

A pattern with nested repeats can look at a hundred letters for longer than the universe is old, inside one call that holds the
interpreter. The kernel's timer of this process's CPU time gets it out of there: the engine looks for signals while it matches.
CPU time, not wall time: a busy machine makes no pattern slow.
"""

import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TooSlow(Exception):
    """The time was up."""


_armed = False
_listening = False


_AGAIN = 0.005
"""CPU seconds after which the signal comes again where it came at a bad moment."""
_PACKAGE = __name__.partition(".")[0]


def _time_is_up(_signal: int, frame: FrameType | None) -> None:
    # in a callback of the collector it would be swallowed there, and leave that half done: only out of the search itself
    if _armed and frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == _PACKAGE:
        raise TooSlow


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises :class:`TooSlow` out of the block after ``seconds`` of CPU time; on the main thread only, and never nested. Garbage
    is not collected meanwhile: looking through all of a large console may take longer than what is timed."""
    global _armed, _listening
    if not _listening:
        # and for good: without a handler a timer that runs out a moment late would end the process
        signal.signal(signal.SIGVTALRM, _time_is_up)
        _listening = True
    collects = gc.isenabled()
    gc.disable()
    _armed = True
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds, _AGAIN)
        yield
    finally:
        _armed = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if collects:
            gc.enable()

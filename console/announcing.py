"""What is unsafe, told to the terminal itself: its title always says the worst, and its bell rings once for each new alarm.

So a person who works in another window, or another pane, learns of a rollback without looking. ``QUARTERDECK_BELL=off`` turns
both off. Sequences: BEL; OSC 2 sets the title (xterm, "Operating System Commands"); CSI 22 ; 2 t and CSI 23 ; 2 t keep it and
put it back (xterm, "window manipulation"); terminals that don't know one ignore it.
"""

from collections.abc import Callable, Mapping, Sequence

from console.attention import ALARMS, Concern, Kind
from console.view import Selection
from services.clock import Clock
from widgets.text import cut

VARIABLE = "QUARTERDECK_BELL"
NAME = "quarterdeck"
KEEP_TITLE, RESTORE_TITLE = "\x1b[22;2t", "\x1b[23;2t"
_BELL = "\x07"
_LONGEST = 60
FORGOTTEN_AFTER = 60.0
"""Seconds for which an alarm that went away is remembered: one that comes and goes does not ring each time."""


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether the operator wants to hear of alarms."""
    return environment.get(VARIABLE, "").strip().lower() not in ("off", "0", "no", "false")


def title_of(found: Sequence[Concern]) -> str:
    """The window's title: the worst, how many more, and whose title it is."""
    if not found:
        return NAME
    more = f" (+{len(found) - 1})" if len(found) > 1 else ""
    return f"{cut(found[0].words, _LONGEST)}{more} - {NAME}"


class Announcer:
    """``write`` sends a control sequence to the terminal."""

    def __init__(self, write: Callable[[str], None], clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._title = ""
        self._heard: dict[tuple[Kind, Selection], float] = {}
        """The alarms that have rung, and when each was last there (monotonic)."""

    def tell(self, found: Sequence[Concern]) -> None:
        """``found`` is what is unsafe now, the worst first."""
        title = title_of(found)
        if title != self._title:
            self._write(f"{'' if self._title else KEEP_TITLE}\x1b]2;{title}{_BELL}")
            self._title = title
        now = self._clock.monotonic()
        alarms = {concern.identity for concern in found if concern.kind in ALARMS}
        self._heard = {key: at for key, at in self._heard.items() if now - at < FORGOTTEN_AFTER}
        if alarms - self._heard.keys():
            self._write(_BELL)
        self._heard |= dict.fromkeys(alarms, now)

    def leave(self) -> None:
        """Give the terminal its own title back."""
        if self._title:
            self._title = ""
            self._write(RESTORE_TITLE)

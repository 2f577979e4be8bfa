"""Key → a screen painted: the first time after the start, and every time after that.

The console is left alone for a moment after its start, as by a person who reads what is there first.
"""

import time

from figures import Figure, figure
from place import Sandbox
from terminal import Terminal

CONSOLES = 3
AGAIN = 8
LEFT_ALONE = 6.0
SCREENS = (
    ("service", "\r", "REVISIONS", "q"),
    ("logs", "l", "since", "q"),
    ("journal", "J", "TIME (UTC)", "q"),
    ("help", "?", "GROUP", "q"),
    ("prompt", ":", " more", "\x1b"),
    ("jump", "f", "jump to a service", "\x1b"),
    ("calls", "@", "ANSWER", "q"),
    ("results", "\x0c", "KIND", "q"),
    ("deploy", "d", "CHECKLIST", "\x1b\x1b"),
)
"""By key: words that only this screen has, and what leaves it. Enter and ``l`` are pressed on the first service."""


def measure(place: Sandbox) -> dict[str, Figure]:
    """Each screen in fresh consoles on a sandbox that is ready, with nothing under way."""
    first: dict[str, list[float]] = {name: [] for name, *_ in SCREENS}
    again: dict[str, list[float]] = {name: [] for name, *_ in SCREENS}
    for _ in range(CONSOLES):
        terminal = Terminal(place.command())
        try:
            terminal.wait_for("payment-service")
            terminal.drain(LEFT_ALONE)
            for name, key, seen, leave in SCREENS:
                first[name].append(_answer(terminal, key, seen, leave))
                again[name] += [_answer(terminal, key, seen, leave) for _ in range(AGAIN)]
        finally:
            terminal.close()
    found: dict[str, Figure] = {}
    for name in first:
        found[f"open_{name}"] = figure(
            again[name], "ms", target=50, what=f"key → the {name} screen painted, any time but the first"
        )
        found[f"open_{name}_first"] = figure(
            first[name], "ms", against=(f"open_{name}", again[name]), ratio_target=2.0, what="the same, the first time"
        )
    return found


def _answer(terminal: Terminal, key: str, seen: str, leave: str) -> float:
    """Milliseconds."""
    while terminal.read(0.0):
        pass
    began = time.perf_counter()
    terminal.press(key)
    terminal.wait_for(seen, 5.0)
    took = (time.perf_counter() - began) * 1000
    terminal.drain(0.3)
    for each in leave:
        terminal.press(each)
        terminal.drain(0.4)
    return took

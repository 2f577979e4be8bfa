"""Key → answer on the screen, while a canary runs at high speed.

The console repaints parts of itself all the time, so any bytes will not do: the answer to a move is the cursor in front of the
row that it moves to; of a new screen, a heading that only this screen has.
"""

import time

from figures import Figure, figure
from terminal import Terminal

MOVES = 120
SWITCHES = 10
ROWS = ("▸ accounts", "▸ cart")
"""The first two services of production; neither is part of the rollout."""
SCREENS = (
    ("help", "?", "GROUP"),
    ("fleet", "q", "ENVIRONMENTS"),
    ("journal", "J", "TIME (UTC)"),
    ("fleet", "q", "ENVIRONMENTS"),
)
"""By key. ``q`` rather than esc, which a terminal application has to wait after: it may begin a longer sequence."""


def measure(terminal: Terminal) -> dict[str, Figure]:
    """``terminal`` shows the fleet, and has done so for a while."""
    enter_services(terminal)
    moves = []
    for turn in range(MOVES):
        moves.append(move(terminal, turn))
    switches: dict[str, list[float]] = {"help": [], "journal": [], "fleet": []}
    for _ in range(SWITCHES):
        for screen, key, seen in SCREENS:
            switches[screen].append(_answer(terminal, key, seen))
            terminal.drain(0.15)
    found = {"key_move": figure(moves, "ms", target=50, what="j/k among the services → the cursor there, while a canary runs")}
    for screen, taken in switches.items():
        found[f"key_{screen}"] = figure(
            taken, "ms", against=("key_move", moves), target=50, what=f"key → the {screen} screen painted"
        )
    return found


def move(terminal: Terminal, turn: int) -> float:
    """Milliseconds from ``j`` (even turns) or ``k`` to the cursor there."""
    down = turn % 2 == 0
    took = _answer(terminal, "j" if down else "k", ROWS[1] if down else ROWS[0])
    terminal.drain(0.03 + (turn % 7) * 0.01)  # not in step with the console's own pictures
    return took


def enter_services(terminal: Terminal) -> None:
    """Tab to the list of services; which pane has the focus depends on what runs."""
    for _ in range(8):
        terminal.press("g")
        terminal.drain(0.3)
        terminal.press("j")
        try:
            terminal.wait_for(ROWS[1], 0.7)
        except TimeoutError:
            terminal.press("\t")
            terminal.drain(0.3)
        else:
            terminal.press("k")
            terminal.drain(0.5)
            return
    raise TimeoutError("no pane answers j with the second service")


def _answer(terminal: Terminal, key: str, seen: str) -> float:
    """Milliseconds."""
    while terminal.read(0.0):
        pass
    began = time.perf_counter()
    terminal.press(key)
    terminal.wait_for(seen, 5.0)
    return (time.perf_counter() - began) * 1000

"""What the console writes to its terminal while a canary runs: over a slow line that is what flickers."""

import time

from figures import Figure, figure
from terminal import Terminal

SECONDS = 2
ROUNDS = 4
TARGET = 20
"""kB a second at the bench's tempo, in which everything changes many times as often as on a real cluster."""


def measure(terminal: Terminal) -> dict[str, Figure]:
    """``terminal`` shows the fleet."""
    return {"written": _rate(terminal, "the fleet")}


def _rate(terminal: Terminal, name: str) -> Figure:
    rates = []
    for _ in range(ROUNDS):
        before, began = len(terminal.output), time.perf_counter()
        terminal.drain(SECONDS)
        rates.append((len(terminal.output) - before) / 1000 / (time.perf_counter() - began))
    return figure(rates, "kB/s", target=TARGET, what=f"written to the terminal on {name}, while a canary runs")

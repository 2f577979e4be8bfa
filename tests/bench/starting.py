"""Process start → the first frame's text, and → live data, under a pseudo-terminal; new processes each time, interleaved."""

import subprocess
import sys
import time
from pathlib import Path

from figures import Figure, figure
from place import Sandbox
from terminal import Terminal

ROUNDS = 7
MINIMAL = [sys.executable, str(Path(__file__).with_name("minimal.py"))]


def measure(place: Sandbox) -> dict[str, Figure]:
    frames, live, minimal, bare = [], [], [], []
    for _ in range(ROUNDS):
        terminal = Terminal(place.command())
        try:
            terminal.wait_for("ENVIRONMENTS")
            frames.append(time.perf_counter() - terminal.started)
            terminal.wait_for("payment-service")
            live.append(time.perf_counter() - terminal.started)
        finally:
            terminal.close()
        terminal = Terminal(MINIMAL)
        try:
            terminal.wait_for("FIRST FRAME")
            minimal.append(time.perf_counter() - terminal.started)
        finally:
            terminal.close()
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "print(1)"], check=True, stdout=subprocess.DEVNULL)
        bare.append(time.perf_counter() - began)
    return {
        "first_frame": figure(
            frames, "s", against=("minimal_textual_app", minimal), target=0.5, what="process start → text on screen"
        ),
        "live_data": figure(live, "s", against=("first_frame", frames), what="process start → services of the sandbox on screen"),
        "minimal_textual_app": figure(minimal, "s", against=("python_print", bare)),
        "python_print": figure(bare, "s", what="python -c 'print(1)'"),
    }

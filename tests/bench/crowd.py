"""Key → answer on the screen while 50 rollouts are judged at once, beside the same console with none.

What judges them is not the console: a rollout is judged in its own driver, and each writes its checkpoint at most once a second.
So that is what there is here: 50 checkpoints of a real canary's, each judged on (by the judge itself) and written every second,
by one process in place of 50 drivers, with 50 leases that are renewed. The console follows them all. The reference is the same
console while the same is written to another sandbox: console, sandbox and writer share this machine, which they do not elsewhere,
and what all that writing takes from everybody is not what the console pays.

``python tests/bench/crowd.py`` prints the figures as JSON.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time

import keys
from figures import Figure, figure
from place import Sandbox, sandbox, usage
from terminal import Terminal

ROLLOUTS = 50
TURNS = 3
MOVES = 60
SECONDS = 4.0
"""Of rest after the crowd has come or gone, and of watching what the console takes."""


def measure(place: Sandbox, other: Sandbox) -> dict[str, Figure]:
    """In turns, so that a machine that gets busier meanwhile slows both alike."""
    terminal = Terminal(place.command())
    crowds = {"elsewhere": Crowd(other), "here": Crowd(place)}
    moves: dict[str, list[float]] = {name: [] for name in crowds}
    cpu: dict[str, list[float]] = {name: [] for name in crowds}
    written: dict[str, list[float]] = {name: [] for name in crowds}
    try:
        terminal.wait_for("payment-service")
        terminal.drain(SECONDS)
        keys.enter_services(terminal)
        for _ in range(TURNS):
            for name, crowd in crowds.items():
                crowd.tell(True)
                if name == "here":
                    terminal.wait_for("crowd-", 15.0)
                terminal.drain(SECONDS)
                cpu[name].append(_share(terminal))
                moves[name] += [keys.move(terminal, turn) for turn in range(MOVES)]
                written[name].append(crowd.rate())
                crowd.tell(False)
    finally:
        for crowd in crowds.values():
            crowd.end()
        terminal.close()
    reference = ("key_move_crowd_elsewhere", moves["elsewhere"])
    what = f"j/k among the services → the cursor there, {ROLLOUTS} rollouts followed"
    return {
        "key_move_crowd_elsewhere": figure(moves["elsewhere"], "ms", what=f"the same, {ROLLOUTS} rollouts on another cluster"),
        "key_move_crowd": figure(moves["here"], "ms", against=reference, target=50, ratio_target=1.25, what=what),
        "cpu_console_crowd_elsewhere": figure(cpu["elsewhere"], "% of one core"),
        "cpu_console_crowd": figure(cpu["here"], "% of one core", what=f"{ROLLOUTS} rollouts followed"),
        "crowd_checkpoints_elsewhere": figure(written["elsewhere"], "a second"),
        "crowd_checkpoints": figure(written["here"], "a second"),
    }


def _share(terminal: Terminal) -> float:
    before, began = usage(terminal.process.pid), time.perf_counter()
    terminal.drain(SECONDS)
    after = usage(terminal.process.pid)
    if before is None or after is None:
        raise RuntimeError("the console ended, or this system has no /proc")
    return (after.cpu - before.cpu) / (time.perf_counter() - began) * 100


class Crowd:
    """The process that writes the checkpoints. Raises ``RuntimeError`` with its last words where it ends."""

    def __init__(self, place: Sandbox) -> None:
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "crowd_writer.py")
        self._log = (place.directory / "crowd.log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, script, place.config, str(ROLLOUTS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, on: bool) -> None:
        """Have them begin to write, or stop and take everything away; returns once they have."""
        self._ask("begin" if on else "end")

    def rate(self) -> float:
        """Checkpoints a second since they began."""
        return float(self._ask("rate"))

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()

    def _ask(self, word: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        try:
            answer = self._said.get(timeout=120)
        except queue.Empty:
            answer = ""
        if not answer:
            self._log.seek(0)
            raise RuntimeError(f"the writer of the checkpoints does not answer: {self._log.read()[-800:]}")
        return answer

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line.strip())
        self._said.put("")


def main() -> int:
    with sandbox() as place, sandbox() as other:
        print(json.dumps(measure(place, other), indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())

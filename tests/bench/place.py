"""What the bench runs on: the installed command, and a sandbox of its own in a directory of its own."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

QUARTERDECK = str(Path(sys.executable).with_name("quarterdeck"))
SPEED = 20.0
RELEASE = ("payment-service", "v2.15.0", "-e", "production", "--strategy", "canary", "--ticket", "CHG-4821")


@dataclass(frozen=True, slots=True)
class Sandbox:
    config: str
    directory: Path
    pid: int
    ready_seconds: float

    def command(self, *words: str) -> list[str]:
        return [QUARTERDECK, "--config", self.config, *words]


@contextlib.contextmanager
def sandbox(speed: float = SPEED) -> Iterator[Sandbox]:
    """A sandbox that is ready, ended afterwards. Raises ``RuntimeError`` with its last words where it does not start."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-", ignore_cleanup_errors=True) as made:
        directory = Path(made)
        ready, log = directory / "ready.json", directory / "log"
        began = time.perf_counter()
        options = [
            "--scenario",
            "good",
            "--speed",
            f"{speed:g}",
            "--home",
            str(directory / "sandbox"),
            "--ready-file",
            str(ready),
        ]
        with log.open("wb") as output:
            process = subprocess.Popen([QUARTERDECK, "sandbox", *options], stdout=output, stderr=output)
        try:
            while not ready.exists():
                if process.poll() is not None or time.perf_counter() - began > 60:
                    raise RuntimeError(f"the sandbox did not start: {log.read_text(errors='replace')[-600:]}")
                time.sleep(0.02)
            took = time.perf_counter() - began
            yield Sandbox(json.loads(ready.read_bytes())["config"], directory, process.pid, took)
        finally:
            process.terminate()
            process.wait(10)


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process: CPU seconds so far, resident memory now and at its highest, in MiB."""

    cpu: float
    resident: float
    highest: float


def usage(pid: int) -> Usage | None:
    """None where the process is gone, or this system has no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    except OSError:
        return None
    ticks = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    return Usage(ticks, _mebibytes(status["VmRSS"]), _mebibytes(status["VmHWM"]))


def _mebibytes(text: str) -> float:
    return int(text.split()[0]) / 1024


def process_with(*words: str) -> int | None:
    """The newest process whose command line has all of ``words`` as arguments."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if set(words) <= set((entry / "cmdline").read_bytes().decode(errors="replace").split("\0")):
                found.append(int(entry.name))
    return max(found, default=None)

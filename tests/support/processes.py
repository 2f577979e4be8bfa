"""Waiting for conditions, and looking at processes, for tests with real ones. Nothing here waits without a deadline."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def eventually(what: str, look: Callable[[], T | None], seconds: float = 30.0, every: float = 0.05) -> T:
    """The first answer of ``look`` that is true. Fails the test, naming ``what``, after ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what} (the last look gave {found!r})")
        time.sleep(every)


def commands() -> dict[int, str]:
    """The command line of every process that runs (no zombie has one), by its id."""
    if Path("/proc/self/cmdline").exists():
        found = {}
        for place in Path("/proc").iterdir():
            if place.name.isdigit():
                try:
                    words = (place / "cmdline").read_bytes()
                except OSError:  # it ended meanwhile
                    continue
                found[int(place.name)] = words.replace(b"\0", b" ").decode(errors="replace").strip()
        return {pid: text for pid, text in found.items() if text}
    listed = subprocess.run(["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True).stdout
    rows = (line.strip().partition(" ") for line in listed.splitlines())
    return {int(pid): text.strip() for pid, _, text in rows if "<defunct>" not in text}


def matching(*parts: str | Path) -> list[int]:
    """The processes whose command line holds all of ``parts``, but for this one: whole words, and paths at or below a place."""
    ends = {part: r"(?![^/\s])" if isinstance(part, Path) else r"(?!\S)" for part in parts}
    signs = [re.compile(r"(?<![^\s=])" + re.escape(str(part)) + end) for part, end in ends.items()]
    return sorted(pid for pid, text in commands().items() if pid != os.getpid() and all(sign.search(text) for sign in signs))


def alive(pid: int) -> bool:
    return pid in commands()


def signalled(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended by itself meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def killed(pid: int) -> None:
    """Kill a process and wait until it is gone."""
    signalled(pid, signal.SIGKILL)
    eventually(f"process {pid} gone", lambda: not alive(pid), 30.0, 0.005)


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for this signal; taken for granted where the kernel does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return found is None or bool(int(found[1], 16) >> (number - 1) & 1)


def stopped(pid: int) -> None:
    """Stop a process, and wait until all of its threads have stopped: one that is in a call to the kernel ends that first."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")

    def at_rest() -> bool:
        try:
            return all(each.read_text().rpartition(")")[2].split()[0] == "T" for each in threads.glob("*/stat"))
        except OSError:  # a thread ended meanwhile
            return False

    if threads.exists():
        eventually(f"process {pid} stopped", at_rest, 30.0, 0.002)


def busy_seconds(pid: int) -> float:
    """Processor seconds that a process has used so far; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stop(pid: int, seconds: float = 30.0) -> None:
    """End a process of ours as its user would, and wait until it is gone."""
    os.kill(pid, signal.SIGTERM)

    def gone() -> bool:
        try:
            return os.waitpid(pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True

    eventually(f"process {pid} ends", gone, seconds, every=0.02)

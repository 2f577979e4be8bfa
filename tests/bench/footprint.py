"""What the processes take: memory, and the CPU of a console and a sandbox in which nothing happens."""

import time

from figures import Figure, figure
from place import Sandbox, Usage, process_with, usage
from terminal import Terminal

INTERVALS = 6
SECONDS = 2.0


def idle(place: Sandbox, terminal: Terminal) -> dict[str, Figure] | str:
    """Shares of one core over intervals of two seconds. ``terminal`` shows the fleet."""
    pids = {"idle_console": terminal.process.pid, "idle_sandbox": place.pid}
    if any(usage(pid) is None for pid in pids.values()):
        return "this system has no /proc"
    shares: dict[str, list[float]] = {name: [] for name in pids}
    before = {name: _of(pid) for name, pid in pids.items()}
    for _ in range(INTERVALS):
        began = time.perf_counter()
        terminal.drain(SECONDS)
        took = time.perf_counter() - began
        now = {name: _of(pid) for name, pid in pids.items()}
        for name in pids:
            shares[name].append((now[name].cpu - before[name].cpu) / took * 100)
        before = now
    return {f"cpu_{name}": figure(values, "% of one core") for name, values in shares.items()}


def memory(place: Sandbox, terminal: Terminal, rollout: str) -> dict[str, Figure] | str:
    """Resident memory while a canary runs."""
    driver = process_with("drive", rollout)
    found = {"console": terminal.process.pid, "sandbox": place.pid} | ({"driver": driver} if driver else {})
    used = {name: usage(pid) for name, pid in found.items()}
    taken = {name: one for name, one in used.items() if one is not None}
    if not taken:
        return "this system has no /proc"
    return {f"memory_{name}": figure([one.resident], "MiB") | {"highest": round(one.highest, 1)} for name, one in taken.items()}


def _of(pid: int) -> Usage:
    found = usage(pid)
    if found is None:
        raise RuntimeError(f"process {pid} ended while it was measured")
    return found

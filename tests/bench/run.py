"""The figures of this house, as one JSON document on standard output; what happens meanwhile is told on standard error.

Each figure has its number of samples, p50, p95, maximum and unit; ``ratio`` is its p50 against a reference taken in the same
run, which tells more than seconds do on a machine that others share. ``met`` compares with the target where there is one.
"""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import crowd
import footprint
import keys
import logs
import opening
import parts
import rollback
import starting
import written
from figures import Figure, figure
from place import RELEASE, SPEED, Sandbox, process_with, sandbox
from terminal import Terminal

from services.model.errors import QuarterdeckError


def main() -> int:
    began = time.perf_counter()
    figures: dict[str, Figure] = {}
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}
    load = os.getloadavg()[0]

    def take(name: str, measured: Callable[[], dict[str, Figure] | str]) -> None:
        print(f"bench: {name} …", file=sys.stderr, flush=True)
        try:
            found = measured()
        except (TimeoutError, RuntimeError, OSError, subprocess.SubprocessError, QuarterdeckError) as error:
            failed[name] = f"{type(error).__name__}: {error}"
            print(f"bench: {name} failed: {error}", file=sys.stderr)
            return
        if isinstance(found, str):
            skipped[name] = found
        else:
            figures.update(found)

    take("parts", parts.measure)
    take("rollback", rollback.measure)
    with sandbox() as place:
        figures["sandbox_ready"] = figure([place.ready_seconds], "s", what="sandbox process start → everything answers")
        take("start", lambda: starting.measure(place))
        take("logs", lambda: logs.measure(place))
        take("opening", lambda: opening.measure(place))
        take("canary", lambda: _canary(place, take))
        take("crowd", lambda: _crowd(place))
    document: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.system(),
        "cpus": os.cpu_count(),
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "seconds": round(time.perf_counter() - began, 1),
        "figures": figures,
        "missed": [name for name, one in figures.items() if not (one.get("met", True) and one.get("ratio_met", True))],
        "skipped": skipped,
        "failed": failed,
    }
    print(json.dumps(document, indent=2, ensure_ascii=False))
    return 1 if failed else 0


def _crowd(place: Sandbox) -> dict[str, Figure]:
    with sandbox() as other:
        return crowd.measure(place, other)


def _canary(place: Sandbox, take: Callable[[str, Callable[[], dict[str, Figure] | str]], None]) -> dict[str, Figure]:
    """A console open from before to after a canary: idle first, then pressed while the canary runs."""
    terminal = Terminal(place.command())
    try:
        terminal.wait_for("payment-service")
        terminal.drain(2.0)
        take("idle", lambda: footprint.idle(place, terminal))
        began = time.perf_counter()
        deploy = subprocess.Popen(
            place.command("deploy", *RELEASE, "--confirm", "production", "-o", "json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        rollout = ""
        try:
            rollout = _until_exposed(deploy)
            take("keys", lambda: keys.measure(terminal))
            take("written", lambda: written.measure(terminal))
            still_runs = deploy.poll() is None
            take("memory", lambda: footprint.memory(place, terminal, rollout))
            assert deploy.stdout is not None
            result = json.loads(deploy.stdout.read())
            deploy.wait()
        finally:
            _end(deploy, rollout)
    finally:
        terminal.close()
    if not still_runs:
        raise RuntimeError("the canary was over before the keys were measured")
    if result["outcome"] != "succeeded":
        raise RuntimeError(f"the canary ended {result['outcome']}: {result['reason']}")
    what = f"deploy of a canary to production at speed {SPEED:g}, command to result"
    return {"canary": figure([time.perf_counter() - began], "s", target=120, what=what)}


def _until_exposed(deploy: "subprocess.Popen[str]") -> str:
    """The rollout's id, once the canary has its first share of the requests."""
    assert deploy.stderr is not None
    rollout, told = "", ""
    for told in deploy.stderr:
        if told.startswith("Rollout "):
            rollout = told.split()[1].rstrip(":")
        if told.strip() == "5 %":
            # what it says from here on is read, so that it never waits for a reader
            threading.Thread(target=deploy.stderr.read, daemon=True).start()
            return rollout
    raise RuntimeError(f"the canary did not start: {told}")


def _end(deploy: "subprocess.Popen[str]", rollout: str) -> None:
    """Leave nothing running: a deploy that was left alone goes on in its driver, and outlives its sandbox."""
    if deploy.poll() is None:
        deploy.kill()
        deploy.wait()
    driver = process_with("drive", rollout) if rollout else None
    if driver is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(driver, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())

"""Every scenario of the sandbox whose release serves requests, with many seeds: what the deploy of it comes to.

``python tests/bench/scenarios.py`` runs 20 seeds of each, one after the other, as the processes that an operator would start:
half an hour to an hour. ``--seeds``, ``--speed`` and the names of scenarios make less of it; ``-o FILE`` keeps every run as a
line of JSON. Exits 1 where a scenario ends as it should less often than it has to.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

PROGRAM = (sys.executable, "-m", "console.cli")
DEPLOY = ("deploy", "payment-service", "v2.15.0", "-e", "production", "--strategy", "canary")
CONFIRMED = (*DEPLOY, "--ticket", "CHG-4821", "--confirm", "production", "-o", "json")
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
"""The tree that this file is in is what runs, drivers included, whichever is installed."""
START_SECONDS, DEPLOY_SECONDS = 120.0, 600.0


class Wanted(NamedTuple):
    """How a scenario ends: exit code, outcome, the reasons of which it has one and what they say, and how many of 20 have to."""

    code: int
    outcome: str
    reasons: tuple[str | None, ...]
    of_20: int = 20
    says: str = ""


WANTED = {
    "errors": Wanted(4, "rolled_back", ("error-rate",)),
    "slow": Wanted(4, "rolled_back", ("latency-p99", "judge")),
    "late": Wanted(4, "rolled_back", ("judge",)),
    "tiny": Wanted(4, "rolled_back", ("judge",)),
    "good": Wanted(0, "succeeded", (None,), 19),
    "noisy-healthy": Wanted(0, "succeeded", (None,), 19),
    "low-traffic": Wanted(5, "needs_attention", ("undecided",)),
    "no-traffic": Wanted(5, "needs_attention", ("undecided",), says="no data"),
    "shared": Wanted(5, "needs_attention", ("shared-incident",), says="both versions are failing"),
    "alert": Wanted(4, "rolled_back", ("alert",), says="SettlementsFailing"),
    "other-alerts": Wanted(0, "succeeded", (None,), 19),
}


class Ran(NamedTuple):
    """One deploy. ``seconds`` are those of the step in which it ended (pace), ``wall`` those of the command. ``patched``: wall
    seconds from the look that found the breach to the API server's acceptance of the first patch that takes it back."""

    scenario: str
    seed: int
    code: int
    outcome: str
    reason: dict[str, Any] | None
    step: str
    seconds: float | None
    wall: float
    patched: float | None = None

    @property
    def name(self) -> str | None:
        return str(self.reason["name"]) if self.reason is not None else None

    @property
    def well(self) -> bool:
        wanted = WANTED[self.scenario]
        figures = self.reason is None or (self.reason["value"] is not None and self.reason["limit"] is not None)
        said = self.reason is None or wanted.says in self.reason["detail"]
        return said and (self.code, self.outcome) == wanted[:2] and self.name in wanted.reasons and figures


@contextmanager
def sandbox(place: Path, scenario: str, seed: int, speed: float) -> Iterator[Path]:
    """A sandbox of its own while the block lasts; yields the path of its configuration."""
    ready = place / "ready.json"
    words = ["--scenario", scenario, "--seed", str(seed), "--speed", f"{speed:g}", "--ready-file", str(ready)]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [*PROGRAM, "sandbox", *words, "--home", str(place / "sandbox")], stdout=log, stderr=log, cwd=ROOT, env=ENVIRONMENT
        )
    try:
        end = time.monotonic() + START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the sandbox did not start: {(place / 'log').read_text()}")
            time.sleep(0.05)
        yield Path(json.loads(ready.read_text())["config"])
    finally:
        process.terminate()
        process.wait(30)


def run(scenario: str, seed: int, speed: float) -> Ran:
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-", ignore_cleanup_errors=True) as made:
        place = Path(made)
        with sandbox(place, scenario, seed, speed) as config:
            began = time.monotonic()
            command = [*PROGRAM, "--config", str(config), "--home", str(place / "home"), *CONFIRMED]
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd=ROOT,
                env=ENVIRONMENT,
                timeout=DEPLOY_SECONDS,
                check=False,
            )
            wall = time.monotonic() - began
            entries = _journal(config, place) if done.returncode == 4 else []
            _end_drivers(place / "home")
    if not done.stdout:
        return Ran(scenario, seed, done.returncode, done.stderr.strip()[-200:], None, "", None, wall)
    found = json.loads(done.stdout)
    begun = [step for step in found["steps"] if step["started"] is not None]
    last = begun[-1] if begun else {"name": "", "seconds": None}
    return Ran(
        scenario, seed, done.returncode, found["outcome"], found["reason"], last["name"], last["seconds"], wall, _patched(entries)
    )


def _end_drivers(home: Path) -> None:
    """A rollout that waits for a person keeps its driver: here nobody comes."""
    for alive in home.glob("rollouts/*/*.alive"):
        with suppress(ProcessLookupError, ValueError):
            os.kill(int(alive.read_text()), signal.SIGKILL)


def _journal(config: Path, place: Path) -> list[dict[str, Any]]:
    command = [*PROGRAM, "--config", str(config), "--home", str(place / "home"), "journal", "list", "-o", "json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=ROOT, env=ENVIRONMENT, check=True)
    entries: list[dict[str, Any]] = json.loads(done.stdout)["entries"]
    return entries


def _patched(entries: list[dict[str, Any]]) -> float | None:
    """``None`` where the journal does not tell."""
    found: datetime | None = None
    for entry in entries:
        at = datetime.fromisoformat(entry["timestamp"])
        if entry["event"] == "deployment.health_check" and entry["outcome"] == "regressed":
            found = found or at
        elif found is not None and entry["event"] == "deployment.executed" and entry.get("phase") == "outcome":
            return (at - found).total_seconds()
    return None


def table(runs: list[Ran]) -> str:
    lines = [
        f"{'scenario':<14} {'as wanted':>9}   {'exit':<6} {'reason':<28} {'at':<20} {'in that step, s':<16} found → patched, s"
    ]
    for scenario in dict.fromkeys(each.scenario for each in runs):
        own = [each for each in runs if each.scenario == scenario]
        well = sum(each.well for each in own)
        names = _counted([each.name or "-" for each in own])
        seconds = _spread([each.seconds for each in own if each.seconds is not None], 0)
        patched = _spread([each.patched for each in own if each.patched is not None], 2)
        codes = _counted([str(each.code) for each in own])
        steps = _counted([each.step for each in own])
        lines.append(f"{scenario:<14} {well:>3} of {len(own):<3}   {codes:<6} {names:<28} {steps:<20} {seconds:<16} {patched}")
    return "\n".join(lines)


def _spread(values: list[float], digits: int) -> str:
    """Least, median and most."""
    return " / ".join(f"{each:.{digits}f}" for each in (min(values), statistics.median(values), max(values))) if values else ""


def _counted(words: list[str]) -> str:
    found = {word: words.count(word) for word in dict.fromkeys(words)}
    return next(iter(found)) if len(found) == 1 else ", ".join(f"{word} {count}×" for word, count in found.items())


def enough(runs: list[Ran]) -> bool:
    """Whether every scenario ends as it should often enough."""
    for scenario in {each.scenario for each in runs}:
        own = [each for each in runs if each.scenario == scenario]
        if sum(not each.well for each in own) > (20 - WANTED[scenario].of_20) * len(own) / 20:
            return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=list(WANTED), metavar="SCENARIO", help=", ".join(WANTED))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--speed", type=float, default=40.0)
    parser.add_argument("-o", "--output", type=Path, help="a file that gets a line of JSON for every run")
    given = parser.parse_args()
    if unknown := set(given.scenarios) - set(WANTED):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; accepted: {', '.join(WANTED)}")
    runs = []
    for seed in range(given.first, given.first + given.seeds):
        for scenario in given.scenarios:
            runs.append(one := run(scenario, seed, given.speed))
            if given.output is not None:
                with given.output.open("a") as file:
                    file.write(json.dumps(one._asdict()) + "\n")
            if not one.well:
                print(f"{scenario} with seed {seed}: exit {one.code}, {one.outcome}: {one.reason}", file=sys.stderr)
    print(table(runs))
    return 0 if enough(runs) else 1


if __name__ == "__main__":
    sys.exit(main())

"""A working day in the sandbox with the console open: what it holds at the end must be what it held after the warm-up.

``soak.py [HOURS [SPEED]]`` (8 simulated hours at speed 60 without): prints one JSON document, exit 1 where something grew.
The warm-up is over once the clusters keep as many rollouts as they ever do. Rollouts come and go, each started from the console
itself; every other one is rolled back on its way. Between them every screen is opened and left, and the terminal is resized.
"""

import asyncio
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from place import sandbox
from textual.widget import Widget

HOURS, SPEED = 8.0, 60.0
SAMPLES = 96
WARM_UP = 0.25
"""Of the whole: until then screens, modules and pools are met for the first time."""
KEPT = 10
"""Rollouts of a service that clusters keep. Until there are as many of each, the console holds more with every one."""
LONGEST = 0.6
"""Of the whole, that the warm-up takes at most on a machine that is slow to fill it."""
RESTS = 11
"""Looks at a rest, a second apart; their median counts. What is under way, or is just being taken up again, comes and goes."""
GROWTH = 0.05
_ESTABLISHED = "01"
"""In the tables of /proc/net/tcp."""
SIZES = ((120, 40), (80, 24), (200, 50))
RELEASES = (("payment-service", "dev"), ("payment-service", "staging"))
"""Few services: of each the clusters keep the last ten rollouts, and those are to be there when the warm-up is over."""
JOURNEYS = (
    *(("J", "j", "k", "q"), ("question_mark", "q"), ("enter", "v", "q"), ("slash", "a", "escape", "escape")),
    *(("d", "escape", "q"), ("tab", "j", "enter", "q"), ("ctrl+t", "ctrl+t"), ("colon", "escape")),
)
COUNTED = ("tasks", "threads", "files", "lost_connections", "temporary_files", "children")
"""Of these none may be more. Connections to clusters are kept for the next request, as many as there ever were requests at once:
leaked are those that are neither in use nor kept."""


def main(words: list[str]) -> int:
    if words[:1] == ["--inside"]:
        return asyncio.run(_inside(words[1], Path(words[2]), float(words[3])))
    hours, speed = [*(float(word) for word in words), *(HOURS, SPEED)[len(words) :]]
    with sandbox(speed) as place, tempfile.TemporaryDirectory(prefix="quarterdeck-soak-", ignore_cleanup_errors=True) as made:
        (Path(made) / "tmp").mkdir()
        seconds = hours * 3600 / speed
        print(f"soak: {hours:g} simulated hours in {seconds:.0f} s", file=sys.stderr)
        inside = [sys.executable, __file__, "--inside", place.config, made, str(seconds)]
        done = subprocess.run(inside, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": f"{made}/tmp"}, check=False)
        if done.returncode:
            return done.returncode
        document = {"hours": hours, "speed": speed, **judged(json.loads(done.stdout))}
    print(json.dumps(document, indent=2))
    return 0 if document["met"] else 1


def judged(measured: dict[str, Any]) -> dict[str, Any]:
    """What was held after the warm-up beside what was held at the end: medians of a sixth of the time each."""
    samples = measured.pop("samples")
    begun = measured["samples_of_warm_up"]
    part = max(1, min(len(samples) // 6, (len(samples) - begun) // 2))
    warm, end = samples[begun:][:part], samples[-part:]
    found: dict[str, Any] = {}
    for name in ("resident_mib", "objects", "connections", *COUNTED):
        before, after = (statistics.median(sample[name] for sample in some) for some in (warm, end))
        found[name] = {
            "first": samples[0][name],
            "after_warm_up": before,
            "at_the_end": after,
            "highest": max(sample[name] for sample in samples),
            "growth": round(after / before - 1, 4) if before else after,
        }
    flat = found["resident_mib"]["growth"] <= GROWTH
    worked = measured["rollouts"]["succeeded"] and measured["rollouts"]["rolled_back"] and not measured["errors"]
    # what is counted swings with what happens to be under way: compared is one rest with the other
    before, after = measured.pop("rests")
    leaked = [name for name in COUNTED if after[name] > before[name]]
    return {
        **measured,
        **found,
        "rest_after_warm_up": before,
        "rest_at_the_end": after,
        "leaked": leaked,
        "met": bool(flat and worked and not leaked),
    }


async def _inside(config: str, place: Path, seconds: float) -> int:
    """The console, headless, for so many wall seconds; prints its samples."""
    from console.app import ConsoleApp
    from console.cli import parser

    app = ConsoleApp(parser().understood(["--config", config, "--home", str(place / "home")]))
    samples: list[dict[str, float]] = []
    done = {"succeeded": 0, "rolled_back": 0, "other": 0}
    errors: list[str] = []
    rests: list[dict[str, float]] = []
    kinds: list[Counter[str]] = []
    tasks: list[Counter[str]] = []
    async with app.run_test(size=SIZES[0]) as pilot:
        while app.picture.service("staging", "payment-service") is None:
            await pilot.pause(0.1)
        await _visit(app, pilot)
        numbers = count()
        began = time.monotonic()
        warmed = 0
        for warming in (True, False):
            over = asyncio.Event()
            work = [
                asyncio.create_task(_rollouts(app, pilot, which, numbers, over, done, errors)) for which in range(len(RELEASES))
            ]
            while app.is_running:
                await asyncio.sleep(seconds / SAMPLES)
                samples.append(_sample(app, place))
                print(f"soak: {samples[-1]}", file=sys.stderr, flush=True)
                share = (time.monotonic() - began) / seconds
                full = sum(done.values()) >= KEPT * len(RELEASES)
                if share >= (LONGEST if warming and not full else WARM_UP if warming else 1.0):
                    break
            over.set()
            await asyncio.gather(*work)
            rests.append(await _rest(app, pilot, place))
            warmed = warmed or len(samples)
            kinds.append(Counter(type(one).__qualname__ for one in gc.get_objects()))
            tasks.append(Counter(_what(task) for task in asyncio.all_tasks()))
        exception = app._exception
    errors += [repr(exception)] * (exception is not None) + _logged(place / "home" / "log" / "quarterdeck.log")
    document = {"rollouts": done, "errors": errors[:20], "rests": rests, "samples": samples, "samples_of_warm_up": warmed}
    document["grown"] = dict((kinds[-1] - kinds[0]).most_common(12))
    document["tasks_grown"] = dict(tasks[-1] - tasks[0])
    print(json.dumps(document))
    return 0


def _what(task: "asyncio.Task[Any]") -> str:
    """What a task is about: its name without numbers, what it runs, and, of a widget's, what that is in."""
    name = "".join(" " if sign.isdigit() else sign for sign in task.get_name()).split("(")[0]
    frame = getattr(task.get_coro(), "cr_frame", None)
    widget = frame.f_locals.get("self") if frame is not None else None
    within = [type(each).__name__ for each in widget.ancestors] if isinstance(widget, Widget) else []
    return " ".join([*name.split(), getattr(task.get_coro(), "__qualname__", ""), *within])


def _connections_and_files() -> tuple[int, int]:
    """How many descriptors are established TCP connections, and how many are anything else."""
    established: set[str] = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            cells = row.split()
            if cells[3] == _ESTABLISHED:
                established.add(f"socket:[{cells[9]}]")
    connections = files = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one of this very listing
            continue
        if target in established:
            connections += 1
        else:
            files += 1
    return connections, files


def _accounted(app: Any) -> int:
    """Connections to clusters that a request has, or that are kept for the next one."""
    found = 0
    for connection in app.session.context.clusters._connections.values():
        transport = connection._transport
        for pool in (transport._pool, *transport._retired):
            connector = pool._session.connector if pool is not None else None
            if connector is not None:  # a closed one has let go of all of its own
                found += len(connector._acquired) + sum(len(kept) for kept in connector._conns.values())
    return found


def _logged(log: Path) -> list[str]:
    """Errors in the log, each with what it failed on. A driver that a rollback has fenced off says so as a warning: that is as it
    should be."""
    found: list[str] = []
    listening = False
    for line in log.read_text(errors="replace").splitlines():
        if stamped := line[:4].isdigit():
            listening = " ERROR " in line or " CRITICAL " in line
        if listening:
            found = [*found, line] if stamped else [*found[:-1], f"{found[-1].partition(chr(10))[0]}\n{line}"]
    return found


async def _rollouts(
    app: Any, pilot: Any, which: int, numbers: Iterator[int], over: asyncio.Event, done: dict[str, int], errors: list[str]
) -> None:
    while not over.is_set() and app.is_running:
        await _release(app, pilot, RELEASES[which], next(numbers), done, errors, over)


async def _release(
    app: Any, pilot: Any, where: tuple[str, str], number: int, done: dict[str, int], errors: list[str], over: asyncio.Event
) -> None:
    """One rollout from draft to its end, with a person who looks around meanwhile."""
    from services.model.errors import QuarterdeckError
    from services.model.release import DeployRequest
    from services.model.rollout import Phase

    service, environment = where
    request = DeployRequest(
        service=service,
        version=f"v9.{number}.0",
        environment=environment,
        strategy=("canary", "canary", "rolling")[number % 3],
        ticket="CHG-4821",
    )
    journeys = _journeys(number)
    late: float | None = None
    try:
        draft = await app.session.deploys.draft(request)
        key = await app.session.deploys.start(draft, environment)
    except QuarterdeckError as error:
        errors.append(f"{service} in {environment}: {error}")
        await asyncio.sleep(1)
        return
    back = number // 2 % 2 == 1
    for turn in count():
        card = app.picture.rollout(key)
        if card is not None and not card.live:
            phase = card.rollout.phase.value
            done[phase if phase in done else "other"] += 1
            return
        if back and card is not None and card.rollout.phase is Phase.RUNNING:
            back = False
            try:
                await app.session.rollbacks.of_rollout(card)
            except QuarterdeckError as error:
                errors.append(f"rollback of {key}: {error}")
        if turn % 5 == 4:
            await pilot.resize_terminal(*SIZES[turn % len(SIZES)])
        for pressed in next(journeys):
            app.simulate_key(pressed)
            await asyncio.sleep(0.15)
        await asyncio.sleep(0.5)
        if over.is_set():
            late = time.monotonic() if late is None else late
        if late is not None and time.monotonic() > late + 60:
            errors.append(f"{key} did not end")
            return


def _journeys(seed: int) -> Iterator[tuple[str, ...]]:
    chance = random.Random(seed)
    while True:
        yield chance.choice(JOURNEYS)


async def _visit(app: Any, pilot: Any) -> None:
    """Go every way once at every size: what is made when it is first needed, such as a scroll bar, is no leak later."""
    for size in SIZES:
        await pilot.resize_terminal(*size)
        for journey in JOURNEYS:
            for pressed in journey:
                app.simulate_key(pressed)
                await asyncio.sleep(0.15)


async def _rest(app: Any, pilot: Any, place: Path) -> dict[str, float]:
    """What is held once nothing is under way any more: drivers are reaped and requests are over.

    Connections that were kept for the next request are given up first.
    """
    while len(app.screen_stack) > 1:
        app.pop_screen()
    await pilot.resize_terminal(*SIZES[0])
    context = app.session.context
    for name in {environment.context for environment in context.settings.environments.values()}:
        await (await context.clusters.connect(name)).distrust()
    await asyncio.sleep(8)
    looks = []
    for _ in range(RESTS):
        looks.append(_sample(app, place))
        await asyncio.sleep(1)
    return {name: statistics.median(look[name] for look in looks) for name in looks[0]}


def _sample(app: Any, place: Path) -> dict[str, float]:
    gc.collect()
    connections, files = _connections_and_files()
    status = Path("/proc/self/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return {
        "resident_mib": round(resident / 1024, 1),
        "objects": len(gc.get_objects()),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "files": files,
        "connections": connections,
        "lost_connections": connections - _accounted(app),
        "temporary_files": sum(1 for _ in (place / "tmp").rglob("*")) + sum(1 for _ in (place / "home").rglob("*.draft")),
        "children": len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Makes the pictures of the README from the running sandbox: one canary from the form to its rollback, eight looks on the way.

    python screenshots/make.py [DIRECTORY]

The console runs without a terminal, pressed as a person would press it; the sandbox is a process of its own, in a temporary
directory. The pictures need nothing from a network: Rich's links to fonts are taken out. Nor do they tell where they were made:
the names of the machine and of its user are replaced by others as long.
"""

import argparse
import asyncio
import getpass
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.remembered import Remembered, write

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from console.app import ConsoleApp
    from console.view import RolloutCard

SIZE = (120, 36)
SPEED = 20
SHOWN = 10
"""Services of production."""
TREND = 4
"""Looks at each of them after which its picture is taken."""
HERE = Path(__file__).parent
QUARTERDECK = Path(sys.executable).with_name("quarterdeck")
FORM = {
    "environment": "production",
    "service": "payment-service",
    "version": "v2.15.0",
    "strategy": "canary",
    "ticket": "CHG-4821",
}
_FONT_FACE = re.compile(r"\s*@font-face\s*\{[^}]*\}")
_TEXT = re.compile(r"(?<=>)[^<>]+(?=<)")
_UNIQUE = re.compile(r"terminal-\d+")


def main() -> int:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    # the pictures are of a terminal with all colours, whatever this is started from
    os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", LC_ALL="C.UTF-8", TEXTUAL_ANIMATIONS="none")
    os.environ.pop("NO_COLOR", None)
    with tempfile.TemporaryDirectory(prefix="quarterdeck-pictures-", ignore_cleanup_errors=True) as made:
        ready = Path(made, "ready.json")
        options = ["--scenario", "good", "--speed", str(SPEED), "--home", str(Path(made, "sandbox")), "--ready-file", str(ready)]
        sandbox = subprocess.Popen([QUARTERDECK, "sandbox", *options], stdout=subprocess.DEVNULL)
        try:
            while not ready.exists():
                if sandbox.poll() is not None:
                    sys.stderr.write("the sandbox did not start\n")
                    return 1
                time.sleep(0.05)
            write(Path(made, "sandbox"), Remembered(tour_seen=True))
            asyncio.run(_walk(json.loads(ready.read_bytes())["config"], target))
        finally:
            sandbox.terminate()
            sandbox.wait(10)
    return 0


async def _walk(config: str, target: Path) -> None:
    from console.app import ConsoleApp
    from console.tailing import LogsOf

    app = ConsoleApp(argparse.Namespace(config=config, home=None, read_only=False, output="text"))
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await _until(lambda: _services(app) > 0, "the fleet")
        await _until(lambda: _measured(app) >= SHOWN, "errors and P99 of the services", 90)
        await _fill_in(app, pilot)
        _picture(app, target, "deploy")
        await pilot.press("enter")
        await _until(lambda: _analysed_at(app, 25, 80.0), "25 %", 60)
        _picture(app, target, "rollout")
        await pilot.press("q")
        app.screen.query_one("#rollouts").focus()
        await asyncio.sleep(0.5)
        _picture(app, target, "fleet")
        app.open_service(FORM["environment"], FORM["service"])
        await asyncio.sleep(1.5)
        _picture(app, target, "service")
        app.open_logs(LogsOf(FORM["environment"], FORM["service"]))
        await asyncio.sleep(1.5)
        _picture(app, target, "logs")
        await pilot.press("q", "q")
        await asyncio.sleep(0.5)
        await pilot.press("enter")
        await asyncio.sleep(0.5)
        await pilot.press("R")
        await _until(lambda: (card := _card(app)) is not None and not card.live, "the rollback", 60)
        await asyncio.sleep(1.5)
        _picture(app, target, "rollback")
        await pilot.press("J")
        await asyncio.sleep(8.0)  # until the messages on the screen have gone
        _picture(app, target, "journal")
        await pilot.press("t")
        await asyncio.sleep(1.0)
        _picture(app, target, "story")


async def _fill_in(app: "ConsoleApp", pilot: "Pilot[Any]") -> None:
    from textual.widgets import Input

    from widgets.confirm import TypedConfirmation

    await pilot.press("d")
    await asyncio.sleep(0.5)
    for name, value in FORM.items():
        app.screen.query_one(f"#f-{name} Input", Input).value = value
    confirmation = app.screen.query_one(TypedConfirmation)
    field = confirmation.query_one(Input)
    await _until(lambda: not field.disabled, "every gate")
    confirmation.focus_input()
    await asyncio.sleep(0.2)
    field.value = FORM["environment"]
    await _until(lambda: confirmation.matches, "the confirmation")
    await asyncio.sleep(0.5)


def _services(app: "ConsoleApp") -> int:
    return sum(len(environment.services) for environment in app.picture.fleet.environments)


def _measured(app: "ConsoleApp") -> int:
    """How many services have a trend already."""
    return sum(len(figures.trend) >= TREND for figures in app.picture.figures.values())


def _card(app: "ConsoleApp") -> "RolloutCard | None":
    return next(iter(app.picture.rollouts), None)


def _analysed_at(app: "ConsoleApp", weight: int, seconds: float) -> bool:
    """Whether the canary has had its share for so long (pace) that the charts show it."""
    card = _card(app)
    if card is None or card.rollout.weight != weight or card.rollout.next_at is None:
        return False
    state = card.rollout.steps[card.rollout.step]
    return card.rollout.next_at - app.picture.pace < state.expected_seconds - seconds


async def _until(holds: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        await asyncio.sleep(0.1)


def _picture(app: "ConsoleApp", target: Path, name: str) -> None:
    """Write the screen as it is. Rich numbers its styles anew in each picture: with a fixed name they compare better."""
    drawing = _FONT_FACE.sub("", app.export_screenshot(title=f"quarterdeck: {name}"))
    # some renderers drop the space that a run of text begins with
    drawing = drawing.replace("<svg ", '<svg xml:space="preserve" ', 1)
    drawing = _TEXT.sub(lambda found: _neutral(found[0]), _UNIQUE.sub(f"quarterdeck-{name}", drawing))
    (target / f"{name}.svg").write_text(drawing.rstrip() + "\n")
    sys.stderr.write(f"{target / name}.svg\n")


def _neutral(text: str) -> str:
    login = getpass.getuser()
    for own, other in ((platform.node(), "workstation"), (login, "jane"), (login.replace(".", " ").title(), "Jane")):
        if own:
            text = re.sub(rf"\b{re.escape(own)}\b", (other * len(own))[: len(own)], text)
    return text


if __name__ == "__main__":
    sys.exit(main())

"""Key → answer on the log screen, while a pod writes thousands of lines a second."""

import asyncio
import time

from figures import Figure, figure
from place import Sandbox
from terminal import Terminal

from services.sandbox.podlog import RATE_ANNOTATION
from services.sandbox.remote import Remote

SERVICE, NAMESPACE = "accounts", "production"
LINES_A_SECOND = 5000
"""Of all of its pods together."""
TURNS = 40


def measure(place: Sandbox) -> dict[str, Figure]:
    """A console of its own, on the logs of the first service of the list: first as it writes by itself, then in a hurry."""
    quiet, quiet_goes, _ = _taken(place)
    asyncio.run(_hurry(place))
    stops, goes, helps = _taken(place)
    what = f"while {LINES_A_SECOND} lines a second come"
    return {
        "log_pause": figure(
            stops, "ms", against=("quiet", quiet), target=50, what=f"k → following has stopped, {what}; quiet: while nine do"
        ),
        "log_follow": figure(goes, "ms", against=("quiet", quiet_goes), target=50, what=f"G → following again, {what}"),
        "log_help": figure(helps, "ms", target=50, what=f"? → the help screen painted, {what}"),
    }


def _taken(place: Sandbox) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds to stop following, to follow again, and to open the help."""
    terminal = Terminal(place.command())
    try:
        terminal.wait_for(SERVICE)
        terminal.drain(1.5)
        terminal.press("\x1b")  # a tour, where one is shown
        terminal.drain(0.5)
        _open(terminal)
        terminal.drain(4.0)
        stops, goes, helps = [], [], []
        for turn in range(TURNS):
            stops.append(_answer(terminal, "k", "paused"))
            terminal.drain(0.12)
            goes.append(_answer(terminal, "G", "following"))
            terminal.drain(0.12 + (turn % 7) * 0.01)  # not in step with the console's own pictures
        for _ in range(TURNS // 4):
            helps.append(_answer(terminal, "?", "/ searches"))
            terminal.drain(0.2)
            terminal.press("q")
            terminal.drain(0.3)
    finally:
        terminal.close()
    return stops, goes, helps


async def _hurry(place: Sandbox) -> None:
    remote = await Remote.open(place.directory / "sandbox" / "kubeconfig", NAMESPACE)
    try:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        pods = (await remote.call("GET", f"{path}?labelSelector=app%3D{SERVICE}"))["items"]
        note = {"metadata": {"annotations": {RATE_ANNOTATION: str(LINES_A_SECOND / len(pods))}}}
        for pod in pods:
            await remote.call("PATCH", f"{path}/{pod['metadata']['name']}", note, content_type="application/merge-patch+json")
    finally:
        await remote.close()


def _open(terminal: Terminal) -> None:
    """Tab to the list of services; its first one is ours."""
    for _ in range(8):
        terminal.press("l")
        try:
            terminal.wait_for("lines", 1.0)
        except TimeoutError:
            terminal.press("\t")
            terminal.drain(0.3)
        else:
            return
    raise TimeoutError("no pane answers l with a log")


def _answer(terminal: Terminal, key: str, seen: str) -> float:
    """Milliseconds."""
    while terminal.read(0.0):
        pass
    began = time.perf_counter()
    terminal.press(key)
    terminal.wait_for(seen, 5.0)
    return (time.perf_counter() - began) * 1000

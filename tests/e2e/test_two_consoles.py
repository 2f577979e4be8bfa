"""Two operators, two homes, one rollout: the second console sees every step, takes over, and the first one says so."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.processes import eventually
from support.terminal import Screen, console, needs_tmux
from support.world import World, world

pytestmark = [needs_tmux, pytest.mark.long, pytest.mark.alone]

SERVICE, OLD, NEW = "payment-service", "v2.14.1", "v2.15.0"
CANARY = {
    "steps": [{"weight": 10, "seconds": 60}, {"weight": 25, "seconds": 200}],
    "baseline_seconds": 30,
    "soak_seconds": 30,
}
SEEN_WITHIN, TOLD_WITHIN = 1.0, 2.0
"""Wall seconds: from a step's begin to its place on the other screen; from a take-over to the words on the first screen."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("two"), speed=20, canary=CANARY) as running:
        yield running


@pytest.fixture
def opened(sandbox: World, tmp_path: Path) -> Iterator[Callable[[Path], Screen]]:
    with contextlib.ExitStack() as stack:

        def opening(home: Path) -> Screen:
            place = tmp_path / f"terminal-{home.name}"
            screen: Screen = stack.enter_context(
                console(place, sandbox.command(home), sandbox.environment(), columns=120, rows=60)
            )
            screen.wait(r"staging +. \d+ ", r"production +. \d+ ", SERVICE)
            return screen

        yield opening


class Watcher:
    """Looks at a screen all the time, and keeps when each thing was on it first."""

    def __init__(self, screen: Screen, look: Callable[[str], list[str]]) -> None:
        self.first: dict[str, float] = {}
        self._screen, self._look = screen, look
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.is_set():
            shown = self._screen.text()
            now = time.time()
            for each in self._look(shown):
                self.first.setdefault(each, now)
            time.sleep(0.02)

    def close(self) -> None:
        self._done.set()
        self._thread.join(10)


def begun(text: str) -> list[str]:
    """The numbers of the steps that a rollout's screen shows as begun: those with a sign that is not the one for pending."""
    lines = re.findall(r"^ (\S) (?:measure|canary|\d+ %|analyse|scale|promote|stable|traffic|watch|smoke)", text, re.MULTILINE)
    return [str(number) for number, sign in enumerate(lines) if sign in "✔▶‖"]


def seen(sandbox: World, rollout: str, namespace: str = "staging") -> dict[str, Any]:
    found = sandbox.rollout(namespace, rollout)
    assert found is not None
    return found


def moment(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def test_the_second_console_sees_every_step_takes_over_and_the_first_says_so(
    sandbox: World, opened: Callable[[Path], Screen], record_property: Callable[[str, object], None]
) -> None:
    first, second = sandbox.new_home("first"), sandbox.new_home("second")
    one, two = opened(first), opened(second)
    words = ("-o", "json", "deploy", SERVICE, NEW, "-e", "staging", "--strategy", "canary", "--ticket", "CHG-4821")
    command = sandbox.start(first, *words)
    rollout = eventually("the checkpoint", lambda: sandbox.rollouts("staging", SERVICE))[0]["id"]
    for screen in (one, two):
        screen.wait(r"ROLLOUTS +1 live")
        open_rollout(screen)
    two.wait("driven by .*home [0-9a-f]{6}.*since .*lease renewed")
    assert "driven by" not in one.text()

    looked = time.time()
    steps, told = Watcher(two, begun), Watcher(one, lambda text: ["replaced"] if "Your driver was replaced by" in text else [])
    try:
        eventually("25 %", lambda: seen(sandbox, rollout)["weight"] == 25, 40.0)
        epoch = seen(sandbox, rollout)["epoch"]
        eventually("the other console shows it", lambda: "have 25%" in re.sub(" +", " ", two.text()), 5.0)
        two.press("T")
        two.wait("take payment-service in staging over from", "since .*lease renewed", "T takes it over now")
        assert seen(sandbox, rollout)["epoch"] == epoch
        pressed = time.time()
        two.press("T")
        eventually("the take-over", lambda: seen(sandbox, rollout)["epoch"] > epoch, 20.0)
        taken = moment(seen(sandbox, rollout)["driver"]["since"])
        eventually("the first console says so", lambda: "replaced" in told.first, 20.0)
        text = one.wait("Your driver was replaced by", "it can no longer change anything", r"driven by")
        assert re.search(r"at \d\d:\d\d:\d\dZ", text)
        assert "NOBODY WATCHES" not in text
        two.wait("this home drives")
        eventually("the end", lambda: seen(sandbox, rollout)["phase"] == "succeeded", 60.0)
        count = len(seen(sandbox, rollout)["steps"])
        with contextlib.suppress(AssertionError):
            eventually("every step is seen", lambda: len(steps.first) == count, 5.0)
        assert len(steps.first) == count, f"{sorted(steps.first, key=int)} of {count}:\n{two.text()}"
    finally:
        steps.close()
        told.close()
    one.wait("succeeded")
    assert re.search(r"took the rollout over at \d\d:\d\d:\d\dZ and drives it now", command.ended(30).err)

    begins = {str(index): moment(step["started"]) for index, step in enumerate(seen(sandbox, rollout)["steps"])}
    # what was begun before the second console looked at it is no step that it could have seen begin; and the step in which it
    # took over begins anew
    lags = {
        number: steps.first[number] - begin for number, begin in begins.items() if begin > looked and steps.first[number] > begin
    }
    assert len(lags) >= 8, lags
    figures = {
        "steps": len(lags),
        "largest lag of a step": f"{max(lags.values()):.2f} s",
        "take-over to the words": f"{told.first['replaced'] - taken:.2f} s",
        "key to the words": f"{told.first['replaced'] - pressed:.2f} s",
    }
    for name, value in figures.items():
        record_property(name, value)
    print(figures)
    assert max(lags.values()) <= SEEN_WITHIN, lags
    assert told.first["replaced"] - taken <= TOLD_WITHIN, figures

    # the story of each home says where the other's part is missing
    last = sandbox.entries(first, rollout=rollout, event="rollout.superseded")
    assert [entry["data"]["by"] for entry in last] == [f"{seen(sandbox, rollout)['driver']['operator']}@{socket.gethostname()}"]
    one.press("t")
    one.wait("confirmed", r"gates met")
    one.press("G")
    one.wait("from here on .* drives it: the rest is in that home's journal")
    two.press("t")
    two.wait("it was begun from another home", "taken over", "succeeded")


def open_rollout(screen: Screen) -> None:
    """From the fleet, where a live rollout offers itself, to its screen."""
    for _ in range(20):
        if "TRIGGERS, PODS" in screen.text():
            return
        screen.press("Enter")
        with contextlib.suppress(AssertionError):
            screen.wait("TRIGGERS, PODS", seconds=2.0)
    raise AssertionError(screen.text())


def test_what_somebody_else_finished_while_the_question_was_up_is_said_and_nothing_is_done(
    sandbox: World, opened: Callable[[Path], Screen]
) -> None:
    asking, quicker = sandbox.new_home("asking"), sandbox.new_home("quicker")
    screen = opened(asking)
    select(screen, "production", "checkout")
    screen.press("R")
    screen.wait("roll back checkout in production", "R rolls back now")
    done = sandbox.run(quicker, "-o", "json", "rollback", "checkout", "-e", "production")
    assert done.code == 0, done.err
    after = sandbox.facts("production", "checkout")
    screen.wait(r"meanwhile", "Nothing was done", "nothing is left to confirm")
    screen.press("R", "R", "R")
    screen.steady("nothing is left to confirm", seconds=1.5)
    screen.press("Escape")
    screen.wait("REVISIONS")
    assert sandbox.facts("production", "checkout") == after
    assert sandbox.entries(asking, service="checkout") == []


def select(screen: Screen, environment: str, service: str) -> None:
    """Go to a service by letters of its name."""
    screen.press("f")
    screen.type(f"{service} {environment}")
    screen.wait(r"jump to a service: 1 of \d+", rf"▸ {service} +{environment}")  # its cluster may not have answered yet
    screen.press("Enter")
    screen.wait("REVISIONS", rf"{service} · production +v", r"R ROLL BACK")

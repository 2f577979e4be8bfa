"""Ten minutes without a network under running rollouts, in the ways in which networks fail: the screen stays and grows old,
nothing is done on an old picture, and once the network is back all goes on by itself.

Three environments lose their network at once, each in its own way; the fourth keeps its own.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from support.consoles import words_on
from support.headless import headless, soon
from support.proxy import Line, Proxy, proxies
from support.world import SHORT, World, world

from console.actions import ACTIONS, Situation
from console.app import ConsoleApp
from console.screens.questions import OldPictureScreen
from console.view import RolloutCard, Selection
from services.model.rollout import Phase

pytestmark = [pytest.mark.long, pytest.mark.alone]

SPEED = 20.0
MINUTES = 10.0
SERVICE, VERSION = "payment-service", "v2.15.0"
FAILING = {"dev": Line.CUT, "staging": Line.BLACK_HOLE, "canary": Line.HALF_OPEN}
RECOVERY = 5.0
OLD = 10.0
"""Wall seconds, two missed signs of life, from which a picture is grey and no base for an action."""


def through(sandbox: World, ports: dict[str, int]) -> Path:
    """The sandbox's configuration, with the way to these environments through these ports."""
    document = yaml.safe_load(Path(sandbox.ready["kubeconfig"]).read_text())
    plain = document["clusters"][0]["cluster"]
    for name, port in ports.items():
        document["clusters"].append({"name": name, "cluster": {**plain, "server": f"https://127.0.0.1:{port}"}})
        next(each for each in document["contexts"] if each["name"] == name)["context"]["cluster"] = name
    path = sandbox.place / "failing-kubeconfig"
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return sandbox.variant("failing", kubeconfig=str(path), canary=SHORT, judge={"on_undecided": "advance_with_note"})


def port_of(sandbox: World) -> int:
    document = yaml.safe_load(Path(sandbox.ready["kubeconfig"]).read_text())
    port = urlsplit(document["clusters"][0]["cluster"]["server"]).port
    assert port is not None
    return port


def card_of(app: ConsoleApp, environment: str) -> RolloutCard | None:
    return next((card for card in app.picture.rollouts if card.environment == environment), None)


def exposed(app: ConsoleApp, environment: str) -> bool:
    card = card_of(app, environment)
    if card is None or card.rollout.judgement is None:
        return False  # without one look at the new version's users there is nothing that an outage could interrupt
    return card.rollout.weight > 0 and card.rollout.phase is Phase.RUNNING


def accepted(app: ConsoleApp, environment: str) -> list[str]:
    """The actions that could change this environment's rollout now, but for the rollback, which never waits
    while a rollout is live; of one that is over it asks first."""
    card = card_of(app, environment)
    selection = Selection(environment, SERVICE, card.key if card else "")
    situation = Situation(app.picture, selection, "rollout")
    changing = [action for action in ACTIONS if action.changes and action.id != "rollback"]
    return [action.id for action in changing if action.guard(situation) is None]


@pytest.mark.timeout(240)
async def test_ten_minutes_without_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with world(tmp_path, speed=SPEED) as sandbox, proxies(port_of(sandbox), *FAILING) as lines:
        config = through(sandbox, {name: line.port for name, line in lines.items()})
        home = sandbox.new_home("cut")
        async with headless(sandbox, home, config=config) as (app, pilot):
            deploys = [
                sandbox.start(home, *("deploy", SERVICE, VERSION, "-e", name, "--strategy", "canary"), *TICKET, config=config)
                for name in FAILING
            ]
            await soon(app, lambda: all(exposed(app, name) for name in FAILING), 60)
            drivers = {name: app.session.driver_process(card) for name in FAILING if (card := card_of(app, name))}
            app.open_rollout(next(card.key for card in app.picture.rollouts if card.environment == "dev"))
            await soon(app, lambda: "STEPS" in words_on(app))

            for name, how in FAILING.items():
                lines[name].set(how)
            began = time.monotonic()
            ages: dict[str, list[float]] = {name: [] for name in FAILING}
            stale: list[str] = []
            pressed = 0
            while time.monotonic() - began < MINUTES * 60 / SPEED:
                for name in FAILING:
                    view = app.picture.environment(name)
                    assert view is not None
                    assert view.age_seconds is not None
                    assert view.services, "what was seen last stays on the screen"
                    ages[name].append(view.age_seconds)
                    if view.age_seconds > OLD:
                        stale += accepted(app, name)
                if ages["dev"][-1] > OLD and pressed < 3:
                    await pilot.press("p")
                    pressed += 1
                other = app.picture.environment("production")
                assert other is not None
                assert other.reachable, "what has its network works as ever"
                assert app.is_running
                await asyncio.sleep(0.1)
            assert pressed == 3
            assert stale == []
            for name, seen in ages.items():
                assert seen[-1] > OLD, f"the picture of {name} never grew old: {seen[-1]:.1f} s"
            assert "unreachable" in words_on(app).splitlines()[0]

            healed = time.monotonic()
            for line in lines.values():
                line.set(Line.OPEN)
            back: dict[str, float] = {}
            while len(back) < len(FAILING) and time.monotonic() - healed < 20:
                for name in FAILING:
                    view = app.picture.environment(name)
                    if name not in back and view is not None and view.reachable and (view.age_seconds or 0) < 1:
                        back[name] = time.monotonic() - healed
                await asyncio.sleep(0.02)
            lost = [name for name in FAILING if name not in back or back[name] > RECOVERY]
            with capsys.disabled():
                print(f"\nhealed: {', '.join(f'{name} ({FAILING[name]}) after {took:.1f} s' for name, took in back.items())}")
            assert lost == []
            await soon(app, lambda: all(_over(app, name) for name in FAILING), 60)
            for name in FAILING:
                card = card_of(app, name)
                assert card is not None
                assert card.rollout.phase is Phase.SUCCEEDED, card.rollout.reason
            await _asked_on_an_old_picture(app, pilot, lines["dev"])
        said = [deploy.ended(30) for deploy in deploys]
        assert [one.code for one in said] == [0, 0, 0], [json.loads(one.out)["reason"] for one in said if one.out]
        assert all(process is not None for process in drivers.values())
        for name in FAILING:
            assert sandbox.facts(name, SERVICE)["weights"] == {"stable": 100, "canary": 0}
            assert sandbox.facts(name, SERVICE)[SERVICE]["images"][0].endswith(VERSION)
        assert [entry for entry in sandbox.entries(home) if entry["event"] == "rollout.paused"] == []
        assert sandbox.verified(home).ok


async def _asked_on_an_old_picture(app: ConsoleApp, pilot: Any, line: Proxy) -> None:
    """Of a rollout that is over, R is one key on a fresh picture only: on an old one it asks first, and says how old that is."""
    line.set(Line.CUT)
    await soon(app, lambda: (view := app.picture.environment("dev")) is not None and (view.age_seconds or 0) > OLD, 30)
    await pilot.press("R")
    await soon(app, lambda: isinstance(app.screen, OldPictureScreen), 5)
    assert "the picture of dev is" in words_on(app).lower()
    await pilot.press("escape")
    line.set(Line.OPEN)
    card = card_of(app, "dev")
    assert card is not None
    assert card.rollout.phase is Phase.SUCCEEDED


TICKET = ("--ticket", "CHG-4821", "-o", "json")


def _over(app: ConsoleApp, environment: str) -> bool:
    card = card_of(app, environment)
    return card is not None and not card.live

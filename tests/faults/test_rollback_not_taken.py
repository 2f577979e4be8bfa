"""A rollback by key that the cluster does not take: it is away, or refuses. Nobody is left to think that it was done."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.consoles import words_on
from support.headless import headless, soon
from support.world import NO_SINKS, SHORT, World, world

from console.app import ConsoleApp
from console.attention import Kind, concerns
from console.screens.confirming import ConfirmingScreen
from console.view import RolloutCard
from services.model.rollout import Phase

pytestmark = pytest.mark.long

SERVICE, NEW = "payment-service", "v2.15.0"


def newest(app: ConsoleApp, environment: str, service: str) -> RolloutCard | None:
    return next(iter(app.picture.rollouts_of(environment, service)), None)


def told(app: ConsoleApp, words: str) -> list[str]:
    """The severities of the results that say so."""
    return [result.severity for result in app.results.results if words in f"{result.title}: {result.text}"]


async def confirmed(app: ConsoleApp, pilot: Any) -> None:
    """R of a finished rollout on a picture that has grown old, and its question answered."""
    await pilot.press("R")
    await soon(app, lambda: isinstance(app.screen, ConfirmingScreen) and app.screen.ready)
    await pilot.press("R")


def refused(sandbox: World) -> Path:
    """Production by credentials that may only read."""
    document = yaml.safe_load(sandbox.config.read_text())
    environments = document["environments"]
    environments["production"]["context"] = "production-viewer"
    return sandbox.variant("viewer", environments=environments)


@pytest.mark.timeout(180)
async def test_a_rollback_that_may_not_write_is_on_its_screen_and_in_the_attention_line(tmp_path: Path) -> None:
    with world(tmp_path, speed=40, journal=NO_SINKS) as sandbox:
        home, config = sandbox.new_home("viewer"), refused(sandbox)
        async with headless(sandbox, home, config=config, size=(160, 50)) as (app, pilot):
            app.open_service("production", "catalog")
            await soon(app, lambda: "REVISIONS" in words_on(app))
            await pilot.press("R")
            await soon(app, lambda: "R rolls back now" in words_on(app))
            await pilot.press("R")
            await soon(app, lambda: told(app, "the cluster refused the first patch"))
            assert told(app, "the cluster refused the first patch") == ["error"]
            await soon(app, lambda: "ollback asked for" in words_on(app), 10)
            await soon(app, lambda: concerns(app.picture) and concerns(app.picture)[0].kind is Kind.NEEDS_PERSON, 90)
            concern = concerns(app.picture)[0]
            assert concern.words == "catalog in production: its rollback was given up"
            await soon(app, lambda: "The rollback from this home was given up: " in words_on(app) and "403" in words_on(app))
            assert "No cluster has shown" not in words_on(app)
            assert "by hand: kubectl" in words_on(app)
            assert told(app, "catalog in production: its driver gave up") == ["error"]
            while len(app.screen_stack) > 1:
                app.pop_screen()
            await soon(app, lambda: "catalog" in words_on(app))
            await pilot.press("exclamation_mark")
            await soon(app, lambda: concern.place.rollout in getattr(app.screen, "key", ""))
        async with headless(sandbox, home, config=config, size=(160, 50)) as (app, _):
            await soon(app, lambda: any(found.kind is Kind.NEEDS_PERSON for found in concerns(app.picture)), 10)
            assert told(app, "its driver gave up") == [], "that was before it was opened"


@pytest.mark.timeout(240)
async def test_a_rollback_of_another_home_s_rollout_in_an_outage_is_done_once_the_cluster_is_back(tmp_path: Path) -> None:
    with world(tmp_path, speed=40, journal=NO_SINKS, canary=SHORT) as sandbox:
        theirs, ours = sandbox.new_home("theirs"), sandbox.new_home("ours")
        done = await asyncio.to_thread(
            lambda: sandbox.deploy(theirs, SERVICE, NEW, "-e", "staging", "--strategy", "rolling", "--ticket", "CHG-4821")
        )
        assert done.code == 0, done.err
        async with headless(sandbox, ours, size=(160, 50)) as (app, pilot):
            await soon(app, lambda: newest(app, "staging", SERVICE) is not None)
            card = newest(app, "staging", SERVICE)
            assert card is not None
            app.open_rollout(card.key)
            await soon(app, lambda: "STEPS" in words_on(app))
            os.kill(sandbox.process.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(12)
                await confirmed(app, pilot)
                await soon(app, lambda: told(app, "the first patch was not accepted"), 60)
                assert told(app, "the first patch was not accepted") == ["error"]
                await soon(app, lambda: "ollback asked for" in words_on(app))
                driver = await asyncio.to_thread(sandbox.driver, card.key, ours)
                await asyncio.sleep(15)
                assert sandbox.drivers(card.key, ours) == [driver], "it waits for the cluster"
            finally:
                os.kill(sandbox.process.pid, signal.SIGCONT)
            await soon(app, lambda: (now := newest(app, "staging", SERVICE)) and now.rollout.phase is Phase.ROLLED_BACK, 90)
            assert "not accepted by the cluster" not in words_on(app)
            await soon(app, lambda: (ours / "rollouts" / card.key / "ended.json").exists())
            assert json.loads((ours / "rollouts" / card.key / "ended.json").read_text())["code"] == 4


@pytest.mark.timeout(240)
async def test_a_driver_that_dies_over_its_rollback_is_told_of(tmp_path: Path) -> None:
    """The driver is killed while it waits for the cluster: what the key promised does not come."""
    with world(tmp_path, speed=40, journal=NO_SINKS, canary=SHORT) as sandbox:
        theirs, ours = sandbox.new_home("theirs"), sandbox.new_home("ours")
        done = await asyncio.to_thread(
            lambda: sandbox.deploy(theirs, SERVICE, NEW, "-e", "staging", "--strategy", "rolling", "--ticket", "CHG-4821")
        )
        assert done.code == 0, done.err
        async with headless(sandbox, ours, size=(160, 50)) as (app, pilot):
            await soon(app, lambda: newest(app, "staging", SERVICE) is not None)
            card = newest(app, "staging", SERVICE)
            assert card is not None
            app.open_rollout(card.key)
            await soon(app, lambda: "STEPS" in words_on(app))
            os.kill(sandbox.process.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(12)
                await confirmed(app, pilot)
                await soon(app, lambda: told(app, "the first patch was not accepted"), 60)
                os.kill(await asyncio.to_thread(sandbox.driver, card.key, ours), signal.SIGKILL)
                await soon(app, lambda: told(app, f"{SERVICE} in staging: its driver gave up"), 60)
            finally:
                os.kill(sandbox.process.pid, signal.SIGCONT)
            await soon(app, lambda: "rollback given up" in words_on(app))
            assert "R rolls it back at once" not in words_on(app)
            found = [(each.kind, each.place.rollout) for each in concerns(app.picture)]
            assert (Kind.NEEDS_PERSON, card.key) in found
            assert told(app, f"{SERVICE} in staging: its driver gave up") == ["error"]


@pytest.mark.timeout(240)
async def test_while_its_driver_waits_to_roll_back_no_promotion_is_announced(tmp_path: Path) -> None:
    """A canary of this home, whose driver is told by its socket: the cluster hears neither of it nor of the console."""
    steps = {"steps": [{"weight": 10, "seconds": 60}, {"weight": 25, "seconds": 6000}], "baseline_seconds": 30}
    with world(tmp_path, speed=20, journal=NO_SINKS, canary=steps) as sandbox:
        home = sandbox.new_home("own")
        async with headless(sandbox, home, size=(160, 50)) as (app, pilot):
            words = ("deploy", SERVICE, NEW, "-e", "staging", "--strategy", "canary", "--ticket", "CHG-4821")
            sandbox.start(home, "-o", "json", *words)
            await soon(app, lambda: (now := newest(app, "staging", SERVICE)) and now.rollout.weight == 25, 60)
            card = newest(app, "staging", SERVICE)
            assert card is not None
            app.open_rollout(card.key)
            await soon(app, lambda: "NEXT" in words_on(app))
            os.kill(sandbox.process.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(12)
                await pilot.press("R")
                await soon(app, lambda: told(app, "Your driver has been told to roll back"), 60)
                assert told(app, "Your driver has been told to roll back") == ["error"]
                for _ in range(3):
                    await asyncio.sleep(1)
                    following = next(line for line in words_on(app).splitlines() if "NEXT " in line)
                    assert "rollback asked for" in following
                    assert "not accepted by the cluster yet" in following
                    assert "running" not in words_on(app).splitlines()[1]
            finally:
                os.kill(sandbox.process.pid, signal.SIGCONT)
            await soon(app, lambda: (now := newest(app, "staging", SERVICE)) and now.rollout.phase is Phase.ROLLED_BACK, 90)
            assert "not accepted by the cluster" not in words_on(app)

"""The README, held to its word: its commands are run, its keys pressed, its tables and figures compared with the code."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.configuration import redactor
from support.terminal import console, needs_tmux
from support.world import ROOT, World, world

from console.actions import ACTIONS, actions_on, key_name
from console.commands.demo import DEFAULT_SPEED
from console.picturing import ROLLBACK_WINDOW
from console.screens.help import IN_PLANS, LISTS
from services.coordination.lease import DURATION
from services.model.errors import ExitCode
from services.model.release import Strategy, Tier
from services.sandbox.behaviour import scenarios
from services.settings import Settings, parse

README = (ROOT / "README.md").read_text()
TMUX_KEYS = {"enter": "Enter", "tab": "Tab", "esc": "Escape", "ctrl+q": "C-q", "alt+R": "M-R"}
TOLD = re.compile(r"<kbd>(?P<key>.*?)</kbd>|`(?P<typed>[^`]+)`|<!-- shows: (?P<shown>.*?) -->", re.S)


def blocks(mark: str) -> list[str]:
    """The fenced blocks that follow the comment ``mark``."""
    return re.findall(rf"<!-- {re.escape(mark)} -->\n```\w+\n(.*?)```", README, re.S)


def commands(mark: str) -> list[list[str]]:
    found = [shlex.split(line, comments=True) for block in blocks(mark) for line in block.splitlines()]
    assert found, f"no block is marked {mark}"
    assert all(words[0] == "quarterdeck" for words in found)
    return [words[1:] for words in found]


def table(heading: str) -> dict[str, str]:
    """The two-column table whose first heading is ``heading``."""
    rows = re.search(rf"^\| {heading} \|.*?\n\|[-|]+\n((?:\|.*\n)+)", README, re.M)
    assert rows, heading
    return dict(re.findall(r"^\| `?([^`|]+?)`? \| (.*?) \|$", rows[1], re.M))


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("readme"), speed=40) as running:
        yield running


@pytest.fixture(scope="module")
def settings() -> Settings:
    (text,) = blocks("config")
    return parse(text, file="README.md", base=Path("/etc/quarterdeck"), redactor=redactor())


def test_every_command_ends_as_it_says(sandbox: World) -> None:
    home = sandbox.new_home("commands")
    for code in (ExitCode.REJECTED, ExitCode.GATE_UNMET, ExitCode.DONE):
        for words in commands(f"run: {int(code)}"):
            said = sandbox.run(home, *words)
            assert said.code == code, f"{' '.join(words)}: {said.out} {said.err}"
            if "json" in words:
                assert json.loads(said.out)["outcome"] == {0: "succeeded", 3: "gate_unmet"}[code]
    refused = sandbox.run(home, "journal", "list", "--event", "rollout.refused", "-o", "json").document["entries"]
    outcomes = ["rejected"] * len(commands("run: 2")) + ["gate_unmet"] * len(commands("run: 3"))
    assert [entry["outcome"] for entry in refused] == outcomes, "what is refused is in the journal too"
    assert all(entry["data"] for entry in refused)


def test_every_option_and_verb_it_names_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    from console import cli

    verbs = set(re.findall(r"`?quarterdeck ([a-z]+)", README)) - {"in"}
    assert verbs <= set(cli.VERBS)
    assert set(re.findall(r"make (demo|test)\b", README)) == {"demo", "test"}, "two commands are all a stranger needs"
    taken = set()
    for words in (
        [],
        *([verb] for verb in cli.VERBS),
        ["config", "init"],
        ["config", "check"],
        ["journal", "list"],
        ["journal", "export"],
        ["journal", "ship"],
    ):
        assert cli.main([*words, "--help"]) == 0
        taken |= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) <= taken


def test_the_make_targets_are_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:^|`)make (\w+)", README, re.M))
    assert {"demo", "test", "lint", "e2e", "bench", "screenshots"} <= named
    assert named <= targets


@needs_tmux
def test_the_tour_can_be_walked(tmp_path: Path) -> None:
    tour = README.partition("<!-- tour -->")[2].partition("\n\nThen ")[0]
    steps = list(TOLD.finditer(tour))
    assert len(steps) > 20
    place = tmp_path / "tour"
    place.mkdir()
    with world(place, speed=20) as running:
        home = running.new_home("tour")
        with console(tmp_path / "screen", running.command(home), running.environment(), columns=120, rows=36) as screen:
            screen.wait("payment-service")
            for step in steps:
                if step["shown"]:
                    screen.wait(re.escape(step["shown"]), seconds=40)
                elif step["typed"] and step.start() and tour[: step.start()].rstrip().endswith(("Type", "</kbd>")):
                    screen.type(step["typed"])
                elif step["key"]:
                    screen.press(TMUX_KEYS.get(step["key"], step["key"]))
            screen.gone()


def test_every_key_is_one_of_the_registry() -> None:
    registered = {key_name(key) for action in ACTIONS for key in action.keys}
    lists = {word.strip(",;") for keys, _ in (*LISTS, *IN_PLANS) for word in keys.split()}
    assert set(re.findall(r"<kbd>(.*?)</kbd>", README)) <= registered | lists
    for key, action in {"d": "deploy", "R": "rollback", "J": "journal", "p": "pause", "C": "resume", "T": "take_over"}.items():
        assert key in next(found for found in actions_on("rollout") if found.id == action).keys


def test_the_exit_codes_are_all_of_them() -> None:
    told = table("Exit code")
    assert [int(code) for code in told] == [int(code) for code in ExitCode]
    assert told["4"].startswith("rolled back")


def test_the_scenarios_are_all_of_them() -> None:
    told = table("Scenario")
    assert set(told) == set(scenarios())
    assert told["errors"] == f"fails {scenarios()['errors'].behaviour.errors:.0%} of its requests".replace("%", " %")


def test_the_example_configuration_is_accepted(settings: Settings) -> None:
    assert [step.weight for step in settings.canary.steps] == [5, 25, 50]
    assert settings.tickets is not None


def test_a_gate_is_never_relaxed_for_production(settings: Settings) -> None:
    assert settings.policy[Tier.PRODUCTION].approvals == 2
    assert settings.policy[Tier.DEV].approvals == 1
    (text,) = blocks("config")
    with pytest.raises(Exception, match="production"):
        parse(
            text.replace("staging: {approvals: 0}", "production: {approvals: 1}"),
            file="README.md",
            base=Path("/etc/quarterdeck"),
            redactor=redactor(),
        )


def test_figures_are_those_of_the_code(settings: Settings) -> None:
    limits = settings.triggers
    flat = " ".join(README.split())
    assert f"error rate above {limits.error_rate * 100:g} % in the first {limits.error_seconds / 60:g} minutes" in flat
    assert f"P99 more than {limits.latency_increase * 100:g} % above the baseline" in flat
    assert f"failing {settings.probes.failures} times in a row" in flat
    assert limits.cpu == limits.memory
    assert f"CPU or memory of new pods above {limits.cpu * 100:g} %" in flat
    assert f"its lease run out in {DURATION:g} s" in flat
    assert ROLLBACK_WINDOW == 3600
    assert "for one hour after it" in flat
    assert DEFAULT_SPEED == 10
    assert "runs ten times faster" in flat
    assert flat.count("Strategies are `rolling` and `canary`") == 1
    assert {strategy.value for strategy in Strategy} == {"rolling", "canary"}


def test_the_sandbox_is_what_it_says(sandbox: World) -> None:
    (words,) = commands("sandbox")
    assert words == ["sandbox", "--scenario", "good", "--speed", "20"]
    told = (sandbox.place / "sandbox.log").read_text()
    assert f"quarterdeck --config {sandbox.ready['config']}" in told
    assert f"kubectl --kubeconfig {sandbox.ready['kubeconfig']}" in told
    environments = sandbox.run(sandbox.new_home("fleet"), "status", "-o", "json").document["environments"]
    assert [place["name"] for place in environments] == ["dev", "staging", "canary", "production"]
    assert {len(place["services"]) for place in environments} == {10}


def test_pictures_are_there_and_fetch_nothing() -> None:
    pictures = re.findall(r"!\[[^]]*\]\((.*?)\)", README)
    assert set(pictures) == {f"screenshots/{made.name}" for made in (ROOT / "screenshots").glob("*.svg")}
    for name in pictures:
        drawing = (ROOT / name).read_text()
        assert "@font-face" not in drawing
        assert "url(http" not in drawing
        assert not re.search(r"<image|xlink:href=\"http|/home/|/root/|/tmp/", drawing)

"""The README's way to set up, walked."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml
from support.world import ROOT, Said, World, world

from console.doctor.examination import SECONDS
from console.doctor.finding import Outcome

SECTION = (ROOT / "README.md").read_text().partition("\n## Setting up\n")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("setup"), speed=20) as running:
        yield running


def typed(sandbox: World, place: Path, *words: str) -> Said:
    """A command as the README has it: no option but its own, everything else from the surroundings."""
    environment = sandbox.environment() | {
        "HOME": str(place),
        "XDG_CONFIG_HOME": str(place / "config"),
        "XDG_STATE_HOME": str(place / "state"),
        "KUBECONFIG": sandbox.ready["kubeconfig"],
    }
    command = [sys.executable, "-P", "-m", "console.cli", *words]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=environment, cwd=place, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)


def test_the_three_commands_lead_from_a_kubeconfig_to_findings(sandbox: World, tmp_path: Path) -> None:
    block = re.search(r"<!-- set up -->\n```sh\n(.*?)```", SECTION, re.S)
    assert block
    init, check, doctor = [shlex.split(line, comments=True)[1:] for line in block[1].splitlines()]
    assert (typed(sandbox, tmp_path, *init).code, typed(sandbox, tmp_path, *check).code) == (0, 0)
    config = tmp_path / "config" / "quarterdeck" / "config.yaml"
    assert list(yaml.safe_load(config.read_text())["environments"]) == ["dev", "staging", "canary", "production"]
    said = typed(sandbox, tmp_path, *doctor, "-o", "json")
    assert said.code == 1, said.err
    problems = [finding for finding in said.document["checks"] if finding["outcome"] == "problem"]
    assert [finding["group"] for finding in problems] == ["tickets"], problems
    assert problems[0]["action"]
    again = typed(sandbox, tmp_path, *init)
    assert (again.code, typed(sandbox, tmp_path, *init, "--force").code) == (2, 0)
    config.write_text("no: configuration\n")
    assert typed(sandbox, tmp_path, *doctor).code == 2


def test_the_schema_is_the_one_its_first_line_names(sandbox: World, tmp_path: Path) -> None:
    assert typed(sandbox, tmp_path, "config", "init", "config.yaml").code == 0
    made = re.search(r"`quarterdeck (config schema) > (\S+)`", SECTION)
    assert made
    schema = json.loads(typed(sandbox, tmp_path, *made[1].split()).out)
    jsonschema.validate(yaml.safe_load((tmp_path / "config.yaml").read_text()), schema)
    line = re.search(r"`(# yaml-language-server: \$schema=\S+)`", SECTION)
    assert line
    assert line[1].endswith(made[2])
    assert line[1] in (tmp_path / "config.yaml").read_text()


def test_the_words_and_the_seconds_are_those_of_the_code() -> None:
    for outcome in Outcome:
        assert f"`{outcome}`" in SECTION
    assert f"longer than {SECONDS:g} s" in SECTION.replace("\n", " ")

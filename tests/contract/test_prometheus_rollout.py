"""The same canary on the sandbox, judged through a real Prometheus and through the pods' own pages: the same verdict."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from support.harness import DEPLOY, Ended, Sandbox
from support.processes import eventually
from support.prometheus import needs_prometheus, serving

pytestmark = [needs_prometheus, pytest.mark.counterpart]
SPEED = 20.0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Sandbox]]:
    running: list[Sandbox] = []

    def starting(scenario: str) -> Sandbox:
        running.append(Sandbox(tmp_path / f"sandbox-{len(running)}", scenario, SPEED))
        return running[-1]

    yield starting
    for sandbox in running:
        sandbox.stop()


def ask_prometheus(sandbox: Sandbox, url: str) -> None:
    """Have the sandbox's configuration take its metrics from a server."""
    path = Path(sandbox.ready["config"])
    config = yaml.safe_load(path.read_text())
    config["metrics"] |= {"source": "prometheus", "prometheus": {"url": url}}
    path.write_text(yaml.safe_dump(config))


def deployed(sandbox: Sandbox) -> Ended:
    return sandbox.run(*DEPLOY, "--confirm", "production", timeout=200)


def through_prometheus(sandbox: Sandbox, directory: Path, *, scrapes: int = 0) -> Ended:
    """The deploy begins once the server remembers so many scrapes."""
    directory.mkdir()
    page = urlsplit(sandbox.ready["prometheus"])
    with serving(directory, page.netloc, path=page.path) as server:
        ask_prometheus(sandbox, server.url)
        if scrapes:
            query = f"min(count_over_time(up[2m])) >= {scrapes}"
            eventually("enough is remembered", lambda: server.value(query) != [], 90.0)
        return deployed(sandbox)


@pytest.mark.parametrize("scenario", ["errors", "slow"])
def test_both_ways_to_the_metrics_come_to_the_same_verdict(
    scenario: str, start: Callable[[str], Sandbox], tmp_path: Path
) -> None:
    direct, through = deployed(start(scenario)), through_prometheus(start(scenario), tmp_path / "prometheus")
    assert (direct.code, through.code) == (4, 4), (direct.err, through.err)
    assert direct.document["outcome"] == through.document["outcome"] == "rolled_back"
    assert direct.document["rollback"]["trigger"] == through.document["rollback"]["trigger"]


def test_a_good_release_is_proven_through_prometheus(start: Callable[[str], Sandbox], tmp_path: Path) -> None:
    """What the server remembers of the time before is what it is compared by: longer than the minute that is watched."""
    sandbox = start("good")
    ended = through_prometheus(sandbox, tmp_path / "prometheus", scrapes=110)
    assert (ended.code, ended.document["outcome"]) == (0, "succeeded"), ended.err
    (passed, *_) = [one for one in sandbox.journal("--event", "deployment.health_check") if one["outcome"] == "passed"]
    (asked,) = passed["data"]["asked"]
    assert asked["of"] == ["errors", "latency"]
    assert '"quarterdeck_arm", "stable"' in asked["queries"][0], "whole: the old version's part comes last"
    assert set(asked["pods"]) == {"canary", "stable"}
    (completed,) = sandbox.journal("--event", "deployment.completed")
    baseline = completed["data"]["metrics"]["baseline"]
    assert baseline["seconds"] >= 360
    assert baseline["requests"] == pytest.approx(20_000 * baseline["seconds"], rel=0.2)
    assert baseline["p99"] == pytest.approx(0.045, rel=0.1)
    replay = baseline["replay"]
    assert replay["rows"] >= 30
    assert (replay["splits"], replay["aborted"], replay["brief"]) == (6, 0, {})
    assert 1.0 <= replay["noise"]["errors"] < 2.5


def test_a_server_that_is_away_is_no_data_and_asks_a_person(start: Callable[[str], Sandbox]) -> None:
    sandbox = start("errors")
    ask_prometheus(sandbox, "http://127.0.0.1:9")
    ended = sandbox.run(*DEPLOY, "--confirm", "production")
    assert ended.code == 5, ended.err
    assert "127.0.0.1:9 can't be reached" in json.dumps(ended.document)

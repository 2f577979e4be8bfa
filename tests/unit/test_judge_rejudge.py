"""``analyse --from journal``: a rollout with a ratio of the user's own, judged again; and what stands in the way of it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.clock import ManualClock

from console import cli
from services.analysis.judge import CUSTOM, ERRORS, Parameters
from services.audit import Event, Journal
from services.redaction import Redactor

ORDERS = msgspec.structs.replace(CUSTOM, name="orders-lost", r=3.0, d=0.01)
PARAMETERS = Parameters(metrics=(ERRORS, ORDERS))
LOST = {"errors": [1000, 9000, 1, 9], "orders-lost": [1000, 9000, 200, 450]}
"""Orders fail four times as often as on the old version."""


def recorded(home: Path, *looks: dict[str, Any]) -> None:
    async def write() -> None:
        clock = ManualClock()
        journal = Journal.open(home / "journal", redactor=Redactor(b"k" * 32), clock=clock)
        for look in looks:
            await journal.append(
                Event(event="deployment.health_check", user="jane", rollout="r1", outcome="holds", data={"judge": look})
            )
        journal.close()

    home.mkdir(mode=0o700)
    asyncio.run(write())


def looks(counts: dict[str, list[float]], number: int = 12) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"counts": counts, "seconds": 10.0, "step": 3, "past": False} for _ in range(number)]
    found[0] |= {"parameters": msgspec.to_builtins(PARAMETERS), "edges": {}}
    return found


def again(home: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    code = cli.main(["analyse", "--from", "journal", "r1", "--home", str(home), "-o", "json", *words])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_a_ratio_of_the_users_own_keeps_its_settings_when_others_are_changed(tmp_path, capsys) -> None:
    recorded(tmp_path / "home", *looks(LOST))
    code, answer, _ = again(tmp_path / "home", capsys)
    assert code == 0
    assert (answer["verdict"], answer["metric"]) == ("regressed", "orders-lost")
    assert again(tmp_path / "home", capsys, "--latency-r", "50", "--latency-d", "0.9", "--warm-up", "90")[1] == answer


@pytest.mark.parametrize(
    ("look", "told"),
    [
        ({"counts": {"errors": [10, 90, 11, 1]}, "seconds": 10.0}, "these counts can't be"),
        ({"counts": {"errors": [10, 90, 1]}, "seconds": 10.0}, "has no look of the judge"),
        ({"counts": {"errors": [-10, 90, 1, 1]}, "seconds": 10.0}, "these counts can't be"),
        ({"counts": {"others": [10, 90, 1, 1]}, "seconds": 10.0}, "no such metric"),
        ({"counts": 7, "seconds": 10.0}, "has no look of the judge"),
        ({"seconds": 10.0}, "has no look of the judge"),
    ],
)
def test_a_look_that_can_not_be_judged_is_refused_and_named(tmp_path, capsys, look, told) -> None:
    recorded(tmp_path / "home", *looks(LOST, 2), look)
    code, answer, err = again(tmp_path / "home", capsys)
    assert code == 2
    assert told in err
    assert answer["reason"]["name"] == "journal"
    assert "Traceback" not in err


def test_looks_without_the_settings_of_then_are_not_judged_by_guess(tmp_path, capsys) -> None:
    alone = looks(LOST)
    del alone[0]["parameters"]
    recorded(tmp_path / "home", *alone)
    code, _, err = again(tmp_path / "home", capsys)
    assert code == 2
    assert "has no look of the judge in this journal" in err

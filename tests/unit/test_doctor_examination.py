"""The examination itself: no check hides, holds up or ends another."""

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.doctor import unexpected

from console.cli import main
from console.doctor import report, terminal
from console.doctor.examination import NotReached, examine
from console.doctor.finding import Check, Finding, Group, Outcome, Topic
from console.logs import tear_down
from services.model.errors import Unavailable


def topic(name: str) -> Topic:
    return Topic(Group.CLUSTERS, name, "production")


def check(name: str, failure: Exception | None = None) -> Check:
    async def run() -> Sequence[Finding]:
        if failure is not None:
            raise failure
        return [topic(name).ok("well")]

    return Check(topic(name), run)


async def test_one_that_fails_hides_no_other() -> None:
    found = await examine(
        [
            check("broken", ZeroDivisionError("division by zero")),
            check("away", Unavailable("gone", "It was there.", "Look.")),
            check("dependent", NotReached("see above")),
            check("well"),
        ],
        5.0,
        lambda error: f"{error} is in the log.",
    )
    assert [(finding.name, finding.outcome) for finding in found] == [
        ("broken", Outcome.PROBLEM),
        ("away", Outcome.PROBLEM),
        ("dependent", Outcome.SKIPPED),
        ("well", Outcome.OK),
    ]
    assert "ZeroDivisionError: division by zero" in found[0].found
    assert found[0].action.startswith("division by zero is in the log.")
    assert (found[1].found, found[1].action) == ("gone. It was there.", "Look.")


def test_neither_a_task_nor_a_thread_that_hangs_holds_it_up() -> None:
    released = threading.Event()

    async def sleeps() -> Sequence[Finding]:
        await asyncio.Event().wait()
        return []

    async def blocks() -> Sequence[Finding]:
        await asyncio.to_thread(released.wait)
        return []

    began = time.monotonic()
    checks = [Check(topic("sleeps"), sleeps), Check(topic("blocks"), blocks), check("well")]
    found = asyncio.run(examine(checks, 0.05, unexpected))
    assert time.monotonic() - began < 5, "not even the end of the loop waits for the thread"
    assert [finding.outcome for finding in found] == [Outcome.PROBLEM, Outcome.PROBLEM, Outcome.OK], (
        "what was not answered is not well"
    )
    assert "no answer within 0.05 s" in found[1].found
    released.set()


def test_the_report_is_grouped_and_fits_80_columns() -> None:
    permissions = [Topic(Group.PERMISSIONS, f"{verb} leases", "shop") for verb in ("get", "list", "watch", "create")]
    findings = [
        Topic(Group.HOME, "free space", "/" + "long/" * 30).ok("1 MiB " * 30),
        permissions[0].ok("allowed"),
        permissions[1].ok("allowed"),
        *(topic.problem("not allowed", "without it, nothing is seen", "Ask for it.") for topic in permissions[2:]),
        topic("reachable").warning("slowly " * 20, "less", "Work from nearer to the cluster."),
    ]
    lines = list(report.lines(findings))
    assert all(len(line) <= 80 for line in lines if "/long/" not in line)
    titles = [line for line in lines if line and not line.startswith(" ")]
    assert titles[:3] == ["CLUSTERS: production", "PERMISSIONS: shop", f"HOME: {findings[0].subject}"]
    assert titles[-1] == "2 problems, 1 warning, 3 ok"
    assert "  ok       2 of 4 are allowed" in lines
    assert "  problem  watch/create leases: not allowed" in lines, "what breaks the same is told once"


def test_a_broken_check_is_in_the_log_and_not_on_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(*_: object) -> Finding:
        raise LookupError("nobody thought of this")

    monkeypatch.setattr(terminal, "_between", breaks)
    home = tmp_path / "home"
    try:
        code = main(["doctor", "-o", "json", "--config", str(tmp_path / "absent.yaml"), "--home", str(home)])
    finally:
        tear_down()
    said = capsys.readouterr()
    assert (code, said.err) == (2, "")
    checks = {check["name"]: check for check in json.loads(said.out)["checks"]}
    assert checks["between"]["outcome"] == "problem"
    assert str(home / "log" / "quarterdeck.log") in checks["between"]["action"]
    assert "Traceback" in (home / "log" / "quarterdeck.log").read_text()
    assert checks["type"]["outcome"] not in ("problem", "unknown")

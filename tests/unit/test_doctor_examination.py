"""The examination itself: no check hides, holds up or ends another."""

import asyncio
import threading
import time
from collections.abc import Sequence

from console.doctor import report
from console.doctor.examination import NotReached, examine
from console.doctor.finding import Check, Finding, Group, Outcome, Topic
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
        ]
    )
    assert [(finding.name, finding.outcome) for finding in found] == [
        ("broken", Outcome.UNKNOWN),
        ("away", Outcome.UNKNOWN),
        ("dependent", Outcome.SKIPPED),
        ("well", Outcome.OK),
    ]
    assert "ZeroDivisionError: division by zero" in found[0].found
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
    found = asyncio.run(examine(checks, 0.05))
    assert time.monotonic() - began < 5, "not even the end of the loop waits for the thread"
    assert [finding.outcome for finding in found] == [Outcome.UNKNOWN, Outcome.UNKNOWN, Outcome.OK]
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

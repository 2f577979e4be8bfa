"""Journals of many days, and what retention makes of them."""

from pathlib import Path

from services.audit import Event, Journal
from services.audit.place import Disk
from services.audit.retention import Policy, Retention
from services.redaction import Redactor
from support.clock import ManualClock

DAY = 86400.0
POLICY = Policy()


async def filled(directory: Path, clock: ManualClock, segments: int, entries: int = 4) -> None:
    """A segment a day."""
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock)
    for segment in range(segments):
        for n in range(entries):
            data = {"n": n, "pad": "x" * 300}
            await journal.append(Event(event="deployment.executed", user="jane", rollout=f"r-{segment}", data=data))
        await clock.advance(1.1 * DAY)
    await journal.append(Event(event="deployment.executed", user="jane"))
    journal.close()


async def lived(directory: Path, clock: ManualClock, days: float) -> None:
    """Days in which the journal was used, if only once in four weeks."""
    while days > 28:
        await clock.advance(28 * DAY)
        days -= 28
        await filled(directory, clock, 0)
    await clock.advance(days * DAY)


def retained(directory: Path, clock: ManualClock, policy: Policy = POLICY, disk: Disk | None = None) -> list[tuple[str, str]]:
    steps = Retention(directory, policy, clock=clock, redactor=Redactor(b"k" * 32), disk=disk).run()
    return [(step.action.value, step.segment[:12].lstrip("0")) for step in steps]


def names(directory: Path) -> list[str]:
    return sorted(path.name.lstrip("0") for path in (directory / "seg").iterdir())

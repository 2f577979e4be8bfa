"""How well the journal is, in four words that a screen can show and a rule can ask for.

``ok`` and ``low`` (soon it won't be) allow everything. ``critical`` refuses what begins or promotes. ``degraded``: the journal
can't be written; nothing begins. No level ever stands in the way of an abort, a rollback or a pause, nor asks about one.
"""

from enum import StrEnum
from typing import NamedTuple

MIB = 1024 * 1024
LOW_SHARE, LOW_BYTES = 0.05, 512 * MIB
CRITICAL_SHARE, CRITICAL_BYTES = 0.01, 64 * MIB
LOW_LAG, CRITICAL_LAG = 30.0, 24 * 3600.0
"""Wall seconds that a required sink may be behind."""


class Level(StrEnum):
    OK = "ok"
    LOW = "low"
    CRITICAL = "critical"
    DEGRADED = "degraded"


class Room(NamedTuple):
    """Bytes of the journal's file system that this user can still have, and that it has in all."""

    free: int
    total: int


class Behind(NamedTuple):
    """The required sink whose oldest entry that it has not taken has waited longest, and for how many wall seconds."""

    sink: str
    seconds: float


def level_of(room: Room | None, behind: Behind | None = None) -> tuple[Level, str]:
    """The level of a journal that can be written, and why it is not ``ok``."""
    free = room.free if room else 0
    if room and free < max(CRITICAL_SHARE * room.total, CRITICAL_BYTES):
        return Level.CRITICAL, f"{free // MIB} MiB free where the journal is: nothing begins or is promoted before there is more"
    if behind and behind.seconds > CRITICAL_LAG:
        return (
            Level.CRITICAL,
            f"{behind.sink} is {behind.seconds / 3600:.0f} h behind: nothing begins or is promoted before it is not",
        )
    if room and free < max(LOW_SHARE * room.total, LOW_BYTES):
        return Level.LOW, f"{free // MIB} MiB free where the journal is"
    if behind and behind.seconds > LOW_LAG:
        return Level.LOW, f"{behind.sink} is {behind.seconds:.0f} s behind"
    return Level.OK, ""

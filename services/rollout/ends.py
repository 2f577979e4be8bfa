"""How the drivers of this home ended, and the rollbacks of this home that have no checkpoint: what nothing but its files tells.

A rollback is stopped by no bookkeeping, so there may be one whose checkpoint no cluster has taken; and a driver that can't even
begin leaves its last words here and nowhere else.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from services.clock import Clock
from services.model.errors import ExitCode, Rejected
from services.model.rollout import Phase, Rollout
from services.rollout import home as homes

RECENT = 86_400.0
"""Wall seconds for which an end is looked at: what nobody cared for in a day is told by the journal."""
STARTING = 20.0
"""Wall seconds in which a driver that was started shows that it lives."""
SETTLED = 1.0
"""Wall seconds after which a directory that changes again has another time: a file system's clock ticks coarsely."""
WELL = (ExitCode.DONE, ExitCode.ROLLED_BACK)
_WORDS: dict[int, str] = {
    ExitCode.GATE_UNMET: "it was refused by a gate",
    ExitCode.NEEDS_ATTENTION: "it needs a person",
    ExitCode.INTERRUPTED: "it was stopped",
}


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """``rollout``: as its driver left it, else as it was started. ``at``: when its driver ended, else when it began. ``living``:
    its driver does, or may."""

    rollout: Rollout
    at: datetime
    ended: homes.Ended | None = None
    living: bool = False

    @property
    def over(self) -> bool:
        """Whether its driver has ended, with last words or, killed, without."""
        return self.ended is not None or not self.living

    @property
    def lost(self) -> bool:
        """Whether its driver ended because another one has it."""
        return self.ended is not None and self.ended.code == ExitCode.HELD_BY_ANOTHER

    @property
    def failed(self) -> bool:
        """Whether its driver ended in a way that nobody wanted. Who lost it to somebody else is told of by whom."""
        if self.ended is None:
            return not self.living
        return self.ended.code not in WELL and not self.lost

    @property
    def unsafe(self) -> bool:
        """Whether it was to be rolled back, and is not known to be."""
        return self.failed and (self.ended is None or self.ended.rollback or self.ended.code == ExitCode.NEEDS_ATTENTION)

    @property
    def words(self) -> str:
        """How its driver ended, in the operator's words."""
        if self.ended is None:
            return "" if self.living else "its driver process ended without a word"
        error = self.ended.error()
        return str(error) if error is not None else _WORDS.get(self.ended.code, "it failed")


class Ends:
    """Looks into the home directory; what has not changed for a while is not read again."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self._read: dict[str, tuple[int, Kept | None]] = {}
        """By rollout: when its directory changed last (nanoseconds), and what was in it."""

    def look(self) -> tuple[Kept, ...]:
        """The recent ones whose driver has ended, or that are being rolled back, newest first. Reads files.

        Raises :class:`OSError` where the home directory can't be read."""
        now, found, read = self._clock.unix(), list[Kept](), dict[str, tuple[int, Kept | None]]()
        try:
            places = list(os.scandir(self._home / "rollouts"))
        except FileNotFoundError:
            return ()
        for place in places:
            try:
                name, changed = place.name, place.stat().st_mtime_ns
            except FileNotFoundError:
                continue  # it was removed since
            if now - changed / 1e9 > RECENT:
                continue
            known = self._read.get(name)
            # a rollback that is asked for again changes nothing in the directory itself
            same = known is not None and known[0] == changed and (known[1] is None or known[1].ended is not None)
            try:
                kept = known[1] if known is not None and same else self._of(name)
            except OSError:
                continue  # one that is somebody else's, or is being removed, hides no other
            if now - changed / 1e9 > SETTLED:
                read[name] = changed, kept
            if kept is not None and kept.ended is None:
                living = now - kept.at.timestamp() < STARTING or homes.any_alive(self._home, name)
                kept = msgspec.structs.replace(kept, living=living)
            if kept is not None:
                found.append(kept)
        self._read = read
        return tuple(sorted(found, key=lambda kept: kept.at, reverse=True))

    def _of(self, name: str) -> Kept | None:
        try:
            started, ended = homes.read_started(self._home, name), homes.read_ended(self._home, name)
        except (msgspec.DecodeError, Rejected):
            return None  # written over by hand, or no rollout's directory: nobody could tell how it ended
        if started is None:
            return None
        if ended is not None:
            at = datetime.fromtimestamp((homes.directory(self._home, name) / "ended.json").stat().st_mtime, UTC)
            return Kept(rollout=homes.read_last(self._home, name) or started, at=at, ended=ended)
        asked = homes.rollback_asked(self._home, name)
        if asked is None and started.phase is not Phase.ROLLING_BACK:
            return None
        at = datetime.fromtimestamp(max(asked or 0.0, homes.directory(self._home, name).stat().st_mtime), UTC)
        return Kept(rollout=started, at=at)

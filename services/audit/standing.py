"""Whether the journal takes entries, found out by reading only: what its writer would refuse with."""

import os
from pathlib import Path

from services.audit.event import JournalUnavailable
from services.audit.header import newer, refused_by
from services.audit.segments import segments
from services.audit.tail import examine


def refusal(directory: Path) -> JournalUnavailable | None:
    """Why the journal in ``directory`` takes nothing but what must be recorded; ``None`` where nothing that is written there
    stands in the way. ``OSError`` where it can't be read.

    Its newest segment is read whole, as the writer does once it has the time."""
    for place in (directory, directory / "seg", directory / "torn"):
        if place.exists() and (uid := place.stat().st_uid) != os.geteuid():
            return JournalUnavailable(
                "The journal belongs to somebody else",
                f"{place} is owned by uid {uid}, this is uid {os.geteuid()}.",
                f"Give it back with all that is in it (chown -R {os.geteuid()} {directory}), or use another home (--home DIR).",
            )
    known = segments(directory)
    if not known:
        return None
    newest = known[-1]
    if newest.packed:
        return JournalUnavailable(
            "The journal has lost entries",
            f"{newest.path} is the newest segment there is, and others followed it.",
            "Run `quarterdeck journal verify` and find out who removed them.",
        )
    found = examine(newest.path, whole=True)
    if found.newer and found.header is not None:
        return newer(newest.path, found.header["v"])
    if found.torn:
        return refused_by(found.open_damage) if found.open_damage is not None else None
    return JournalUnavailable(
        "The journal is damaged",
        f"{newest.name} holds a wrong line at entry {found.last_seq + 1}.",
        "Read `quarterdeck journal verify`, then `quarterdeck journal acknowledge --reason TEXT`; until then only rollbacks run.",
    )

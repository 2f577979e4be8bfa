"""The journal of this home: whether its chain holds, and whether it takes entries. Nothing is written to it."""

import asyncio
import errno
import os
from pathlib import Path

from console.doctor.finding import Check, Finding, Group, Topic
from services.audit.levels import Level, level_of
from services.audit.place import Disk
from services.audit.standing import refusal
from services.audit.verify import verify

_SAY = "quarterdeck journal verify"
_NEEDED = "a journal that takes entries: nothing starts without its intent on the disk"


def checks(home: Path) -> list[Check]:
    chain, writes = (Topic(Group.JOURNAL, name, str(home / "journal")) for name in ("chain", "writable"))

    async def holds() -> list[Finding]:
        return [await asyncio.to_thread(_chain, chain, home / "journal")]

    async def takes() -> list[Finding]:
        return [await asyncio.to_thread(_writable, writes, home / "journal")]

    return [Check(chain, holds), Check(writes, takes)]


def _chain(topic: Topic, directory: Path) -> Finding:
    if not directory.exists():
        return topic.skipped("there is none yet: it begins with the first entry")
    found = verify(directory)
    if found.ok:
        return topic.ok(f"{found.entries} entries in {found.segments} segments, unbroken")
    first = found.problems[0]
    where = f" in {first.segment}" if first.segment else ""
    more = f" and {len(found.problems) - 1} more" if len(found.problems) > 1 else ""
    if all(problem.kind == "torn-tail" for problem in found.problems):
        needed = "a whole last entry: it is set right at the next start"
        return topic.warning(f"{first.kind}{where}: {first.detail}{more}", needed, _SAY)
    needed = "an unbroken chain: a damaged journal takes no entries until a person has looked"
    return topic.problem(f"{first.kind}{where}: {first.detail}{more}", needed, _SAY)


def _writable(topic: Topic, directory: Path) -> Finding:
    try:
        return _takes(topic, directory)
    except OSError as error:
        return topic.problem(f"{error.filename or directory} can't be read ({error.strerror})", _NEEDED, _back(directory, error))


def _back(directory: Path, error: OSError | None = None) -> str:
    """What to do about a journal that can't be changed."""
    if (error is not None and error.errno == errno.EROFS) or os.statvfs(directory.parent).f_flag & os.ST_RDONLY:
        return f"Mount the file system of {directory} writable, or give a home on another one (--home DIR)."
    return f"Give {directory} and what is in it back to yourself, mode 700."


def _takes(topic: Topic, directory: Path) -> Finding:
    segments, needed = directory / "seg", _NEEDED
    if not segments.is_dir():
        return topic.skipped("there is none yet (see home for whether one can be made)")
    if (refused := refusal(directory)) is not None:
        return topic.problem(f"{refused.title}: {refused.detail}", needed, refused.hint)
    newest = max((path for path in segments.iterdir() if path.suffix == ".jsonl"), default=None)
    for path, flags in ((newest, os.O_WRONLY | os.O_APPEND), (directory / "lock", os.O_RDWR)):
        if path is None or not path.exists():
            continue
        try:
            os.close(os.open(path, flags | os.O_CLOEXEC))  # opened for appending and closed: nothing changes
        except OSError as error:
            return topic.problem(f"{path.name} can't be written ({error.strerror})", needed, _back(directory, error))
    for place in (directory, segments):
        if not os.access(place, os.W_OK | os.X_OK):
            return topic.problem(f"no file can be made in {place}", needed, _back(directory))
    level, why = level_of(Disk().room(str(directory)))
    enough = "512 MiB and 5 % of the disk free; below 64 MiB or 1 % nothing starts, and only rollbacks run"
    if level is Level.CRITICAL:
        return topic.problem(why, enough, f"Free space on the disk of {directory}, or give a home on another one (--home DIR).")
    if level is Level.LOW:
        return topic.warning(why, enough, f"Free space on the disk of {directory}.")
    return topic.ok("takes entries")

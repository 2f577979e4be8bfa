"""What stands beside the segments and says what must be in them: the sinks' cursors, the emergency segment."""

import errno
import hashlib
import json
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from services.audit.verifying.lines import DOMAIN
from services.audit.verifying.walk import Pin, Walk

_HASH = re.compile(r"[0-9a-f]{64}")


def content_of(path: Path) -> bytes:
    """All of a regular file. ``OSError`` for anything else: a link leads elsewhere, and a pipe would be waited for for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return file.read()


def text(path: Path) -> str:
    """Empty where it can't be read."""
    with suppress(OSError):
        return content_of(path).decode("utf-8", "replace")
    return ""


def identity(directory: Path, walk: Walk) -> str | None:
    """The journal's id: empty where there is none, ``None`` where it can't be read."""
    try:
        stated = content_of(directory / "journal.id").decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        walk.problem("unreadable", None, None, f"journal.id: {error.strerror or error}")
        return None
    if stated != f"{stated.strip()}\n":
        walk.problem("header", None, None, "journal.id is not one line with an end")
    return stated.strip()


def decoded(raw: bytes | str) -> Any:
    """``None`` for what is no JSON."""
    try:
        return json.loads(raw.decode("utf-8") if isinstance(raw, bytes) else raw)
    except (ValueError, RecursionError):
        return None


def sinks(directory: Path, walk: Walk, journal_id: str | None) -> list[Pin]:
    """What sinks have taken, by their cursors."""
    pins: list[Pin] = []
    try:
        paths = sorted(path for path in (directory / "cursors").iterdir() if path.suffix == ".json" and path.name[0] != ".")
    except FileNotFoundError:
        return pins
    except OSError as error:
        walk.problem("unreadable", None, None, f"cursors: {error.strerror or error}")
        return pins
    for path in paths:
        found = decoded(text(path))
        if not isinstance(found, dict):
            walk.problem("unreadable", None, None, f"cursors/{path.name} is no JSON object")
            continue
        if journal_id is not None and found.get("journal_id") != journal_id:
            detail = f"{path.stem} was sent another journal ({found.get('journal_id')}): this one was put in its place"
            walk.problem("not-as-witnessed", None, None, detail)
            continue
        stated = found.get("witness")
        witness = stated if isinstance(stated, dict) else {}
        said = [(found.get(f"{kind}_seq"), found.get(f"{kind}_hash")) for kind in ("acked", "confirmed")]
        told = set()
        for seq, hash_ in (*said, (witness.get("seq"), witness.get("hash"))):
            if type(seq) is int and seq > 0 and isinstance(hash_, str) and _HASH.fullmatch(hash_):
                told.add(Pin(seq, hash_, f"the sink {path.stem}", "sink"))
            elif seq not in (None, 0):
                walk.problem("unreadable", None, None, f"cursors/{path.name} names entry {seq!r} with the hash {hash_!r}")
        pins += told
    return pins


def emergency(directory: Path, walk: Walk, journal_id: str | None) -> int:
    """How many entries wait in the emergency segment, whose own chain is followed."""
    try:
        content = content_of(directory / "emergency.seg")
    except FileNotFoundError:
        return 0
    except OSError as error:
        walk.problem("unreadable", "emergency.seg", None, error.strerror or str(error))
        return 0
    if content == bytes(len(content)) or journal_id is None:
        return 0  # its chain begins with the journal's id
    previous = hashlib.sha256(journal_id.encode()).hexdigest()
    count = 0
    *lines, rest = content.rstrip(b"\0").split(b"\n")
    for raw in lines:
        expected = hashlib.sha256(DOMAIN + previous.encode() + raw[65:]).hexdigest()
        if raw[:65] != expected.encode() + b"\t":
            walk.problem(
                "emergency", "emergency.seg", count + 1, "the hash is not that of the line's bytes after the line before"
            )
            return count
        previous, count = expected, count + 1
    if rest:
        walk.problem("emergency", "emergency.seg", count + 1, f"{len(rest)} bytes without a line feed: an interrupted write")
    return count

"""The checkpoints that stand beside the segments, and whether as much is signed as has to be.

A journal's program signs what it wrote within ten seconds, or a hundred entries; what a killed process left is signed before
anything follows. Its key and its public key are put in place when the first checkpoint is. So what is unsigned beyond that, or a
key without checkpoints, is what is left when checkpoints were taken away to hide a change.
"""

import stat
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.audit.verifying import notes
from services.audit.verifying.beside import content_of, decoded
from services.audit.verifying.lines import blocks
from services.audit.verifying.walk import Pin, Walk

MOST_ENTRIES = 200
"""Unsigned at the end: a checkpoint is due after a hundred, and so many may be written with one sync."""
MOST_SECONDS = 20.0
"""Between the first of them and the last: it is due after ten seconds, and a busy disk may take as long again."""
_START = b'{"note":"'
_SEED = 32
_WINDOW = 256 * 1024


def public_key(directory: Path, walk: Walk) -> str:
    """The line of ``checkpoint.pub``; empty where there is none."""
    try:
        content = content_of(directory / "checkpoint.pub")
    except FileNotFoundError:
        return ""
    except OSError as error:
        walk.problem("unreadable", None, None, f"checkpoint.pub: {error.strerror or error}")
        walk.uncheckable = True
        return ""
    line = content.decode("utf-8", "replace")
    if not line.endswith("\n") or not notes.is_key(line[:-1]):
        walk.problem("bad-checkpoint", None, None, "checkpoint.pub is not one line of the form NAME+ID+KEY")
    return line.strip()


def own_key(directory: Path, walk: Walk, public: str) -> None:
    """Check that the key signs for ``public``. A copy has none, and who may not read it can't tell."""
    try:
        seed = content_of(directory / "checkpoint.key")
    except OSError:
        return
    if not notes.is_key(public):
        return
    raw = b""
    if len(seed) == _SEED:
        raw = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    if not public.endswith("+" + b64encode(b"\x01" + raw).decode()):
        walk.problem("other-key", None, None, "checkpoint.key is not the key that checkpoint.pub belongs to")


def content(directory: Path, walk: Walk) -> bytes | None:
    """What ``checkpoints`` holds; ``None`` where it can't be read."""
    try:
        return content_of(directory / "checkpoints")
    except FileNotFoundError:
        return b""
    except OSError as error:
        walk.problem("unreadable", None, None, f"checkpoints: {error.strerror or error}")
        walk.uncheckable = True
        return None


def checkpoints(directory: Path, walk: Walk, content: bytes | None) -> list[Pin]:
    """The checkpoints in ``content`` whose signature holds."""
    if content is None:
        return []
    if walk.uncheckable and not walk.key:
        return []
    keys = [name for name in ("checkpoint.key", "checkpoint.pub") if _is_file(directory / name)]
    if not walk.key and not keys:
        # The first signing was interrupted, or all is gone: what is not signed is counted at the end.
        return []
    if not content:
        there = " and ".join(keys) or "the key asked for"
        is_ = "are" if len(keys) > 1 else "is"
        walk.problem("unsigned", None, None, f"checkpoints is missing or empty, though {there} {is_} there: nothing is signed")
        return []
    if not walk.key:
        walk.problem("unsigned", None, None, "checkpoint.pub is missing: the checkpoints can't be checked")
        return []
    *lines, rest = content.split(b"\n")
    if rest and not _interrupted(rest):
        lines.append(rest)
    pins: list[Pin] = []
    for number, line in enumerate(lines, start=1):
        found = decoded(line)
        text = found.get("note") if isinstance(found, dict) else None
        note = notes.read(text, walk.key) if isinstance(text, str) and line == notes.line(text) else None
        if note is None:
            walk.problem("bad-checkpoint", None, None, f"line {number} of checkpoints is not of the form")
            continue
        if note.wrong:
            walk.problem(note.wrong, None, note.size, f"line {number} of checkpoints {notes.said(note.wrong)}")
            continue
        if walk.signed is not None and note.size < walk.signed:
            detail = f"line {number} of checkpoints covers {note.size} entries, an earlier one {walk.signed}"
            walk.problem("checkpoint-order", None, note.size, detail)
        walk.signed, walk.signed_at = max(note.size, walk.signed or 0), note.at
        pins.append(Pin(note.size, note.root, f"the checkpoint signed at {note.at}", "checkpoint"))
    return pins


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _interrupted(rest: bytes) -> bool:
    """Whether what stands behind the last line feed is part of a line, as an interrupted write leaves it."""
    written = rest.rstrip(b"\0")
    return b"}" not in written and written[: len(_START)] == _START[: len(written)]


def unsigned(walk: Walk, segments: Sequence[tuple[Path, int]]) -> None:
    """Say what is not signed at the end of ``segments`` (with their sizes) and has to be."""
    signed = walk.signed or 0
    first = max([signed, *(hole.last for hole in walk.holes)]) + 1
    if walk.last is None or walk.last < first or walk.uncheckable:
        return
    count = walk.last - first + 1
    if count > MOST_ENTRIES:
        why = f"{count} entries, and a checkpoint is due after 100"
    elif (seconds := _seconds(_newest(segments, count))) > MOST_SECONDS:
        why = f"written over {seconds:.0f} s, and a checkpoint is due after 10 s"
    else:
        return
    covered = f"the newest checkpoint covers entry {signed}" if signed else "there is no checkpoint"
    walk.problem("unsigned", None, first, f"entries {first} to {walk.last} are not signed: {covered}; they are {why}")


def _newest(segments: Sequence[tuple[Path, int]], count: int) -> list[bytes]:
    """The last so many lines."""
    found: list[bytes] = []
    for path, size in reversed(segments):
        try:
            found = _ending(path, size, count - len(found)) + found
        except (OSError, EOFError):
            break  # named where the segment itself was read
        if len(found) >= count:
            break
    return found


def _ending(path: Path, size: int, count: int) -> list[bytes]:
    if path.suffix == ".gz":
        return b"".join(blocks(path, size)).split(b"\n")[:-1][-count:]
    with path.open("rb") as file:
        length = min(_WINDOW, size)
        while True:
            file.seek(size - length)
            *lines, _ = file.read(length).split(b"\n")
            if length == size or len(lines) > count:
                return lines[-count:]
            length = min(4 * length, size)


class _Stamped(msgspec.Struct):
    timestamp: datetime
    mono: float
    boot: str
    late: bool = False


_stamped = msgspec.json.Decoder(_Stamped).decode


def _seconds(lines: Sequence[bytes]) -> float:
    """From the first entry to the last; 0 where they don't tell. One that was written late tells an earlier time."""
    stamps = []
    for line in lines:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            stamps.append(_stamped(line[65:]))
    stamps = [stamp for stamp in stamps if not stamp.late]
    if not stamps:
        return 0.0
    first, last = stamps[0], stamps[-1]
    if first.boot == last.boot:
        return last.mono - first.mono
    return (last.timestamp - first.timestamp).total_seconds()

"""How far each sink has come: one small file a sink, ``cursors/NAME.json`` in the journal's directory.

A cursor that is not there is one that was lost: everything the journal still holds is sent again, which a sink that knows entries
by their ids takes as duplicates. One that is there and does not fit is never guessed about: nothing is sent until a person has
looked, because going on from a wrong place could skip entries that nobody would ever miss.
"""

from pathlib import Path

import msgspec

from services.audit.place import Disk, write_whole
from services.model.errors import NeedsAttention

FORMAT = 1
DIRECTORY = "cursors"


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """The last entry that a sink is known to hold: a journal that ends before it, or has another hash there, was cut or
    rewritten. ``at``: Unix seconds when that became known."""

    seq: int
    hash: str
    at: float


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """``acked_seq``: every entry up to it was taken, or lies among the dead letters with a substitute in its place.
    ``confirmed_seq``: every entry up to it is there for good, as far as this sink can tell; never more than ``acked_seq``.

    ``queried``: the sink has told once which entries it holds, so that no other sign of them is trusted from then on.
    """

    v: int = FORMAT
    journal_id: str
    sink: str
    kind: str
    acked_seq: int = 0
    acked_hash: str = ""
    confirmed_seq: int = 0
    confirmed_hash: str = ""
    witness: Witness | None = None
    queried: bool = False


class CursorUnusable(NeedsAttention):
    """The cursor does not fit this journal. Nothing is sent to its sink."""


_decoder = msgspec.json.Decoder(Cursor)


def path_of(directory: Path, sink: str) -> Path:
    """``directory`` is the journal's."""
    return directory / DIRECTORY / f"{sink}.json"


def read(directory: Path, sink: str) -> Cursor | None:
    """The cursor as it stands; ``None`` where there is none. Raises :class:`CursorUnusable` for what can't be read as one."""
    path = path_of(directory, sink)
    try:
        found = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise unusable(path, sink, f"it can't be read ({type(error).__name__})") from error
    if found.v > FORMAT:
        raise unusable(path, sink, f"it was written by a newer Quarterdeck (format {found.v}, this one knows {FORMAT})")
    if (
        found.sink != sink
        or not 0 <= found.confirmed_seq <= found.acked_seq
        or (found.acked_seq and not found.acked_hash)
        or (found.confirmed_seq and not found.confirmed_hash)
    ):
        raise unusable(path, sink, "what it says does not fit together")
    return found


def fitting(directory: Path, sink: str, *, kind: str, journal: str) -> Cursor | None:
    """The cursor that ``sink`` goes on from; ``None`` where there is none. Raises :class:`CursorUnusable` for one of another
    journal, or of another kind of sink that had the same name: what that one took is not what this one holds."""
    found = read(directory, sink)
    if found is not None and found.journal_id != journal:
        raise unusable(path_of(directory, sink), sink, f"it is of another journal ({found.journal_id})")
    if found is not None and found.kind != kind:
        raise unusable(path_of(directory, sink), sink, f"it is of a sink of kind {found.kind}, this one is {kind}")
    return found


def save(directory: Path, cursor: Cursor, *, disk: Disk) -> None:
    """Put the cursor in place, durable. Raises ``OSError``; the old one stands then."""
    place = directory / DIRECTORY
    place.mkdir(mode=0o700, exist_ok=True)
    write_whole(path_of(directory, cursor.sink), msgspec.json.encode(cursor) + b"\n", disk=disk)


def unusable(path: Path, sink: str, reason: str) -> CursorUnusable:
    return CursorUnusable(
        f"The cursor of {sink} can't be used",
        f"{path}: {reason}.",
        f"Run `quarterdeck journal verify`; then, to send everything again: quarterdeck journal ship --again {sink}",
    )

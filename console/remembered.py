"""What the console remembers of this operator from one time to the next, in a file of the home that only they can read."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from tinydb import TinyDB

log = logging.getLogger(__name__)

FILE = "state.json"
EARLIER_FILE = "console.json"
"""Where preferences were kept before there was a store; taken over with the first change, then removed."""
MOST_BYTES = 256 * 1024
_TABLE = "preferences"
_ONLY = 1
"""There is one set of preferences: its document's number."""


Changed = TypeVar("Changed")


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """``commands``: typed at the prompt, oldest first. ``tour_seen``: the first-run tour was walked or ended. ``theme``: by its
    name; empty for what the terminal is given."""

    commands: tuple[str, ...] = ()
    tour_seen: bool = False
    theme: str = ""


def read(home: Path) -> Remembered:
    """What is remembered. Raises :class:`StateUnusable` or :class:`StateDamaged`, which name the file, where it can't be read."""
    with opened(home, read_only=True) as state:
        return _of(state.table(_TABLE).get(doc_id=_ONLY), home)


def write(home: Path, remembered: Remembered, known: Remembered | None = None) -> Remembered:
    """Keep what differs from ``known``, all of it or nothing: what another console has changed meanwhile stays. Returns what is
    remembered now. Raises :class:`StateUnusable`."""
    from tinydb.table import Document

    fields = {name: getattr(remembered, name) for name in remembered.__struct_fields__}
    mine = {name: value for name, value in fields.items() if known is None or value != getattr(known, name)}

    def change(state: "TinyDB") -> Remembered:
        table = state.table(_TABLE)
        after = msgspec.structs.replace(_of(table.get(doc_id=_ONLY), home), **mine)
        table.upsert(Document(msgspec.to_builtins(after), doc_id=_ONLY))
        return after

    after = changing(home, change)
    _remove_earlier(home)
    return after


def opened(home: Path, *, read_only: bool = False) -> "AbstractContextManager[TinyDB]":
    """The operator's state. Blocks, and others wait: not for the event loop, and not for long."""
    from tinydb import TinyDB

    from services.store import AtomicStorage

    return TinyDB(home / FILE, read_only=read_only, storage=AtomicStorage)


def changing(home: Path, change: Callable[["TinyDB"], Changed]) -> Changed:
    """One change of the state. A damaged file is put aside by the first attempt: the second begins anew."""
    from services.store import StateDamaged

    try:
        with opened(home) as state:
            return change(state)
    except StateDamaged as damaged:
        log.warning("%s", damaged)
        with opened(home) as state:
            return change(state)


def _of(document: Any, home: Path) -> Remembered:
    """From a document of the store, or from the file of before. A document of another form is as good as none."""
    if document is None:
        return _earlier(home) or Remembered()
    try:
        return msgspec.convert(dict(document), Remembered)
    except msgspec.ValidationError as error:
        log.warning("the preferences in %s are of another form: %s", home / FILE, error)
        return Remembered()


def _earlier(home: Path) -> Remembered | None:
    """What the file of before holds; ``None`` where there is none that can be read."""
    try:
        with (home / EARLIER_FILE).open("rb") as file:
            return msgspec.json.decode(file.read(MOST_BYTES), type=Remembered)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s can't be read: %s", home / EARLIER_FILE, error)
        return None


def _remove_earlier(home: Path) -> None:
    """Once it has been taken over. One that could not be read stays for a person."""
    if _earlier(home) is not None:
        try:
            (home / EARLIER_FILE).unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s was taken over and can't be removed: %s", home / EARLIER_FILE, error)

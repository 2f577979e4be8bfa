"""A process that changes an operator's state for as long as it lives and prints each change once it is kept.

``state_writer.py FILE NAME STORAGE [COUNT]``: STORAGE is ``atomic`` (ours) or ``json`` (TinyDB's own).
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tinydb import TinyDB, where

from services.store import AtomicStorage, StateUnusable


def opened(path: Path, storage: str) -> TinyDB:
    """Asked again where another process holds it for longer than one waits for it."""
    while storage == "atomic":
        try:
            return TinyDB(path, storage=AtomicStorage)
        except StateUnusable as refused:
            if "held by another process" not in str(refused):
                raise
    return TinyDB(path)


def main(path: Path, name: str, storage: str, count: int) -> None:
    for n in range(count):
        # lengths go up and down, as those of drafts do: that is where writing over a file leaves an end behind
        document: dict[str, Any] = {"name": name, "n": n, "text": "x" * (n * 701 % 3000)}
        with opened(path, storage) as state:
            state.table("own").upsert(document, where("name") == name)
            counter = state.table("shared").get(doc_id=1)
            if counter is None:
                state.table("shared").insert({"count": 1})
            else:
                state.table("shared").update({"count": counter["count"] + 1}, doc_ids=[1])
        sys.stdout.write(f"{n}\n")
        sys.stdout.flush()


main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 10**9)

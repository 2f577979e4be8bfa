"""What was sent to the sandbox's log store: documents by index and id, in memory up to a bound, and in one file of its home, so
that they can be read without the server and are there again after a restart."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST = 50_000
"""Documents that are kept; beyond, the oldest are forgotten."""

_log = logging.getLogger("quarterdeck.sandbox")


class Documents:
    """``file`` gets a line ``{"_index", "_id", "_source"}`` for each document as it is stored, and ``"_source": null`` for one
    that is deleted."""

    def __init__(self, file: Path | None = None, most: int = MOST) -> None:
        self._indices: dict[str, dict[str, dict[str, Any]]] = {}
        self._order: dict[tuple[str, str], int] = {}
        """Every document with the number of its last change, the one stored first at the front."""
        self._file = file
        self._most = most
        self._changes = 0
        self._lines = 0
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._load(file)

    @property
    def indices(self) -> list[str]:
        return sorted(self._indices)

    def __len__(self) -> int:
        return len(self._order)

    def get(self, index: str, id_: str) -> dict[str, Any] | None:
        return self._indices.get(index, {}).get(id_)

    def number(self, index: str, id_: str) -> int:
        """The number of the last change of a document that is there."""
        return self._order[index, id_]

    def make(self, index: str) -> None:
        """An index without documents, where it is not there yet."""
        self._indices.setdefault(index, {})

    def put(self, index: str, id_: str, source: dict[str, Any]) -> int:
        """Store a document; the number of this change."""
        number = self._put(index, id_, source)
        self._write({"_index": index, "_id": id_, "_source": source})
        return number

    def delete(self, index: str, id_: str) -> bool:
        there = self._forget(index, id_)
        if there:
            self._write({"_index": index, "_id": id_, "_source": None})
        return there

    def drop(self, index: str) -> bool:
        """Delete a whole index; whether it was there."""
        for id_ in list(self._indices.get(index, ())):
            self.delete(index, id_)
        return self._indices.pop(index, None) is not None

    def all(self, pattern: str = "_all") -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Index, id and source of the documents of the indices that ``pattern`` names, the one stored first at the front."""
        wanted = set(self.matching(pattern))
        for index, id_ in list(self._order):
            if index in wanted:
                yield index, id_, self._indices[index][id_]

    def matching(self, pattern: str) -> list[str]:
        """The indices that a comma-separated list of names with ``*`` means."""
        parts = [part for part in pattern.split(",") if part]
        if not parts or "_all" in parts:
            return self.indices
        return [index for index in self.indices if any(_matches(part, index) for part in parts)]

    def _put(self, index: str, id_: str, source: dict[str, Any]) -> int:
        self._changes += 1
        self._indices.setdefault(index, {})[id_] = source
        self._order[index, id_] = self._changes
        while len(self._order) > self._most:
            self._forget(*next(iter(self._order)))
        return self._changes

    def _forget(self, index: str, id_: str) -> bool:
        self._order.pop((index, id_), None)
        return self._indices.get(index, {}).pop(id_, None) is not None

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            return
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._lines += 1
        if self._lines > 2 * self._most:
            self._rewrite(self._file)

    def _rewrite(self, file: Path) -> None:
        """Leave out what was forgotten."""
        draft = file.with_name(f".{file.name}")
        with draft.open("w", encoding="utf-8") as out:
            for index, id_, source in self.all():
                out.write(json.dumps({"_index": index, "_id": id_, "_source": source}, ensure_ascii=False) + "\n")
        draft.replace(file)
        self._lines = len(self._order)

    def _load(self, file: Path) -> None:
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                read = json.loads(line)
                index, id_, source = read["_index"], read["_id"], read["_source"]
            except (ValueError, KeyError, TypeError):
                _log.warning("%s holds a line that is no document", file)
                continue
            if source is None:
                self._forget(index, id_)
            else:
                self._put(index, id_, source)
        self._lines = len(lines)
        if lines and not file.read_bytes().endswith(b"\n"):
            self._rewrite(file)  # the last line was cut off by a kill


def _matches(pattern: str, name: str) -> bool:
    head, star, tail = pattern.partition("*")
    if not star:
        return pattern == name
    if not name.startswith(head):
        return False
    return any(_matches(tail, name[cut:]) for cut in range(len(head), len(name) + 1))

"""The part of the journal that a list holds: a run of it without gaps, that slides.

Only what is wanted is kept, but what was looked at is known: every entry from ``low`` to ``high`` (sequence numbers). It grows at
either end by pages, and at the newest by what the picture brings; beyond :data:`LARGEST` it lets go of the far end.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from services.audit.paging import Page

LARGEST = 3000
"""Entries that are kept at most: a journal has millions, and a person looks at fifty."""

Entry = Mapping[str, Any]


class Window:
    """``wanted`` says which entries are kept."""

    def __init__(self, wanted: Callable[[Entry], bool]) -> None:
        self._wanted = wanted
        self._entries: dict[str, Entry] = {}
        self.low = 0
        self.high = 0
        self.begun = False
        """Whether anything was looked at."""
        self.at_start = False
        """There is nothing older than what was looked at."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """By sequence number as text, oldest first."""
        return self._entries

    def feed(self, newest: Sequence[Entry]) -> bool:
        """Take the newest entries of the journal, where they follow what is here. Whether anything was added."""
        if not newest:
            return False
        first, last = _number(newest[0]), _number(newest[-1])
        if not self.begun:
            self.begun, self.low, self.high = True, first, first - 1
        if self.misses(newest) or last <= self.high:
            return False
        high, self.high = self.high, last
        return self._add(entry for entry in newest if _number(entry) > high)

    def misses(self, newest: Sequence[Entry]) -> bool:
        """Whether there are entries between what is here and ``newest``."""
        return bool(newest) and self.begun and _number(newest[0]) > self.high + 1

    def older(self, page: Page) -> None:
        """A page that was read before ``low``."""
        if self.begun and page.last != self.low - 1:
            return  # it was asked for before the window went elsewhere
        if not self.begun:
            self.begun, self.high = True, page.last
        self.low, self.at_start = page.first, page.end
        self._entries = {**{str(_number(entry)): entry for entry in page.entries}, **self._entries}
        if len(self._entries) > LARGEST:
            kept = list(self._entries.items())[:LARGEST]
            self._entries = dict(kept)
            self.high = int(kept[-1][0])

    def newer(self, page: Page) -> None:
        """A page that was read behind ``high``; the first one of all begins the journal."""
        if not self.begun:
            self.begun, self.low, self.high = True, page.first, page.first - 1
            self.at_start = page.first <= 1
        if page.first != self.high + 1:
            return
        self.high = max(self.high, page.last)
        self._add(page.entries)
        if len(self._entries) > LARGEST:
            kept = list(self._entries.items())[-LARGEST:]
            self._entries = dict(kept)
            self.low, self.at_start = int(kept[0][0]), False

    def _add(self, entries: Iterable[Entry]) -> bool:
        before = len(self._entries)
        self._entries.update((str(_number(entry)), entry) for entry in entries if self._wanted(entry))
        return len(self._entries) != before


def _number(entry: Entry) -> int:
    return int(entry["seq"])

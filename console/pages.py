"""What the screens read of the journal beyond its newest entries: any page of it, and all of one rollout. Off the event loop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from services.audit.paging import NEWEST, Page, newer, of_rollout, older

PAGE = 500
"""Entries of a page at most."""
STORY = 20_000
"""Entries of one rollout that are read at most."""
_BEFORE = timedelta(hours=1)
"""Clocks differ, and an entry may be a little older than the name of its rollout."""
_STAMP = re.compile(r"-(\d{8}t\d{6})-[a-z0-9]+$")

Entry = Mapping[str, Any]
Wanted = Callable[[Entry], bool]


class JournalPages:
    """The journal in ``directory``. Every call raises ``OSError`` where it can't be read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def older(self, before: int, wanted: Wanted | None = None) -> Page:
        """The page that ends before the entry with the number ``before``."""
        return await asyncio.to_thread(older, self._directory, before, limit=PAGE, wanted=wanted)

    async def newer(self, after: int, wanted: Wanted | None = None) -> Page:
        """The page that begins behind the entry with the number ``after``."""
        return await asyncio.to_thread(newer, self._directory, after, limit=PAGE, wanted=wanted)

    async def of_rollout(self, rollout: str) -> tuple[Sequence[Entry], bool]:
        """Everything about one rollout, oldest first; and whether that is all."""
        return await asyncio.to_thread(of_rollout, self._directory, rollout, since=_since(rollout), most=STORY)

    async def counterpart(self, entry: Entry) -> Entry | None:
        """The outcome of an intent, or the intent of an outcome; ``None`` where none is among the nearest two thousand."""
        here = int(entry.get("seq") or 0)
        if entry.get("phase") == "intent":
            wanted = str(entry.get("id"))
            page = await self.newer(here, lambda other: other.get("ref") == wanted)
            return page.entries[0] if page.entries else None
        wanted = str(entry.get("ref"))
        page = await self.older(here, lambda other: other.get("id") == wanted)
        return page.entries[-1] if page.entries else None


def _since(rollout: str) -> str:
    """Before this, in the journal's own form, there is nothing about ``rollout``: its name says when it was made."""
    found = _STAMP.search(rollout)
    if found is None:
        return ""
    try:
        made = datetime.strptime(f"{found[1]}+0000", "%Y%m%dt%H%M%S%z")
    except ValueError:
        return ""
    return (made - _BEFORE).strftime("%Y-%m-%dT%H:%M:%S")


__all__ = ["NEWEST", "PAGE", "JournalPages", "Page"]

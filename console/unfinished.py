"""Deploys that were begun in the form and left: what was typed is there again when the same service is deployed next.

The environment is not among it: where a release goes is chosen every time.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from console.remembered import changing, opened
from services.model.release import DeployRequest

if TYPE_CHECKING:
    from tinydb import TinyDB

KEPT_FOR = timedelta(days=7)
MOST = 20
LONGEST = 200
"""Characters of a field: what is longer is no version and no ticket."""
_TABLE = "drafts"


class Unfinished(msgspec.Struct, frozen=True, kw_only=True):
    """What was typed for ``service``, and when it was left (wall time, UTC)."""

    service: str
    left: datetime
    version: str = ""
    strategy: str = ""
    ticket: str = ""


def draft_of(request: DeployRequest, now: datetime, clean: Callable[[str], str]) -> Unfinished | None:
    """What is worth keeping of a form that is left, ``clean`` of secrets; ``None`` where nothing is."""
    typed = {name: clean(getattr(request, name)) for name in ("version", "strategy", "ticket")}
    if not request.service or not request.version or any(len(value) > LONGEST for value in (request.service, *typed.values())):
        return None
    return Unfinished(service=clean(request.service), left=now, **typed)


def find(home: Path, service: str, now: datetime) -> Unfinished | None:
    """What was left of a deploy of ``service``. Raises :class:`StateUnusable` or :class:`StateDamaged`."""
    with opened(home, read_only=True) as state:
        return next((draft for draft in _kept(state, now) if draft.service == service), None)


def keep(home: Path, draft: Unfinished) -> None:
    """Keep ``draft`` in the place of the one before; what is old or beyond :data:`MOST` goes. Raises :class:`StateUnusable`."""
    from tinydb import where

    def change(state: "TinyDB") -> None:
        table = state.table(_TABLE)
        table.upsert(msgspec.to_builtins(draft), where("service") == draft.service)
        staying = {kept.service for kept in _kept(state, draft.left)[:MOST]}
        if gone := [document.doc_id for document in table if document.get("service") not in staying]:
            table.remove(doc_ids=gone)

    changing(home, change)


def forget(home: Path, service: str) -> None:
    """It was started, or cleared. Raises :class:`StateUnusable`."""
    from tinydb import where

    changing(home, lambda state: state.table(_TABLE).remove(where("service") == service))


def _kept(state: "TinyDB", now: datetime) -> list[Unfinished]:
    """The newest first. A document of another form is as good as none."""
    found = []
    for document in state.table(_TABLE).all():
        try:
            draft = msgspec.convert(dict(document), Unfinished)
        except msgspec.ValidationError:
            continue
        if now - draft.left < KEPT_FOR:
            found.append(draft)
    return sorted(found, key=lambda draft: draft.left, reverse=True)

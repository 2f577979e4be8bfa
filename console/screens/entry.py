"""One journal entry on the whole screen: as fields or as it is stored, with what it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll

from console.screens.base import ConsoleScreen, bindings_of
from console.screens.fields import entry_fields
from console.screens.pane import Pane
from console.screens.words import outcome_of, outcome_tone
from console.view import Picture, Selection
from widgets import glyphs, text
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Tone
from widgets.note import Note
from widgets.record import Record
from widgets.toast import toast

Entry = Mapping[str, Any]


class StoredEntry(Drawn[str]):
    """A document as it is stored: indented, nothing cut, nothing left out."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id)

    def show(self, entry: Entry | None) -> None:
        self.replace(msgspec.json.format(msgspec.json.encode(entry), indent=2).decode() if entry else "")

    def draw(self, value: str, width: int, height: int | None) -> Lines:
        return tuple(line for words in value.splitlines() for line in _hanging(words, width))


def _hanging(words: str, width: int) -> list[Line]:
    indent = " " * min(len(words) - len(words.lstrip()), width // 2)
    parts = text.chop(words.strip(), max(8, width - len(indent) - 2))
    return [((indent if index == 0 else indent + "  ", Tone.MUTED), (part, Tone.TEXT)) for index, part in enumerate(parts)]


class EntryView(VerticalScroll):
    """An entry in one of its two forms."""

    DEFAULT_CSS = """
    EntryView { padding: 0 1; scrollbar-size-vertical: 1; }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._fields = Record(id="entry-fields")
        self._stored = StoredEntry(id="entry-stored")
        self._stored.display = False
        self._entry: Entry | None = None
        self._picture: Picture | None = None

    def compose(self) -> ComposeResult:
        yield self._fields
        yield self._stored

    @property
    def as_stored(self) -> bool:
        return bool(self._stored.display)

    def switch(self, as_stored: bool) -> None:
        self._stored.display, self._fields.display = as_stored, not as_stored
        self._redraw()
        self.scroll_home(animate=False)

    def show(self, entry: Entry | None, picture: Picture) -> None:
        """``entry`` with ages as of ``picture``. Another entry is shown from its beginning."""
        other = entry is not self._entry
        self._entry, self._picture = entry, picture
        self._redraw()
        if other:
            self.scroll_home(animate=False)

    def _redraw(self) -> None:
        if self.as_stored:
            self._stored.show(self._entry)
        elif self._entry is not None and self._picture is not None:
            self._fields.show(*entry_fields(self._entry, self._picture.now))
        else:
            self._fields.show()


def entry_selection(entry: Entry | None, picture: Picture) -> Selection:
    """What keys apply to where ``entry`` is selected: its rollout, if a cluster still has it, else its service."""
    if entry is None:
        return Selection()
    recorded = str(entry.get("rollout") or "")
    known = picture.rollout(recorded)
    phase = str(entry.get("phase") or "")
    return Selection(
        environment=str(entry.get("environment") or ""),
        service=str(entry.get("service") or ""),
        rollout=known.key if known else "",
        recorded=recorded,
        entry=str(entry["seq"]),
        phase=phase if phase == "intent" or (phase == "outcome" and entry.get("ref")) else "",
    )


def tell_no_counterpart(screen: ConsoleScreen, entry: Entry) -> None:
    """Say that an intent has no outcome on record, or an outcome no intent near it."""
    words = "Its intent is not among the entries around it."
    if entry.get("phase") == "intent":
        words = "No outcome is on record: nobody knows whether it was carried out. Look at the object in the cluster."
    toast(screen, words, title=f"entry {entry.get('seq')}", severity="warning")


class EntryScreen(ConsoleScreen):
    """``stored``: show it as it is stored at first."""

    BINDINGS = bindings_of("entry")
    where = "entry"

    DEFAULT_CSS = """
    EntryScreen #body { height: 1fr; }
    EntryScreen #whole { height: 1fr; }
    EntryScreen #about { padding: 0 1; max-height: 4; border-bottom: solid $rule; }
    EntryScreen #whole-entry { height: 1fr; }
    """

    def __init__(self, entry: Entry, stored: bool = False) -> None:
        super().__init__()
        self._entry = entry
        self._as_stored = stored
        self._other: Entry | None = None
        self._looked = False

    def body(self) -> ComposeResult:
        yield Note(id="about")
        with Vertical(id="whole"), Pane("ENTRY", id="whole-pane"):
            yield EntryView(id="whole-entry")

    def on_mount(self) -> None:
        self._look_up()

    def focus_body(self) -> None:
        self._view.switch(self._as_stored)
        self.set_focus(self._view)

    @property
    def _view(self) -> EntryView:
        return self.query_one("#whole-entry", EntryView)

    def title_text(self) -> str:
        return f"entry {self._entry['seq']} {glyphs.current().bullet} {self._entry.get('event', '')}"

    def selection(self) -> Selection:
        return entry_selection(self._entry, self.console.picture)

    def draw(self, picture: Picture) -> None:
        self._view.show(self._entry, picture)
        self.query_one("#whole-pane", Pane).tell(("  AS STORED" if self._view.as_stored else "  FIELDS", Tone.MUTED))
        self.query_one("#about", Note).show(*self._links(picture))

    def _links(self, picture: Picture) -> list[Line]:
        lines: list[Line] = []
        selection = entry_selection(self._entry, picture)
        if selection.recorded:
            known = picture.rollout(selection.recorded)
            where = ("o opens it, t tells its story" if known else "no cluster has it any more; t tells its story", Tone.MUTED)
            lines.append((("rollout  ", Tone.MUTED), (selection.recorded, Tone.TEXT), ("   ", Tone.MUTED), where))
        if selection.phase:
            lines.append(self._counterpart_words(selection.phase))
        return lines or [(("it belongs to no rollout", Tone.MUTED),)]

    def _counterpart_words(self, phase: str) -> Line:
        name = "outcome" if phase == "intent" else "intent"
        label = (f"{name:<9}", Tone.MUTED.value)
        if self._other is not None:
            told = dict(self._other)
            return (
                label,
                (f"#{told['seq']} ", Tone.TEXT),
                (outcome_of(told), outcome_tone(told)),
                (f" at {str(told.get('timestamp', ''))[11:23]}Z   i goes there", Tone.MUTED),
            )
        if not self._looked:
            return (label, (f"looking {glyphs.current().ellipsis}", Tone.MUTED))
        if phase == "intent":
            return (label, (f"{glyphs.current().unknown} none on record: nobody knows whether it was carried out", Tone.WARN))
        return (label, ("not among the entries around it", Tone.MUTED))

    @work(group="the journal", exclusive=True, exit_on_error=False)
    async def _look_up(self) -> None:
        self._other, self._looked = None, False
        if entry_selection(self._entry, self.console.picture).phase:
            self._other = await self.console.session.pages.counterpart(self._entry)
        self._looked = True
        self.show(self.console.picture)

    def do_stored(self) -> None:
        self._as_stored = not self._view.as_stored
        self._view.switch(self._as_stored)
        self.show(self.console.picture)

    def do_counterpart(self) -> None:
        if self._other is None:
            if self._looked:
                tell_no_counterpart(self, self._entry)
            return
        self._entry = self._other
        self._look_up()
        self.show(self.console.picture)

    def do_its_rollout(self) -> None:
        self.console.open_rollout(self.selection().rollout)

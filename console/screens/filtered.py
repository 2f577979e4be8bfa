"""A screen whose list can be filtered: ``/`` opens the field, enter keeps the filter, ``esc`` clears it before it goes back.

The filter is the grid's (:mod:`widgets.grid.terms` has its grammar), and is remembered by screen: whoever comes back finds it.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.widgets import Input

from console.screens.base import ConsoleScreen
from widgets.filterfield import FilterField
from widgets.grid import Grid
from widgets.ink import Span, Tone

HINT = "words, !word, /regex/ or !/regex/; enter keeps it, esc clears"


class FilteredScreen(ConsoleScreen):
    """Its body ends with :meth:`filter_field`; ``filtered`` names the grid that it filters."""

    filtered: ClassVar[str] = ""
    field_keys: ClassVar[tuple[tuple[str, str], ...]] = (("enter", "keep the filter"),)

    def filter_field(self) -> FilterField:
        return FilterField(HINT)

    @property
    def _grid(self) -> Grid:
        return self.query_one(f"#{self.filtered}", Grid)

    @property
    def _field(self) -> FilterField:
        return self.query_one(FilterField)

    def filter_text(self) -> str:
        """The filter that is in force, as it was typed."""
        return self._grid.filter

    def set_filter(self, text: str) -> str:
        """Put a filter in force. Returns what is wrong with it, if anything: then the one before stays."""
        return self._grid.set_filter(text)

    def remembered_as(self) -> str:
        """Under which name the filter is kept while the screen is left."""
        return f"{self.where} {self.filtered}"

    def on_mount(self) -> None:
        text, faults = self.console.filters.get(self.remembered_as(), ("", False))
        if text:
            self.set_filter(text)
            with self.prevent(Input.Changed):
                self._field.input.value = text
        self._grid.set_faults(faults)

    def filter_words(self) -> tuple[Span, ...]:
        """For the title of the pane: what it is filtered to, and how many rows of how many that leaves."""
        grid = self._grid
        if grid.dropped:
            return ((f"  {grid.dropped}", Tone.WARN),)
        if not grid.filter and not grid.faults_only:
            return ()
        faults = "  faults only" if grid.faults_only else ""
        sign = "" if grid.filter.startswith("/") else "/"
        return (
            (f"{faults}{f'  {sign}{grid.filter}' if grid.filter else ''}  {len(grid.shown)} of {grid.row_count}", Tone.ACCENT),
        )

    def clearable(self) -> bool:
        if not self.is_mounted:
            return False
        return self._field.opened or bool(self.filter_text()) or self._grid.faults_only or super().clearable()

    def do_filter(self) -> None:
        self._field.show(True)
        self.set_focus(self._field.input)

    def do_faults(self) -> None:
        self._grid.set_faults(not self._grid.faults_only)
        self._filtered()

    def do_back(self) -> None:
        if not self.clearable():
            super().do_back()
            return
        self.close_filter()
        self.draw_keys()

    def close_filter(self) -> None:
        """Show every row again, without the field."""
        with self.prevent(Input.Changed):
            self._field.input.value = ""
        self._field.tell("")
        self._field.show(False)
        self.set_filter("")
        self._grid.set_faults(False)
        self._filtered()
        self.focus_body()

    @on(Input.Changed, "#filter")
    def filter_changed(self, event: Input.Changed) -> None:
        """A filter that is none is said to be none, and the one before stays in force."""
        self._field.tell(self.set_filter(event.value))
        self._filtered()

    @on(Input.Submitted, "#filter")
    def keep_filter(self) -> None:
        """Leave the field. What stays in it is what is in force."""
        with self.prevent(Input.Changed):
            self._field.input.value = self.filter_text()
        self._field.tell("")
        self._field.show(False)
        self.focus_body()

    def _filtered(self) -> None:
        self.console.filters[self.remembered_as()] = (self.filter_text(), self._grid.faults_only)
        self.show(self.console.picture)

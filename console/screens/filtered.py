"""A screen whose list can be filtered: ``/`` opens the field, enter keeps what is typed, ``esc`` leaves it as it was. Out of the
field ``esc`` clears the filter before it goes back.

The filter is the grid's (:mod:`widgets.grid.terms` has its grammar), and is remembered by screen: whoever comes back finds it.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.widgets import Input

from console.screens.base import ConsoleScreen
from widgets.filterfield import FilterField
from widgets.grid import Grid
from widgets.grid.terms import meant
from widgets.ink import Span, Tone

HINT = "words, !word, /regex/ or !/regex/; enter keeps it, esc leaves it as it was"


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
            self._field.close(text)
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

    def back_label(self) -> str:
        if self._field.opened:
            return "leave it as it was"
        narrowed = bool(self.filter_text()) or self._grid.faults_only
        return "clear the filter" if narrowed else super().back_label()

    def do_filter(self) -> None:
        self._field.open(self.filter_text())
        self.set_focus(self._field.input)

    def do_faults(self) -> None:
        self._grid.set_faults(not self._grid.faults_only)
        self._filtered()

    def do_back(self) -> None:
        if self._field.opened:
            self._put_in_force(self._field.kept)
            self._leave_field()
        elif self.clearable():
            self.close_filter()
        else:
            super().do_back()

    def close_filter(self) -> None:
        """Show every row again, without the field."""
        self.set_filter("")
        self._grid.set_faults(False)
        self._leave_field()

    def _leave_field(self) -> None:
        """Out of the field. What is in it when it is opened again is what is in force."""
        self._field.close(self.filter_text())
        self._filtered()
        self.focus_body()
        self.draw_keys()

    @on(Input.Changed, "#filter")
    def filter_changed(self, event: Input.Changed) -> None:
        """A filter that is none is said to be none, and the one before stays in force: the one that was there when the field was
        opened; without one, what was typed up to the fault."""
        problem = self.set_filter(meant(event.value))
        if problem:
            typed = self.filter_text()
            self._put_in_force(self._field.kept or (typed if event.value.startswith(typed) else ""))
        self._field.tell(problem)
        self._filtered()

    def _put_in_force(self, text: str) -> None:
        if text != self.filter_text():
            self.set_filter(text)

    @on(Input.Submitted, "#filter")
    def keep_filter(self) -> None:
        """Leave the field with what is typed. What is no filter can't be kept: the field stays, and says why."""
        problem = self.set_filter(meant(self._field.input.value))
        if problem:
            self._field.tell(problem)
        else:
            self._leave_field()

    def _filtered(self) -> None:
        self.console.filters[self.remembered_as()] = (self.filter_text(), self._grid.faults_only)
        self.show(self.console.picture)

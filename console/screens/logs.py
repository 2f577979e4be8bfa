"""The logs of a service's pods, live: followed, searched, and several at once."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing

from textual import on, work
from textual.app import ComposeResult
from textual.widgets import Input

from console.exports import write_log
from console.screens.base import ConsoleScreen, bindings_of
from console.screens.status import last_seen
from console.tailing import Followed, LogsOf, Tail
from console.view import Picture, Selection
from services.model.errors import QuarterdeckError
from widgets import glyphs
from widgets.filterfield import FilterField
from widgets.format import count
from widgets.grid.bounded import TooSlow
from widgets.grid.terms import BadFilter, parse
from widgets.ink import Line, Span, Tone
from widgets.logpane import LogPane
from widgets.note import Note
from widgets.toast import toast

SINCE = {"0": None, "1": 60, "2": 300, "3": 900, "4": 1800, "5": 3600}
"""By key: from how many seconds ago on; ``None``: the last lines, however old."""
HINT = "text, or /regular expression/; enter searches, n and N go on, esc leaves it as it was"


class LogsScreen(ConsoleScreen):
    BINDINGS = bindings_of("logs")
    where = "logs"
    field_keys = (("enter", "search"),)

    DEFAULT_CSS = """
    LogsScreen #body { height: 1fr; }
    LogsScreen #log-state { padding: 0 1; height: 1; background: $surface; }
    LogsScreen #log { padding: 0 1; }
    """

    def __init__(self) -> None:
        """It follows nothing until it is aimed."""
        super().__init__()
        self.wanted = LogsOf("", "")
        self._container = ""
        self._previous = False
        self._since: int | None = None
        self._since_key = "0"
        self._search = ""
        self._tail: Tail | None = None
        self._trouble = ""

    def body(self) -> ComposeResult:
        yield Note(id="log-state")
        yield LogPane(empty="asking for the log", id="log")
        yield FilterField(HINT)

    def aim(self, wanted: LogsOf) -> None:
        """Follow these logs."""
        self.wanted = wanted
        if self.entered:
            self.follow()

    def on_mount(self) -> None:
        if self.wanted.service:
            self.follow()

    def focus_body(self) -> None:
        self.set_focus(self._pane)

    @property
    def _pane(self) -> LogPane:
        return self.query_one("#log", LogPane)

    @property
    def _field(self) -> FilterField:
        return self.query_one(FilterField)

    def selection(self) -> Selection:
        return Selection(self.wanted.environment, self.wanted.service)

    def title_text(self) -> str:
        return f"logs {glyphs.current().bullet} {self.wanted.words} {glyphs.current().bullet} {self.wanted.environment}"

    def clearable(self) -> bool:
        return (self.is_mounted and (self._field.opened or bool(self._search))) or super().clearable()

    def draw(self, picture: Picture) -> None:
        self._draw_state()

    # ---- what comes

    @work(group="logs", exclusive=True, exit_on_error=False)
    async def follow(self) -> None:
        """Everything from the beginning, with what is wanted now."""
        pane = self._pane
        pane.clear()
        pane.say_when_empty("asking for the log")
        self._trouble = ""
        try:
            self._tail = self.console.session.logs(self.wanted, self._previous, self._since, self._container)
            async with aclosing(self._tail.batches()) as batches:
                async for records in batches:
                    pane.add(records)
                    self._draw_state()
        except QuarterdeckError as error:
            self._trouble = str(error)
            pane.say_when_empty(str(error))
            self._draw_state()

    def _draw_state(self) -> None:
        followed = self._tail.followed if self._tail is not None else Followed()
        if cut_off := self._cut_off():
            self._pane.say_when_empty(f"not known: {cut_off}")
        elif self._tail is not None and not followed.live and not followed.ended and not self._trouble:
            self._pane.say_when_empty("no pod of it is there: its log begins when there is one")
        elif followed.live and not self._pane.records:
            self._pane.say_when_empty("nothing was written yet" if self._since is None else "nothing was written since then")
        self.query_one("#log-state", Note).show(self._state(followed))

    def _state(self, followed: Followed) -> Line:
        pane = self._pane
        signs = glyphs.current()
        spans: list[Span] = []
        about = f"{self.wanted.words} {signs.bullet} {self.wanted.environment}"
        if self._trouble:
            return ((f"{about}   ", Tone.STRONG), (f"{signs.bad} {self._trouble}", Tone.BAD))
        spans.append((f"{about}  ", Tone.STRONG))
        if cut_off := self._cut_off():
            # what is not heard of is not followed, whatever streams are open
            spans.append((f"{signs.unknown} {cut_off}", Tone.BAD))
        elif not followed.live and not followed.ended:
            spans.append((f"{signs.asking} asking", Tone.ACCENT))
        elif pane.follows:
            spans.append((f"{signs.live} following", Tone.GOOD) if followed.live else (f"{signs.paused} ended", Tone.WARN))
        else:
            new = f", {count(pane.missed)} new below" if pane.missed else ""
            spans.append((f"{signs.paused} paused{new}: G follows", Tone.WARN))
        if self._search:  # before what may be cut: what is not shown because of it has to be plain
            sign = "" if self._search.startswith("/") else "/"
            spans.append((f"   {sign}{self._search}", Tone.ACCENT))
        pods = f"   {followed.live} pod{'s' if followed.live != 1 else ''}"
        spans.append((pods + (f", {followed.ended} ended" if followed.ended else ""), Tone.TEXT))
        if followed.left_out:
            spans.append((f", {followed.left_out} left out (most are {followed.live} at once)", Tone.WARN))
        if len(followed.containers) > 1:
            place = followed.containers.index(followed.container) + 1 if followed.container in followed.containers else 1
            spans.append((f"   {followed.container} ({place} of {len(followed.containers)})", Tone.ACCENT))
        if self._previous:
            spans.append(("   before the restart", Tone.WARN))
        elif self._since is not None:
            spans.append((f"   since {self._since // 60} min", Tone.TEXT))
        lines = count(len(pane.records))
        spans.append((f"   {lines} lines" + (f", {count(pane.dropped)} older gone" if pane.dropped else ""), Tone.MUTED))
        if pane.wraps:
            spans.append(("   wrapped", Tone.MUTED))
        return tuple(spans)

    def _cut_off(self) -> str:
        """That the cluster of the pods can't be reached, and since when; empty where it can."""
        view = self.console.picture.environment(self.wanted.environment)
        if view is None or view.reachable or (view.age_seconds is None and not view.problem):
            return ""
        return f"{view.name} {last_seen(view)}"

    @on(LogPane.Moved)
    def moved(self) -> None:
        self._draw_state()
        self.draw_keys()

    # ---- keys

    def action_act(self, action_id: str, key: str = "") -> None:
        if action_id == "since":
            self._since_key = key
        super().action_act(action_id, key)

    def do_since(self) -> None:
        self._since, self._previous = SINCE[self._since_key], False
        self.follow()

    def do_previous_log(self) -> None:
        self._previous = not self._previous
        self.follow()

    def do_container(self) -> None:
        followed = self._tail.followed if self._tail is not None else Followed()
        if len(followed.containers) < 2:
            toast(self, "every pod of it has one container only")
            return
        place = followed.containers.index(followed.container) if followed.container in followed.containers else -1
        self._container = followed.containers[(place + 1) % len(followed.containers)]
        self.follow()

    def do_wrap(self) -> None:
        self._pane.set_wraps(not self._pane.wraps)
        self._draw_state()

    def do_stamps(self) -> None:
        self._pane.set_stamps(not self._pane.stamps)

    def do_follow(self) -> None:
        self._pane.action_follow()

    def back_label(self) -> str:
        if self._field.opened:
            return "leave it as it was"
        return "clear the search" if self._search else super().back_label()

    def do_filter(self) -> None:
        self._field.open(self._search)
        self.set_focus(self._field.input)

    def do_next_match(self) -> None:
        self._go(backwards=False)

    def do_previous_match(self) -> None:
        self._go(backwards=True)

    @work(group="save", exit_on_error=False)
    async def do_save(self) -> None:
        """What is shown, to a file of the home directory."""
        records = list(self._pane.records)
        try:
            context = self.console.session.context
            path = await asyncio.to_thread(write_log, context.home, self.wanted.words, records, context.clock.now())
        except QuarterdeckError as error:
            toast(self, str(error), title="Save", severity="error", seconds=15)
            return
        toast(self, f"{len(records)} lines in {path}", title="Saved", seconds=10)

    def do_back(self) -> None:
        if self._field.opened:
            # what is searched for stays: a field that was opened by mistake costs nothing
            self._leave_field(self._field.kept)
            return
        if self._search:
            self._close()
            return
        super().do_back()

    # ---- search

    @on(Input.Submitted, "#filter")
    def submitted(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            pattern = pattern_of(event.value)
        except BadFilter as error:
            # what was searched before stays
            self._field.tell(str(error))
            return
        self._field.close(event.value)
        self._search = event.value
        self._pane.search(pattern)
        self.focus_body()
        if pattern is not None:
            self._go(backwards=True)
        self._draw_state()

    def _go(self, *, backwards: bool) -> None:
        if not self._search:
            self.do_filter()
            return
        try:
            if self._pane.next_match(backwards) is None:
                toast(self, f"{self._search}: not in these {count(len(self._pane.records))} lines", severity="warning")
        except TooSlow:
            self._close()
            toast(self, "the expression takes too long: it was dropped", severity="warning")
        self._draw_state()

    def _close(self) -> None:
        self._search = ""
        self._pane.search(None)
        self._leave_field("")
        self._draw_state()

    def _leave_field(self, text: str) -> None:
        self._field.close(text)
        self.focus_body()
        self.draw_keys()


def pattern_of(text: str) -> re.Pattern[str] | None:
    """What ``text`` searches for: its words as they stand, or the expression between slashes; letters' case never matters.
    ``None`` where it is empty. Raises :class:`BadFilter` where it is no expression."""
    if not text.strip():
        return None
    if not text.startswith("/"):
        return re.compile(re.escape(text), re.IGNORECASE)
    terms = parse(text).patterns
    if len(terms) != 1 or terms[0].pattern is None:
        raise BadFilter("one /regular expression/, or text that begins with no slash")
    return terms[0].pattern

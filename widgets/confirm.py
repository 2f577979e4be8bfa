"""The typed confirmation: a name typed exactly, for exactly this plan.

The digest decides what is confirmed. When it changes, what was typed is gone: a confirmation never carries over to another plan.
"""

from collections.abc import Callable
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from widgets import glyphs
from widgets.ink import Line, Tone
from widgets.note import Note


class _NameInput(Input):
    """While it is ``held`` no key changes its text, whichever way that would come: ``too_early`` is told instead."""

    def __init__(self, too_early: Callable[[], None]) -> None:
        super().__init__(disabled=True, select_on_focus=False)
        self.held = True
        self._too_early = too_early

    def replace(self, text: str, start: int, end: int) -> None:
        if self.held:
            self._too_early()
        else:
            super().replace(text, start, end)


class TypedConfirmation(Vertical):
    """Asks for ``expected`` to be typed; Enter on an exact match tells :class:`Confirmed` with the digest it was typed for."""

    DEFAULT_CSS = """
    TypedConfirmation { height: auto; }
    TypedConfirmation > Input { margin: 0 0; border: tall $border-blurred; }
    TypedConfirmation > Input:focus { border: tall $border; }
    TypedConfirmation.-matches > Input { border: tall $success; }
    """

    @dataclass
    class Confirmed(Message):
        """``typed`` was exactly what was asked for, for the plan with ``digest``."""

        confirmation: "TypedConfirmation"
        digest: str
        typed: str

        @property
        def control(self) -> "TypedConfirmation":
            return self.confirmation

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._expected = ""
        self._digest = ""
        self._blocked = "there is no plan yet"
        self._waits = True
        self._changed = False
        self._prompt = Note()
        self._too_early = False
        """Something was typed while nothing could be confirmed."""
        self._input = _NameInput(self._typed_too_early)
        self._status = Note()

    def compose(self) -> ComposeResult:
        yield self._prompt
        yield self._input
        yield self._status

    def on_mount(self) -> None:
        self._redraw()

    @property
    def digest(self) -> str:
        """The plan that Enter would confirm."""
        return self._digest

    @property
    def matches(self) -> bool:
        """Whether what is typed is exactly what is asked for, and nothing blocks it."""
        return bool(self._expected and self._digest) and not self._blocked and self._input.value == self._expected

    def ask(self, expected: str, digest: str) -> None:
        """Ask for ``expected``, for the plan with ``digest``. Another plan, or another word, voids what was typed."""
        if (expected, digest) == (self._expected, self._digest):
            return
        self._changed = bool(self._input.value) and digest != self._digest
        self._expected, self._digest = expected, digest
        self._input.value = ""
        self._redraw()

    def block(self, reason: str, *, waits: bool = False) -> None:
        """Refuse to confirm, and say why; the empty reason lifts it. ``waits``: nothing is wrong, something is still to come."""
        if (reason, waits) == (self._blocked, self._waits):
            return
        self._blocked, self._waits = reason, waits
        self._too_early = self._too_early and bool(reason)
        self._redraw()

    def focus_input(self) -> None:
        """Let the person type. While it is blocked the field has the focus all the same, and what is typed is dropped."""
        self._input.disabled = False
        # at once: a key that is on its way already belongs here
        self.screen.set_focus(self._input)

    def _has_keys(self) -> bool:
        """Whether keys come here, or will again once the terminal has its focus back. Then the field is not disabled, whatever
        blocks it: without it the next letters would be taken for keys of the screen."""
        if not self._input.is_attached:
            return False
        return self.screen.focused is self._input or not (self.app.app_focus or self._input.disabled)

    def _typed_too_early(self) -> None:
        self._too_early = True
        self._redraw()

    @on(Input.Blurred)
    def _left(self, event: Input.Blurred) -> None:
        event.stop()
        self._too_early = False
        self._redraw()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if self._input.value:
            self._changed = False
        self._redraw()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        # the field as it is now, not as it was when Enter was pressed: the plan may have changed in between
        if self.matches and event.value == self._expected:
            self.post_message(self.Confirmed(self, self._digest, self._expected))
        else:
            self._too_early = bool(self._blocked)
            self._redraw()

    def _redraw(self) -> None:
        self._input.held = bool(self._blocked)
        self._input.disabled = self._input.held and not self._has_keys()
        self._prompt.show(
            (("type ", Tone.TEXT), (self._expected or "the name", Tone.STRONG), (" and press enter to deploy", Tone.TEXT))
        )
        self._status.show(self._state())
        self.set_class(self.matches, "-matches")

    def _state(self) -> Line:
        signs = glyphs.current()
        typed, expected = self._input.value, self._expected
        changed = "the plan changed: type it again" if self._changed else ""
        if self._blocked:
            early = "wait: no key counts yet" if self._waits else "no key counts until then"
            words = "; ".join(filter(None, (f"can't be confirmed: {self._blocked}", changed, early if self._too_early else "")))
            return ((f"{signs.pending} {words}", Tone.MUTED),) if self._waits else ((f"{signs.bad} {words}", Tone.BAD),)
        if changed:
            return ((f"{signs.warning} {changed}", Tone.WARN),)
        if not typed:
            return ((f"{signs.pending} waiting for the name", Tone.MUTED),)
        if typed == expected:
            return ((f"{signs.ok} matches: enter confirms this plan", Tone.GOOD),)
        if expected.startswith(typed):
            return ((f"{signs.pending} {len(typed)} of {len(expected)} characters", Tone.MUTED),)
        if typed.strip() == expected:
            return ((f"{signs.bad} there is a blank before or after the name", Tone.BAD),)
        if typed.casefold() == expected.casefold():
            return ((f"{signs.bad} upper and lower case count", Tone.BAD),)
        return ((f"{signs.bad} this is not {expected}", Tone.BAD),)

"""One field of a form: its label, what is typed, and below it at once what is accepted or what is wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input

from services.model.errors import Rejected
from widgets import glyphs, text
from widgets.ink import Line, Tone
from widgets.note import Note

_LABEL = 14


@dataclass(frozen=True, slots=True)
class Validity:
    """``ok`` is ``None`` while nobody can tell yet; ``text`` says what was found, what is accepted, or what it waits for."""

    ok: bool | None
    text: str = ""


Check = Callable[[str], Validity]
"""Judges a value at once. May raise ``Rejected``."""


class Field(Vertical):
    """A labelled text field. ``accepted`` is shown until something is typed; ``choices`` are offered as one types."""

    DEFAULT_CSS = """
    Field { height: auto; }
    Field > Horizontal { height: 1; }
    Field > Horizontal > Note { width: 14; }
    Field > Horizontal > Input { width: 1fr; background: $surface-lighten-1; }
    Field > Horizontal > Input:focus { background: $surface-lighten-2; }
    Field > Note { padding: 0 0 0 14; }
    """

    @dataclass
    class Changed(Message):
        field: "Field"
        value: str
        validity: Validity

        @property
        def control(self) -> "Field":
            return self.field

    def __init__(
        self,
        name: str,
        label: str,
        *,
        value: str = "",
        accepted: str = "",
        choices: Sequence[str] = (),
        check: Check | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._accepted = accepted
        self._choices = tuple(choices)
        self._check = check
        self._label = Note(((text.cut(label, _LABEL - 1), Tone.STRONG),))
        self._input = Input(value, compact=True, suggester=_suggester(self._choices))
        self._note = Note()
        self._validity = self._judge(value)

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._label
            yield self._input
        yield self._note

    def on_mount(self) -> None:
        self._redraw()

    @property
    def value(self) -> str:
        """What is typed, unchanged: white space counts and is judged."""
        return self._input.value

    @property
    def validity(self) -> Validity:
        return self._validity

    def set_value(self, value: str) -> None:
        """Put ``value`` into the field, as if typed."""
        self._input.value = value

    def set_choices(self, choices: Sequence[str]) -> None:
        """What is offered as one types, and named while the field is empty."""
        if tuple(choices) != self._choices:
            self._choices = tuple(choices)
            self._input.suggester = _suggester(self._choices)
            self._redraw()

    def recheck(self) -> None:
        """Judge the value again: what it is judged by has changed."""
        self._take(self._judge(self.value))

    def focus_input(self) -> None:
        """Let the person type here."""
        # at once: a key that is on its way already belongs here
        self.screen.set_focus(self._input)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._take(self._judge(event.value), told=True)

    def _judge(self, value: str) -> Validity:
        if self._check is None:
            return Validity(True)
        try:
            return self._check(value)
        except Rejected as rejected:
            return Validity(False, f"{rejected.rule}; accepted: {rejected.accepted}")

    def _take(self, validity: Validity, told: bool = False) -> None:
        if validity != self._validity or told:
            self._validity = validity
            self._redraw()
            self.post_message(self.Changed(self, self.value, validity))

    def _redraw(self) -> None:
        self._note.show(self._words())

    def _words(self) -> Line:
        signs = glyphs.current()
        if not self.value:
            offered = ", ".join(self._choices[:8]) + (f" {signs.ellipsis}" if len(self._choices) > 8 else "")
            return ((self._accepted or offered or self._validity.text or " ", Tone.MUTED),)
        if self._validity.ok is None:
            return ((f"{signs.asking} {self._validity.text or 'checking'}", Tone.ACCENT),)
        if self._validity.ok:
            return ((f"{signs.ok} {self._validity.text or 'accepted'}", Tone.GOOD),)
        return ((f"{signs.bad} {self._validity.text or 'not accepted'}", Tone.BAD),)


def _suggester(choices: Sequence[str]) -> SuggestFromList | None:
    return SuggestFromList(choices, case_sensitive=True) if choices else None

"""Tones look as the theme that is on has them, and are looked up once for each theme."""

import dataclasses

import pytest
from textual.app import App, ComposeResult
from textual.theme import Theme

from console import theme
from widgets.ink import Tone
from widgets.note import Note

OTHER = dataclasses.replace(theme.DARK, name="other", variables={**theme.DARK.variables, "text-error": "#123456"})
"""Only what is bad looks different in it: the widgets themselves, and what lies below them, do not."""


class Toning(App[None]):
    def __init__(self, *themes: Theme) -> None:
        super().__init__()
        for each in themes:
            self.register_theme(each)
        self.theme = themes[0].name

    def compose(self) -> ComposeResult:
        yield Note((("failed", Tone.BAD),))

    @property
    def colour(self) -> tuple[int, int, int]:
        """Of the word that is on the screen."""
        strips = self.screen._compositor.render_strips()
        (style,) = [segment.style for strip in strips for segment in strip if "failed" in segment.text]
        assert style is not None
        assert style.color is not None
        return tuple(style.color.get_truecolor())


async def test_a_theme_in_which_only_a_tone_differs_is_seen_at_once() -> None:
    app = Toning(theme.DARK, OTHER)
    async with app.run_test() as pilot:
        await pilot.pause()
        before = app.colour
        app.theme = "other"
        await pilot.pause()
        assert app.colour != before
        app.theme = "dark"
        await pilot.pause()
        assert app.colour == before


async def test_what_changes_no_rule_draws_no_tone_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Toning(theme.DARK)
    async with app.run_test() as pilot:
        await pilot.pause()
        drawn: list[int] = []
        own = Note.render_line
        monkeypatch.setattr(Note, "render_line", lambda note, y: drawn.append(y) or own(note, y))
        app.screen.add_class("of-no-rule")
        app.screen.update_node_styles()
        await pilot.pause()
        assert drawn == []
        app.query_one(Note).refresh()
        await pilot.pause()
        assert drawn != []

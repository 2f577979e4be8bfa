"""What is written again when a drawing changes: every cell that differs, and little more."""

from hypothesis import example, given
from hypothesis import strategies as st
from textual.app import App, ComposeResult

from widgets import ink
from widgets.ink import Line, Lines, Tone
from widgets.note import Note

SPANS = st.tuples(st.text("ab ▸→字", max_size=6), st.sampled_from(("text", "bad")))
LINES = st.lists(SPANS, max_size=6).map(tuple)
WIDTH = 12


def cells_of(line: Line) -> list[tuple[str, str]]:
    """What stands in each cell of a line as it is drawn; a wide letter stands in two."""
    return [
        (letter, tone) for text, tone in ink.fill(line, WIDTH) for letter in text for _ in range(ink.cells(((letter, tone),)))
    ]


@given(st.lists(st.tuples(LINES, LINES), max_size=3))
@example([(((("ab", "text"), ("a", "bad")), (("ab", "text"), ("b", "bad"))))])
@example([((("aaaaaaaaaaaaaaaa", "text"),), (("aaaaaaaaaaaa", "text"),))])
@example([(((" " * 12, "text"), ("a", "text")), ((" " * 12, "text"),))])
def test_every_cell_that_differs_is_in_a_part(pairs: list[tuple[Line, Line]]) -> None:
    before: Lines = tuple(old for old, _ in pairs)
    after: Lines = tuple(new for _, new in pairs)
    parts = list(ink.changed(before, after, WIDTH))
    written = {(x + along, y) for x, y, wide, high in parts for along in range(wide) for _ in range(high)}
    for y, (old, new) in enumerate(pairs):
        differs = {(x, y) for x, (one, other) in enumerate(zip(cells_of(old), cells_of(new), strict=True)) if one != other}
        assert differs <= written
        if old == new:
            assert not any(each[1] == y for each in written)
    assert all(0 <= x <= WIDTH and x + wide <= WIDTH + 1 for x, _, wide, _ in parts)


def test_a_clock_at_the_end_of_a_line_is_written_alone() -> None:
    line: Line = (("fleet · production", Tone.TEXT), ("  ", Tone.TEXT), ("00:10:00Z", Tone.TEXT))
    later: Line = (*line[:-1], ("00:10:01Z", Tone.TEXT))
    assert list(ink.changed((line, line), (line, later), 40)) == [(20, 1, 9, 1)]


def test_a_figure_amid_a_line_is_written_alone() -> None:
    line: Line = (("errors ", Tone.MUTED), ("0.1%", Tone.TEXT), ("  P99 44ms", Tone.TEXT))
    assert list(ink.changed((line,), ((line[0], ("0.2%", Tone.TEXT), line[2]),), 40)) == [(7, 0, 4, 1)]


class Two(App[None]):
    CSS = "Note { padding: 1 2; border: round $primary; }"

    def compose(self) -> ComposeResult:
        yield Note((("first", Tone.TEXT), (" 1", Tone.BAD)), (("second", Tone.TEXT), (" 1", Tone.BAD)))


async def test_a_changed_part_is_drawn_where_it_stands_inside_border_and_padding() -> None:
    app = Two()
    async with app.run_test(size=(40, 10)) as pilot:
        note = app.query_one(Note)
        note.show((("first", Tone.TEXT), (" 1", Tone.BAD)), (("second", Tone.TEXT), (" 2", Tone.BAD)))
        await pilot.pause()
        words = ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]
        assert "first 1" in words[2]
        assert "second 2" in words[3]

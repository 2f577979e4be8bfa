"""Text from outside is shown, never obeyed; figures read the same everywhere."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from widgets import format as figures
from widgets import glyphs, ink, text
from widgets.note import Note

HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x1b[]\x00\r\n\t\u202e\u2066\u200b\u200d\ufe0f\u0301\u0336\u3164\u1160\u2028가😀🇩[/red]"),
    )
)


def inert(shown: str) -> bool:
    return all(unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn") for character in shown)


@given(HOSTILE)
def test_sanitised_text_has_nothing_that_could_move_the_cursor_or_hide(raw):
    shown = text.sanitize(raw)
    assert inert(shown)
    assert text.sanitize(shown) == shown


@given(HOSTILE, st.integers(0, 40))
def test_cut_text_is_never_wider_than_asked(raw, cells):
    shown = text.cut(raw, cells)
    assert inert(shown)
    assert cell_len(shown) <= cells


@given(HOSTILE, st.integers(0, 40), st.sampled_from(["left", "right"]))
def test_padded_text_is_exactly_as_wide_as_asked(raw, cells, align):
    assert cell_len(text.pad(raw, cells, align)) == cells


@given(HOSTILE, st.integers(2, 30))
def test_wrapped_and_chopped_lines_fit_and_lose_no_letter(raw, cells):
    assert all(cell_len(line) <= cells for line in text.wrap(raw, cells))
    assert all(cell_len(line) <= cells for line in text.chop(raw, cells))
    assert "".join(text.chop(raw, cells)) == text.sanitize(raw)
    assert "".join("".join(text.wrap(raw, cells)).split()) == "".join(text.sanitize(raw).split())


@given(
    st.lists(st.tuples(HOSTILE, st.sampled_from([tone.value for tone in ink.Tone])), max_size=6).map(tuple), st.integers(0, 60)
)
def test_a_line_of_spans_fits_exactly(line, cells):
    assert ink.cells(ink.fit(line, cells)) <= cells
    assert ink.cells(ink.fill(line, cells)) == cells


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("payment-service", "payment-service"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("a\nb\r", "a␊b␍"),
        ("a\tb\u00a0c", "a b c"),
        ("prod\u202etset", "prod�tset"),
        ("pro\u200bduction", "pro�duction"),
        ("x\u0301\u0301\u0301\u0301\u0301", "x\u0301\u0301�"),
        ("[/foo][bold]", "[/foo][bold]"),
    ],
)
def test_what_is_hidden_becomes_visible(raw, shown):
    assert text.sanitize(raw) == shown


def test_cut_shows_that_something_is_missing():
    assert text.cut("payment-service", 8) == "payment…"
    assert text.cut("가나다", 4) == "가…"
    assert text.cut("exact", 5) == "exact"
    glyphs.use("ascii")
    try:
        assert text.cut("payment-service", 8) == "payment~"
        assert text.sanitize("a\x1b[31m\u202e") == "a?[31m?"
    finally:
        glyphs.use("unicode")


def test_every_sign_is_one_cell_and_the_plain_ones_are_ascii():
    for signs in (glyphs.UNICODE, glyphs.ASCII):
        for name in signs.__dataclass_fields__:
            for sign in getattr(signs, name):
                assert cell_len(sign) == 1, name
    assert all("".join(getattr(glyphs.ASCII, name)).isascii() for name in glyphs.ASCII.__dataclass_fields__)


TABLE = [
    (figures.age, None, "?"),
    (figures.age, -3, "0s"),
    (figures.age, 59.9, "59s"),
    (figures.age, 60, "1m"),
    (figures.age, 3 * 3600 + 5, "3h"),
    (figures.age, 47 * 3600, "47h"),
    (figures.age, 48 * 3600, "2d"),
    (figures.seconds, None, "?"),
    (figures.seconds, 0, "0.0s"),
    (figures.seconds, 4.14, "4.1s"),
    (figures.seconds, 9.97, "10s"),
    (figures.seconds, 59.6, "1m 00s"),
    (figures.seconds, 371, "6m 11s"),
    (figures.seconds, 7380, "2h 03m"),
    (figures.countdown, None, "--:--"),
    (figures.countdown, 108, "01:48"),
    (figures.countdown, 0.2, "00:01"),
    (figures.countdown, 0, "00:00"),
    (figures.countdown, -5, "00:00"),
    (figures.countdown, 3723, "1:02:03"),
    (figures.percent, None, "?"),
    (figures.percent, float("nan"), "?"),
    (figures.percent, 0, "0%"),
    (figures.percent, 0.00001, "<0.01%"),
    (figures.percent, 0.0021, "0.21%"),
    (figures.percent, 0.00996, "1.0%"),
    (figures.percent, 0.05, "5%"),
    (figures.percent, 0.051, "5.1%"),
    (figures.percent, 0.41, "41%"),
    (figures.percent, 1, "100%"),
    (figures.weight, 25, "25%"),
    (figures.weight, None, "?"),
    (figures.count, 812, "812"),
    (figures.count, 999.6, "1.0k"),
    (figures.count, 12345, "12.3k"),
    (figures.count, 123456, "123k"),
    (figures.count, 4_100_000, "4.1M"),
    (figures.size, 512, "512 B"),
    (figures.size, 1.5 * 2**30, "1.5 GiB"),
    (figures.size, 900 * 2**20, "900 MiB"),
    (figures.milliseconds, 0.048, "48ms"),
    (figures.milliseconds, 0.0004, "0.4ms"),
    (figures.milliseconds, 0.00001, "0ms"),
    (figures.milliseconds, 0.9996, "1.00s"),
    (figures.milliseconds, 1.25, "1.25s"),
    (figures.milliseconds, float("inf"), "?"),
]


@pytest.mark.parametrize(("function", "value", "shown"), TABLE)
def test_figures(function, value, shown):
    assert function(value) == shown


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.05, "share", "5%"),
        (5, "%", "5%"),
        (0.066, "s", "66ms"),
        (66, "ms", "66ms"),
        (2, "failures", "2 failures"),
        (3, "", "3"),
        (None, "share", "?"),
    ],
)
def test_a_reading_carries_its_unit(value, unit, shown):
    assert figures.reading(value, unit) == shown


@given(st.one_of(st.none(), st.floats()))
def test_no_value_breaks_a_figure(value):
    for function in (
        figures.age,
        figures.seconds,
        figures.countdown,
        figures.percent,
        figures.count,
        figures.size,
        figures.milliseconds,
    ):
        assert function(value)


class Cramped(App[None]):
    CSS = "Note { max-height: 2; }"

    def compose(self) -> ComposeResult:
        yield Note("one", "two", "three")


async def test_lines_that_have_no_room_are_told_by_an_ellipsis() -> None:
    app = Cramped()
    async with app.run_test(size=(20, 5)) as pilot:
        note = app.query_one(Note)
        assert [note.render_line(y).text.strip() for y in range(2)] == ["one", "two …"]
        note.show("one", "two")
        await pilot.pause()
        assert note.render_line(1).text.strip() == "two"

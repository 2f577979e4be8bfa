"""The log screen and its pane, on lines that a test puts."""

import re
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.consoles import HOSTILE, TestConsole, picture, until, words_on
from textual.app import App, ComposeResult
from textual.widgets import Input

from console.exports import write_log
from console.screens.logs import LogsScreen
from console.tailing import LogsOf
from services.model.errors import QuarterdeckError
from widgets import logpane
from widgets.grid.bounded import TooSlow
from widgets.logpane import LogPane, Record

SIZE = (80, 24)


def lines(count: int, start: int = 0) -> list[Record]:
    return [Record(f"line {number}", at=1.7e9 + number) for number in range(start, start + count)]


@pytest.fixture
def app():
    console = TestConsole(picture(rollouts=()))
    console.session.log = lines(200)
    return console


@pytest.fixture
def opened(app):
    """Opens the log of the payment service; the pane."""

    async def open_it(pilot) -> LogPane:
        app.open_logs(LogsOf("production", "payment-service"))
        await until(pilot, lambda: "line 199" in words_on(app))
        pane = app.screen.query_one(LogPane)
        assert pane.has_focus
        return pane

    return open_it


# ---- following


async def test_it_follows_until_scrolled_up_and_again_after_G(app, opened):
    async with app.run_test(size=SIZE) as pilot:
        pane = await opened(pilot)
        await pilot.press("k")
        await until(pilot, lambda: "paused: G follows" in words_on(app))
        first = words_on(app).splitlines()[3]
        app.session.tail.waiting.put_nowait(lines(50, 200))
        await until(pilot, lambda: "50 new below" in words_on(app))
        assert words_on(app).splitlines()[3] == first, "what is read stays where it is"
        await pilot.press("G")
        await until(pilot, lambda: "line 249" in words_on(app))
        assert pane.follows
        assert "following" in words_on(app)


@pytest.mark.parametrize("wraps", [False, True])
async def test_what_is_read_stays_where_it_is_while_old_lines_go(app, opened, monkeypatch, wraps):
    monkeypatch.setattr(logpane, "MOST_LINES", 300)
    async with app.run_test(size=SIZE) as pilot:
        pane = await opened(pilot)
        pane.set_wraps(wraps)
        await pilot.press("pageup", "pageup")
        read = [line[:40] for line in words_on(app).splitlines()[2:12]]
        app.session.tail.waiting.put_nowait(lines(200, 200))
        await until(pilot, lambda: pane.dropped == 100)
        assert [line[:40] for line in words_on(app).splitlines()[2:12]] == read
        assert len(pane.records) == 300


async def test_characters_are_bounded_too(app, opened, monkeypatch):
    monkeypatch.setattr(logpane, "MOST_CHARACTERS", 10_000)
    async with app.run_test(size=SIZE) as pilot:
        pane = await opened(pilot)
        pane.add([Record("x" * 3000) for _ in range(20)])
        assert sum(len(record.text) for record in pane.records) <= 10_000


# ---- looks


async def test_text_is_inert_and_long_lines_are_cut_or_wrapped(app, opened):
    async with app.run_test(size=SIZE) as pilot:
        pane = await opened(pilot)
        tail = app.session.tail
        tail.waiting.put_nowait([Record(HOSTILE), Record("y" * 500 + "END"), Record("z" * 60, cut=True)])
        await until(pilot, lambda: "[/foo]" in words_on(app))
        text = words_on(app)
        assert not any(letter in text for letter in "\x1b\u202e\x00")
        assert "[bold red]x" in text
        assert "END" not in text
        assert "[cut]" in text
        await pilot.press("w")
        await until(pilot, lambda: "END" in words_on(app))
        assert pane.wraps
        await pilot.press("w", "u")
        await until(pilot, lambda: "22:16:3" in words_on(app))


async def test_several_pods_are_told_apart_by_name(app, opened):
    async with app.run_test(size=SIZE) as pilot:
        await opened(pilot)
        app.session.tail.waiting.put_nowait(
            [Record("one", "v1 aaa", 0), Record("two", "v2 bbb", 1), Record("three", "v1 aaa", 0)]
        )
        await until(pilot, lambda: "three" in words_on(app))
        assert "v1 aaa│ one" in words_on(app)
        assert "v2 bbb│ two" in words_on(app)


class PaneApp(App[None]):
    def compose(self) -> ComposeResult:
        yield LogPane(id="log")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.text(max_size=300), max_size=8), max_size=6),
    st.lists(st.sampled_from(["k", "j", "g", "G", "pageup", "pagedown", "wrap", "stamps", "narrow", "wide"]), max_size=12),
)
def test_any_lines_and_any_keys_are_drawn(batches, keys):
    import asyncio

    async def walk() -> None:
        app = PaneApp()
        async with app.run_test(size=(40, 10)) as pilot:
            pane = app.query_one(LogPane)
            pane.focus()
            for step in range(max(len(batches), len(keys))):
                if step < len(batches):
                    pane.add(Record(text, tag="t" * (step % 3), at=float(step)) for text in batches[step])
                match keys[step] if step < len(keys) else "":
                    case "":
                        pass
                    case "wrap":
                        pane.set_wraps(not pane.wraps)
                    case "stamps":
                        pane.set_stamps(not pane.stamps)
                    case "narrow" | "wide" as size:
                        await pilot.resize_terminal(12 if size == "narrow" else 80, 10)
                    case key:
                        await pilot.press(key)
                for row in range(pane.size.height):
                    strip = pane.render_line(row)
                    assert strip.cell_length == pane.scrollable_content_region.width
            await pilot.press("G")
            assert pane.follows
            assert pane.scroll_offset.y == pane.max_scroll_y

    asyncio.run(walk())


# ---- search


async def test_search_goes_to_what_it_finds_and_on(app, opened):
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        pane = await opened(pilot)
        await pilot.press("slash", *"LINE 7", "enter")
        await until(pilot, lambda: pane.found == 79)
        assert not pane.follows
        await pilot.press("N")
        assert pane.found == 78
        await pilot.press("n", "n")
        assert pane.found == 7, "round the end"
        await pilot.press("escape")
        assert isinstance(app.screen, LogsScreen)
        assert "/LINE 7" not in words_on(app)


async def test_a_bad_expression_is_said_and_the_old_search_stays(app, opened):
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        pane = await opened(pilot)
        await pilot.press("slash", *"/line 19\\d$", "enter")
        await until(pilot, lambda: pane.found == 199)
        await pilot.press("slash")
        app.screen.query_one(Input).value = "/line (("
        await pilot.press("enter")
        await until(pilot, lambda: "regular expression: missing" in words_on(app))
        await pilot.press("escape")
        await until(pilot, lambda: "/line 19\\d$" in words_on(app).splitlines()[1])
        await pilot.press("escape")
        await until(pilot, lambda: "/line" not in words_on(app))
        await pilot.press("slash", *"nowhere", "enter")
        await until(pilot, lambda: "not in these" in words_on(app))


def test_an_expression_that_never_ends_is_stopped():
    pane = LogPane()
    pane._records = [Record("a" * 40 + "b")]
    pane._pattern = re.compile("(a+)+$")
    with pytest.raises(TooSlow):
        pane.next_match()


# ---- what is asked


async def test_since_container_and_the_log_before_a_restart(app, opened):
    async with app.run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press("2")
        await until(pilot, lambda: app.session.asked[-1] == ("logs", "payment-service", "", "300", ""))
        await pilot.press("c")
        await until(pilot, lambda: app.session.asked[-1][-1] == "proxy")
        await pilot.press("b")
        await until(pilot, lambda: app.session.asked[-1] == ("logs", "payment-service", "previous", "300", "proxy"))
        assert "before the restart" in words_on(app)
        await pilot.press("0")
        await until(pilot, lambda: app.session.asked[-1] == ("logs", "payment-service", "", "", "proxy"))


# ---- saving


def test_a_saved_log_is_the_owners_alone_and_inert(tmp_path, app):
    now = app.own_clock.now()
    records = [Record("\x1b[31mred", "v1 abc", at=1.7e9), Record("gone", told=True), Record("long", cut=True)]
    path = write_log(tmp_path, "pay/../ment", records, now)
    again = write_log(tmp_path, "pay/../ment", records, now)
    assert path != again
    assert path.parent == tmp_path / "exports"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    text = path.read_text()
    assert "\x1b" not in text
    assert text.splitlines() == [
        "2023-11-14T22:13:20.000000+00:00 [v1 abc] ␛[31mred",
        "- # gone",
        "- long [cut]",
    ]


def test_what_can_not_be_saved_is_said(tmp_path, app):
    (tmp_path / "exports").write_text("in the way")
    with pytest.raises(QuarterdeckError, match="not saved"):
        write_log(tmp_path, "a", [], app.own_clock.now())

"""A selection belongs to an object, wherever its row goes."""

from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult

from widgets import ink
from widgets.grid import Column, Grid, Row
from widgets.grid.columns import GAP, place

COLUMNS = (
    Column("name", "NAME", 12, flex=1),
    Column("version", "VERSION", 9, priority=1),
    Column("errors", "ERRORS", 6, align="right", priority=2),
)


def rows(*names: str, version: str = "v1.0.0") -> list[Row]:
    return [Row(f"key-{name}", (name, (version, "good"), "0.2%")) for name in names]


class Screen(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, str | None, str | None]] = []

    def compose(self) -> ComposeResult:
        yield Grid(COLUMNS, empty="no services")

    def on_grid_row_highlighted(self, event: Grid.RowHighlighted) -> None:
        self.said.append(("highlighted", event.key, event.gone))

    def on_grid_row_chosen(self, event: Grid.RowChosen) -> None:
        self.said.append(("chosen", event.key, None))

    @property
    def grid(self) -> Grid:
        return self.query_one(Grid)

    def text(self) -> list[str]:
        return [self.grid.render_line(y).text.rstrip() for y in range(self.grid.size.height)]


async def test_the_selection_stays_with_its_object_when_rows_move():
    app = Screen()
    async with app.run_test(size=(60, 12)) as pilot:
        app.grid.apply(rows("a", "b", "c"))
        app.grid.focus()
        await pilot.press("j")
        assert app.grid.selected == "key-b"
        app.grid.apply(rows("new", "c", "a", "b"))
        await pilot.pause()
        assert app.grid.selected == "key-b"
        assert app.text()[4].startswith("▸ b")
        assert app.said[-1] == ("highlighted", "key-b", None)


async def test_a_selected_row_that_vanishes_leaves_nothing_selected_and_says_so():
    app = Screen()
    async with app.run_test(size=(60, 12)) as pilot:
        app.grid.apply(rows("a", "b", "c"))
        app.grid.focus()
        await pilot.press("j")
        app.grid.apply(rows("a", "c"))
        await pilot.pause()
        assert app.grid.selected is None
        assert app.grid.gone == "key-b"
        assert app.said[-1] == ("highlighted", None, "key-b")
        assert not any(line.startswith("▸") for line in app.text())
        await pilot.press("enter")
        assert ("chosen", "key-c", None) not in app.said
        # the next move starts from where the row was
        await pilot.press("j")
        assert app.grid.selected == "key-c"


async def test_an_object_that_comes_back_is_selected_again():
    app = Screen()
    async with app.run_test(size=(60, 12)) as pilot:
        app.grid.apply(rows("a", "b"))
        app.grid.select("key-b")
        app.grid.apply(rows("a"))
        app.grid.apply(rows("x", "b", "a"))
        await pilot.pause()
        assert app.grid.selected == "key-b"
        assert app.said[-2:] == [("highlighted", None, "key-b"), ("highlighted", "key-b", None)]


async def test_all_rows_can_go_and_others_come_without_being_selected():
    app = Screen()
    async with app.run_test(size=(60, 12)) as pilot:
        app.grid.apply(rows("a"))
        app.grid.apply([])
        await pilot.pause()
        assert app.text()[1].strip() == "no services"
        app.grid.apply(rows("z"))
        assert app.grid.selected is None


async def test_keys_move_and_choose():
    app = Screen()
    async with app.run_test(size=(60, 12)) as pilot:
        names = [f"s{number:02d}" for number in range(40)]
        app.grid.apply(rows(*names))
        app.grid.focus()
        for key, expected in [
            ("j", "s01"),
            ("down", "s02"),
            ("k", "s01"),
            ("G", "s39"),
            ("g", "s00"),
            ("end", "s39"),
            ("up", "s38"),
            ("home", "s00"),
            ("pagedown", "s10"),
            ("pageup", "s00"),
        ]:
            await pilot.press(key)
            assert app.grid.selected == f"key-{expected}", key
            assert any(line.startswith(f"▸ {expected}") for line in app.text())
        await pilot.press("enter")
        assert app.said[-1] == ("chosen", "key-s00", None)


async def test_a_click_selects_and_a_double_click_chooses():
    app = Screen()
    async with app.run_test(size=(60, 12)) as pilot:
        app.grid.apply(rows("a", "b", "c"))
        await pilot.click(Grid, offset=(5, 2))
        assert app.grid.selected == "key-b"
        await pilot.click(Grid, offset=(5, 0))
        assert app.grid.selected == "key-b"
        await pilot.click(Grid, offset=(5, 3), times=2)
        await pilot.pause()
        assert app.said[-1] == ("chosen", "key-c", None)


async def test_the_selected_row_keeps_its_line_while_others_come_above_it():
    app = Screen()
    async with app.run_test(size=(60, 12)) as pilot:
        names = [f"s{number:03d}" for number in range(100)]
        app.grid.apply(rows(*names))
        app.grid.focus()
        app.grid.select("key-s050")
        await pilot.pause()
        line = next(index for index, text in enumerate(app.text()) if text.startswith("▸ s050"))
        app.grid.apply(rows("extra", "more", *names))
        await pilot.pause()
        assert app.text()[line].startswith("▸ s050")


async def test_a_filter_shows_what_matches_and_never_leaves_a_hidden_selection():
    app = Screen()
    async with app.run_test(size=(60, 12)) as pilot:
        app.grid.apply(rows("checkout", "payment-service", "payroll"))
        app.grid.set_filter("PAY")
        await pilot.pause()
        assert app.grid.shown == ("key-payment-service", "key-payroll")
        assert app.grid.selected == "key-payment-service"
        app.grid.set_filter("nowhere")
        assert app.grid.selected is None
        assert app.grid.render_line(1).text.strip() == "no row matches nowhere"
        app.grid.set_filter("")
        assert app.grid.row_count == 3


async def test_hostile_cells_are_shown_as_they_are():
    app = Screen()
    async with app.run_test(size=(60, 6)) as pilot:
        app.grid.apply([Row("x", ("[/foo]\x1b[2Jevil", ("[red]", "bad"), "1"))])
        await pilot.pause()
        assert "[/foo]␛[2Je" in app.text()[1]


async def test_equal_rows_cost_no_repaint_and_a_changed_one_only_its_line():
    app = Screen()
    async with app.run_test(size=(60, 12)) as pilot:
        app.grid.apply(rows("a", "b", "c"))
        await pilot.pause()
        painted: list[tuple[object, ...]] = []
        app.grid.refresh = lambda *regions, **_: painted.append(regions)
        app.grid.apply(rows("a", "b", "c"))
        assert painted == []
        app.grid.apply([*rows("a", "b"), *rows("c", version="v2.0.0")])
        assert [region[0].y for region in painted] == [3]


async def test_ten_thousand_rows_draw_only_what_is_seen():
    app = Screen()
    async with app.run_test(size=(60, 12)) as pilot:
        drawn: list[str] = []
        original = app.grid._line
        app.grid._line = lambda row, *rest: drawn.append(row.key) or original(row, *rest)
        app.grid.apply(rows(*(f"s{number:05d}" for number in range(10_000))))
        app.grid.focus()
        await pilot.press("G")
        assert app.grid.selected == "key-s09999"
        assert len(set(drawn)) <= 2 * 12


@given(
    st.integers(1, 220),
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3), st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=10),
)
def test_columns_never_ask_for_more_room_than_there_is(room, specs):
    columns = [
        Column(str(index), "T", width, flex, priority=priority, least=min(least, width))
        for index, (width, flex, priority, least) in enumerate(specs)
    ]
    placed = place(columns, room)
    assert sum(item.width for item in placed) + GAP * (len(placed) - 1) <= room
    assert [item.index for item in placed] == sorted(item.index for item in placed)
    dropped = {column.priority for index, column in enumerate(columns) if index not in {item.index for item in placed}}
    if dropped and 0 not in dropped:
        assert max((item.column.priority for item in placed), default=0) <= min(dropped)
    if dropped and min(dropped) in (1, 2, 3) and len(placed) < len(columns):
        kept = [item.column for item in placed]
        next_one = min((each for each in columns if each not in kept), key=lambda each: (each.priority, columns.index(each)))
        able = [*kept, next_one]
        least = sum(each.least or each.width for each in able) + GAP * (len(able) - 1)
        assert least > room, "a column that would have fitted with what others can do without was dropped"


async def test_narrow_and_wide_lines_fill_the_width_exactly():
    for width in (20, 80, 200):
        app = Screen()
        async with app.run_test(size=(width, 6)) as pilot:
            app.grid.apply(rows("payment-service", "b"))
            await pilot.pause()
            for y in range(6):
                assert app.grid.render_line(y).cell_length == app.grid.scrollable_content_region.width
            assert "payment" in ink.plain(tuple((segment.text, "") for segment in app.grid.render_line(1)))

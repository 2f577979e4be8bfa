"""The journal screen: live at its end, whole at the other, filtered, and where an entry leads."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.consoles import TestConsole, card, entry, picture, rollout, until, words_on
from textual.widgets import Input

from console.pages import JournalPages
from console.screens.entry import EntryScreen
from console.screens.journal import Entries, JournalScreen
from console.screens.rollout import RolloutScreen
from console.screens.story import StoryScreen
from console.view import Picture, Replaced
from console.window import LARGEST, Window
from services.audit.paging import Page
from services.model.rollout import Phase, StepOutcome

WIDE = (120, 40)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME", "CHANGE_TICKET", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUARTERDECK_THEME", "dark")


def stored(place: Path, count: int) -> list[dict[str, Any]]:
    """A journal of ``count`` entries on disk."""
    place.joinpath("seg").mkdir(parents=True)
    entries = [
        entry(seq, "deployment.health_check", outcome="holds", user="sam" if seq == 7 else "jane") for seq in range(1, count + 1)
    ]
    for first in range(1, count + 1, 400):
        lines = (f"{'0' * 64}\t{json.dumps(each)}\n" for each in entries[first - 1 : first + 399])
        place.joinpath("seg", f"{first:012d}.jsonl").write_text("".join(lines))
    return entries


def long_journal(tmp_path: Path, count: int = 1500) -> TestConsole:
    """A console whose picture has the newest 100 of many entries."""
    entries = stored(tmp_path, count)
    app = TestConsole(picture(entries=tuple(entries[-100:])))
    app.session.pages = JournalPages(tmp_path)
    return app


async def opened(app: TestConsole, pilot: Any) -> Entries:
    await pilot.press("J", "a")
    await until(pilot, lambda: isinstance(app.screen, JournalScreen))
    grid: Entries = app.screen.query_one("#entries", Entries)
    await until(pilot, lambda: grid.shown)
    return grid


# ---- live


async def test_at_its_end_it_follows_and_elsewhere_nothing_moves() -> None:
    app = TestConsole()
    async with app.run_test(size=WIDE) as pilot:
        grid = await opened(app, pilot)
        app.new_picture(picture(entries=(*picture().entries, entry(6, "rollout.paused"))))
        await until(pilot, lambda: grid.selected == "6")
        assert "live" in words_on(app)
        await pilot.press("k", "k")
        await until(pilot, lambda: grid.selected == "4")
        more = (entry(6, "rollout.paused"), entry(7, "rollout.resumed"), entry(8, "rollout.paused"))
        app.new_picture(picture(entries=(*picture().entries, *more)))
        await until(pilot, lambda: "2 new below, G" in words_on(app))
        assert grid.selected == "4"
        await pilot.press("G")
        await until(pilot, lambda: grid.selected == "8" and "live" in words_on(app))


async def test_on_a_small_terminal_a_row_says_of_which_service_and_by_whom() -> None:
    who = (entry(6, "deployment.executed", service="checkout", user="sam"), entry(7, "rollout.paused", user="ops-lee"))
    app = TestConsole(picture(entries=(*picture().entries, *who)))
    async with app.run_test(size=(80, 24)) as pilot:
        grid = await opened(app, pilot)
        await until(pilot, lambda: "ops-lee" in words_on(app))
        lines = words_on(app).splitlines()
        rows = [line.split() for line in lines if "00:09:0" in line and not line.startswith(" timestamp")]
        assert rows[-2][-6:] == ["00:09:06", "executed", "ok", "production", "checkout", "sam"]
        assert rows[-1][-6:] == ["00:09:07", "paused", "ok", "production", "payment-service", "ops-lee"]
        assert "deployment." not in "\n".join(lines[2:10]), "the room goes to what tells rows apart"
        await pilot.press("slash", *"deployment.exec", "enter")
        await until(pilot, lambda: grid.shown == ("3", "4", "6"))
        await pilot.resize_terminal(200, 50)
        await until(pilot, lambda: "deployment.executed" in words_on(app))


async def test_nothing_is_changed_on_an_entry_that_nobody_went_to() -> None:
    ours, other = card(rollout("r-1", service="accounts")), card(rollout("r-2", service="checkout"))
    entries = [entry(seq, "rollout.paused", rollout="r-1", service="accounts") for seq in (1, 2, 3)]
    app = TestConsole(picture(rollouts=(ours, other), entries=tuple(entries)))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        grid = await opened(app, pilot)
        await until(pilot, lambda: grid.selected == "3")
        await pilot.press("R")
        await until(pilot, lambda: "select an entry first" in words_on(app))
        await pilot.press("k")  # a row that somebody went to
        await until(pilot, lambda: " R ROLL BACK" in words_on(app))
        await pilot.press("G")
        await until(pilot, lambda: grid.selected == "3" and " R ROLL BACK" in words_on(app))
        entries.append(entry(4, "rollout.paused", rollout="r-2", service="checkout"))
        app.new_picture(picture(rollouts=(ours, other), entries=tuple(entries)))
        await pilot.press("R")
        await pilot.pause()
        assert app.session.asked == []
        await pilot.press("k", "R")
        await until(pilot, lambda: app.session.asked == [("roll_back", "r-1")])


async def test_the_journal_of_one_rollout_is_about_that_one_whatever_comes() -> None:
    ours, other = card(rollout("r-1", service="accounts")), card(rollout("r-2", service="checkout"))
    entries = [entry(1, "rollout.paused", rollout="r-1", service="accounts")]
    app = TestConsole(picture(rollouts=(ours, other), entries=tuple(entries)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter", "J")
        await until(pilot, lambda: isinstance(app.screen, JournalScreen))
        entries.append(entry(2, "rollout.paused", rollout="r-2", service="checkout"))
        app.new_picture(picture(rollouts=(ours, other), entries=tuple(entries)))
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked == [("roll_back", "r-1")])


# ---- all of it


async def test_older_entries_are_read_as_one_scrolls_up_and_g_goes_to_the_first(tmp_path: Path) -> None:
    app = long_journal(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        grid = await opened(app, pilot)
        assert grid.selected == "1500"
        async with asyncio.timeout(60):
            while int(grid.selected or 0) >= 1100:  # however long a page takes to be read
                await pilot.press("pageup")
        await pilot.press("g")
        await until(pilot, lambda: grid.selected == "1" and "from the first" in words_on(app))
        await pilot.press("G")
        await until(pilot, lambda: grid.selected == "1500")


async def test_a_term_about_a_field_finds_what_is_far_back(tmp_path: Path) -> None:
    app = long_journal(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        grid = await opened(app, pilot)
        await pilot.press("slash", *"user:sam", "enter")
        await until(pilot, lambda: grid.shown == ("7",))
        await pilot.press("escape")
        await until(pilot, lambda: grid.selected == "1500")


async def test_a_term_that_is_none_is_said_and_the_one_before_stays(tmp_path: Path) -> None:
    app = long_journal(tmp_path, 200)
    async with app.run_test(size=WIDE) as pilot:
        grid = await opened(app, pilot)
        await pilot.press("slash", *"user:sam")
        await until(pilot, lambda: grid.shown == ("7",))
        app.screen.query_one("#filter", Input).value = "user:sam since:2x"
        await until(pilot, lambda: "since: takes an age like 2h" in words_on(app))
        assert grid.shown == ("7",)


# ---- where an entry leads


async def test_an_entry_as_fields_as_stored_and_on_the_whole_screen() -> None:
    app = TestConsole()
    async with app.run_test(size=WIDE) as pilot:
        grid = await opened(app, pilot)
        await until(pilot, lambda: "rollback_triggered" in words_on(app) and "55s ago" in words_on(app))
        await pilot.press("y")
        await until(pilot, lambda: '"seq": 5' in words_on(app))
        await pilot.press("k", "enter")
        await until(pilot, lambda: isinstance(app.screen, EntryScreen) and '"seq": 4' in words_on(app))
        await pilot.press("y")
        await until(pilot, lambda: "change_ticket" in words_on(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, JournalScreen))
        assert grid.selected == "4"


async def test_from_an_intent_to_its_outcome_and_back(tmp_path: Path) -> None:
    tmp_path.joinpath("seg").mkdir()
    lines = (f"{'0' * 64}\t{json.dumps(each)}\n" for each in picture().entries)
    tmp_path.joinpath("seg", "000000000001.jsonl").write_text("".join(lines))
    app = TestConsole()
    app.session.pages = JournalPages(tmp_path)
    async with app.run_test(size=WIDE) as pilot:
        grid = await opened(app, pilot)
        await pilot.press("k", "k")
        await until(pilot, lambda: "i its outcome" in words_on(app))
        await pilot.press("i")
        await until(pilot, lambda: grid.selected == "4" and "i its intent" in words_on(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, EntryScreen) and "intent   #3" in words_on(app))


async def test_an_entry_leads_to_its_rollout_and_to_the_story() -> None:
    app = TestConsole()
    async with app.run_test(size=WIDE) as pilot:
        await opened(app, pilot)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, StoryScreen) and "confirmed" in words_on(app))
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen))


async def test_the_story_of_a_rollout_that_no_cluster_has_any_more() -> None:
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, StoryScreen) and "told from the journal" in words_on(app))
        await pilot.press("G")
        await until(pilot, lambda: "no end is on record here" in words_on(app))


def begun_steps(**changes: Any) -> Picture:
    """A sandbox at ten times the pace; the journal's last word of the rollout is of the step under way, its fourth."""
    entries = (
        entry(1, "deployment.started", outcome="started"),
        entry(5, "deployment.health_check", outcome="holds", data={"step": 2}),
        entry(11, "deployment.health_check", outcome="holds", data={"step": 3}),
        entry(13, "deployment.health_check", outcome="holds", data={"step": 3}),
    )
    steps = list(rollout().steps)
    steps[3] = msgspec.structs.replace(steps[3], outcome=StepOutcome.RUNNING, seconds=105.0)
    shown = card(rollout(step=3, steps=tuple(steps)), **changes)
    return picture(rollouts=(shown,), entries=entries, speed=10.0)


async def story_lines(shown: Picture) -> list[str]:
    app = TestConsole(shown)
    async with app.run_test(size=WIDE) as pilot:
        app.push_screen(StoryScreen("r-1"))
        await until(pilot, lambda: "step 4" in words_on(app))
        return [line for line in words_on(app).splitlines() if "step 3" in line or "step 4" in line]


async def test_a_step_under_way_is_told_as_running_and_as_long_as_its_rollout_has_it() -> None:
    done, running = await story_lines(begun_steps())
    assert "✔ step 3" in done
    # six seconds by the clock are a minute in the sandbox
    assert "done  1m 00s" in done
    assert "▶ step 4" in running
    assert "running  1m 45s" in running


async def test_a_step_whose_driver_died_in_it_is_not_told_as_done() -> None:
    _, left = await story_lines(begun_steps(watched=False))
    assert "? step 4" in left
    assert "no end recorded" in left


# ---- other people's rollouts


async def test_whose_driver_was_replaced_is_told_on_any_screen_once_and_stays_on_the_rollout() -> None:
    lost = card(rollout(), own=False, driver="sam@desk", lease_age=1.0, replaced=Replaced("sam@desk", picture().now))
    app = TestConsole()
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        app.new_picture(picture(rollouts=(lost,)))
        await until(pilot, lambda: "was taken over" in words_on(app) and "replaced by sam@desk" in words_on(app))
        assert len(app._notifications) == 1
        app.new_picture(picture(rollouts=(lost,)))
        await pilot.pause()
        assert len(app._notifications) == 1
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RolloutScreen) and "T take over from" in words_on(app))
        text = words_on(app)
        assert "Your driver was replaced by sam@desk at 00:10:00Z; it can no longer change anything." in text
        assert "driven by sam@desk" in text
        assert "T take over from sam@desk" in text


async def test_what_somebody_else_has_done_meanwhile_voids_the_question() -> None:
    long_ago = card(rollout(phase=Phase.SUCCEEDED))
    app = TestConsole(picture(rollouts=(long_ago,)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("J", "k", "R")
        await until(pilot, lambda: "works when it has rested" in words_on(app))
        app.session.gone = "it was rolled back meanwhile: rolled back at 00:09:00Z, driven by sam@desk"
        await app.own_clock.advance(5)
        await until(pilot, lambda: "nothing is left to confirm" in words_on(app))
        assert "driven by sam@desk. Nothing was done." in words_on(app)
        await pilot.press("R")
        await pilot.pause()
        assert [asked[0] for asked in app.session.asked] == ["preview"]


# ---- the window


@given(st.lists(st.tuples(st.sampled_from(["older", "newer", "feed"]), st.integers(1, 1500)), max_size=12), st.integers(1, 5))
def test_the_window_is_a_run_without_gaps_and_bounded(moves: list[tuple[str, int]], every: int) -> None:
    total = 8000

    def wanted(each: Mapping[str, Any]) -> bool:
        return bool(each["seq"] % every == 0)

    def run(first: int, last: int) -> list[dict[str, Any]]:
        return [{"seq": seq} for seq in range(max(1, first), min(total, last) + 1)]

    window = Window(wanted)
    for move, size in moves:
        if move == "feed":
            window.feed(run(total - size, total))
        elif move == "older":
            before = window.low if window.begun else total + 1
            found = run(before - size, before - 1)
            first = found[0]["seq"] if found else before
            page = Page(entries=tuple(each for each in found if wanted(each)), first=first, last=before - 1, end=first <= 1)
            window.older(page)
        else:
            found = run(window.high + 1, window.high + size)
            last = found[-1]["seq"] if found else window.high
            page = Page(
                entries=tuple(each for each in found if wanted(each)), first=window.high + 1, last=last, end=last >= total
            )
            window.newer(page)
        numbers = [int(key) for key in window.entries]
        assert len(numbers) <= LARGEST + 1500
        assert numbers == [seq for seq in range(window.low, window.high + 1) if seq % every == 0 and seq >= 1]

"""The health screen tells of the chain and of each sink; what a filter of entries may go on with; what it leaves, in a file."""

import csv
import dataclasses
import io
import json
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import ManualClock
from support.consoles import CHECKED, NOW, TestConsole, entry, picture, until, words_on
from support.scenes import SCENES
from textual.widgets import Input

from console.fieldterms import FIELDS, TIMES
from console.pages import JournalPages
from console.screens.entries import Entries
from console.screens.health import HealthScreen
from console.screens.journal import JournalScreen
from console.termhints import MOST, suggestions, values_of
from console.verifying import Verified, verified
from services.audit import Event, Journal
from services.redaction import Redactor
from widgets.grid import Grid

WIDE = (140, 45)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME", "CHANGE_TICKET", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUARTERDECK_THEME", "dark")


# ---- health


async def test_a_healthy_journal_is_told_with_its_sinks() -> None:
    app = SCENES["health"].console()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("J", "h")
        await until(pilot, lambda: isinstance(app.screen, HealthScreen) and "holds; 12345 entries" in words_on(app))
        await until(pilot, lambda: "since could be cut off unseen" in words_on(app))  # further down: it is laid out anew first
        seen = words_on(app)
        assert "up to #12300" in seen
        assert "45 entries since could be cut off unseen" in seen
        grid = app.screen.query_one("#sinks", Grid)
        assert grid.shown == ("audit", "datadog")
        assert "0.8s from the journal to the receipt" in seen
        await pilot.press("j")
        await until(pilot, lambda: "44 that were taken may still be lost" in words_on(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, JournalScreen))


async def test_what_is_wrong_is_told_where_it_is_with_what_to_do() -> None:
    scene = SCENES["health bad"]
    app = scene.console()
    async with app.run_test(size=WIDE) as pilot:
        await scene.enter(app, pilot)
        await until(pilot, lambda: "DOES NOT HOLD: 1 problem;" in words_on(app))
        await until(pilot, lambda: "the line does not have the hash that it says" in words_on(app))
        seen = words_on(app)
        assert "000000000001.jsonl #17: the line does not have the hash that it says" in seen
        for told in ("held", "1h 02m", "1204", "403 invalid token", "quarterdeck journal dlq list siem", "not assured"):
            assert told in seen, told


async def test_the_chain_is_examined_again_when_asked_and_a_check_that_failed_says_why() -> None:
    app = TestConsole(picture())
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("J", "h")
        await until(pilot, lambda: "holds; 12345 entries" in words_on(app))
        assert "no sink is configured" in words_on(app)
        app.session.checked = Verified(NOW, failure="the check can't be started: No such file")
        await pilot.press("e")
        await until(pilot, lambda: "the check can't be started: No such file" in words_on(app))
        app.session.checked = Verified(NOW, dataclasses.replace(CHECKED, signed=None))
        await pilot.press("e")
        await until(pilot, lambda: "whoever can write there can write it anew unseen" in words_on(app))


async def test_the_chain_is_checked_by_a_process_of_its_own(tmp_path: Path) -> None:
    clock = ManualClock()
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=clock)
    for n in range(3):
        await journal.append(Event(event="note", user="jane", data={"n": n}))
    journal.close()
    good = await verified(tmp_path, clock)
    assert good.found is not None
    assert (good.found.ok, good.found.entries, good.failure) == (True, 4, "")
    (segment,) = (tmp_path / "journal" / "seg").iterdir()
    segment.write_bytes(segment.read_bytes().replace(b'"jane"', b'"joan"', 1))
    bad = (await verified(tmp_path, clock)).found
    assert bad is not None
    assert not bad.ok
    assert bad.problems


# ---- suggestions


def shown(text: str, **fields: Counter[str]) -> list[str]:
    return [each.shown for each in suggestions(text, fields)]


USERS: Counter[str] = Counter({"jane": 5, "Ada Lovelace": 7, "bob": 1})


def test_names_of_fields_then_what_stands_in_them() -> None:
    assert shown("us") == ["user:"]
    assert shown("pay !ou") == ["!outcome:"]
    assert "service:" in shown("")
    assert shown("user:", user=USERS) == ["Ada Lovelace", "jane", "bob"]
    assert shown("user:J", user=USERS) == ["jane"]
    assert [each.text for each in suggestions("v2 user:ada", {"user": USERS})] == ['v2 user:"Ada Lovelace" ']
    assert [each.text for each in suggestions("!user:bob,ja", {"user": USERS})] == ["!user:bob,jane "]
    assert shown("since:") == ["15m", "1h", "24h", "7d"]
    assert shown("kubectl") == []
    assert shown('"user') == []


@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=12), max_size=6))
def test_whatever_is_typed_a_suggestion_can_be_taken(text: str, users: list[str]) -> None:
    values = values_of({"user": user, "event": "deployment.executed"} for user in users)
    found = suggestions(text, values)
    assert len(found) <= max(MOST, len(FIELDS) + len(TIMES))
    for each in found:
        assert each.text.startswith(text[: len(text) - len(text.rsplit(maxsplit=1)[-1]) if text.split() else 0])


async def test_a_filter_is_put_together_with_tab(tmp_path: Path) -> None:
    app = TestConsole(
        picture(entries=(entry(1, "rollout.paused"), entry(2, "rollout.resumed"), entry(3, "rollout.paused", user="sam")))
    )
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("J", "a", "slash", "u", "s")
        await until(pilot, lambda: "tab user:" in words_on(app))
        await pilot.press("tab")
        await until(pilot, lambda: app.screen.query_one("#filter", Input).value == "user:")
        await until(pilot, lambda: "sam 1" in words_on(app))
        await pilot.press("s", "tab", "enter")
        await until(pilot, lambda: app.screen.query_one("#entries", Entries).shown == ("3",))
        await until(pilot, lambda: "tab service:" not in words_on(app) and not app.screen.query_one("#hints").display)
        await pilot.press("tab")  # in the list it moves between the panes, as ever
        assert app.screen.query_one("#filter", Input).value.strip() == "user:sam"


# ---- what it leaves, in a file


def stored(place: Path, count: int) -> None:
    place.joinpath("seg").mkdir(parents=True)
    entries = [entry(seq, "deployment.executed", user="=sam()" if seq % 7 == 0 else "jane") for seq in range(1, count + 1)]
    lines = (f"{'0' * 64}\t{json.dumps(each)}\n" for each in entries)
    place.joinpath("seg", f"{1:012d}.jsonl").write_text("".join(lines))


async def saved(tmp_path: Path, *keys: str) -> tuple[TestConsole, list[Path]]:
    stored(tmp_path / "journal", 5000)
    app = TestConsole(picture(entries=tuple(entry(seq, "deployment.executed") for seq in range(4990, 5001))))
    app.session.pages, app.session.home = JournalPages(tmp_path / "journal"), tmp_path
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.press("J", "a", *keys)
        await until(pilot, lambda: any(result.title == "Saved" for result in app.results.results))
    return app, sorted((tmp_path / "exports").iterdir())


async def test_everything_that_the_filter_leaves_is_saved_not_only_what_is_on_hand(tmp_path: Path) -> None:
    app, (path,) = await saved(tmp_path, "slash", *"user:sam", "enter", "s")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [each["seq"] for each in found] == list(range(7, 5001, 7))
    assert any(f"{len(found)} entries that user:sam leaves in {path}" in result.text for result in app.results.results)


async def test_a_table_of_them_holds_no_formula_and_patterns_count_too(tmp_path: Path) -> None:
    _, (path,) = await saved(tmp_path, "slash", *"/^49\\d\\d$/", "enter", "x")
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [int(row["seq"]) for row in rows] == list(range(4900, 5000))
    assert {row["user"] for row in rows} == {"jane", "'=sam()"}


async def test_a_disk_that_takes_nothing_is_told_and_leaves_no_file(tmp_path: Path) -> None:
    stored(tmp_path / "journal", 10)
    (tmp_path / "exports").write_text("in the way")
    app = TestConsole(picture())
    app.session.pages, app.session.home = JournalPages(tmp_path / "journal"), tmp_path
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.press("J", "a", "s")
        await until(pilot, lambda: any("was not written" in result.text for result in app.results.results))
    assert (tmp_path / "exports").read_text() == "in the way"

"""What the console keeps of one operator: preferences and deploys that were left unfinished."""

import json
import stat
from datetime import UTC, datetime, timedelta

import pytest
from support.consoles import TestConsole, environment, picture, service, until

from console.remembered import EARLIER_FILE, FILE, Remembered, read, write
from console.screens.deploy import DeployScreen
from console.unfinished import KEPT_FOR, MOST, Unfinished, draft_of, find, forget, keep
from services.model.fleet import FleetView
from services.model.release import DeployRequest
from services.redaction import Redactor
from services.store import StateDamaged, StateUnusable

WIDE = (120, 40)
SHOWN = picture(fleet=FleetView(environments=(environment("production", (service("search"),)),)), rollouts=())
NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def test_what_is_remembered_is_the_person_s_own(tmp_path):
    kept = Remembered(commands=("fleet", "service search"), tour_seen=True, theme="quarterdeck-light")
    assert read(tmp_path) == Remembered()
    assert list(tmp_path.iterdir()) == [], "reading leaves nothing behind"
    write(tmp_path, kept)
    assert read(tmp_path) == kept
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[1]", b"\xff\xfe", b'{"preferences": 3}', b'{"preferences": {"x": {}}}', b"[" * 9999]
)
def test_a_damaged_file_is_named_and_its_copy_kept(tmp_path, damage):
    (tmp_path / FILE).write_bytes(damage)
    with pytest.raises(StateDamaged, match=FILE) as raised:
        read(tmp_path)
    assert raised.value.kept == tmp_path / FILE
    assert (tmp_path / FILE).read_bytes() == damage, "reading changes nothing"
    write(tmp_path, Remembered(theme="quarterdeck-light"))
    assert read(tmp_path).theme == "quarterdeck-light"
    assert [path.read_bytes() for path in tmp_path.glob(f"{FILE}.damaged-*")] == [damage]


def test_a_document_of_another_form_loses_nothing_but_itself(tmp_path):
    (tmp_path / FILE).write_text('{"preferences": {"1": {"commands": 3}}, "drafts": {"1": {"service": 7}}}')
    assert read(tmp_path) == Remembered()
    assert find(tmp_path, "search", NOW) is None


def test_what_was_kept_before_there_was_a_store_is_taken_over(tmp_path):
    earlier = {"commands": ["fleet"], "tour_seen": True, "theme": "quarterdeck-light"}
    (tmp_path / EARLIER_FILE).write_text(json.dumps(earlier))
    before = read(tmp_path)
    assert before == Remembered(commands=("fleet",), tour_seen=True, theme="quarterdeck-light")
    write(tmp_path, Remembered(commands=("fleet", "env dev"), tour_seen=True, theme="quarterdeck-light"), before)
    assert read(tmp_path) == Remembered(commands=("fleet", "env dev"), tour_seen=True, theme="quarterdeck-light")
    assert not (tmp_path / EARLIER_FILE).exists()


def test_a_file_of_before_that_can_not_be_read_stays_for_a_person(tmp_path):
    (tmp_path / EARLIER_FILE).write_bytes(b"{")
    write(tmp_path, Remembered(tour_seen=True))
    assert read(tmp_path) == Remembered(tour_seen=True)
    assert (tmp_path / EARLIER_FILE).read_bytes() == b"{"


def test_two_consoles_keep_each_other_s_changes(tmp_path):
    write(tmp_path, Remembered(theme="quarterdeck-light"))
    seen_by_both = read(tmp_path)
    write(tmp_path, Remembered(theme="quarterdeck-light", tour_seen=True), seen_by_both)
    write(tmp_path, Remembered(theme="quarterdeck-light", commands=("fleet",)), seen_by_both)
    assert read(tmp_path) == Remembered(theme="quarterdeck-light", tour_seen=True, commands=("fleet",))


def test_a_home_that_takes_nothing_says_so(tmp_path):
    with pytest.raises(StateUnusable, match="opened"):
        write(tmp_path / "missing", Remembered())
    (tmp_path / FILE).mkdir()
    with pytest.raises(StateUnusable, match="read"):
        read(tmp_path)


# ---- deploys that were left


def draft(service="search", hours=0.0, **typed):
    return Unfinished(service=service, left=NOW + timedelta(hours=hours), **{"version": "v2.0.0", **typed})


def test_the_newest_draft_of_a_service_is_kept_until_it_is_started(tmp_path):
    keep(tmp_path, draft(ticket="CHG-1"))
    keep(tmp_path, draft("checkout"))
    keep(tmp_path, draft(hours=1, ticket="CHG-2"))
    assert find(tmp_path, "search", NOW) == draft(hours=1, ticket="CHG-2")
    forget(tmp_path, "search")
    assert find(tmp_path, "search", NOW) is None
    assert find(tmp_path, "checkout", NOW) == draft("checkout")


def test_old_drafts_and_too_many_of_them_go(tmp_path):
    for n in range(MOST + 5):
        keep(tmp_path, draft(f"service-{n}", hours=n / 10))
    assert [n for n in range(MOST + 5) if find(tmp_path, f"service-{n}", NOW)] == list(range(5, MOST + 5))
    assert find(tmp_path, "service-20", NOW + KEPT_FOR + timedelta(days=1)) is None


def test_what_is_no_draft_is_not_kept_and_secrets_are_not_either():
    redactor = Redactor()
    redactor.register("hunter2hunter2")
    request = DeployRequest(service="search", version="v2", environment="production", ticket="CHG-1 hunter2hunter2")
    made = draft_of(request, NOW, redactor.text)
    assert made is not None
    assert "hunter2" not in repr(made)
    assert draft_of(DeployRequest(service="search", version="", environment="production"), NOW, redactor.text) is None
    assert draft_of(DeployRequest(service="search", version="v" * 999, environment=""), NOW, redactor.text) is None


async def test_a_form_that_was_left_is_filled_again_but_for_where_it_goes(tmp_path):
    app = TestConsole(SHOWN)
    app.session.home = tmp_path
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, DeployScreen) and app.screen.entered)
        service = app.screen.request().service
        assert service
        app.screen._field("environment").set_value("production")
        app.screen._field("version").set_value("v9.9.9")
        app.screen._field("ticket").set_value("CHG-77")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen.where == "fleet")
        await until(pilot, lambda: find(tmp_path, service, app.clock.now()) is not None)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, DeployScreen) and app.screen.request().version == "v9.9.9")
        request = app.screen.request()
        assert (request.ticket, request.environment) == ("CHG-77", "")
        await until(pilot, lambda: any("is in the form again" in told.text for told in app.results.results))

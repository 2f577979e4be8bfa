"""The service screen: what serves, revisions with who brought them, routes, events, and the way back to any revision."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from support.consoles import HOSTILE, SAID, TestConsole, card, picture, questioned, rollout, until, words_on
from support.processes import stop

from console.context import Context
from console.inspecting import Inspecting, Said
from console.rollbacks import Rollbacks
from console.screens.event import EventScreen
from console.screens.restore import RestoreScreen
from console.screens.revisions import servings
from console.screens.service import ServiceScreen
from console.tailing import LogsOf, Tail
from console.view import Picture
from console.watching import Watching
from services.audit import Event
from services.cluster.fleet import fleet_view
from services.cluster.inventory import Inventory, Unreadable
from services.cluster.podlogs import Span
from services.model.errors import Rejected
from services.model.rollout import Phase
from services.sandbox.launch import start_detached
from services.sandbox.remote import Remote
from widgets.grid import Grid
from widgets.logpane import Record

WIDE, NARROW = (160, 40), (80, 24)


@pytest.fixture
def app():
    return TestConsole()


async def opened(app, pilot) -> None:
    app.open_service("production", "payment-service")
    await until(pilot, lambda: "virtualservice" in words_on(app) or "REVISIONS" in words_on(app))
    await until(pilot, lambda: app.screen.query_one("#events", Grid).row_count == 2)


async def test_everything_of_a_service_is_on_the_screen(app):
    async with app.run_test(size=WIDE) as pilot:
        await opened(app, pilot)
        text = words_on(app)
        assert "canary v2.15.0  1/1 ready   25% of the requests   errors 0.11%" in text
        assert "stable v2.14.1  3/3 ready   75% of the requests" in text
        revision = next(line for line in text.splitlines() if "v2.14.0" in line and "kept" in line)
        assert "unknown" in revision
        assert "ops-lee" in next(line for line in text.splitlines() if " 12  v2.14.1" in line)
        assert "canary 25%   wanted 25%" in text
        assert "stable 75   canary 25" in text
        assert "headers x-beta exact yes" in text
        assert "! Unhealthy" in text
        assert "Readiness probe failed" in text


async def test_a_narrow_terminal_shows_its_panes_in_turn(app):
    async with app.run_test(size=NARROW) as pilot:
        await opened(app, pilot)
        assert "REVISIONS   v  PODS  events  routes" in words_on(app)
        await pilot.press("v")
        await until(pilot, lambda: "Readiness probe failed" in words_on(app))
        await pilot.press("v")
        await until(pilot, lambda: "istio" in words_on(app))
        await pilot.press("v")
        await until(pilot, lambda: "ops-lee" in words_on(app))


async def test_enter_on_an_event_shows_it_whole_and_leads_back(app):
    long = f"{HOSTILE} and at its very end the cause: no such image"
    first, *others = SAID.events
    app.session.said = Said(events=(msgspec.structs.replace(first, message=long), *others))
    async with app.run_test(size=NARROW) as pilot:
        await opened(app, pilot)
        await pilot.press("v")
        await until(pilot, lambda: "EVENTS" in words_on(app) and app.screen.query_one("#events", Grid).has_focus)
        assert "no such image" not in words_on(app), "the row has no room for it"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, EventScreen))
        told = " ".join(words_on(app).replace("│", " ").split())
        assert "Pod payment-service-canary-1-0" in told
        assert "at its very end the cause: no such image" in told
        assert "2026-01-01 00:08:30Z 1m ago" in told
        assert "[/foo] [bold red]x[/]" in told, "it is shown as it stands"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ServiceScreen))
        assert app.screen.query_one("#events", Grid).has_focus


async def test_over_an_event_the_key_still_rolls_back(app):
    async with app.run_test(size=NARROW) as pilot:
        await opened(app, pilot)
        await pilot.press("v")
        await until(pilot, lambda: app.screen.query_one("#events", Grid).has_focus)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, EventScreen))
        await pilot.press("R")
        await until(pilot, lambda: ("roll_back", "r-1") in app.session.asked)


async def test_events_that_may_not_be_read_are_said(app):
    app.session.said = Said(problem="production answered 403 Forbidden: events is forbidden")
    async with app.run_test(size=WIDE) as pilot:
        app.open_service("production", "payment-service")
        await until(pilot, lambda: "not known: production answered 403 Forbidden" in words_on(app))


async def test_a_revision_is_shown_first_and_rolled_back_to_after_the_key(app):
    app.picture = picture(rollouts=())
    async with app.run_test(size=WIDE) as pilot:
        await opened(app, pilot)
        revisions = app.screen.query_one("#revisions", Grid)
        app.screen.set_focus(revisions)
        revisions.select("stable/11")
        await until(pilot, lambda: "ROLL BACK to revision 11" in words_on(app))
        await pilot.press("R")
        await until(pilot, lambda: questioned(app, RestoreScreen))
        assert app.session.asked == [("preview", "production", "payment-service", "11")]
        await app.own_clock.advance(1.0)
        await pilot.press("R")
        await until(pilot, lambda: len(app.session.asked) == 2)
        assert app.session.asked[-1] == ("roll_back_service", "production", "payment-service")


async def test_a_live_rollout_goes_before_any_revision(app):
    async with app.run_test(size=WIDE) as pilot:
        await opened(app, pilot)
        revisions = app.screen.query_one("#revisions", Grid)
        app.screen.set_focus(revisions)
        revisions.select("stable/11")
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked == [("roll_back", "r-1")])


async def test_logs_are_of_what_is_selected(app):
    async with app.run_test(size=WIDE) as pilot:
        await opened(app, pilot)
        app.screen.query_one("#pods", Grid).select("payment-service-12-1")
        await pilot.press("l")
        await until(pilot, lambda: app.session.asked[-1:] == [("logs", "payment-service-12-1", "", "", "")])
        await pilot.press("q")
        app.screen.set_focus(app.screen.query_one("#revisions"))
        app.screen.query_one("#revisions", Grid).select("canary/1")
        await pilot.press("l")
        await until(pilot, lambda: app.session.asked[-1] == ("logs", "payment-service-canary-1", "", "", ""))


async def test_a_rolled_back_service_can_still_go_to_another_revision(app):
    app.picture = picture(rollouts=(card(rollout(phase=Phase.ROLLED_BACK)),))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(app, pilot)
        app.screen.set_focus(app.screen.query_one("#revisions"))
        app.screen.query_one("#revisions", Grid).select("stable/10")
        await pilot.press("R")
        await until(pilot, lambda: app.session.asked == [("preview", "production", "payment-service", "10")])


# ---- on the sandbox


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("sandbox")
    document = start_detached(place, "good", 20.0)
    yield place
    stop(document["pid"])


class Open:
    """A context with what it watches, and a picture of that."""

    def __init__(self, context: Context, watching: Watching) -> None:
        self.context = context
        self.watching = watching
        self.rollbacks = Rollbacks(context, watching, self.picture, lambda process: None)

    def picture(self) -> Picture:
        return Picture(fleet_view(self.context.settings.environments, self.watching.inventories, self.context.clock))


@pytest.fixture
async def session(home: Path, tmp_path: Path) -> AsyncIterator[Open]:
    arguments = argparse.Namespace(config=str(home / "config.yaml"), home=str(tmp_path / "home"), read_only=False)
    async with Context.open(arguments) as context:
        watching = Watching(context, lambda: None)
        task = asyncio.create_task(watching.keep("production"))
        try:
            async with asyncio.timeout(60):
                while "production" not in watching.inventories or not watching.inventories["production"].synced:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            yield Open(context, watching)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_a_service_of_the_sandbox_stands_as_it_does(session: Open) -> None:
    inspecting = Inspecting(session.context, session.watching)
    standing = await inspecting.standing("production", "production", "payment-service")
    assert [(each.number, each.version, each.ready, each.current) for each in standing.revisions] == [
        (2, "v2.14.1", 6, True),
        (1, "v2.14.0", 0, False),
    ]
    assert standing.origins == {}
    assert [(route.router, route.actual) for route in standing.routes] == [("istio", 0)]
    assert len(standing.revisions[0].pods) == 6


async def test_what_may_not_be_read_makes_no_share_of_requests(session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an HTTPRoute may split the requests and can't be seen, the pods' parts are not the requests'."""
    forbidden = (
        Unreadable("HTTPRoute", "production", "forbidden", absent=False),
        Unreadable("Ingress", "production", "no such kind", absent=True),
        Unreadable("HTTPRoute", "elsewhere", "forbidden", absent=False),
    )
    before = await Inspecting(session.context, session.watching).standing("production", "production", "accounts")
    monkeypatch.setattr(Inventory, "unreadable", property(lambda self: forbidden))
    standing = await Inspecting(session.context, session.watching).standing("production", "production", "accounts")
    assert [(route.router, route.actual) for route in before.routes] == [("replicas", 0)]
    assert [(route.router, route.actual, route.problem) for route in standing.routes] == [
        ("?", None, "not known: HTTPRoutes may not be read")
    ]
    (view,) = (each for each in session.picture().environment("production").services if each.name == "accounts")
    assert [each.share for each in servings(view, before, None)] == [100]
    assert [each.share for each in servings(view, standing, None)] == [None]
    routed = await Inspecting(session.context, session.watching).standing("production", "production", "payment-service")
    assert [(route.router, route.actual) for route in routed.routes] == [("istio", 0), ("?", None)]


async def test_events_come_newest_first_and_of_this_service_only(session: Open, home: Path) -> None:
    remote = await Remote.open(home / "kubeconfig", "production")
    path = "/apis/apps/v1/namespaces/production/deployments/ledger"
    try:
        await remote.call("PATCH", path, {"spec": {"replicas": 3}}, content_type="application/merge-patch+json")
        inspecting = Inspecting(session.context, session.watching)
        async with asyncio.timeout(60):
            while not (said := await inspecting.events("production", "production", "ledger", [])).events:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    finally:
        await remote.close()
    assert any(event.reason == "ScalingReplicaSet" for event in said.events)
    assert [event.last for event in said.events] == sorted((event.last for event in said.events), reverse=True)
    assert not (await inspecting.events("production", "production", "accounts", [])).events


async def test_the_way_back_to_a_revision_is_shown_with_every_value(session: Open) -> None:
    preview = await session.rollbacks.preview("production", "accounts", "1")
    text = "\n".join(preview.lines)
    assert "to revision 1" in preview.title
    assert "accounts v2.7.0 → v2.6.3" in text
    assert "accounts:v2.7.0 → " in text
    assert "accounts:v2.6.3" in text
    assert "Expected: " in text
    assert "Expected: 0 s" not in text


async def test_the_way_back_to_a_version_that_was_taken_back_says_so_first(session: Open) -> None:
    why = {"kind": "operator", "name": "rollback", "detail": "P99 doubled"}
    await session.context.journal.append(
        Event(
            event="deployment.completed",
            user="jane",
            environment="production",
            service="accounts",
            version="v2.6.3",
            outcome="rolled_back",
            rollout="accounts-1",
            data={"previous_version": "v2.7.0", "reason": why},
        )
    )
    assert (await session.rollbacks.preview("production", "search", "1")).warning == ""
    preview = await session.rollbacks.preview("production", "accounts", "1")
    assert preview.warning.startswith("v2.6.3 was rolled back to v2.7.0 at ")
    app = TestConsole()
    async with app.run_test(size=WIDE) as pilot:
        app.push_screen(RestoreScreen(app.own_clock, preview))
        await until(pilot, lambda: "accounts v2.7.0 → v2.6.3" in words_on(app))
        lines = words_on(app).splitlines()
        warned = next(index for index, line in enumerate(lines) if "v2.6.3 was rolled back to v2.7.0 at" in line)
        assert warned < next(index for index, line in enumerate(lines) if "accounts v2.7.0 → v2.6.3" in line)
        assert "P99 doubled" in words_on(app)
        await app.own_clock.advance(0.5)
        await until(pilot, lambda: "R rolls back now" in words_on(app))


async def test_a_revision_that_is_gone_is_said_and_nothing_is_done(session: Open, home: Path) -> None:
    with pytest.raises(Rejected, match="not among the revisions"):
        await session.rollbacks.preview("production", "search", "77")
    preview = await session.rollbacks.preview("production", "search", "1")
    remote = await Remote.open(home / "kubeconfig", "production")
    sets = "/apis/apps/v1/namespaces/production/replicasets"
    try:
        listed = (await remote.call("GET", f"{sets}?labelSelector=app%3Dsearch"))["items"]
        old = next(each for each in listed if each["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1")
        await remote.call("DELETE", f"{sets}/{old['metadata']['name']}")
        before = await remote.call("GET", "/apis/apps/v1/namespaces/production/deployments/search")
        # whether the watch or the cluster's own answer is first to say so
        with pytest.raises(Rejected, match=r"not among the revisions|revision 1 was deleted meanwhile"):
            await session.rollbacks.of_service("production", "search", preview)
        after = await remote.call("GET", "/apis/apps/v1/namespaces/production/deployments/search")
    finally:
        await remote.close()
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


async def test_a_dialog_says_that_its_revision_was_deleted_meanwhile(session: Open, home: Path) -> None:
    preview = await session.rollbacks.preview("production", "catalog")
    assert session.rollbacks.overtaken("production", "catalog", preview) == ""
    dialog = RestoreScreen(session.context.clock, preview, lambda: session.rollbacks.overtaken("production", "catalog", preview))
    remote = await Remote.open(home / "kubeconfig", "production")
    sets = "/apis/apps/v1/namespaces/production/replicasets"
    try:
        listed = (await remote.call("GET", f"{sets}?labelSelector=app%3Dcatalog"))["items"]
        old = next(each for each in listed if each["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1")
        await remote.call("DELETE", f"{sets}/{old['metadata']['name']}")
    finally:
        await remote.close()
    app = TestConsole()
    async with app.run_test(size=NARROW) as pilot:
        answers: list[bool | None] = []
        app.push_screen(dialog, answers.append)
        await until(pilot, lambda: "Revision 1 was deleted meanwhile. Nothing was done." in words_on(app))
        assert "R rolls back now" not in words_on(app)
        await pilot.press("R")
        assert answers == []
    with pytest.raises(Rejected, match=r"revision 1 was deleted meanwhile\. Nothing was done"):
        await session.rollbacks.of_service("production", "catalog", preview)


async def test_logs_of_all_pods_come_together_and_new_pods_join(session: Open, home: Path) -> None:
    tail = Tail(session.context, session.watching, LogsOf("production", "notifications"), Span())
    seen: list[Record] = []
    remote = await Remote.open(home / "kubeconfig", "production")
    path = "/apis/apps/v1/namespaces/production/deployments/notifications"
    try:
        batches = tail.batches()
        async with asyncio.timeout(60):
            both: list[Record] = []
            while len({record.tag for record in both}) < 2:  # one pod's log may begin later: in order is what comes at once
                both = await anext(batches)
                assert [record.at for record in both] == sorted(record.at for record in both if record.at is not None)
                seen += both
            await remote.call("PATCH", path, {"spec": {"replicas": 3}}, content_type="application/merge-patch+json")
            while len({record.tag for record in seen}) < 3:
                seen += await anext(batches)
            assert tail.followed.live == 3
            assert tail.followed.container == "notifications"
            await remote.call("PATCH", path, {"spec": {"replicas": 2}}, content_type="application/merge-patch+json")
            while not any(record.told and "ended: the pod is gone" in record.text for record in seen):
                seen += await anext(batches)
        await batches.aclose()
    finally:
        await remote.close()
    assert {record.tag.split()[0] for record in seen} == {"v1.4.2"}

"""What is unsafe: nothing of it is ever missing, its order is total, and the worst is on the line at any width."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import ManualClock
from support.consoles import NOW, PACE, TestConsole, card, environment, picture, rollout, service, until, words_on
from textual.widgets import Input

from console.announcing import FORGOTTEN_AFTER, KEEP_TITLE, RESTORE_TITLE, Announcer, title_of, wanted
from console.attention import ALARMS, Concern, Kind, concerns, following
from console.screens.fleet import FleetScreen
from console.screens.journal import JournalScreen
from console.screens.rollout import RolloutScreen
from console.screens.service import ServiceScreen
from console.screens.status import attention, freshness, status_parts
from console.view import Picture, RolloutCard, Selection
from services.model.fleet import EnvironmentView, FleetView, Health, ServiceView
from services.model.rollout import Phase
from services.model.steps import Pause
from widgets import ink
from widgets.grid import Grid
from widgets.statusbar import draw_status
from widgets.text import width as cells

NAMES = ("production", "canary", "staging", "dev")
SERVICES = ("cart", "checkout", "payment-service", "search")
APPROVAL = "approval: the plan waits here until a person promotes it"


@st.composite
def services(draw: st.DrawFn, place: str) -> tuple[ServiceView, ...]:
    names = draw(st.lists(st.sampled_from(SERVICES), unique=True, max_size=4))
    return tuple(service(name, place, health=draw(st.sampled_from(list(Health)))) for name in names)


@st.composite
def environments(draw: st.DrawFn, name: str) -> EnvironmentView:
    reachable = draw(st.booleans())
    return environment(
        name,
        draw(services(name)),
        reachable=reachable,
        age_seconds=draw(st.floats(0, 9)) if reachable else draw(st.none() | st.floats(10, 90_000)),
        problem=draw(st.sampled_from(("", "can't read pods in it: forbidden", "no route to host " * 20))),
    )


@st.composite
def cards(draw: st.DrawFn, key: str) -> RolloutCard:
    made = rollout(
        key,
        service=draw(st.sampled_from(SERVICES)),
        phase=draw(st.sampled_from(list(Phase))),
        pause_reason=draw(st.sampled_from(("", "operator: paused by jane", "undecided: too few requests"))),
        rollback_started=draw(st.none() | st.just(PACE - 30)),
        written=NOW - timedelta(seconds=40),
    )
    return card(made, environment=draw(st.sampled_from(NAMES)), watched=draw(st.sampled_from((True, False, None))))


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    known = draw(st.lists(st.sampled_from(NAMES), unique=True))
    ok = draw(st.booleans())
    return picture(
        fleet=FleetView(environments=tuple(draw(environments(name)) for name in known)),
        rollouts=tuple(draw(cards(f"r-{number}")) for number in range(draw(st.integers(0, 5)))),
        journal_ok=ok,
        journal_detail="" if ok else draw(st.sampled_from(("disk full", "[/x] no space left on device " * 30))),
        failure=draw(st.sampled_from(("", "OSError; start the console again"))),
        read_only=draw(st.booleans()),
        speed=draw(st.sampled_from((1.0, 20.0))),
    )


@given(pictures())
def test_nothing_unsafe_is_ever_missing(shown: Picture) -> None:
    found = concerns(shown)
    at = {(concern.place.environment, concern.place.service, concern.place.rollout) for concern in found}
    assert (Kind.JOURNAL in {concern.kind for concern in found}) is not shown.journal_ok
    assert (Kind.CUT_OFF in {concern.kind for concern in found}) is bool(shown.failure)
    for one in shown.rollouts:
        trouble = one.orphaned or one.rollout.phase in (Phase.NEEDS_ATTENTION, Phase.ROLLING_BACK, Phase.PAUSED)
        assert ((one.environment, one.rollout.release.service, one.key) in at) is trouble
    for view in shown.fleet.environments:
        asked_once = not view.reachable and view.age_seconds is None and not view.problem
        assert ((view.name, "", "") in at) is (not asked_once and (not view.reachable or bool(view.problem)))
        for each in view.services if view.reachable else ():
            assert ((view.name, each.name, "") in at) is (each.health in (Health.FAILED, Health.DEGRADED))


@given(pictures())
def test_the_order_is_total_and_the_same_whatever_order_things_come_in(shown: Picture) -> None:
    from dataclasses import replace

    found = concerns(shown)
    assert len({concern.identity for concern in found}) == len(found)
    ranks = [list(Kind).index(concern.kind) for concern in found]
    assert ranks == sorted(ranks)
    turned = replace(shown, rollouts=shown.rollouts[::-1], fleet=FleetView(environments=shown.fleet.environments[::-1]))
    assert concerns(turned) == found


@given(pictures(), st.integers(12, 300))
def test_it_fits_any_width_and_the_worst_is_never_dropped(shown: Picture, width: int) -> None:
    line = draw_status(*status_parts(shown, "fleet"), width)
    assert ink.cells(line) == width
    if concerns(shown):
        told = attention(shown)[0]
        written = ink.plain(line)
        assert written[: width - 1].startswith(told.short[: width - 2]) or written.startswith(told.text)


@given(pictures())
def test_each_press_goes_one_further_and_in_the_end_round(shown: Picture) -> None:
    found = concerns(shown)
    walked: list[Concern] = []
    last = None
    for _ in found:
        last = following(found, last)
        assert last is not None
        walked.append(last)
    assert tuple(walked) == found
    assert following(found, last) == (found[0] if found else None)


def test_a_pause_that_the_plan_asks_for_is_no_concern() -> None:
    made = rollout(phase=Phase.PAUSED, pause_reason=APPROVAL)
    planned = made.plan.__class__(
        **{name: getattr(made.plan, name) for name in made.plan.__struct_fields__}
        | {"steps": (Pause(name="approval", seconds=None),)}
    )
    assert (
        concerns(
            picture(rollouts=(card(rollout(phase=Phase.PAUSED, pause_reason=APPROVAL, plan=planned, step=0)),), fleet=FleetView())
        )
        == ()
    )
    other = rollout(phase=Phase.PAUSED, pause_reason="operator: paused by jane", plan=planned, step=0)
    assert [found.kind for found in concerns(picture(rollouts=(card(other),), fleet=FleetView()))] == [Kind.PAUSED]


def test_it_says_since_when() -> None:
    back = card(rollout(phase=Phase.ROLLING_BACK, rollback_started=PACE - 40))
    gone = environment("dev", reachable=False, age_seconds=90.0, problem="refused")
    told = concerns(picture(rollouts=(back,), fleet=FleetView(environments=(gone,)), speed=20.0))
    assert [concern.since for concern in told] == [NOW - timedelta(seconds=2), NOW - timedelta(seconds=90)]


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (environment("dev", age_seconds=3.4), "  3s ago"),
        (
            environment("dev", age_seconds=2.0, problem="can't read pods in dev: forbidden"),
            "  2s ago  ? can't read pods in dev: forbidden",
        ),
        (environment("dev", reachable=False, age_seconds=44.0, problem="refused"), "  ? unreachable, seen 44s ago: refused"),
        (environment("dev", reachable=False, age_seconds=None, problem="refused"), "  ? never reached: refused"),
        (environment("dev", reachable=False, age_seconds=None), ""),
        (None, ""),
    ],
)
def test_a_pane_says_how_old_its_figures_are_and_what_is_wrong(view: EnvironmentView | None, words: str) -> None:
    assert ink.plain(freshness(view)) == words


async def test_rollouts_of_a_cluster_that_is_gone_are_grey_and_the_rest_is_not() -> None:
    gone = environment("staging", reachable=False, age_seconds=90.0, problem="refused")
    half = environment("dev", (service("search", "dev"),), problem="can't read pods in dev: forbidden")
    far = rollout("r-far", service="cart")
    shown = picture(
        fleet=FleetView(environments=(half, gone)), rollouts=(card(far, environment="staging"), card(rollout("r-near")))
    )
    app = TestConsole(shown)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "as last seen in staging" in words_on(app))
        await pilot.press("tab")
        app.screen.query_one("#environments", Grid).select("dev")
        await until(pilot, lambda: "can't read pods in dev" in words_on(app) and "search" in words_on(app))


# ---- on the terminal


def alarm(kind: Kind, key: str) -> Concern:
    return next(
        found
        for found in concerns(
            picture(
                fleet=FleetView(),
                rollouts=(
                    card(rollout(key, phase=Phase.ROLLING_BACK)),
                    card(rollout(key + "-lost"), watched=False),
                    card(rollout(key + "-paused", phase=Phase.PAUSED)),
                ),
            )
        )
        if found.kind is kind
    )


async def test_the_bell_rings_once_for_each_new_alarm_and_for_nothing_less() -> None:
    written: list[str] = []
    clock = ManualClock()
    announcer = Announcer(written.append, clock)

    def rings(*found: Concern) -> int:
        written.clear()
        announcer.tell(found)
        return written.count("\x07")

    back, lost = alarm(Kind.ROLLING_BACK, "a"), alarm(Kind.ORPHANED, "a")
    assert rings() == 0
    assert rings(alarm(Kind.PAUSED, "a")) == 0
    assert [rings(back), rings(back), rings(lost, back), rings(lost, back)] == [1, 0, 1, 0]
    assert [rings(lost), rings(lost, back)] == [0, 0], "one that comes and goes does not ring each time"
    rings()
    await clock.advance(FORGOTTEN_AFTER + 1)
    assert rings(back) == 1


def test_the_title_says_the_worst_and_is_given_back() -> None:
    written: list[str] = []
    announcer = Announcer(written.append, ManualClock())
    announcer.leave()
    assert written == []
    announcer.tell(())
    assert written == [f"{KEEP_TITLE}\x1b]2;quarterdeck\x07"]
    hostile = Concern(Kind.FAILED, "evil\x07\x1b]2;pwned\x1b\\ \u202e" + "x" * 300, Selection("dev", "evil"), "bad", None)
    announcer.tell((hostile, hostile))
    title = written[-1].removeprefix("\x1b]2;").removesuffix("\x07")
    assert title.isprintable()
    assert cells(title) < 90
    assert title.endswith("(+1) - quarterdeck")
    announcer.leave()
    assert written[-1] == RESTORE_TITLE
    assert title_of(()) == "quarterdeck"


@pytest.mark.parametrize(("value", "on"), [("", True), ("on", True), ("off", False), ("OFF", False), ("0", False)])
def test_it_can_be_turned_off(value: str, on: bool) -> None:
    assert wanted({"QUARTERDECK_BELL": value}) is on
    assert wanted({})


async def test_a_headless_console_writes_nothing_to_a_terminal() -> None:
    app = TestConsole(picture(rollouts=(card(rollout(), watched=False),)))
    async with app.run_test() as pilot:
        await pilot.pause()
        assert app.announcer is None


# ---- by key


async def test_one_key_goes_to_the_worst_and_then_to_the_next() -> None:
    gone = environment("staging", reachable=False, age_seconds=90.0, problem="refused")
    failed = environment("dev", (service("search", "dev", health=Health.FAILED),))
    shown = picture(
        fleet=FleetView(environments=(failed, gone)),
        rollouts=(card(rollout("r-lost"), watched=False), card(rollout("r-paused", phase=Phase.PAUSED))),
        journal_ok=False,
        journal_detail="disk full",
    )
    app = TestConsole(shown)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        depth = len(app.screen_stack)
        for expected in ("journal", "r-lost", "search", "staging", "r-paused", "journal"):
            await pilot.press("exclamation_mark")
            await until(pilot, lambda expected=expected: _place(app.screen) == expected)
            assert len(app.screen_stack) <= depth + 1, "the walk leaves nothing behind"
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, FleetScreen))
        await pilot.press("exclamation_mark")
        await until(pilot, lambda: _place(app.screen) == "journal"), "a new walk begins at the worst"


def _place(screen: object) -> str:
    if isinstance(screen, JournalScreen):
        return "journal"
    if isinstance(screen, RolloutScreen):
        return screen.key
    if isinstance(screen, ServiceScreen):
        return screen.service
    assert isinstance(screen, FleetScreen)
    return screen.environment


async def test_a_half_filled_form_survives_the_walk() -> None:
    gone = environment("staging", reachable=False, age_seconds=90.0, problem="refused")
    app = TestConsole(picture(fleet=FleetView(environments=(environment("dev"), gone)), rollouts=()))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("d")
        await until(pilot, lambda: "RELEASE" in words_on(app))
        await pilot.press(*"stag", "escape")
        await until(pilot, lambda: app.screen.focused is not None and not isinstance(app.screen.focused, Input))
        await pilot.press("exclamation_mark")
        await until(pilot, lambda: _is_fleet_of(app.screen, "staging"))
        await pilot.press("q")
        await until(pilot, lambda: "stag" in words_on(app) and "RELEASE" in words_on(app))


def _is_fleet_of(screen: object, environment: str) -> bool:
    return isinstance(screen, FleetScreen) and screen.environment == environment


def test_every_alarm_is_loud() -> None:
    assert {Kind.JOURNAL, Kind.ORPHANED, Kind.NEEDS_PERSON, Kind.ROLLING_BACK} <= ALARMS

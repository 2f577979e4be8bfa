"""What an operator reads of the judge: while a rollout runs, after it, from another console; and before it, on the form."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
from support.consoles import NOW, TestConsole, card, foresight, picture, rollout, until, words_on
from support.judgements import REPLAYED, errors, judgement, regressed, slow

from console.screens.deploy import DeployScreen
from console.screens.evidence import course_of, gauges_of, judged_of
from console.screens.foresight import SightView, draw_sight
from console.screens.rollout import RolloutScreen
from console.view import Selection
from services.model.errors import Unavailable
from services.model.rollout import Baseline, Phase, Reason, Rollout
from services.rollout.foresight import Foresight
from widgets import ink
from widgets.confirm import TypedConfirmation
from widgets.evidence import JudgementView
from widgets.ink import Lines

NARROW, WIDE, HUGE = (80, 24), (120, 40), (300, 80)


def flat(app: TestConsole) -> str:
    """The words on the screen as one text: where a line ends is no matter."""
    return " ".join(words_on(app).split())


async def opened(app: TestConsole, pilot: Any) -> str:
    app.open_rollout("r-1")
    await until(pilot, lambda: isinstance(app.screen, RolloutScreen) and app.screen.entered)
    await pilot.pause()
    return flat(app)


def console(shown: Rollout, **changes: Any) -> TestConsole:
    return TestConsole(picture(rollouts=(card(shown, **changes),)))


# the rollout


@pytest.mark.parametrize(("value", "word"), [(9.1, "quiet"), (25.0, "watch"), (60.0, "suspicious"), (100.0, "abort")])
async def test_evidence_of_a_regression_has_a_word(value, word):
    app = console(rollout(judgement=judgement(regression=value)))
    async with app.run_test(size=(200, 50)) as pilot:
        text = await opened(app, pilot)
        assert f"{value:.0f} / 100 {word}" in text
        assert "71 / 100" in text


@pytest.mark.parametrize(("size", "said"), [(NARROW, "99 suspicious"), (HUGE, "99 / 100 suspicious")])
async def test_what_is_not_enough_is_not_shown_as_all_of_it(size, said):
    app = console(rollout(judgement=judgement(regression=99.7, health=99.8)))
    async with app.run_test(size=size) as pilot:
        text = await opened(app, pilot)
        assert said in text
        assert text.count(" 99 ") == 2


@pytest.mark.parametrize("size", [NARROW, WIDE, HUGE])
async def test_rates_and_their_ratio_are_there_at_every_size(size):
    app = console(rollout())
    async with app.run_test(size=size) as pilot:
        text = await opened(app, pilot)
        assert "1.1 × stable (0.61 to 2, 95 % at any time), tolerated 1.2" in text
        assert "quiet" in text
        if size is NARROW:
            await pilot.press("v")
            await pilot.pause()
            text = flat(app)
        assert "evidence this strong would appear in at most 1 of 2 deploys" in text.replace(" │ ", " ")
        assert "19 of 9,000" in text


async def test_before_the_first_look_nothing_is_made_up():
    app = console(rollout(judgement=None))
    async with app.run_test(size=WIDE) as pilot:
        text = await opened(app, pilot)
        assert "EVIDENCE nothing to compare yet" in text
        assert "The judge has had nothing to compare yet" in text
        assert "judge: 0 of 10 aborted" in text  # the replay on the time before


async def test_no_data_is_said_beside_the_gauges_and_why():
    app = console(rollout(judgement=judgement(verdict="no_data", quiet=70.0)))
    async with app.run_test(size=(200, 50)) as pilot:
        assert "? no data for 1m 10s" in await opened(app, pilot)
    async with console(app.picture.rollouts[0].rollout).run_test(size=NARROW) as pilot:
        await opened(pilot.app, pilot)
        await pilot.press("v")
        await pilot.pause()
        text = flat(pilot.app)
        assert "NO DATA: no requests to compare reached both versions in the last 1m 10s" in text


def test_a_look_that_is_overdue_is_told_with_its_age():
    fresh, old = (rollout(judgement=judgement(at=at)) for at in (1000.0, 900.0))
    assert gauges_of(fresh, 1002.0, live=True).age is None
    assert gauges_of(old, 1002.0, live=True).age == pytest.approx(102.0)
    assert gauges_of(old, 1002.0, live=False).age is None  # nobody looks any more


async def test_after_the_end_it_says_why_it_was_aborted():
    found = regressed(argo_at=None)
    reason = Reason(kind="trigger", name="judge", value=100.0, limit=100.0, detail=found.detail)
    over = rollout(phase=Phase.ROLLED_BACK, reason=reason, judgement=found, rollback_started=1000.0, finished=1002.0)
    app = console(over)
    async with app.run_test(size=(200, 60)) as pilot:
        text = await opened(app, pilot)
        assert "judge fired: errors: 0.9 % failed against 0.189 % of stable" in text
        assert "100 / 100 abort" in text
        assert "REGRESSED" in text
        assert "errors worse since about 30s after the first requests" in text
        assert "had not" in text  # Argo's rule


async def test_another_console_reads_the_same_from_the_checkpoint():
    stored = msgspec.json.decode(msgspec.json.encode(rollout()), type=Rollout)
    app = console(stored, own=False, driver="sam@desk", lease_age=1.0)
    async with app.run_test(size=(200, 50)) as pilot:
        text = await opened(app, pilot)
        assert "You only watch" in text
        assert "9 / 100 quiet" in text
        assert "19 of 9,000" in text


async def test_a_look_that_changes_nothing_repaints_nothing():
    app = console(rollout())
    async with app.run_test(size=WIDE) as pilot:
        await opened(app, pilot)
        view = app.screen.query_one(JudgementView)
        before = view.value
        app.new_picture(picture(rollouts=(card(rollout(judgement=judgement(memory={"anything": "else"}))),)))
        await pilot.pause()
        assert view.value is before


async def test_a_checkpoint_of_an_odd_judge_is_drawn_all_the_same():
    odd = errors(name="[/foo]\x1b[2J", n=0.0, s=0.0, m=0.0, f=0.0, ratio_high=None, r=0.0, noise=0.0)
    shown = judgement(metrics=(odd, slow(edge=-1.0)), path=(), intervals=0, seconds=0.0, leading="nobody", detail="[bold]\x00")
    app = console(rollout(judgement=shown))
    async with app.run_test(size=(200, 60)) as pilot:
        assert "[/FOO]" in await opened(app, pilot)


def test_the_course_of_the_evidence_marks_where_it_began():
    course = course_of(regressed())
    assert course is not None
    assert course.mark == 30.0
    assert course.series[0].points[0][0] == pytest.approx(10.0)
    assert course.series[0].points[-1] == (70.0, 4.61)
    calm = course_of(judgement())
    assert calm is not None
    assert calm.mark is None
    assert course_of(judgement(path=(), intervals=0)) is None
    assert course_of(None) is None


def test_what_is_known_of_the_noise_comes_with_where_it_is_from():
    measured = judged_of(rollout(baseline=Baseline(seconds=60, requests=1.0, error_rate=0.0, p99=None, replay=REPLAYED)))
    assert measured is not None
    assert measured.noise == {"errors"}
    assert "0 of 10 groups of stable pods would have been aborted" in measured.replay
    widened = msgspec.structs.replace(REPLAYED, aborted=3)
    told = judged_of(rollout(baseline=Baseline(seconds=60, requests=1.0, error_rate=0.0, p99=None, replay=widened)))
    assert told is not None
    assert "3 of 10" in told.replay
    assert "widened" in told.replay


# the deploy


def said(lines: Lines) -> str:
    return " ".join(ink.plain(line) for line in lines)


def sight(app: TestConsole) -> str:
    """What is said of the analyses, in one line; on the screen other columns stand between its lines."""
    return said(draw_sight(app.screen.query_one("#sight", SightView).value, 400))


async def filled(app: TestConsole, pilot: Any) -> None:
    app.open_deploy(Selection("production", "payment-service"))
    await until(pilot, lambda: isinstance(app.screen, DeployScreen) and app.screen.entered)
    for name, value in [("environment", "prod"), ("version", "v2.15.0"), ("strategy", "canary"), ("ticket", "CHG-4821")]:
        app.screen._field(name).set_value(value)
    await pilot.pause()


async def test_the_deploy_says_what_its_analyses_will_see():
    app = TestConsole()
    async with app.run_test(size=(200, 50)) as pilot:
        await filled(app, pilot)
        await until(pilot, lambda: "nine times in ten" in sight(app))
        assert "25 % for 180 s (250 requests a second)" in flat(app)
        assert "1.9 × the traffic" in sight(app)
        assert "0 of 10 groups of its pods" in sight(app)


async def test_figures_that_come_later_replace_those_before():
    app = TestConsole()
    old = foresight(measured=NOW.replace(hour=0, minute=5))
    app.session.looks = [Foresight(problem="no rollout here has measured the service before"), old]
    async with app.run_test(size=(200, 50)) as pilot:
        await filled(app, pilot)
        await until(pilot, lambda: "measured by a rollout 5m ago" in sight(app))
        assert "no rollout here" not in sight(app)
        assert "25 % for 180 s (250 requests a second)" in flat(app)


async def test_a_source_that_never_answers_delays_nothing():
    app = TestConsole()
    app.session.looks = []
    async with app.run_test(size=WIDE) as pilot:
        await filled(app, pilot)
        confirmation = app.screen.query_one(TypedConfirmation)
        await until(pilot, lambda: not app.screen._blocked())
        assert "asking what the running version serves" in flat(app)
        confirmation.focus_input()
        await pilot.press(*"production", "enter")
        await until(pilot, lambda: app.session.asked == [("start", "payment-service", "production")])


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Unavailable("production has not answered yet", "connection refused", "Wait."), "production has not answered yet"),
        (RuntimeError("boom"), "an unexpected error, see the log"),
    ],
)
async def test_what_can_not_be_foreseen_is_unknown_and_blocks_nothing(monkeypatch, failure, words):
    app = TestConsole()

    async def fails(draft: object) -> AsyncGenerator[Foresight]:
        raise failure
        yield

    monkeypatch.setattr(app.session, "foresight", fails)
    async with app.run_test(size=WIDE) as pilot:
        await filled(app, pilot)
        await until(pilot, lambda: "unknown what its analyses will see" in flat(app))
        assert words in sight(app)
        assert not app.screen._blocked()


async def test_another_form_forgets_what_was_foreseen():
    app = TestConsole()
    async with app.run_test(size=WIDE) as pilot:
        await filled(app, pilot)
        await until(pilot, lambda: "nine times in ten" in sight(app))
        app.session.looks = []
        app.screen._field("version").set_value("")
        await until(pilot, lambda: "nine times in ten" not in sight(app))
        await asyncio.sleep(0)
        assert "unknown" not in flat(app).partition("PLAN")[2].partition("type")[0]

"""Toasts never hide what the operator steers by, and nothing that they said is lost."""

import pytest
from support.consoles import TestConsole, card, picture, rollout, until, words_on

from console.screens.rollout import RolloutScreen
from services.model.rollout import Phase
from widgets.toast import toast

LONG = "more than fits into a line of any terminal that there is " * 20
TOLD = ("the first thing", "the second thing", f"the third thing, {LONG}")


async def told_on_a_rollout(app: TestConsole, pilot, *, size: tuple[int, int]) -> tuple[list[str], list[str]]:
    """The rollout at 80x24 before and after it was told three things."""
    await pilot.pause()
    app.open_rollout(app.picture.rollouts[0].key)
    await until(pilot, lambda: isinstance(app.screen, RolloutScreen) and "STEPS" in words_on(app))
    await pilot.resize_terminal(*size)
    await pilot.pause(0.1)
    before = words_on(app).splitlines()
    for told in TOLD:
        toast(app.screen, told, title="Told", severity="warning", seconds=300)
        await pilot.pause()
    await until(pilot, lambda: "the third thing" in words_on(app))
    return before, words_on(app).splitlines()


async def test_on_a_small_terminal_only_the_newest_toast_is_seen_and_it_hides_four_lines_but_neither_steps_nor_next() -> None:
    app = TestConsole()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        before, after = await told_on_a_rollout(app, pilot, size=(80, 24))
        changed = [line for line, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        steps = next(line for line, words in enumerate(before) if words.startswith(" STEPS"))
        assert changed == [7, 8, 9, 10]
        assert max(changed) < steps, "what is done and what comes next is seen all the while"
        assert after[7].startswith("▌ Told"), "over the whole width: as much as fits is said"
        assert app.screen.query("Toast").last().region.width == 80, "nothing of what it hides is seen beside it"
        assert sum(told[:10] in line for told in TOLD for line in after) == 1
        await pilot.press("ctrl+l")
        await until(pilot, lambda: all(told[:10] in words_on(app) for told in TOLD))


@pytest.mark.parametrize(
    "shown",
    [rollout(samples=(), baseline=None, judgement=None), rollout(phase=Phase.SUCCEEDED), rollout(phase=Phase.ROLLING_BACK)],
    ids=["nothing measured", "succeeded", "rolling back"],
)
async def test_on_a_narrow_rollout_no_toast_hides_a_step_or_what_comes_next_however_few_figures_there_are(shown) -> None:
    app = TestConsole(picture(rollouts=(card(shown),)))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        before, _ = await told_on_a_rollout(app, pilot, size=(80, 24))
        steps = next(line for line, words in enumerate(before) if words.startswith(" STEPS"))
        await until(pilot, lambda: words_on(app).splitlines()[steps:] == before[steps:])
        assert "the third thing" in words_on(app)


@pytest.mark.parametrize("keys", [("slash",), ("J", "slash"), ("at", "slash")], ids=["fleet", "journal", "calls"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["small", "large"])
async def test_no_toast_hides_the_field_in_which_a_filter_is_typed(keys: tuple[str, ...], size: tuple[int, int]) -> None:
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=size, notifications=True) as pilot:
        toast(app.screen, TOLD[2], title="Told", severity="warning", seconds=300)
        await pilot.press(*keys, *"no such thing /(")
        await until(pilot, lambda: "the third thing" in words_on(app) and "no regular expression" in words_on(app))
        lines = words_on(app).splitlines()
        assert any(line.startswith("no such thing /(") for line in lines)
        assert sum("no regular expression" in line for line in lines) == 1
        await pilot.press("escape")
        await until(pilot, lambda: "the third thing" in words_on(app) and "no regular expression" not in words_on(app))


async def test_no_toast_hides_the_suggestions_of_the_journal_s_filter() -> None:
    app = TestConsole()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        toast(app.screen, TOLD[2], title="Told", severity="warning", seconds=300)
        await pilot.press("J", "slash", *"outcome:")
        await until(pilot, lambda: "the third thing" in words_on(app) and "tab started" in words_on(app))


async def test_no_toast_hides_the_name_that_confirms_a_deploy() -> None:
    app = TestConsole(picture(rollouts=()))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("d")
        await until(pilot, lambda: app.screen.where == "deploy" and app.screen.entered)
        for name, value in (("environment", "production"), ("service", "payment-service"), ("version", "v2.15.0")):
            app.screen._field(name).set_value(value)
        app.screen._field("strategy").set_value("canary")
        await until(pilot, lambda: not app.screen.query_one("TypedConfirmation Input").disabled)
        app.screen.set_focus(app.screen.query_one("TypedConfirmation Input"))
        toast(app.screen, TOLD[2], title="Told", severity="warning", seconds=300)
        await pilot.press(*"prod")
        await until(pilot, lambda: "the third thing" in words_on(app) and "4 of 10 characters" in words_on(app))
        assert any(line.strip() == "prod" for line in words_on(app).splitlines())


async def test_a_terminal_that_becomes_small_or_large_shows_one_or_all() -> None:
    app = TestConsole()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        _, large = await told_on_a_rollout(app, pilot, size=(200, 50))
        assert all(any(told[:10] in line for line in large) for told in TOLD)
        for small in ((109, 50), (200, 33)):
            await pilot.resize_terminal(*small)
            await until(pilot, lambda: "the second thing" not in words_on(app))
            assert "the third thing" in words_on(app)
            assert "the first thing" not in words_on(app)
            await pilot.resize_terminal(200, 50)
            await until(pilot, lambda: all(told[:10] in words_on(app) for told in TOLD))

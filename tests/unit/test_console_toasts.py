"""Toasts never hide what the operator steers by, and nothing that they said is lost."""

from support.consoles import TestConsole, until, words_on

from console.screens.rollout import RolloutScreen
from widgets.toast import toast

LONG = "more than fits into a line of any terminal that there is " * 20
TOLD = ("the first thing", "the second thing", f"the third thing, {LONG}")


async def shown(app: TestConsole, pilot, *, size: tuple[int, int]) -> tuple[list[str], list[str]]:
    """The rollout at 80x24 before and after it was told three things."""
    await pilot.pause()
    app.open_rollout(app.picture.rollouts[0].key)
    await until(pilot, lambda: isinstance(app.screen, RolloutScreen) and "STEPS" in words_on(app))
    await pilot.resize_terminal(*size)
    await pilot.pause(0.1)
    before = words_on(app).splitlines()
    for told in TOLD:
        toast(app.screen, told, title="Told", severity="warning")
        await pilot.pause()
    await until(pilot, lambda: "the third thing" in words_on(app))
    return before, words_on(app).splitlines()


async def test_on_a_small_terminal_only_the_newest_toast_is_seen_and_it_hides_no_more_than_four_lines_above_the_keys() -> None:
    app = TestConsole()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        before, after = await shown(app, pilot, size=(80, 24))
        changed = [line for line, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        assert changed == [18, 19, 20, 21]
        assert after[18].startswith("▌ Told"), "over the whole width: as much as fits is said"
        assert app.screen.query("Toast").last().region.width == 80, "nothing of what it hides is seen beside it"
        assert sum(told[:10] in line for told in TOLD for line in after) == 1
        await pilot.press("ctrl+l")
        await until(pilot, lambda: all(told[:10] in words_on(app) for told in TOLD))


async def test_a_terminal_that_becomes_small_or_large_shows_one_or_all() -> None:
    app = TestConsole()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        _, large = await shown(app, pilot, size=(200, 50))
        assert all(any(told[:10] in line for line in large) for told in TOLD)
        for small in ((109, 50), (200, 33)):
            await pilot.resize_terminal(*small)
            await until(pilot, lambda: "the second thing" not in words_on(app))
            assert "the third thing" in words_on(app)
            assert "the first thing" not in words_on(app)
            await pilot.resize_terminal(200, 50)
            await until(pilot, lambda: all(told[:10] in words_on(app) for told in TOLD))

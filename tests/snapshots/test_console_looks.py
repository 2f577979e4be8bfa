"""Every screen, well and not, at three sizes and in every theme: its words and styles as they were, and all of it legible.

One console for each screen and size is drawn in all themes. What is kept is text: ``--snapshot-update`` writes it anew, and a
review reads the difference.
"""

import importlib
import pkgutil

import pytest
from support.looks import drawn, look_of, poor
from support.scenes import SCENES
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual.screen import Screen

import console.screens

SIZES = ((80, 24), (120, 40), (200, 60))
LEAST = {"dark": 4.5, "light": 4.5, "mono": 4.5, "contrast": 7.0}
"""The least contrast of words, by theme (WCAG 2.2: AA, and AAA for high contrast)."""
STATES = frozenset({"empty", "stale", "unknown", "broken", "bad", "connecting"})
"""Nothing there, nobody answers, it can't be read: what a person meets on a bad day."""
EVERYWHERE = frozenset(name for name in SCENES if " " not in name or STATES & set(name.split()))
"""The screens as they are when all is well, and on bad days: at every size. What else there is of them at the smallest."""
LOOKS = [(name, size) for name in SCENES for size in SIZES if name in EVERYWHERE or size == SIZES[0]]


BASES = frozenset({"base", "filtered", "confirming"})
"""What screens are made from."""


class Look(SingleFileSnapshotExtension):
    _write_mode = WriteMode.TEXT
    _file_extension = "txt"


@pytest.fixture(autouse=True)
def _own_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_COLOR_SYSTEM", "TEXTUAL_ANIMATIONS", "CHANGE_TICKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUARTERDECK_THEME", "dark")


def test_every_screen_is_looked_at():
    """A screen is a module that has one of its own; a scene's name begins with it."""
    screens = set()
    for found in pkgutil.iter_modules(console.screens.__path__):
        module = importlib.import_module(f"console.screens.{found.name}")
        own = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
        if found.name not in BASES and any(issubclass(each, Screen) for each in own):
            screens.add(found.name)
    assert screens - {name.partition(" ")[0] for name in SCENES} == set()


@pytest.mark.parametrize(("name", "size"), LOOKS, ids=[f"{name.replace(' ', '-')}-{size[0]}x{size[1]}" for name, size in LOOKS])
async def test_looks(snapshot, name, size):
    scene = SCENES[name]
    app = scene.console()
    async with app.run_test(size=size, notifications=True) as pilot:
        await scene.enter(app, pilot)
        looks = {}
        for theme in LEAST:
            if app.theme != theme:
                app.theme = theme
                await pilot.pause()
            looks[theme] = drawn(app)
        looks["no colour"] = drawn(app, without_colour=True)
    assert [found for theme, least in LEAST.items() for found in poor(looks[theme], theme, least)] == []
    assert poor(looks["no colour"], "no colour", 4.5) == []
    kept = {theme: look for theme, look in looks.items() if theme in ("dark", "light", "mono")}
    assert look_of(kept) == snapshot(extension_class=Look)

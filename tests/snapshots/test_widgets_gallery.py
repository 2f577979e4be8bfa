"""How the widgets look: narrow and wide, dark and light, without colour, in ASCII."""

from collections.abc import Iterator

import pytest
from support.gallery import Gallery, deploy_scene, fill_deploy, fill_lists, fill_rollout, lists_scene, rolling_back, rollout_scene

from widgets import glyphs


@pytest.fixture(autouse=True)
def _own_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_COLOR_SYSTEM", "TEXTUAL_ANIMATIONS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ascii_signs() -> Iterator[None]:
    glyphs.use("ascii")
    yield
    glyphs.use("unicode")


@pytest.mark.parametrize("size", [(80, 32), (120, 32), (200, 40)], ids=lambda size: f"{size[0]}")
def test_rollout(snap_compare, size):
    assert snap_compare(Gallery(rollout_scene, fill_rollout), terminal_size=size)


@pytest.mark.parametrize("size", [(80, 32), (120, 40), (200, 40)], ids=lambda size: f"{size[0]}")
def test_deploy(snap_compare, size):
    assert snap_compare(Gallery(deploy_scene, fill_deploy), terminal_size=size)


@pytest.mark.parametrize("size", [(60, 24), (120, 24)], ids=lambda size: f"{size[0]}")
def test_lists(snap_compare, size):
    assert snap_compare(Gallery(lists_scene, fill_lists), terminal_size=size)


def test_rolling_back(snap_compare):
    assert snap_compare(Gallery(rollout_scene, rolling_back), terminal_size=(120, 32))


@pytest.mark.parametrize("theme", ["textual-light", "nord"])
def test_other_themes(snap_compare, theme):
    assert snap_compare(Gallery(rollout_scene, fill_rollout, theme), terminal_size=(120, 32))


def test_lists_in_light(snap_compare):
    assert snap_compare(Gallery(lists_scene, fill_lists, "textual-light"), terminal_size=(120, 24))


def test_without_colour(snap_compare, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(Gallery(rollout_scene, fill_rollout), terminal_size=(120, 32))


def test_in_ascii(snap_compare, ascii_signs):
    assert snap_compare(Gallery(rollout_scene, fill_rollout), terminal_size=(120, 32))

"""Text that is pasted into a terminal which does not say that it is a paste: the console takes it for no keys."""

from pathlib import Path

from support.terminal import console, needs_tmux
from support.world import world

pytestmark = needs_tmux


def test_a_paste_over_a_list_does_nothing_and_is_over_at_once(tmp_path: Path) -> None:
    place = tmp_path / "sandbox"
    place.mkdir()
    with world(place, speed=20) as running:
        home = running.new_home("pasting")
        before = running.versions()
        with console(tmp_path / "screen", running.command(home), running.environment(), columns=120, rows=40) as screen:
            screen.wait(r"production +. 10 ok", "payment-service")
            screen.type("R" + "PR ACT R jR /Rd:q " * 250)
            screen.wait("Keys were not answered")
            screen.wait("ENVIRONMENTS", "LAST HOUR")
            screen.rested()  # however long reading a paste takes: a hand's first key comes a while after its end
            screen.press("?")
            screen.wait("keys of the fleet screen")
            screen.press("Escape")
            shown = screen.wait("ENVIRONMENTS", "LAST HOUR")
            assert "rolls back now" not in shown
            screen.press("R")  # one key of a hand is answered as ever
            screen.wait("R rolls back now")
            screen.press("Escape")
            screen.wait("ENVIRONMENTS")
            screen.press("C-q")
            screen.gone()
        after = running.versions()
        assert {name: after[name] for name in before if "recommendations" not in name} == {
            name: version for name, version in before.items() if "recommendations" not in name
        }

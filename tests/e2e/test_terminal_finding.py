"""A first run on the sandbox in a real terminal: the tour, the prompt, the jump, the log of calls, and what is kept of them."""

import stat
from pathlib import Path

from support.processes import eventually
from support.terminal import console, needs_tmux
from support.world import world

from console.remembered import FILE, read

pytestmark = needs_tmux


def test_a_first_run_finds_its_way(tmp_path: Path) -> None:
    place = tmp_path / "sandbox"
    place.mkdir()
    with world(place, speed=20) as running:
        home = running.new_home("first")
        (home / FILE).unlink()  # nobody has seen the tour here
        with console(tmp_path / "screen", running.command(home), running.environment(), columns=120, rows=40) as screen:
            screen.wait("payment-service", r"tour 1/6 +d opens the deploy form")
            screen.press(":")
            screen.type("service sea")
            screen.wait("service search")  # offered
            screen.press("Tab")
            screen.press("Enter")
            screen.wait(r"search . production")
            screen.press("f")
            screen.type("payserv stag")
            screen.wait(r"jump to a service: 1 of \d+")
            screen.press("Enter")
            screen.wait(r"payment-service . staging")
            screen.press("@")
            screen.wait("kubectl get deployments", r"--context (production|staging|dev|canary)", r"\b200\b")
            screen.press("/")
            screen.type("/pods.*--watch/ !dev")
            screen.press("Enter")
            screen.wait(r"kubectl get pods --watch -n staging", r"/pods.*--watch/ !dev +3 of \d+")
            screen.press("Escape")  # clears the filter, as everywhere
            eventually("the filter is cleared", lambda: "!dev" not in screen.text())
            screen.press("q", "q", "q")
            screen.wait("ENVIRONMENTS", "tour 1/6")
            screen.press("Escape")  # nothing is left to clear or to leave: it ends the tour
            eventually("the tour is over for good", lambda: read(home).tour_seen)
            eventually("the tour is off the screen", lambda: "tour" not in (shown := screen.text()) and "ENVIRONMENTS" in shown)
            screen.press("C-q")
            screen.gone()
        assert read(home).commands == ("service search",)
        assert stat.S_IMODE((home / FILE).stat().st_mode) == 0o600

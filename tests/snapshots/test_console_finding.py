"""How the ways to find things look: prompt, jump, help, the logs of calls and results, the tour, a filter that is none."""

import pytest
from support.consoles import NOW, TestConsole, picture

from console.tour import Tour
from services.cluster.calls import Call

NARROW, WIDE = (80, 24), (120, 40)
SIZES = pytest.mark.parametrize("size", [NARROW, WIDE], ids=lambda size: f"{size[0]}")
PATCH = (
    "kubectl patch virtualservices.networking.istio.io payment-service --type=json "
    '-p \'[{"op":"test","path":"/metadata/annotations/quarterdeck~1epoch","value":"4"},'
    '{"op":"replace","path":"/spec/http/0/route/0/weight","value":100}]\' -n production --context production'
)


@pytest.fixture(autouse=True)
def _own_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_COLOR_SYSTEM", "TEXTUAL_ANIMATIONS", "CHANGE_TICKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUARTERDECK_THEME", "dark")


async def _still(pilot) -> None:
    """A focused field blinks."""
    for field in pilot.app.screen.query("Input"):
        field.cursor_blink = False
    await pilot.pause()


@SIZES
def test_prompt(snap_compare, size):
    assert snap_compare(TestConsole(), terminal_size=size, press=["colon", "r", "o"], run_before=_still)


def test_prompt_that_was_not_understood(snap_compare):
    assert snap_compare(TestConsole(), terminal_size=NARROW, press=["colon", *"rolbck", "enter"], run_before=_still)


def test_jump(snap_compare):
    assert snap_compare(TestConsole(), terminal_size=WIDE, press=["f", *"pas"], run_before=_still)


def test_help_searched(snap_compare):
    assert snap_compare(TestConsole(), terminal_size=NARROW, press=["question_mark", "slash", *"roll", "enter"])


@SIZES
def test_calls(snap_compare, size):
    app = TestConsole()
    at = NOW.timestamp()
    app.session.calls = (
        Call(
            number=1,
            at=at - 9,
            context="production",
            command="kubectl get pods --watch -n production --context production",
            status=200,
            seconds=0.004,
        ),
        Call(
            number=2,
            at=at - 6,
            context="dev",
            command="kubectl get deployments -n dev --context dev",
            status=None,
            seconds=3.0,
            problem="connection refused by https://127.0.0.1:6443",
            times=12,
        ),
        Call(number=3, at=at - 2, context="production", command=PATCH, status=200, seconds=0.0061, changes=True),
    )
    assert snap_compare(app, terminal_size=size, press=["at"])


def test_results(snap_compare):
    app = TestConsole()
    for index, (title, text, severity) in enumerate(
        [
            ("pause", "paused; its triggers go on watching", "information"),
            ("Not started", "approval: 1 of 2 people approved. Nothing was started.", "error"),
            ("rollback", "payment-service in production: a driver rolls it back", "warning"),
        ]
    ):
        app.results.add(NOW.replace(second=index), title, text, severity)
    assert snap_compare(app, terminal_size=WIDE, press=["ctrl+l", "j"])


@SIZES
def test_tour(snap_compare, size):
    app = TestConsole(picture(rollouts=()))
    app.tour = Tour()
    assert snap_compare(app, terminal_size=size)


def test_filter_that_is_none(snap_compare):
    app = TestConsole(picture(rollouts=()))
    assert snap_compare(app, terminal_size=NARROW, press=["slash", *"pay /("], run_before=_still)

"""The trigger ``alert`` on the rollout's screen: how many, how old, since when, and that nobody watches."""

import msgspec
import pytest
from support.alerts import NOON, alert
from support.rollouts import rollout

from console.screens.foresight import Sight, draw_sight
from console.screens.vitals import draw_figures, figures_of
from services.analysis import alert as trigger
from services.model.alerts import AlertsLook
from services.model.rollout import TriggerName, TriggerReading
from services.rollout.foresight import Foresight
from widgets import ink
from widgets.triggers import draw_trigger

HEALTH = TriggerReading(name=TriggerName.HEALTH, value=0.0, limit=3.0, unit="probes")


def reading(*names: str, problem: str = "", before: tuple[str, ...] = ()) -> TriggerReading:
    look = AlertsLook(firing=tuple(alert(name) for name in names), at=100.0, problem=problem)
    return trigger(look, before=before, begun=NOON, changed=True)


def line(told: TriggerReading, *, triggers: bool = True, width: int = 160) -> str:
    """The line TRIGGERS, two seconds after the source answered."""
    found = figures_of(msgspec.structs.replace(rollout(), triggers=(HEALTH, told)), 102.0, True, triggers=triggers)
    lines = [ink.plain(each) for each in draw_figures(found, width)]
    return next((each for each in lines if each.startswith("TRIGGERS")), "").rstrip()


def test_none_is_said_with_the_age_of_the_answer() -> None:
    assert line(reading()).endswith("health 0/3 · alerts none · 2s ago")
    assert ink.plain(draw_trigger(reading(), 100, 2.0)).split() == ["✔", "ok", "alert", "none", "·", "2s", "ago"]


def test_what_fires_since_before_is_named_behind_the_age() -> None:
    told = reading("Old", before=("old",))
    assert line(told).endswith("alerts none new · 2s ago; firing since before: Old (since 12:00:00Z)")


def test_what_fired_is_named() -> None:
    told = reading("Burns")
    assert line(told).endswith("alert Burns")
    assert "FIRED" in (drawn := ink.plain(draw_trigger(told, 100, 2.0)))
    assert "Burns (since 12:00:00Z) firing for the service" in drawn


@pytest.mark.parametrize("triggers", [True, False])
def test_that_nobody_watches_is_said_even_where_room_is_short(triggers: bool) -> None:
    told = reading("Burns", problem="alerts.example answered 503")
    assert line(told, triggers=triggers).endswith("? alerts not watched, last answer 2s ago")
    assert "alerts.example answered 503, last answer 2s ago" in ink.plain(draw_trigger(told, 120, 2.0))
    assert line(reading(), triggers=False) == ""


@pytest.mark.parametrize("width", range(1, 130, 7))
def test_it_fits_into_any_width(width: int) -> None:
    for told in (reading(), reading("Burns" * 30), reading(problem="no" * 90), reading("Old", before=("old",))):
        assert ink.cells(draw_trigger(told, width, 2.0)) <= width


def test_the_deploy_form_says_what_has_to_be_known_before() -> None:
    words = "Alerts are not watched: alerts.example answered 503."
    lines = [ink.plain(each) for each in draw_sight(Sight(Foresight(problem="no requests", alerts=words)), 100)]
    assert any(words in each for each in lines)
    assert not any("lerts" in ink.plain(each) for each in draw_sight(Sight(Foresight(problem="no requests")), 100))

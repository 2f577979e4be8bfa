"""Alerts that fire for a service roll its deploy back, unless they did before it; and what is known when nobody answers."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from support.alerts import NOON, Source, alert
from support.judged import analysis, judged
from support.rollouts import rollout

from services.analysis import alert as trigger
from services.analysis import reasons
from services.model.alerts import AlertsLook
from services.model.rollout import Phase, Rollout, TriggerName, TriggerReading
from services.rollout import alerting, state
from services.rollout.alerting import AlertWatch


def reading(rollout: Rollout) -> TriggerReading:
    return next(each for each in rollout.triggers if each.name is TriggerName.ALERT)


def look(*names: str) -> AlertsLook:
    return AlertsLook(firing=tuple(alert(name) for name in names), at=100.0)


def test_a_new_alert_is_named_first_and_all_that_was_true_is_kept() -> None:
    found = trigger(look("Burns", "Old"), before=("old",), begun=NOON, changed=True)
    assert found.fired
    other = TriggerReading(name=TriggerName.HEALTH, value=3, limit=3, unit="probes", fired=True)
    first, also = reasons([other, found])
    assert (first.kind, first.name, first.value, first.limit) == ("trigger", "alert", "Burns", 0.0)
    assert first.detail == "Burns (since 12:00:00Z) firing for the service"
    assert also.name == "health"


def test_what_fired_before_anything_was_changed_does_not_fire_and_is_told() -> None:
    for changed, before in ((False, None), (True, ("burns",))):
        found = trigger(look("Burns"), before=before, begun=NOON, changed=changed)
        assert (found.fired, found.value) == (False, 0.0)
        assert found.detail == "none new; firing since before: Burns (since 12:00:00Z)"
    # Nobody could say what fired before: then the alert's own beginning decides.
    for minutes, fired in ((-1.0, False), (1.0, True)):
        late = AlertsLook(firing=(alert("Burns", minutes=minutes),), at=1.0)
        assert trigger(late, before=None, begun=NOON, changed=True).fired is fired


def test_what_is_not_known_never_fires_and_says_so() -> None:
    stale = AlertsLook(firing=(alert("Burns"),), at=90.0, problem="alerts.example answered 503")
    found = trigger(stale, before=(), begun=NOON, changed=True)
    assert (found.fired, found.value, found.at) == (False, None, 90.0)
    assert found.detail == "alerts are not watched: alerts.example answered 503"


def test_many_alerts_are_told_by_a_few_names() -> None:
    found = trigger(look(*(f"A{index}" for index in range(9))), before=(), begun=NOON, changed=True)
    assert found.value == 9.0
    assert found.detail.count("since") == 3
    assert "and 6 more" in found.detail


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    source = Source()
    monkeypatch.setattr(AlertWatch, "configured", classmethod(lambda cls, run: cls(run, source)))
    return source


async def test_an_alert_that_begins_during_the_canary_rolls_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Source
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as found:
        source.alerts = (alert("Old"),)
        await found.advance(90)
        assert not found.over
        assert found.rollout.alerts_before == ("old",)
        assert reading(found.rollout).detail.startswith("none new; firing since before: Old")
        source.alerts = (alert("Old"), alert("Burns"))
        await found.advance(15)
        assert found.rollout.phase is Phase.ROLLING_BACK
        assert found.rollout.reason is not None
        assert (found.rollout.reason.name, found.rollout.reason.value) == ("alert", "Burns")
        assert {subject.service for subject in source.asked} == {"payment-service"}


async def test_what_fired_before_is_still_known_to_whoever_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Source
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as found:
        source.alerts = (alert("Old"),)
        await found.advance(80)
        again = await found.handed_over(tmp_path, found.run.settings)
        await again.advance(40)
        assert not again.over
        assert reading(again.rollout).value == 0.0
        source.alerts = (alert("Burns"),)
        await again.advance(15)
        assert again.rollout.reason is not None
        assert again.rollout.reason.name == "alert"
        await again.stop()


async def test_a_source_that_is_away_is_said_to_be_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Source
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(120)) as found:
        await found.advance(80)
        source.problem = "alerts.example can't be reached"
        await found.advance(40)
        unknown = reading(found.rollout)
        assert (unknown.value, unknown.fired) == (None, False)
        assert unknown.at is not None
        assert found.clock.pace() - unknown.at >= 30
        await found.advance(400)
        assert found.passed
        assert reading(found.rollout).detail == "alerts are not watched: alerts.example can't be reached"


async def test_a_defect_in_the_source_takes_no_other_trigger_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Source
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as found:
        await found.advance(80)
        source.defect = ZeroDivisionError()
        await found.advance(20)
        assert "internal error" in reading(found.rollout).detail
        found.service.answers = lambda: False
        await found.advance(60)
        assert found.rollout.reason is not None
        assert found.rollout.reason.name == "health"


async def test_without_a_source_there_is_no_such_trigger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as found:
        await found.advance(90)
        assert found.rollout.triggers
        assert TriggerName.ALERT not in {each.name for each in found.rollout.triggers}
        assert found.rollout.alerts_before is None


def test_another_machine_s_clock_moves_the_age_of_the_answer_too(rollout_with_alert: Rollout) -> None:
    moved = state.rebased(rollout_with_alert, pace=500.0, now=NOON, speed=1.0)
    assert reading(moved).at == 490.0


@pytest.fixture
def rollout_with_alert() -> Rollout:
    told = msgspec.structs.replace(trigger(look(), before=(), begun=NOON, changed=True), at=990.0)
    return msgspec.structs.replace(rollout(), now=1000.0, written=None, triggers=(told,))


def test_alerts_that_come_and_go_before_the_first_change_are_all_known(rollout_with_alert: Rollout) -> None:
    first = state.alerts_known(rollout_with_alert, [alert("One")])
    second = state.alerts_known(first, [alert("Two")])
    assert second.alerts_before == ("one", "two")
    many = state.alerts_known(second, [alert(f"N{index}") for index in range(2 * state.MAX_ALERTS)])
    assert many.alerts_before is not None
    assert len(many.alerts_before) == state.MAX_ALERTS


async def test_a_slow_source_is_asked_once_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerting, "PATIENCE", 0.001)
    gate = asyncio.Event()

    class Slow(Source):
        async def firing(self, subject: object) -> tuple[object, ...]:  # type: ignore[override]
            self.asked.append(subject)  # type: ignore[arg-type]
            await gate.wait()
            return ()

    slow = Slow()

    async with judged(tmp_path, monkeypatch, analysis(600)) as found:
        watch = AlertWatch(found.run, slow)  # type: ignore[arg-type]
        for _ in range(3):
            watch.ask()
            (told,) = await watch.readings()
            assert told.detail == "alerts are not watched: alerts.example has not answered yet"
        assert len(slow.asked) == 1
        gate.set()
        await asyncio.sleep(0)
        (told,) = await watch.readings()
        assert told.value == 0.0
        await watch.close()

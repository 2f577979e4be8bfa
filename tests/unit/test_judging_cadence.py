"""A source of metrics that tells something new once a minute: its data is late by its nature, and not away."""

import math
from pathlib import Path

import pytest
from support.judged import Judged, analysis, judged

from console.screens.vitals import draw_figures, figures_of
from services.analysis import ArmName, Windows
from services.analysis.histogram import Histogram
from services.analysis.sources import ERRORS_NAME, LATENCY_NAME, Asked, Reading, Tally
from services.model.rollout import Phase
from services.rollout import watch as watching
from services.rollout.cadence import Cadence
from widgets import ink

BOUNDS = (0.05, 0.1, 0.2, math.inf)


def did(requests: float) -> dict[str, Tally]:
    return {
        ERRORS_NAME: Tally(total=requests, bad=requests / 2000),
        LATENCY_NAME: Tally.of(Histogram(BOUNDS, (requests / 2, 0.995 * requests, requests, requests))),
    }


class Server:
    """Samples every ``every`` seconds, and is looked at more often."""

    def __init__(self, every: float) -> None:
        self.every, self.share, self.problem, self.stopped = every, 0.0, "", False
        self._since: float | None = None
        self._sampled = 0.0

    asked: tuple[Asked, ...] = ()

    async def put_into(self, windows: Windows, found: object) -> Reading:
        now = windows.now
        if self._since is None:
            self._since = now
        sampled = self._sampled if self.stopped else math.floor(now / self.every) * self.every
        if self.problem or sampled <= self._sampled:
            return Reading(at=now, since=self._since, age=now - self._sampled, problem=self.problem)
        requests = 20_000.0 * (sampled - self._sampled)
        arms = {ArmName.CANARY: did(self.share * requests), ArmName.STABLE: did((1 - self.share) * requests)}
        windows.add(self._since, now, arms, errors=ERRORS_NAME, latency=LATENCY_NAME)
        told = Reading(at=now, since=self._since, arms=arms, age=now - sampled)
        self._since, self._sampled = now, sampled
        return told

    async def remembered(self) -> Windows:
        return Windows()

    async def close(self) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Server:
    found = Server(request.param)
    monkeypatch.setattr(watching.Elsewhere, "configured", lambda run: found)
    return found


def said(on: Judged) -> list[str]:
    value = figures_of(on.rollout, on.clock.pace(), True, triggers=True)
    return [" ".join(ink.plain(line).split()) for line in draw_figures(value, 110)]


@pytest.mark.parametrize("server", [60.0, 70.0], indirect=True)
async def test_a_source_that_samples_once_a_minute_is_no_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(300), analysis(300)) as on:
        verdicts: list[str] = []
        began = on.run.settings.metrics.interval

        def each() -> None:
            server.share = 0.1 if on.exposed_at is not None else 0.0
            judgement = on.rollout.judgement
            if judgement is not None and verdicts[-1:] != [judgement.verdict]:
                verdicts.append(judgement.verdict)
            if on.rollout.step in (1, 2):
                assert not any(line.startswith("METRICS") for line in said(on)), said(on)
                assert on.seconds < server.every + began or on.run.sees_metrics

        await on.advance(2000, each)
        assert on.passed, on.rollout.pause_reason
        assert "no_data" not in verdicts
        # Both steps in the time that they were given, but for the first sample.
        assert on.seconds < 600 + server.every + 2 * began
        assert next(line for line in said(on) if line.startswith("REQUESTS")).startswith("REQUESTS canary 120k stable 1.1M")


@pytest.mark.parametrize("server", [60.0], indirect=True)
async def test_a_slow_source_that_is_away_is_told_at_once_and_one_that_is_silent_once_it_is_overdue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(900)) as on:

        def each() -> None:
            server.share = 0.1 if on.exposed_at is not None else 0.0

        await on.advance(370, each)
        assert on.run.sees_metrics
        server.problem = "prometheus:9090 does not answer"
        await on.advance(12, each)
        assert any(line.endswith(": prometheus:9090 does not answer") for line in said(on))
        server.problem, server.stopped = "", True
        await on.advance(12, each)
        assert not any(line.startswith("METRICS") for line in said(on))
        await on.advance(140, each)
        assert not on.run.sees_metrics
        assert any(line.endswith(" has told nothing new") for line in said(on))
        assert on.rollout.judgement is not None
        assert on.rollout.judgement.verdict == "no_data"
        await on.advance(2000, each)
        assert on.rollout.phase is Phase.PAUSED
        assert "its metrics can't be read" in on.rollout.pause_reason


async def test_a_source_that_tells_something_at_each_look_is_away_as_soon_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(600)) as on:
        await on.advance(122)
        on.service.unreadable = True
        await on.advance(25)  # an outage that was over is no habit
        on.service.unreadable = False
        await on.advance(25)
        assert on.run.sees_metrics
        read, on.service.unreadable = on.service.scraped_at, True
        while on.run.sees_metrics:
            await on.advance(1)
        assert on.clock.pace() - read <= 32
        await on.advance(60)
        assert on.rollout.judgement is not None
        assert on.rollout.judgement.verdict == "no_data"


def test_how_long_is_waited_for_a_source_of_each_kind() -> None:
    def after(*looks: float, speed: float = 1.0) -> float:
        cadence = Cadence(interval=10.0, speed=speed)
        for at in looks:
            cadence.told(at)
        return cadence.patience

    assert after() == after(0.0) == 30.0
    assert after(0.0, 10.3, 20.1) == 30.0
    assert after(0.0, 60.0, 120.0) == 130.0
    assert after(0.0, 30.0, 60.0) == 70.0
    assert after(0.0, 600.0, 1200.0) == 130.0  # what tells something so seldom is away most of the time
    assert after(0.0, 10.0, 400.0, 800.0) == 30.0  # outages are no habit
    assert after(0.0, 60.0, 120.0, 180.0, 190.0) == 30.0  # it has become faster
    assert after(0.0, speed=30.0) == 60.0

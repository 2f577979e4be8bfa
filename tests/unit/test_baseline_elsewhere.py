"""What an old version did before: seen by the watch, or remembered for longer by a metrics server."""

import asyncio
import math
from pathlib import Path

import pytest
from support.judged import MEASURE, analysis, judged

from services.analysis import ArmName, Windows
from services.analysis.histogram import Histogram
from services.analysis.sources import ERRORS_NAME, LATENCY_NAME, Asked, Reading, Tally
from services.model.rollout import Baseline
from services.rollout import watch as watching

BOUNDS = (0.05, 0.1, 0.2, math.inf)


def counts(requests: float, *, timed: bool) -> dict[ArmName, dict[str, Tally]]:
    """Of a version of which one request in a thousand fails; nobody may know how long they took."""
    told = {ERRORS_NAME: Tally(total=requests, bad=requests / 1000)}
    if timed:
        told[LATENCY_NAME] = Tally.of(Histogram(BOUNDS, (requests / 2, requests, requests, requests)))
    return {ArmName.STABLE: told}


class Server:
    """Tells ``now`` requests at every look, and remembers ``before`` requests of the ``seconds`` before."""

    def __init__(
        self, *, now: float = 500.0, before: float = 90_000.0, seconds: float = 1800.0, timed: bool = True, remembers: bool = True
    ) -> None:
        self._now, self._timed = now, timed
        self._since: float | None = None
        self.past = Windows(keep=math.inf, counts_pages=False)
        self.past.feed(0.0, {}, {})
        told = counts(before, timed=remembers)
        self.past.add(-seconds, 0.0, told, errors=ERRORS_NAME, latency=LATENCY_NAME)

    asked: tuple[Asked, ...] = ()

    async def put_into(self, windows: Windows, found: object) -> Reading:
        since, self._since = self._since, windows.now
        if since is not None and windows.now > since:
            told = counts(self._now, timed=self._timed)
            windows.add(since, windows.now, told, errors=ERRORS_NAME, latency=LATENCY_NAME)
        return Reading(at=windows.now, since=windows.now if since is None else since)

    async def remembered(self) -> Windows:
        return self.past

    async def close(self) -> None: ...


async def measured(place: Path, monkeypatch: pytest.MonkeyPatch, server: Server | None = None, blind: float = 0.0) -> Baseline:
    """The baseline after its minute, in whose first ``blind`` seconds nothing could be read."""
    with monkeypatch.context() as patched:
        patched.setattr(watching.Elsewhere, "configured", lambda run: server)
        async with judged(place, patched, analysis(120)) as on:
            on.service.unreadable = blind > 0
            await on.advance(blind)
            on.service.unreadable = False
            await on.advance(MEASURE.seconds - blind + 3)
            async with asyncio.timeout(60.0):  # what a server remembers is worked through by a thread
                while on.rollout.baseline is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            assert on.rollout.baseline is not None
            return on.rollout.baseline


async def test_a_baseline_is_of_the_time_that_was_really_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await measured(tmp_path / "whole", monkeypatch)
    half = await measured(tmp_path / "half", monkeypatch, blind=25.0)
    assert 40.0 < whole.seconds <= 60.0
    assert 0.0 < half.seconds <= 40.0
    assert half.requests / half.seconds == pytest.approx(whole.requests / whole.seconds, rel=0.05)


@pytest.mark.parametrize(
    ("server", "seconds", "knows_p99"),
    [
        (Server(), 1800.0, True),
        (Server(seconds=20.0), 60.0, True),
        (Server(before=0.0), 60.0, True),
        (Server(before=0.0, timed=False, remembers=False), 60.0, False),
        (Server(remembers=False), 60.0, True),
        (Server(remembers=False, timed=False), 1800.0, False),
        (Server(timed=False), 1800.0, True),
    ],
    ids=[
        "it remembers more",
        "it remembers less",
        "it remembers that nothing was asked",
        "it remembers that nothing was asked, and does not know how long requests take",
        "it does not remember how long requests took, which is known now",
        "nobody knows how long requests took",
        "it knows of the past alone how long requests took",
    ],
)
async def test_what_a_server_remembers_is_the_baseline_where_it_tells_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server, seconds: float, knows_p99: bool
) -> None:
    baseline = await measured(tmp_path, monkeypatch, server)
    assert baseline.seconds == pytest.approx(seconds, abs=10.0)
    assert (baseline.p99 is not None) is knows_p99
    assert baseline.error_rate == pytest.approx(0.001)

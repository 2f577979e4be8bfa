"""A metric that is to be judged and has no data: an analysis does not pass over it, and where it may, it says so."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.configuration import WHOLE, configured
from support.judged import Judged, analysis, judged

from console.screens.evidence import judged_of
from services.analysis import PodTarget, Reading
from services.analysis.judge import Interval, Parameters, Verdict, begin, observe
from services.analysis.parse import MetricNames, PageEndpoint, PageRatio, parse
from services.analysis.sources.weighing import ratios
from services.model.steps import OnUndecided
from services.sandbox.behaviour import Behaviour
from services.settings import Settings
from services.settings.query import series
from widgets import ink
from widgets.evidence.judgement import draw_judgement


def settings(**metrics: Any) -> Settings:
    return configured(f"{WHOLE}metrics: {msgspec.json.encode(metrics).decode()}\n")


def reads(on: Judged, config: Settings, *, without: str = "") -> None:
    """The pods' pages are read for what the settings ask; lines of the new version's that hold ``without`` are not there."""
    names = MetricNames(
        ratios=tuple(PageRatio(name=one.name, total=series(one.total), bad=series(one.bad)) for one in config.metrics.ratios),
        endpoints=tuple(PageEndpoint(name=one.name, label=one.label, value=one.value) for one in config.metrics.endpoints),
    )

    async def scrape(pods: Sequence[PodTarget]) -> dict[str, Reading]:
        on.service.serve()
        now = on.service.scraped_at = on.clock.pace()
        pages = {pod.name: on.service.pods[pod.name].page(now) for pod in pods}
        for name, page in pages.items():
            if without and name.startswith("new"):
                pages[name] = "".join(f"{line}\n" for line in page.splitlines() if without not in line)
        return {name: parse(page, now, names) for name, page in pages.items()}

    on.service.scrape = scrape  # type: ignore[method-assign]


def shown(on: Judged) -> str:
    """The evidence as a screen has it."""
    value = judged_of(on.rollout)
    assert value is not None
    return " ".join(" ".join(ink.plain(line) for line in draw_judgement(value, 120)).split())


ORDERS = {"name": "orders", "total": "http_requests_total", "bad": 'http_requests_total{code="500"}', "weight": 0.1}
SLIP = {**ORDERS, "total": "htp_requests_total", "bad": 'htp_requests_total{code="500"}'}
NOWHERE = {"name": "pay", "label": "path", "value": "/nowhere", "weight": 0.1}


@pytest.mark.parametrize("asked", [{"ratios": [SLIP]}, {"endpoints": [NOWHERE]}], ids=["ratio", "endpoint"])
async def test_what_was_asked_for_by_name_and_is_not_there_is_no_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    config = settings(**asked)
    name = next(iter(asked.values()))[0]["name"]
    async with judged(tmp_path, monkeypatch, analysis(200), settings=config) as on:
        reads(on, config)
        await on.advance(1000)
        assert not on.passed
        assert on.rollout.steps[1].verdict == "undecided"
        assert f"no proof for {name} (no data of it from the new version and the old version)" in on.rollout.pause_reason
        assert on.rollout.judgement is not None
        assert on.rollout.judgement.health == 0
        text = shown(on)
        assert f"{name.upper()} no data no data of it from the new version and the old version; it is asked for by name" in text
        assert "HEALTHY" not in text


async def test_nor_is_it_gone_over_where_the_undecided_may_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(ratios=[SLIP])
    async with judged(tmp_path, monkeypatch, analysis(200, on_undecided=OnUndecided.ADVANCE), settings=config) as on:
        reads(on, config)
        await on.advance(1000)
        assert not on.passed
        assert "orders" in on.rollout.pause_reason


async def test_a_service_that_does_not_have_it_is_not_held_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(ratios=[{**SLIP, "services": ["shop"], "weight": 0.05}, {**ORDERS, "name": "all", "weight": 0.05}])
    own = config.of("payment-service")
    assert [ratio.name for ratio in own.metrics.ratios] == ["all"]
    assert [ratio.name for ratio in config.of("shop").metrics.ratios] == ["orders", "all"]
    async with judged(tmp_path, monkeypatch, analysis(200), settings=own) as on:
        reads(on, own)
        await on.advance(1000)
        assert on.passed, on.rollout.pause_reason
        assert on.rollout.judgement is not None
        assert [metric.name for metric in on.rollout.judgement.metrics][-1] == "all"
        assert "proven for every metric" in shown(on)


async def test_a_version_that_tells_no_durations_passes_on_its_errors_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judged(tmp_path, monkeypatch, analysis(200)) as on:
        reads(on, on.run.settings, without="duration")
        on.service.canary = Behaviour(latency=5.0)
        await on.advance(1000)
        assert on.passed, on.rollout.pause_reason
        note = on.rollout.steps[1].note
        assert note == "no proof for latency-p99 and latency-p90 (no data of it from the new version)"
        text = shown(on)
        assert "HEALTHY: proven for errors; not for latency-p99, latency-p90" in text
        assert "no data of it from the new version; not part of the proof" in text


MIXED_UP = {"total": 'http_requests_total{code="500"}', "bad": "http_request_duration_seconds_count"}


async def test_more_bad_events_than_events_are_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut down to what there were, every event of both versions would be bad, and the new one proven as good as the old."""
    config = settings(ratios=[{**ORDERS, **MIXED_UP}])
    async with judged(tmp_path, monkeypatch, analysis(120), settings=config) as on:
        reads(on, config)
        await on.advance(1000)
        assert not on.passed
        assert "no proof for orders (more bad events than events from the new version, " in on.rollout.pause_reason
        assert "are its two queries exchanged?" in on.rollout.pause_reason
        assert on.rollout.judgement is not None
        assert "orders" not in [metric.name for metric in on.rollout.judgement.metrics]


async def test_that_no_bad_event_was_ever_seen_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(ratios=[{**ORDERS, "bad": 'htp_requests_total{code="500"}'}])
    async with judged(tmp_path, monkeypatch, analysis(200), settings=config) as on:
        reads(on, config)
        await on.advance(1000)
        assert on.passed
        assert shown(on).count("no bad event ever seen, of either version") == 1


def leaves(on: Judged, step: int) -> None:
    """The old version ends with ``step`` of the plan."""
    if on.rollout.step == step and on.service.old_serves:
        on.service.serve()
        on.service.old_serves = False


async def test_a_ratio_is_compared_with_the_time_before_once_the_old_version_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(ratios=[ORDERS])
    async with judged(tmp_path, monkeypatch, analysis(120), analysis(300), settings=config) as on:
        reads(on, config)
        await on.advance(1500, lambda: leaves(on, 2))
        assert on.passed, on.rollout.pause_reason
        assert on.rollout.judgement is not None
        assert on.rollout.judgement.past
        assert [own.verdict for own in on.rollout.steps[1:3]] == ["healthy", "healthy"]
        assert on.rollout.baseline is not None
        assert on.rollout.baseline.ratios["orders"].total > 0
        assert on.rollout.judgement.unproven == ()


async def test_and_a_worse_one_is_found_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the requests few fail more often than is tolerated there; of the orders, far more do."""
    config = settings(ratios=[ORDERS], weights={"errors": 0.001, "latency": 0.4})
    async with judged(tmp_path, monkeypatch, analysis(120), analysis(300), settings=config) as on:
        reads(on, config)

        def worse() -> None:
            leaves(on, 2)
            if on.rollout.step == 2 and on.service.canary.errors == 0:
                on.service.canary = Behaviour(errors=0.004)

        await on.advance(1500, worse)
        assert not on.passed
        assert on.rollout.reason is not None
        assert on.rollout.reason.detail.startswith("orders: ")
        assert "before the deploy" in on.rollout.reason.detail


async def test_one_that_the_time_before_does_not_know_is_left_out_of_the_proof_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(ratios=[ORDERS])
    async with judged(tmp_path, monkeypatch, analysis(120), analysis(300), settings=config) as on:
        reads(on, config)

        def unknown() -> None:
            leaves(on, 2)
            if (baseline := on.rollout.baseline) is not None and baseline.ratios:
                on.run.change(msgspec.structs.replace(on.rollout, baseline=msgspec.structs.replace(baseline, ratios={})))

        await on.advance(1500, unknown)
        assert on.passed, on.rollout.pause_reason
        assert "no proof for orders (the old version serves no more" in on.rollout.steps[2].note
        assert "not for orders" in shown(on)


@pytest.mark.parametrize("asked", ["ratios", "endpoints"])
async def test_what_is_tolerated_is_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    """Twice the share of the control, where three times are allowed, is proven within an hour."""
    own: dict[str, Any] = {"tolerance": 3.0, "difference": 0.05, "weight": 0.1, "name": "orders"}
    own |= {"value": "/pay"} if asked == "endpoints" else {"total": "x", "bad": 'x{code="500"}'}
    (metric,) = ratios(settings(**{asked: [own]}).metrics)
    told = Parameters(metrics=(metric,))
    state = begin(told)
    for _ in range(60):
        state = observe(told, state, {"orders": Interval(20_000, 180_000, 800, 3600)})
    assert state.verdict is Verdict.HEALTHY

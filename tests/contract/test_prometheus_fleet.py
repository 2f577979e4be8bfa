"""The figures on the fleet's rows, asked of a real Prometheus: what it counted, how it went, and that it is away."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from support.consoles import words_on
from support.harness import Sandbox
from support.headless import headless, soon
from support.processes import eventually
from support.prometheus import Server, needs_prometheus, serving

from console.app import ConsoleApp
from services.analysis.glances import EVERY
from services.model.fleet import ServiceFigures
from widgets.format import milliseconds, percent

pytestmark = [needs_prometheus, pytest.mark.counterpart]
SERVICE = ("production", "payment-service")
WHOSE = 'namespace="production",pod=~"payment-service-.*"'


def asks(config: Path, url: str) -> None:
    document = yaml.safe_load(config.read_text())
    document["metrics"] |= {"source": "prometheus", "prometheus": {"url": url}}
    config.write_text(yaml.safe_dump(document))


def figures(app: ConsoleApp) -> ServiceFigures:
    return app.picture.figures.get(SERVICE, ServiceFigures())


def row(app: ConsoleApp) -> str:
    return next((line for line in words_on(app).splitlines() if SERVICE[1] in line), "")


def counted(server: Server) -> tuple[float, float]:
    """The share of errors and the P99 of the last minute, by the server's own functions."""
    errors = f'sum(increase(http_requests_total{{{WHOSE},code=~"5.."}}[1m])) / sum(increase(http_requests_total{{{WHOSE}}}[1m]))'
    p99 = f"histogram_quantile(0.99, sum by (le) (increase(http_request_duration_seconds_bucket{{{WHOSE}}}[1m])))"
    return server.value(errors)[0][1], server.value(p99)[0][1]


async def looked_at(config: Path, home: Path, server: Server, away: asyncio.Event) -> None:
    """A console that shows the fleet: figures come, go on, and stay with their age when the server goes away."""
    async with headless(None, home, config=config, size=(160, 40)) as (app, pilot):  # type: ignore[arg-type]
        assert figures(app).errors is None, "nothing is known before it was asked"
        await soon(app, lambda: figures(app).p99 is not None, 90.0)
        first = figures(app)
        await soon(app, lambda: len(figures(app).trend) >= 3, 90.0 + 2 * EVERY)
        now, (errors, p99) = figures(app), counted(server)
        assert first.errors is not None
        assert now.errors == pytest.approx(errors, rel=0.25)
        assert now.p99 == pytest.approx(p99, rel=0.1)
        assert all(each == pytest.approx(p99, rel=0.15) for each in now.trend)
        assert (now.problem, now.age < 45.0) == ("", True)
        await pilot.pause()
        assert percent(now.errors).replace("<0.", "<.") in row(app)
        assert milliseconds(now.p99) in row(app)
        away.set()
        await soon(app, lambda: "can't be reached" in figures(app).problem, 90.0)
        assert figures(app).errors == pytest.approx(errors, rel=0.5), "the last answer stays, and grows old"
        older = figures(app).age
        await soon(app, lambda: figures(app).age > older + 1.0)


def test_errors_latency_and_trend_are_what_the_server_counted(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "sandbox", "good", 1.0)
    try:
        page = urlsplit(sandbox.ready["prometheus"])
        (tmp_path / "prometheus").mkdir()
        config = Path(sandbox.ready["config"])

        async def day() -> None:
            away = asyncio.Event()
            with serving(tmp_path / "prometheus", page.netloc, path=page.path) as server:
                asks(config, server.url)
                await asyncio.to_thread(
                    eventually, "some looks are remembered", lambda: server.value("min(count_over_time(up[1m])) > 20") != [], 60.0
                )
                watching = asyncio.create_task(looked_at(config, tmp_path / "home", server, away))
                leaving = asyncio.create_task(away.wait())
                await asyncio.wait((watching, leaving), return_when=asyncio.FIRST_COMPLETED)
                leaving.cancel()
            await watching

        asyncio.run(asyncio.wait_for(day(), 300))
    finally:
        sandbox.stop()


def test_a_server_that_never_answers_is_said_on_the_row_of_the_service(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "sandbox", "good", 1.0)
    try:
        config = Path(sandbox.ready["config"])
        asks(config, "http://127.0.0.1:9")

        async def day() -> None:
            async with headless(None, tmp_path / "home", config=config, size=(160, 40)) as (app, _):  # type: ignore[arg-type]
                await soon(app, lambda: "can't be reached" in figures(app).problem, 90.0)
                assert (figures(app).errors, figures(app).p99, figures(app).trend) == (None, None, ())
                assert "0%" not in row(app)

        asyncio.run(asyncio.wait_for(day(), 150))
    finally:
        sandbox.stop()

"""What a deploy's analyses will see, asked of a real Prometheus while the form is filled in."""

import asyncio
import contextlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from support.harness import Sandbox
from support.headless import headless
from support.processes import eventually
from support.prometheus import needs_prometheus, serving

from services.model.release import DeployRequest
from services.rollout.foresight import Foresight

pytestmark = [needs_prometheus, pytest.mark.counterpart]
REQUEST = DeployRequest(
    service="payment-service", version="v2.15.0", environment="production", strategy="canary", ticket="CHG-4821"
)


async def foreseen(config: Path, home: Path, looks: int) -> list[Foresight]:
    """So many looks at the service, as the form has them."""
    found: list[Foresight] = []
    async with headless(None, home, config=config) as (app, _):  # type: ignore[arg-type]
        draft = await app.session.deploys.draft(REQUEST)
        async with contextlib.aclosing(app.session.deploys.foresight(draft)) as told:
            async for look in told:
                found.append(look)
                if len(found) == looks:
                    break
    return found


def test_the_traffic_is_what_the_server_counted(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "sandbox", "good", 10.0)
    try:
        page = urlsplit(sandbox.ready["prometheus"])
        (tmp_path / "prometheus").mkdir()
        with serving(tmp_path / "prometheus", page.netloc, path=page.path) as server:
            config = Path(sandbox.ready["config"])
            document = yaml.safe_load(config.read_text())
            document["metrics"] |= {"source": "prometheus", "prometheus": {"url": server.url}}
            config.write_text(yaml.safe_dump(document))
            eventually("twenty seconds are remembered", lambda: server.value("min(count_over_time(up[1m])) > 90") != [], 60.0)
            found = asyncio.run(asyncio.wait_for(foreseen(config, tmp_path / "home", 9), 120))
    finally:
        sandbox.stop()
    last = found[-1]
    assert last.problem == ""
    assert [one.weight for one in last.outlook] == [5, 10, 25, 50]
    assert last.outlook[0].rate == pytest.approx(1000.0, rel=0.4)  # 5 % of what the sandbox sends it
    assert last.outlook[0].errors.now == pytest.approx(0.0005, rel=0.4)
    assert last.outlook[3].errors.surely is not None
    assert last.outlook[0].errors.surely is not None
    assert last.outlook[3].errors.surely < last.outlook[0].errors.surely
    assert last.unreplayed == ""
    assert last.baseline is not None
    assert last.baseline.replay is not None
    assert (last.baseline.replay.splits, last.baseline.replay.aborted) == (6, 0)
    assert last.baseline.replay.rows >= 12
    # at once, from what the server remembers, before anything was measured here
    assert found[1].outlook[0].rate == pytest.approx(1000.0, rel=0.4)
    assert found[1].baseline is not None
    assert found[1].baseline.seconds >= 120


def test_a_server_that_is_away_is_said_with_its_reason(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "sandbox", "good", 10.0)
    try:
        config = Path(sandbox.ready["config"])
        document = yaml.safe_load(config.read_text())
        document["metrics"] |= {"source": "prometheus", "prometheus": {"url": "http://127.0.0.1:9"}}
        config.write_text(yaml.safe_dump(document))
        found = asyncio.run(asyncio.wait_for(foreseen(config, tmp_path / "home", 3), 120))
    finally:
        sandbox.stop()
    assert found[-1].outlook == ()
    assert "127.0.0.1:9 can't be reached" in found[-1].problem

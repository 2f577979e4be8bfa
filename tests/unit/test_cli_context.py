"""Where a command finds its home, its configuration and its operator."""

import argparse
import asyncio
import stat
from pathlib import Path

import pytest

from console import logs
from console.context import Context, home_of
from services.audit.event import Event, JournalUnavailable
from services.model.errors import QuarterdeckError, Rejected

CONFIG = """
version: 1
home: {home}
environments:
  dev: {{tier: dev, context: dev, namespaces: [dev]}}
"""


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("QUARTERDECK_CONFIG", "QUARTERDECK_HOME", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))


def arguments(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**{"config": None, "home": None, "read_only": False, "output": "text", **given})


def write(path: Path, home: Path) -> str:
    path.write_text(CONFIG.format(home=home))
    return str(path)


async def test_the_home_comes_from_the_option_then_the_environment_then_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(tmp_path / "c.yaml", tmp_path / "from-file")
    async with Context.open(arguments(config=config)) as context:
        assert context.home == tmp_path / "from-file"
        assert stat.S_IMODE(context.home.stat().st_mode) == 0o700
        assert context.journal.health.ok
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path / "from-env"))
    async with Context.open(arguments(config=config)) as context:
        assert context.home == tmp_path / "from-env"
    async with Context.open(arguments(config=config, home=str(tmp_path / "given"), read_only=True)) as context:
        assert context.home == tmp_path / "given"
        assert context.read_only
    logs.tear_down()


async def test_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(QuarterdeckError) as raised:
        Context.open(arguments())
    assert raised.value.exit_code == 2
    async with Context.open(arguments(), needs_settings=False) as context:
        assert context.home == tmp_path / "xdg-state" / "quarterdeck"
        assert context.operator is None
        with pytest.raises(Rejected):
            _ = context.settings
    logs.tear_down()


def test_reading_commands_look_at_the_configuration_only_where_no_home_is_given(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("{ not yaml")
    assert home_of(arguments(config=str(tmp_path / "broken.yaml"), home=str(tmp_path))) == tmp_path
    with pytest.raises(QuarterdeckError):
        home_of(arguments(config=str(tmp_path / "broken.yaml")))
    assert home_of(arguments(config=write(tmp_path / "c.yaml", tmp_path / "h"))) == tmp_path / "h"
    assert home_of(arguments()) == tmp_path / "xdg-state" / "quarterdeck"


def test_a_home_that_cannot_be_made_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Rejected, match="home"):
        Context.open(arguments(home=str(tmp_path / "file" / "home")), needs_settings=False)


async def test_connections_that_are_slow_to_close_keep_nothing_out_of_the_journal(tmp_path: Path) -> None:
    class Held:
        async def close(self) -> None:
            await asyncio.Event().wait()

    context = Context.open(arguments(config=write(tmp_path / "c.yaml", tmp_path / "home")), ships=False)
    context.__dict__["clusters"] = Held()
    event = Event(event="deployment.rolled_back", user="jane")
    waiting = asyncio.create_task(context.journal.append(event))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await context.close()
    await waiting
    assert [entry["event"] for entry in context.journal.entries()][-1] == event.event
    with pytest.raises(JournalUnavailable, match="closed"):
        await context.journal.append(event)
    logs.tear_down()

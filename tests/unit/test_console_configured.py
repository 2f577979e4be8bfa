"""A configuration that is changed while a process lives: followed where it can be used, and nothing is removed where it can't."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import services.settings
from console import logs
from console.context import Context
from services.audit import JournalUnavailable
from services.redaction import Redactor
from services.settings import ConfigurationError, Settings

CONFIG = """\
version: 1
environments: {{dev: {{context: a, namespaces: [dev]}}}}
journal:
  retention_days: {days}
  sinks: [{{kind: elasticsearch, name: {name}, url: 'http://127.0.0.1:1', token: 'env:{variable}'}}]
"""


@pytest.fixture(autouse=True)
def _no_log_of_others() -> Iterator[None]:
    yield
    logs.tear_down()


def opened(tmp_path: Path, days: int = 400, name: str = "central", variable: str = "SHIP_TOKEN") -> Context:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(days=days, name=name, variable=variable))
    args = argparse.Namespace(config=str(config), home=str(tmp_path / "home"), read_only=False)
    return Context.open(args, ships=False)


def changed(tmp_path: Path, text: str) -> None:
    draft = tmp_path / "draft"
    draft.write_text(text)
    os.replace(draft, tmp_path / "config.yaml")


def test_how_long_and_for_whom_the_journal_is_kept_follows_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context = opened(tmp_path)
    assert (context.retention().days, context.retention().required) == (400, ("central",))
    changed(tmp_path, CONFIG.format(days=500, name="other", variable="SHIP_TOKEN"))
    assert (context.retention().days, context.retention().required) == (500, ("other",))
    changed(tmp_path, "version: 1\nenvironments: {}\njournal: {retention_days: 3}\n")
    for _ in range(2):
        with pytest.raises(JournalUnavailable, match="changed configuration can't be used"):
            context.retention()
    assert context.configured is not None
    assert context.configured.usable().journal.retention_days == 500
    changed(tmp_path, CONFIG.format(days=401, name="central", variable="SHIP_TOKEN"))
    assert context.retention().days == 401


def test_what_a_shipper_is_given_tells_apart_sinks_and_secrets_and_holds_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIP_TOKEN", "first-token")
    context = opened(tmp_path)
    first = context.given()
    assert first == context.given()
    assert first.complete
    assert "first-token" not in repr(first)
    monkeypatch.setenv("SHIP_TOKEN", "second-token")
    second = context.given()
    assert (second.sinks, second.secrets == first.secrets) == (first.sinks, False)
    monkeypatch.delenv("SHIP_TOKEN")
    assert not context.given().complete
    changed(tmp_path, CONFIG.format(days=400, name="central", variable="OTHER_TOKEN"))
    assert context.given().sinks != first.sinks


def test_who_asks_again_and_again_for_what_cannot_be_used_gathers_nothing(tmp_path: Path) -> None:
    context = opened(tmp_path)
    changed(tmp_path, "version: 1\nenvironments: {}\njournal: {retention_days: 3}\n")
    assert context.configured is not None
    frames, told = set(), set()
    for _ in range(20):
        with pytest.raises(ConfigurationError, match="retention_days") as raised:
            context.configured.look()
        frames.add(len(raised.traceback))
        told.add(str(raised.value))
        assert context.configured.usable().journal.retention_days == 400
    assert len(frames) == len(told) == 1


def test_what_is_changed_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = services.settings.load

    def overtaken(config: Path, *, redactor: Redactor) -> Settings:
        settings = real(config, redactor=redactor)
        changed(tmp_path, CONFIG.format(days=500, name="central", variable="SHIP_TOKEN"))
        return settings

    with monkeypatch.context() as patched:
        patched.setattr(services.settings, "load", overtaken)
        context = opened(tmp_path)
    assert context.settings.journal.retention_days == 400
    assert context.retention().days == 500

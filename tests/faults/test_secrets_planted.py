"""Secrets planted wherever text goes: none comes out anywhere. ``tests/bench/redaction.py`` prints the figures of all of them."""

import os
from pathlib import Path

import pytest
from support.clock import ManualClock
from support.planted import ENCODINGS, found_in, ordinary, planted, registered, shaped
from support.planting import plant

from services.audit.entry import Moment, draft
from services.redaction import Redactor

COUNT = int(os.environ.get("QUARTERDECK_SECRETS", "4"))
"""Of 200."""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME", "CHANGE_TICKET", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)


async def test_no_registered_secret_comes_out_anywhere_in_any_encoding(tmp_path: Path) -> None:
    secrets = registered(COUNT)
    written = await plant(tmp_path, secrets)
    assert len(list(planted(secrets))) == COUNT * len(ENCODINGS)
    for place, content in written.items():
        assert "[REDACTED:" in content, f"nothing was planted in {place}"
        assert found_in(content, secrets) == [], place


async def test_nor_does_one_that_is_known_by_its_shape_only(tmp_path: Path) -> None:
    secrets = shaped(14)
    for place, content in (await plant(tmp_path, secrets, known=False)).items():
        assert "[REDACTED:" in content, f"nothing was planted in {place}"
        assert [found for found in found_in(content, secrets) if found[1] == "raw"] == [], place


def test_the_search_finds_what_was_not_taken_out() -> None:
    """The check can fail."""
    for secret, name, text in planted(registered(20)):
        assert (secret, name) in found_in(f"before {text} after", [secret])


def test_entries_without_secrets_stay_as_they_are() -> None:
    redactor = Redactor(b"k" * 32)
    for secret in registered(20):
        redactor.register(secret)
    moment = Moment.of(ManualClock())
    changed = [event for event in ordinary() if draft(event, moment, redactor=redactor, program="t").fields["redacted"]]
    assert len(changed) < 10, changed[:3]

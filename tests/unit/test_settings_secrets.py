"""Secrets are looked up where the reference says, registered before use, and refused where others could read them."""

import os
from pathlib import Path

import pytest
from support.configuration import redactor

from services.settings import SecretRef, SecretUnavailable


def test_a_variable_is_read_late_and_then_known_to_the_redactor(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = redactor()
    reference = SecretRef("env", "TEST_TOKEN")
    monkeypatch.setenv("TEST_TOKEN", "first-value-1\n")
    assert reference.reveal(guard) == "first-value-1"
    monkeypatch.setenv("TEST_TOKEN", "second-value-2")
    assert reference.reveal(guard) == "second-value-2", "a rotated secret is found"
    told = guard.text("tokens first-value-1 and second-value-2")
    assert "first-value-1" not in told
    assert "second-value-2" not in told


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("TEST_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("TEST_TOKEN", value)
    with pytest.raises(SecretUnavailable, match="env:TEST_TOKEN"):
        SecretRef("env", "TEST_TOKEN").reveal(redactor())


def test_a_private_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("file-secret-77\n")
    path.chmod(0o600)
    guard = redactor()
    reference = SecretRef("file", str(path))
    assert reference.reveal(guard) == "file-secret-77"
    assert reference.problem() == ""
    assert "file-secret-77" not in guard.text("x file-secret-77 y")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o602])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    path.write_text("file-secret-77")
    path.chmod(mode)
    reference = SecretRef("file", str(path))
    with pytest.raises(SecretUnavailable) as caught:
        reference.reveal(redactor())
    assert f"mode {mode:o}" in str(caught.value)
    assert "chmod 600" in str(caught.value)
    assert "file-secret-77" not in str(caught.value)
    assert "open to other users" in reference.problem()


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"\xff\xfe", b"x" * 70_000])
def test_a_file_without_one_line_of_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SecretUnavailable, match="not usable"):
        SecretRef("file", str(path)).reveal(redactor())


def test_a_missing_file_a_directory_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (tmp_path / "none", tmp_path, pipe):
        with pytest.raises(SecretUnavailable, match=f"file:{path}"):
            SecretRef("file", str(path)).reveal(redactor())

"""Looking for processes by their command lines: tests end what they find, so nothing of anybody else may be found."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import eventually, matching

LASTING = (sys.executable, "-c", "import sys; sys.stdin.read()")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[dict[str, int]]:
    """Processes by what their command lines say of ``tmp_path``."""
    words = {
        "at": ("--home", f"{tmp_path}/sandbox-1"),
        "below": ("--config", f"{tmp_path}/sandbox-1/home/config.yaml", "drive", "r-1"),
        "joined": (f"--home={tmp_path}/sandbox-1", "drive", "r-11"),
        "longer": ("--home", f"{tmp_path}/sandbox-10", "overdrive", "r-1"),
        "within": ("--home", f"{tmp_path}/other{tmp_path}/sandbox-1"),
    }
    running = {name: subprocess.Popen([*LASTING, *told], stdin=subprocess.PIPE) for name, told in words.items()}
    eventually("all have their command lines", lambda: len(matching(sys.executable, "-c", tmp_path)) == len(words))
    yield {name: process.pid for name, process in running.items()}
    for process in running.values():
        process.communicate(timeout=10)


@pytest.mark.parametrize(
    ("words", "place", "found"),
    [
        ((), "sandbox-1", {"at", "below", "joined"}),
        ((), "sandbox-10", {"longer"}),
        (("drive",), "", {"below", "joined"}),
        (("drive r-1",), "", {"below"}),
        (("r-1",), "", {"below", "longer"}),
        (("drive", "r-11"), "sandbox-1", {"joined"}),
    ],
)
def test_whole_words_and_paths_below_a_place_are_found(
    started: dict[str, int], tmp_path: Path, words: tuple[str, ...], place: str, found: set[str]
) -> None:
    assert matching(*words, tmp_path / place) == sorted(started[name] for name in found)

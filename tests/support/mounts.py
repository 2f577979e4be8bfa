"""File systems made for one test, where that is allowed: as root on Linux."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path


def _run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


@contextmanager
def mounted(place: Path, *options: str | Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    _run("mount", *options, place)
    try:
        yield place
    finally:
        _run("umount", "-l", place)


def remount(place: Path, option: str) -> None:
    _run("mount", "-o", f"remount,{option}", place)


def image(path: Path, mebibytes: int) -> None:
    """An ext4 file system in a file."""
    with path.open("wb") as file:
        file.truncate(mebibytes << 20)
    _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", path)


@lru_cache(maxsize=2)
def why_not(kind: str) -> str:
    """Why file systems of this ``kind`` (``tmpfs``, ``loop``) can't be mounted here; empty where they can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root may mount file systems"
    if shutil.which("mount") is None or (kind == "loop" and shutil.which("mkfs.ext4") is None):
        return "there is no mount or no mkfs.ext4"
    with tempfile.TemporaryDirectory() as made:
        try:
            if kind == "loop":
                image(Path(made) / "image", 8)
                with mounted(Path(made) / "at", "-o", "loop", Path(made) / "image"):
                    return ""
            with mounted(Path(made) / "at", "-t", "tmpfs", "-o", "size=256k", "tmpfs"):
                return ""
        except subprocess.CalledProcessError as error:
            return f"mounting is refused: {error.stderr.decode(errors='replace').strip()}"

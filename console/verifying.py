"""The journal's chain checked in a process of its own, so that a million entries take nothing from the console's keys."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from services.clock import Clock

if TYPE_CHECKING:
    from services.audit.verify import Verification  # a tenth of what the console would read before its first frame


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check ``at`` that moment came to, or why there was none (``failure``)."""

    at: datetime
    found: Verification | None = None
    failure: str = ""


async def verified(home: Path, clock: Clock) -> Verified:
    """Check the whole journal of ``home``. Takes a second for each million entries; cancelled, the check is ended."""
    # -P: the modules come from where quarterdeck is installed, never from the directory it happens to be called in.
    command = [sys.executable, "-P", "-m", "console.cli", "--home", str(home), "-o", "json", "journal", "verify"]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
        )
    except OSError as error:
        return Verified(clock.now(), failure=f"the check can't be started: {error.strerror or error}")
    try:
        said, complained = await process.communicate()
    except asyncio.CancelledError:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    try:
        return Verified(clock.now(), await asyncio.to_thread(_understood, said))
    except msgspec.MsgspecError:
        words = complained.decode("utf-8", "replace").strip() or f"exit {process.returncode}"
        return Verified(clock.now(), failure=f"the check did not end: {words[:500]}")


def _understood(said: bytes) -> Verification:
    from services.audit.verify import Verification

    return msgspec.json.decode(said, type=Verification)


def _environment() -> dict[str, str]:
    kept = dict(os.environ)
    if "PYTHONPATH" in kept:
        kept["PYTHONPATH"] = os.pathsep.join(os.path.abspath(part) for part in kept["PYTHONPATH"].split(os.pathsep) if part)
    return kept

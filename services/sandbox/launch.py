"""Starting a sandbox that goes on by itself, and finding one that already runs."""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from services.model.errors import QuarterdeckError, Unavailable
from services.sandbox.home import held

_LOG_LINES = 5
_started: list[subprocess.Popen[bytes]] = []
"""Children of this process, kept so that they can be reaped should they end before it does."""


def start_detached(
    home: Path, scenario: str = "good", speed: float = 1.0, *, cluster: Path | None = None, timeout: float = 60.0
) -> dict[str, Any]:
    """The ready document of the sandbox on ``home``: of the one that runs there, told to play ``scenario``, or of a new one.

    A new one is a process of its own session with none of the caller's streams. ``timeout`` in wall seconds. Raises Unavailable
    where it ends or is not ready in time.
    """
    home = home.absolute()
    if (document := running(home)) is not None:
        _play(document, home, scenario)
        return document
    home.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "services.sandbox",
        "--home",
        str(home),
        "--scenario",
        scenario,
        "--speed",
        repr(float(speed)),
    ]
    if cluster is not None:
        command += ["--cluster", str(cluster.absolute())]
    log = home / "sandbox.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
            cwd=_root(),
        )
    _started.append(process)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if (document := running(home)) is not None:
            return document
        if process.poll() is not None:
            break
        time.sleep(0.02)
    else:
        process.terminate()
    raise Unavailable("The sandbox did not start", "\n".join(_last_lines(log)), f"See {log}.")


def running(home: Path) -> dict[str, Any] | None:
    """The ready document of the live sandbox on ``home``; None where there is none, or only what a dead one left."""
    if not held(home):
        return None
    try:
        document: dict[str, Any] = json.loads((home / "ready.json").read_bytes())
    except (OSError, ValueError):
        return None
    return document


def control(document: dict[str, Any], home: Path, what: str, body: dict[str, str]) -> None:
    """Tell a running sandbox something: ``faults``, ``scenario`` or ``compact``. Raises OSError where it refuses or is gone."""
    url = str(document["tickets"]).removesuffix("/jira") + f"/sandbox/{what}"
    headers = {"Authorization": f"Bearer {(home / 'token').read_text()}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=5):
        return


def _play(document: dict[str, Any], home: Path, scenario: str) -> None:
    try:
        control(document, home, "scenario", {"scenario": scenario})
    except OSError as error:
        hint = f"Stop it (process {document['pid']}) and start again."
        raise QuarterdeckError("The running sandbox does not take the scenario", f"{scenario}: {error}", hint) from error


def _root() -> Path:
    """The directory that holds the packages: the new process imports the very same ones."""
    return Path(__file__).parents[2]


def _last_lines(log: Path) -> list[str]:
    try:
        return log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    except OSError:
        return []

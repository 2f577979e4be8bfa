"""VictoriaLogs, a log store that others wrote, with its listener for syslog over TLS."""

import contextlib
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.processes import eventually
from support.sinks import Authority

PROGRAM = shutil.which("victoria-logs")
needs_victorialogs = pytest.mark.skipif(
    PROGRAM is None, reason="victoria-logs is not on the PATH (its own releases, or Debian's source package victoriametrics)"
)


class Store:
    """``url`` is where it takes and gives logs; ``syslog`` the port that takes messages over TLS."""

    def __init__(self, url: str, syslog: int) -> None:
        self.url = url
        self.syslog = syslog

    def holds(self, number: int) -> list[dict[str, Any]]:
        """Everything it stores, once that is ``number`` logs or more."""
        eventually(f"{number} logs are stored", lambda: len(self.logs()) >= number, 60.0)
        return self.logs()

    def logs(self) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": "* | sort by (_time)", "limit": "100000"}).encode()
        with urllib.request.urlopen(f"{self.url}/select/logsql/query", query, timeout=10) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]


@contextlib.contextmanager
def victorialogs(directory: Path, authority: Authority) -> Iterator[Store]:
    """One of its own."""
    http, syslog = _free(), _free()
    options = {
        "httpListenAddr": f"127.0.0.1:{http}",
        "storageDataPath": str(directory / "victorialogs"),
        "retentionPeriod": "100y",
        "syslog.listenAddr.tcp": f"127.0.0.1:{syslog}",
        "syslog.tls": "true",
        "syslog.tlsCertFile": str(authority.certificate),
        "syslog.tlsKeyFile": str(authority.key),
    }
    command = [str(PROGRAM), *(f"-{name}={value}" for name, value in options.items())]
    with (directory / "victorialogs.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{http}"
        eventually("VictoriaLogs answers", lambda: _answers(url), 60.0)
        yield Store(url, syslog)
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port

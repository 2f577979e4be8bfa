"""A real Prometheus that scrapes a page which the test writes."""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.analysis.sources import Subject, Version
from services.analysis.windows import ArmName
from services.settings.schema import Metrics
from support.processes import eventually

PROGRAM = shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(PROGRAM is None, reason="prometheus is not installed (Debian: apt-get install prometheus)")
EVERY = 0.2
"""Seconds between two scrapes."""


_PAGE = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = Path(sys.argv[1]).read_bytes()
        self.send_response(200 if body else 503)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class Page:
    """``text`` is what is scraped; empty: the target is down. Served by a process of its own: a test that is held up is none that
    a scrape finds away."""

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory()
        self._file = Path(self._place.name) / "page"
        self._file.touch()
        self._process = subprocess.Popen([sys.executable, "-c", _PAGE, str(self._file)], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.address = f"127.0.0.1:{int(self._process.stdout.readline())}"

    @property
    def text(self) -> str:
        return self._file.read_text()

    @text.setter
    def text(self, text: str) -> None:
        draft = self._file.with_name("draft")
        draft.write_text(text)
        draft.replace(self._file)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._place.cleanup()


class Server:
    """``url`` is its address."""

    def __init__(self, url: str) -> None:
        self.url = url

    def value(self, query: str) -> list[tuple[dict[str, str], float]]:
        """What an instant query gives, asked past everything that is under test."""
        body = urllib.parse.urlencode({"query": query}).encode()
        with urllib.request.urlopen(f"{self.url}/api/v1/query", body, timeout=5) as response:
            found = msgspec.json.decode(response.read())["data"]["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def scraped(self, query: str, wanted: float) -> None:
        """Wait until the sum of a query is what the page says."""
        eventually(f"{query} is {wanted:g}", lambda: [value for _, value in self.value(f"sum({query})")] == [wanted], 60.0)

    def gone(self, query: str) -> None:
        eventually(f"{query} is gone", lambda: not self.value(query), 60.0)


@contextlib.contextmanager
def serving(directory: Path, target: str, *, path: str = "/metrics", every: float = EVERY) -> Iterator[Server]:
    """A Prometheus of its own on ``directory``, on a free port of loopback, that scrapes ``target``."""
    assert PROGRAM is not None
    config = {
        "global": {"scrape_interval": f"{every * 1000:.0f}ms", "scrape_timeout": f"{every * 1000:.0f}ms"},
        "scrape_configs": [
            {
                "job_name": "pages",
                "honor_labels": True,
                "metrics_path": path,
                "static_configs": [{"targets": [target]}],
            }
        ],
    }
    file = directory / "prometheus.json"
    file.write_bytes(msgspec.json.encode(config))
    port = _free_port()
    command = [PROGRAM, f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}", "--log.level=error"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, cwd=directory)
    server = Server(f"http://127.0.0.1:{port}")
    try:
        eventually("prometheus answers", lambda: process.poll() is None and _ready(server.url), 60.0)
        yield server
    finally:
        process.terminate()
        process.wait(10)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def metrics(**keys: Any) -> Metrics:
    """The section ``metrics`` of a configuration, validated as a file's is."""
    return Metrics.model_validate_json(msgspec.json.encode(keys))


def subject(
    canary: tuple[str, ...] = ("checkout-canary-1",),
    stable: tuple[str, ...] = ("checkout-1", "checkout-2"),
    *,
    versions: tuple[str, str] = ("v2", "v1"),
) -> Subject:
    """The service ``checkout`` of the namespace ``shop``, with a canary."""
    return Subject(
        namespace="shop",
        service="checkout",
        versions={
            ArmName.CANARY: Version(workload="checkout-canary", version=versions[0], pods=canary),
            ArmName.STABLE: Version(workload="checkout", version=versions[1], pods=stable),
        },
    )

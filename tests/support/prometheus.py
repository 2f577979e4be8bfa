"""A real Prometheus that scrapes a page which the test writes."""

import contextlib
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
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


class Page:
    """``text`` is what is scraped; empty: the target is down."""

    def __init__(self) -> None:
        self.text = ""
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = page.text.encode()
                self.send_response(200 if body else 503)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


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
        eventually(f"{query} is {wanted:g}", lambda: [value for _, value in self.value(f"sum({query})")] == [wanted], 15.0)

    def gone(self, query: str) -> None:
        eventually(f"{query} is gone", lambda: not self.value(query), 15.0)


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
        eventually("prometheus answers", lambda: process.poll() is None and _ready(server.url), 30.0)
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

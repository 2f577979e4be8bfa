"""Receivers of OTLP: a fake that keeps what it is sent as JSON, and rotel, a real collector, which passes all on as protobuf."""

import asyncio
import contextlib
import importlib.util
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from support.processes import eventually
from support.sinks import Fake

_FOUND = importlib.util.find_spec("rotel")
PROGRAM = Path(_FOUND.origin).with_name("rotel-agent") if _FOUND and _FOUND.origin else None
needs_rotel = pytest.mark.skipif(PROGRAM is None, reason="rotel is not installed (it is for Linux on x86-64)")


class Receiver(Fake):
    """Takes JSON and keeps the records of it. ``rejects``: how many of a request it says it rejected; those are not kept.
    ``oldest``: it rejects records of before that time (Unix seconds)."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[dict[str, Any]] = []
        self.rejects = 0
        self.oldest = 0.0

    def handle(self, request: web.Request, body: bytes) -> web.Response:
        if request.path != "/v1/logs" or request.method != "POST":
            return web.Response(status=404)
        if request.content_type != "application/json":
            return web.Response(status=415)
        try:
            resources = msgspec.json.decode(body)["resourceLogs"]
            found = [one for resource in resources for scope in resource["scopeLogs"] for one in scope["logRecords"]]
        except (msgspec.DecodeError, KeyError, TypeError):
            return web.json_response({"code": 3, "message": "bad request"}, status=400)
        kept = [one for one in found if int(one["timeUnixNano"]) / 1e9 >= self.oldest]
        kept = kept[: len(kept) - self.rejects]
        self.records += kept
        rejected = len(found) - len(kept)
        partial = {"rejectedLogRecords": str(rejected), "errorMessage": "too old"} if rejected else {}
        return web.json_response({"partialSuccess": partial})


class Exported(Fake):
    """Where rotel passes on to. ``arrived`` once it has passed on ``wanted`` records."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = 1
        self.arrived = asyncio.Event()

    def handle(self, request: web.Request, body: bytes) -> web.Response:
        if sum(len(log_records(sent)) for _, sent in self.seen) >= self.wanted:
            self.arrived.set()
        return web.Response(status=200, body=b"", content_type="application/x-protobuf")


@contextlib.contextmanager
def rotel(directory: Path, target: str) -> Iterator[str]:
    """The address of a rotel of its own, which passes logs on to ``target``."""
    assert PROGRAM is not None
    http, grpc = _free_port(), _free_port()
    command = [
        str(PROGRAM), "start", "--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}",
        "--pid-file", str(directory / "pid"), "--log-file", str(directory / "log"),
        "--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", target,
        "--otlp-exporter-compression", "none", "--disable-batching",
    ]  # fmt: skip
    with (directory / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=directory)
    try:
        eventually("rotel listens or gives up", lambda: process.poll() is not None or _listens(http), 30.0)
        assert process.poll() is None, (directory / "out").read_text()
        yield f"http://127.0.0.1:{http}"
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _listens(port: int) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/", method="HEAD"), timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wire(message: bytes) -> dict[int, list[Any]]:
    """The fields of a protobuf message by number: integers, and bytes for what has a length
    (https://protobuf.dev/programming-guides/encoding/)."""
    fields: dict[int, list[Any]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        kind = tag & 7
        value: Any
        if kind == 0:
            value = varint()
        elif kind == 1:
            value, at = int.from_bytes(message[at : at + 8], "little"), at + 8
        elif kind == 5:
            value, at = int.from_bytes(message[at : at + 4], "little"), at + 4
        else:
            assert kind == 2, kind
            size = varint()
            value, at = message[at : at + size], at + size
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def log_records(request: bytes) -> list[dict[int, list[Any]]]:
    """The log records of an ExportLogsServiceRequest."""
    return [
        wire(one)
        for resource in wire(request).get(1, [])
        for scope in wire(resource).get(2, [])
        for one in wire(scope).get(2, [])
    ]

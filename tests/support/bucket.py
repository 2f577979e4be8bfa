"""Buckets with object lock: a fake that can misbehave, and moto, a server of others."""

import base64
import contextlib
import hashlib
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from support.processes import eventually
from support.sinks import Fake

PYTHON = Path(__file__).parents[2] / ".venv-counterpart" / "bin" / "python"
needs_moto = pytest.mark.skipif(
    not PYTHON.exists(), reason="moto and boto3 are not installed (make .venv-counterpart/.installed)"
)
KEYS = {"QD_ACCESS": "AKIAIOSFODNN7EXAMPLE", "QD_SECRET": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
"""Amazon's own examples of keys, by the environment variables that tests keep them in."""


class Bucket(Fake):
    """Objects by path, with the headers they were put with; a put of what is there is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.locks = True

    def handle(self, request: web.Request, body: bytes) -> web.Response:
        if not request.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 Credential="):
            return error(403, "AccessDenied")
        if hashlib.sha256(body).hexdigest() != request.headers["x-amz-content-sha256"]:
            return error(400, "XAmzContentSHA256Mismatch")
        if request.query_string == "object-lock=":
            if not self.locks:
                return error(404, "ObjectLockConfigurationNotFoundError")
            found = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
            return web.Response(text=found, content_type="application/xml")
        if request.method == "PUT":
            return self._put(request, body)
        if request.path not in self.objects:
            return web.Response(status=404)
        return web.Response(headers=self.objects[request.path][1])

    def _put(self, request: web.Request, body: bytes) -> web.Response:
        if not self.locks:
            return error(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
        if request.headers.get("If-None-Match") == "*" and request.path in self.objects:
            return error(412, "PreconditionFailed")
        checksum = request.headers["x-amz-checksum-sha256"]
        if base64.b64encode(hashlib.sha256(body).digest()).decode() != checksum:
            return error(400, "BadDigest")
        kept = {name: value for name, value in request.headers.items() if name.lower().startswith("x-amz-object-lock")}
        self.objects[request.path] = (body, {**kept, "x-amz-checksum-sha256": checksum})
        return web.Response(headers={"x-amz-version-id": "1"})


def error(status: int, code: str, message: str = "no") -> web.Response:
    text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return web.Response(status=status, text=text, content_type="application/xml")


@contextlib.contextmanager
def moto(directory: Path) -> Iterator[str]:
    """The address of a moto server of its own."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    server = PYTHON.with_name("moto_server")
    with (directory / "moto.log").open("wb") as log:
        process = subprocess.Popen([str(server), "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log, cwd=directory)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually("moto answers or gives up", lambda: process.poll() is not None or _answers(url), 60.0)
        assert process.poll() is None, (directory / "moto.log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/moto-api/", timeout=1):
            return True
    except OSError:
        return False


def boto(program: str, *arguments: str) -> str:
    """What a Python program prints that has boto3, in an interpreter of its own."""
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": KEYS["QD_ACCESS"], "AWS_SECRET_ACCESS_KEY": KEYS["QD_SECRET"]}
    done = subprocess.run(
        [str(PYTHON), "-c", program, *arguments], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def told(output: str) -> object:
    return msgspec.json.decode(output)

"""The section ``alerts``: what can't be right is refused, and ``config check`` and ``doctor`` ask whom it names."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
from support.alerts import SUBJECT, section
from support.configuration import configured, redactor

from console.cli import main
from console.doctor import alerts
from console.doctor.finding import Outcome
from services.clock import SystemClock
from services.settings import ConfigurationError, parse

BASE = "version: 1\nenvironments:\n  production: {context: production, namespaces: [shop]}\n"
HTTPS = {"url": "https://alerts.example"}
REFUSED = {
    "another product": (HTTPS | {"kind": "pagerduty"}, "alertmanager"),
    "a token in the clear": ({"url": "http://alerts.example", "token": "env:T"}, "in the clear"),
    "a token itself": (HTTPS | {"token": "abcdef"}, "not a reference to a secret"),
    "a user alone": (HTTPS | {"user": "jane"}, "both 'user' and 'password'"),
    "two ways in": (HTTPS | {"user": "a", "password": "env:P", "token": "env:T"}, "both 'token' and 'password'"),
    "no severity": (HTTPS | {"severities": []}, "severities"),
    "no label of the service": (HTTPS | {"match": {"service": {}}}, "match.service"),
    "an unknown placeholder": (HTTPS | {"match": {"service": {"app": "{nope}"}}}, "placeholder that is not known: {nope}"),
    "a brace": (HTTPS | {"match": {"service": {"app": "{service"}}}, "brace of no placeholder"),
    "an attribute": (HTTPS | {"match": {"service": {"app": "{service.__class__}"}}}, "placeholder that is not known"),
    "an empty template": (HTTPS | {"match": {"service": {"app": ""}}}, "is empty"),
    "a label that is none": (HTTPS | {"match": {"service": {"a-b": "{service}"}}}, "a-b"),
}


def written(keys: dict[str, Any]) -> str:
    return f"{BASE}alerts: {msgspec.json.encode(keys).decode()}\n"


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_right_is_refused(name: str) -> None:
    keys, words = REFUSED[name]
    with pytest.raises(ConfigurationError) as failed:
        parse(written(keys), file="c.yaml", base=Path("/"), redactor=redactor())
    assert words in "\n".join(str(problem) for problem in failed.value.problems)


def test_nobody_is_asked_unless_it_is_configured() -> None:
    settings = configured()
    assert settings.alerts is None
    assert alerts.checks(settings, SystemClock(), redactor()) == []


def test_templates_are_filled_for_each_workload() -> None:
    assert SUBJECT.values("{namespace}/{workload}") == {"production/payment-service", "production/payment-service-canary"}
    assert section().match.service["deployment"] == "{workload}"


class Answers:
    """A server that answers every GET with ``status`` and ``body``."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"[]"
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(answers.status)
                self.end_headers()
                self.wfile.write(answers.body)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Answers]:
    found = Answers()
    yield found
    found.close()


def test_config_check_asks_and_tells_a_refusal_from_silence(
    server: Answers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(written({"url": server.url, "timeout": 20}))
    assert main(["config", "check", str(path)]) == 0
    server.status = 401
    assert main(["config", "check", str(path)]) == 2
    assert "alerts: " in (said := capsys.readouterr().out)
    assert "refuses our credentials (401)" in said
    assert main(["config", "check", str(path), "--offline"]) == 0
    server.status, server.body = 200, b"<html>"
    assert main(["config", "check", str(path)]) == 0
    assert "could not be asked" in capsys.readouterr().err


def test_config_check_misses_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(written(HTTPS | {"token": "file:nowhere.token", "ca_file": "nowhere.pem"}))
    assert main(["config", "check", str(path), "--offline"]) == 2
    said = capsys.readouterr().out
    assert "alerts.token" in said
    assert "alerts.ca_file" in said


async def test_doctor_asks(server: Answers) -> None:
    (check,) = alerts.checks(configured(written({"url": server.url, "timeout": 20})), SystemClock(), redactor())
    (found,) = await check.run()
    assert (found.outcome, found.found) == (Outcome.OK, "it says which alerts fire")
    server.status = 404
    (found,) = await check.run()
    assert found.outcome is Outcome.PROBLEM
    assert "no alerts at this address" in found.found

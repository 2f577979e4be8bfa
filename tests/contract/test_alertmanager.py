"""The Alertmanager adapter against its published description, against a server that misbehaves, and against a real one."""

import base64
import contextlib
import json
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import jsonschema
import pytest
import stamina
import yaml
from aiohttp.test_utils import make_mocked_request
from support.alerts import OURS, SUBJECT, adapter, gettable
from support.configuration import redactor
from support.processes import eventually

from services.clock import SystemClock
from services.integrations.alerts import AlertsRefused, AlertsUnavailable
from services.sandbox.alerts import Alerts
from services.sandbox.behaviour import Behaviours, scenarios
from services.sandbox.store import Store
from services.sandbox.traffic import Traffic

SPEC = (Path(__file__).parents[2] / "../shared/specs/alertmanager-v2.swagger.yaml").resolve()
PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
needs_alertmanager = pytest.mark.skipif(
    PROGRAM is None, reason="alertmanager is not installed (Debian: apt-get install prometheus-alertmanager)"
)
SECRET = "am-4711-secret-value"
NEWER = {"mutedBy"}
"""Fields that the description requires and that releases before 0.28 do not send."""


def check_against_spec(request: httpx.Request, body: Any, *, without: frozenset[str] = frozenset()) -> None:
    """Fail unless the published description knows this request's path and parameters, and this answer."""
    if not SPEC.exists():
        pytest.skip(f"the published description is not here: {SPEC.name}")
    spec = yaml.safe_load(SPEC.read_text())
    operation = spec["paths"][request.url.path.removeprefix(spec["basePath"].rstrip("/"))][request.method.lower()]
    known = {parameter["name"] for parameter in operation["parameters"] if "name" in parameter}
    assert set(request.url.params) <= known
    status = spec["definitions"]["alertStatus"]
    status["required"] = [name for name in status["required"] if name not in without]
    schema = operation["responses"]["200"]["schema"]
    jsonschema.validate(body, {**schema, "definitions": spec["definitions"]})


class Site:
    """An Alertmanager of canned alerts, each answer checked with the description."""

    def __init__(self, *alerts: dict[str, Any]) -> None:
        self.alerts = list(alerts)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        check_against_spec(request, self.alerts)
        return httpx.Response(200, json=self.alerts)


async def names(site: Any, **keys: Any) -> list[str]:
    source = adapter(site, **keys)
    try:
        return [alert.name for alert in await source.firing(SUBJECT)]
    finally:
        await source.close()


async def test_alerts_of_the_service_are_found_by_each_label_that_may_name_it() -> None:
    site = Site(
        gettable(OURS, fingerprint="a"),
        gettable({"alertname": "ByApp", "severity": "critical", "app": "payment-service", "namespace": "production"}),
        gettable(
            {"alertname": "Canary", "severity": "critical", "deployment": "payment-service-canary", "namespace": "production"}
        ),
    )
    source = adapter(site)
    found = await source.firing(SUBJECT)
    await source.close()
    assert {alert.name for alert in found} == {"Burns", "ByApp", "Canary"}
    assert found[0].since == datetime(2026, 3, 1, 12, tzinfo=UTC)
    asked = site.requests[0].url
    assert asked.path == "/api/v2/alerts"
    assert dict(asked.params) == {
        "active": "true",
        "silenced": "false",
        "inhibited": "false",
        "filter": 'severity="critical"',
    }


@pytest.mark.parametrize(
    ("labels", "status"),
    [
        (OURS | {"severity": "warning"}, {}),
        (OURS | {"service": "payment-service-two"}, {}),
        (OURS | {"namespace": "staging"}, {}),
        ({key: value for key, value in OURS.items() if key != "namespace"}, {}),
        ({"alertname": "Watchdog", "severity": "critical"}, {}),
        (OURS, {"state": "suppressed"}),
        (OURS, {"silencedBy": ["a5f4"]}),
        (OURS, {"inhibitedBy": ["a5f4"]}),
        (OURS, {"mutedBy": ["night"]}),
    ],
)
async def test_what_is_of_others_or_milder_or_held_back_is_none_of_them(labels: dict[str, str], status: dict[str, Any]) -> None:
    assert await names(Site(gettable(labels, **status))) == []


async def test_the_configuration_says_which_labels_count() -> None:
    labels = {"alertname": "Page", "prio": "p1", "job": "production/payment-service", "env": "production"}
    match = {"service": {"job": "{namespace}/{service}"}, "namespace": {"env": "{environment}"}}
    site = Site(gettable(labels))
    assert await names(site, severity_label="prio", severities=["p0", "p1"], match=match) == ["Page"]
    assert site.requests[0].url.params["filter"] == 'prio=~"p0|p1"'
    assert await names(site, severity_label="prio", severities=["p1"], match=match | {"namespace": {}}) == ["Page"]


async def test_hostile_names_are_one_line_and_cut() -> None:
    (name,) = await names(Site(gettable(OURS | {"alertname": "a\x1b[2J\nb" + "x" * 5000})))
    assert name.startswith("a [2J b")
    assert len(name) == 120


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>{</html>"),
        httpx.Response(200, json={"status": "success", "data": []}),
        httpx.Response(200, json=[{"labels": OURS}]),
        httpx.Response(200, json=[gettable(OURS) | {"startsAt": "yesterday"}]),
        httpx.Response(200, json=[gettable(OURS) | {"startsAt": "2026-03-01T12:00:00"}]),
        httpx.Response(200, json=[gettable(OURS, fingerprint="")]),
        httpx.Response(200, json=[gettable(OURS | {"n": str(index)}, fingerprint=str(index)) for index in range(501)]),
        httpx.Response(302, headers={"Location": "https://elsewhere.example"}),
        httpx.Response(503),
    ],
)
async def test_an_answer_that_makes_no_sense_is_no_answer(answer: httpx.Response) -> None:
    with stamina.set_testing(True, attempts=1), pytest.raises(AlertsUnavailable) as failed:
        await names(lambda request: answer)
    assert not isinstance(failed.value, AlertsRefused)
    assert failed.value.detail.startswith("alerts.example ")
    assert "\n" not in failed.value.detail


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418])
async def test_a_refusal_is_told_apart_from_a_server_that_is_away(status: int) -> None:
    with pytest.raises(AlertsRefused, match=str(status)):
        await names(lambda request: httpx.Response(status, text="no"))


@pytest.mark.parametrize(
    ("keys", "sent"),
    [
        ({"token": "env:AM_SECRET"}, f"Bearer {SECRET}"),
        ({"user": "ops", "password": "env:AM_SECRET"}, "Basic " + base64.b64encode(f"ops:{SECRET}".encode()).decode()),
    ],
)
async def test_credentials_are_sent_and_hidden(monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], sent: str) -> None:
    monkeypatch.setenv("AM_SECRET", SECRET)
    site, guard = Site(), redactor()
    await names(site, guard=guard, **keys)
    assert site.requests[0].headers["Authorization"] == sent
    assert SECRET not in guard.text(f"it said {SECRET}")
    assert sent.split()[1] not in guard.text(f"it said {sent}")


async def test_a_secret_that_is_not_there_is_said() -> None:
    with pytest.raises(AlertsUnavailable, match="AM_NOWHERE"):
        await names(Site(), token="env:AM_NOWHERE")


async def test_the_sandbox_speaks_as_the_description_says() -> None:
    clock, behaviours = SystemClock(), Behaviours(scenarios()["other-alerts"])
    served = Alerts(clock, behaviours, Traffic(Store(), clock, Random(1), behaviours))

    async def get(query: str) -> tuple[int, Any]:
        response = await served.handle(make_mocked_request("GET", f"/alerts/api/v2/alerts?{query}"))
        assert isinstance(response.body, bytes)
        return response.status, json.loads(response.body)

    _, everything = await get("")
    check_against_spec(httpx.Request("GET", "http://am/api/v2/alerts?active=true"), everything)
    assert {one["labels"]["namespace"] for one in everything} == {"production", "staging"}
    _, one = await get("filter=namespace%3D%22staging%22&filter=severity%3D~%22crit.*%22")
    assert [each["labels"]["alertname"] for each in one] == ["SettlementsFailing"]
    assert (await get("filter=nonsense"))[0] == 400


class Server:
    """A real Alertmanager at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url

    def post(self, path: str, document: Any) -> Any:
        body = json.dumps(document).encode()
        request = urllib.request.Request(f"{self.url}/api/v2/{path}", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.loads(response.read() or b"null")

    def suppressed(self) -> set[str]:
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as response:
            found = json.loads(response.read())
        return {one["labels"]["alertname"] for one in found if one["status"]["state"] == "suppressed"}

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as response:
                return bool(response.status == 200)
        except OSError:
            return False


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Server]:
    assert PROGRAM is not None
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    config = tmp_path / "alertmanager.yml"
    inhibit = {
        "source_matchers": ['alertname="ClusterDown"'],
        "target_matchers": ['alertname="Inhibited"'],
        "equal": ["namespace"],
    }
    config.write_text(
        yaml.safe_dump({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}], "inhibit_rules": [inhibit]})
    )
    command = [
        PROGRAM,
        f"--config.file={config}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
    server = Server(f"http://127.0.0.1:{port}")
    try:
        eventually("alertmanager answers", lambda: process.poll() is None and server.ready(), 30.0)
        yield server
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


@needs_alertmanager
@pytest.mark.counterpart
async def test_a_real_alertmanager_is_understood(alertmanager: Server) -> None:
    began = datetime.now(UTC) - timedelta(minutes=3)
    alerts = [
        OURS,
        OURS | {"alertname": 'Odd "\\ name\n'},
        OURS | {"alertname": "Mild", "severity": "warning"},
        OURS | {"alertname": "Elsewhere", "namespace": "staging"},
        OURS | {"alertname": "Silenced"},
        OURS | {"alertname": "Inhibited"},
        {"alertname": "ClusterDown", "severity": "critical", "namespace": "production"},
    ]
    alertmanager.post("alerts", [{"labels": labels, "startsAt": began.isoformat()} for labels in alerts])
    now = datetime.now(UTC)
    alertmanager.post(
        "silences",
        {
            "matchers": [{"name": "alertname", "value": "Silenced", "isRegex": False, "isEqual": True}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "jane",
            "comment": "known",
        },
    )
    # it takes a moment to see what inhibits what
    eventually("one is silenced, one inhibited", lambda: alertmanager.suppressed() == {"Silenced", "Inhibited"})
    source = adapter(url=alertmanager.url)
    try:
        found = await source.firing(SUBJECT)
        assert {alert.name for alert in found} == {"Burns", 'Odd "\\ name'}
        assert all(abs(alert.since - began) < timedelta(seconds=1) for alert in found)
        assert all(re.fullmatch(r"[0-9a-f]{16}", alert.fingerprint) for alert in found)
        # Over: posted again with an end.
        alertmanager.post("alerts", [{"labels": OURS, "startsAt": began.isoformat(), "endsAt": now.isoformat()}])
        assert [alert.name for alert in await source.firing(SUBJECT)] == ['Odd "\\ name']
    finally:
        await source.close()


@needs_alertmanager
@pytest.mark.counterpart
async def test_a_real_alertmanager_s_answer_is_as_described_and_a_bad_filter_is_refused(alertmanager: Server) -> None:
    alertmanager.post("alerts", [{"labels": OURS}])
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{alertmanager.url}/api/v2/alerts", params={"active": "true"})
        assert len(response.json()) == 1
        check_against_spec(response.request, response.json(), without=frozenset(NEWER))
    for severities in (["critical"], ["critical", "page.me|+(", 'a"b\\c']):
        source = adapter(url=alertmanager.url, severities=severities)
        assert [alert.name for alert in await source.firing(SUBJECT)] == ["Burns"]
        await source.close()
    wrong = adapter(url=f"{alertmanager.url}/elsewhere")
    with pytest.raises(AlertsRefused, match="404"):
        await wrong.firing(SUBJECT)
    await wrong.close()

"""The Jira adapter against a fake that checks each request and each answer with Atlassian's published description.

The service-management part has no published OpenAPI file; its answers follow the documentation by hand.
"""

import asyncio
import base64
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import stamina
from support.clock import running_seconds
from support.configuration import configured, redactor

from services.clock import SystemClock
from services.integrations.base import TicketNotThere, TicketUnavailable
from services.integrations.jira import Jira
from services.integrations.tickets import open_tickets
from services.model.errors import Rejected
from services.model.gates import Approval
from services.redaction import Redactor

SPEC = (Path(__file__).parents[2] / "../shared/specs/jira-platform-v3-subset.openapi.json").resolve()
TOKEN = "pat-4711-secret-value"
Answering = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JIRA_TOKEN", TOKEN)


def decision(account: str, word: str, name: str = "") -> dict[str, Any]:
    return {"approver": {"accountId": account, "displayName": name or account.title()}, "approverDecision": word}


def approval(final: str, *decisions: dict[str, Any]) -> dict[str, Any]:
    return {"id": "1", "name": "CAB", "finalDecision": final, "canAnswerApproval": False, "approvers": list(decisions)}


class Site:
    """A Jira site as far as a ticket needs it. ``requests`` is what was asked."""

    def __init__(self, *, status: str = "Approved", rounds: list[dict[str, Any]] | None = None, key: str = "CHG-4821") -> None:
        self.status = status
        self.rounds = rounds
        self.key = key
        self.requests: list[httpx.Request] = []
        self.first: list[Answering] = []
        """Answers given instead, one a request for the issue."""
        self.instead: dict[str, Answering] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert request.method == "GET"
        path = request.url.path
        if path.startswith("/rest/servicedeskapi/"):
            if "approval" in self.instead:
                return self.instead["approval"](request)
            return self._approvals(request)
        if self.first:
            return self.first.pop(0)(request)
        if "issue" in self.instead:
            return self.instead["issue"](request)
        return self._issue(request)

    def _issue(self, request: httpx.Request) -> httpx.Response:
        version = request.url.path.split("/")[3]
        body = {
            "id": "10002",
            "self": f"https://jira.example/rest/api/{version}/issue/10002",
            "key": self.key,
            "fields": {
                "summary": "Payment service 2.15.0",
                "status": {"id": "3", "name": self.status, "statusCategory": {"id": 4, "key": "indeterminate"}},
            },
        }
        if version == "3":
            check_against_spec(request, body)
        return httpx.Response(200, json=body)

    def _approvals(self, request: httpx.Request) -> httpx.Response:
        assert re.fullmatch(r"/rest/servicedeskapi/request/[A-Z0-9-]+/approval", request.url.path)
        if self.rounds is None:
            return httpx.Response(404, json={"errorMessage": "The request does not exist."})
        start, limit = int(request.url.params["start"]), int(request.url.params["limit"])
        page = self.rounds[start : start + limit]
        last = start + limit >= len(self.rounds)
        return httpx.Response(200, json={"size": len(page), "start": start, "limit": limit, "isLastPage": last, "values": page})


def check_against_spec(request: httpx.Request, body: Any) -> None:
    """Fail unless the published description knows this request's path and parameters, and this answer."""
    if not SPEC.exists():
        pytest.skip(f"the published description is not here: {SPEC.name}")
    spec = json.loads(SPEC.read_text())
    operations = [
        operations
        for template, operations in spec["paths"].items()
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), request.url.path)
    ]
    assert operations, request.url.path
    operation = operations[0][request.method.lower()]
    assert set(request.url.params) <= {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(body, {**schema, "components": spec["components"]})


def jira(site: Answering, *, cloud: bool = True, timeout: float = 5.0, guard: Redactor | None = None) -> Jira:
    flavour = "cloud, user: ops@example.com" if cloud else "data-center"
    settings = configured(
        "environments:\n  dev: {context: dev, namespaces: [dev]}\n"
        f"tickets: {{flavour: {flavour}, url: 'https://jira.example', token: 'env:JIRA_TOKEN', timeout: {timeout}}}\n"
    )
    assert settings.tickets is not None
    return Jira(settings.tickets, redactor=guard or redactor(), clock=SystemClock(), transport=httpx.MockTransport(site))


async def test_an_approved_ticket_with_its_approvals() -> None:
    site = Site(rounds=[approval("approved", decision("amira", "approved", "Amira Haddad"), decision("chen", "pending"))])
    ticket = await jira(site).ticket("CHG-4821")
    assert (ticket.key, ticket.status, ticket.title, ticket.approved) == ("CHG-4821", "Approved", "Payment service 2.15.0", True)
    assert ticket.url == "https://jira.example/browse/CHG-4821"
    assert ticket.approvals == (
        Approval(account="amira", display_name="Amira Haddad", decision="approved"),
        Approval(account="chen", display_name="Chen", decision="pending"),
    )


async def test_cloud_and_data_center_are_asked_in_their_own_way() -> None:
    site = Site()
    await jira(site).ticket("CHG-4821")
    issue = next(request for request in site.requests if "/api/" in request.url.path)
    assert issue.url.path == "/rest/api/3/issue/CHG-4821"
    assert issue.headers["Authorization"] == "Basic " + base64.b64encode(f"ops@example.com:{TOKEN}".encode()).decode()
    site = Site()
    await jira(site, cloud=False).ticket("CHG-4821")
    issue = next(request for request in site.requests if "/api/" in request.url.path)
    assert issue.url.path == "/rest/api/2/issue/CHG-4821"
    assert issue.headers["Authorization"] == f"Bearer {TOKEN}"


async def test_data_center_users_are_known_by_their_names() -> None:
    entry = {"approver": {"name": "amira.h", "key": "JIRAUSER1", "displayName": "Amira"}, "approverDecision": "approved"}
    ticket = await jira(Site(rounds=[approval("approved", entry)]), cloud=False).ticket("CHG-4821")
    assert ticket.approvals[0].account == "amira.h"


@pytest.mark.parametrize(
    ("status", "rounds", "approved"),
    [
        ("Approved", None, True),
        ("APPROVED ", None, True),
        ("Waiting for approval", None, False),
        ("Not Approved", None, False),
        ("Approved", [], True),
        ("Approved", [approval("approved")], True),
        ("Approved", [approval("approved"), approval("pending")], False),
        ("Approved", [approval("declined")], False),
        ("Rejected", [approval("approved")], False),
    ],
)
async def test_approved_is_the_status_and_every_approval(
    status: str, rounds: list[dict[str, Any]] | None, approved: bool
) -> None:
    assert (await jira(Site(status=status, rounds=rounds)).ticket("CHG-4821")).approved is approved


async def test_every_page_of_approvals_is_read() -> None:
    rounds = [approval("approved", decision(f"a{number}", "approved")) for number in range(120)]
    ticket = await jira(Site(rounds=[*rounds, approval("declined")])).ticket("CHG-4821")
    assert len(ticket.approvals) == 120
    assert not ticket.approved, "the last page counts too"


async def test_approvals_without_end_are_not_believed() -> None:
    site = Site()
    page = {"values": [approval("approved")], "isLastPage": False}
    site.instead["approval"] = lambda request: httpx.Response(200, json=page)
    with pytest.raises(TicketUnavailable, match="unknown") as caught:
        await jira(site).ticket("CHG-4821")
    assert "without end" in caught.value.detail
    assert len(site.requests) < 30


async def test_a_ticket_that_is_not_there_may_also_be_hidden() -> None:
    site = Site()
    site.instead["issue"] = lambda request: httpx.Response(404, json={"errorMessages": ["Issue does not exist"]})
    with pytest.raises(TicketNotThere) as caught:
        await jira(site).ticket("CHG-9999")
    assert "permission" in caught.value.hint


async def test_a_moved_ticket_is_not_the_one_that_was_named() -> None:
    with pytest.raises(TicketUnavailable, match="unknown") as caught:
        await jira(Site(key="OPS-7")).ticket("CHG-4821")
    assert "OPS-7" in caught.value.detail


@pytest.mark.parametrize("status", [400, 401, 403, 405, 410])
@pytest.mark.parametrize("part", ["issue", "approval"])
async def test_a_refusal_is_unknown_and_not_asked_again(status: int, part: str) -> None:
    site = Site()
    site.instead[part] = lambda request: httpx.Response(status, text="<html>no</html>")
    with pytest.raises(TicketUnavailable) as caught:
        await jira(site).ticket("CHG-4821")
    assert str(status) in caught.value.detail
    assert len(site.requests) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Log in</html>",
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"key": "CHG-4821", "fields": {}}',
        b'{"key": "CHG-4821", "fields": {"status": {"name": ""}}}',
        b'{"key": "CHG-4821", "fields": {"status": "Approved"}}',
        b'{"fields": {"status": {"name": "Approved"}}}',
        b"[" * 100_000,
        b'{"key": "' + b"x" * 5_000_000,
        b"\xff\xfe\x00",
    ],
    ids=range(12),
)
async def test_nonsense_is_never_an_approval(body: bytes) -> None:
    site = Site()
    site.instead["issue"] = lambda request: httpx.Response(200, content=body)
    with pytest.raises(TicketUnavailable):
        await jira(site).ticket("CHG-4821")


@pytest.mark.parametrize(
    "page", [{}, {"values": []}, {"values": [{}], "isLastPage": True}, {"values": [approval("approved", {})]}]
)
async def test_approvals_that_leave_out_what_decides_are_unknown(page: dict[str, Any]) -> None:
    site = Site()
    site.instead["approval"] = lambda request: httpx.Response(200, json=page)
    with pytest.raises(TicketUnavailable):
        await jira(site).ticket("CHG-4821")


async def test_a_redirect_is_not_followed_and_the_token_stays() -> None:
    site = Site()
    site.instead["issue"] = lambda request: httpx.Response(302, headers={"Location": "https://evil.example/rest"})
    with pytest.raises(TicketUnavailable) as caught:
        await jira(site).ticket("CHG-4821")
    assert "redirect" in caught.value.detail
    assert {request.url.host for request in site.requests} == {"jira.example"}


async def test_throttling_and_errors_are_asked_again() -> None:
    site = Site()
    site.first = [
        lambda request: httpx.Response(429, headers={"Retry-After": "0"}),
        lambda request: httpx.Response(503),
        lambda request: (_ for _ in ()).throw(httpx.ConnectError("refused")),
    ]
    with stamina.set_testing(True, attempts=4):
        ticket = await jira(site).ticket("CHG-4821")
    assert ticket.approved


async def test_an_outage_ends_unknown() -> None:
    site = Site()
    site.instead["issue"] = lambda request: httpx.Response(503)
    with stamina.set_testing(True, attempts=3), pytest.raises(TicketUnavailable) as caught:
        await jira(site).ticket("CHG-4821")
    assert "503" in caught.value.detail


@pytest.mark.parametrize("later", ["3600", "date"])
async def test_a_throttle_longer_than_the_time_is_told_at_once(later: str) -> None:
    site = Site()
    when = (SystemClock().now() + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    site.instead["issue"] = lambda request: httpx.Response(429, headers={"Retry-After": when if later == "date" else later})
    with pytest.raises(TicketUnavailable) as caught:
        await jira(site).ticket("CHG-4821")
    assert "429" in caught.value.detail
    assert len([request for request in site.requests if "/api/" in request.url.path]) == 1


async def test_a_slow_system_is_unknown_in_time() -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with running_seconds() as ran:
        with pytest.raises(TicketUnavailable) as caught:
            await jira(slow, timeout=0.1).ticket("CHG-4821")  # type: ignore[arg-type]
        assert "0.1 s" in caught.value.detail
        assert ran() < 2


@pytest.mark.parametrize("key", ["", "chg-1", "CHG-1/../../myself", "CHG-1?expand=x", "CHG-1\n", "CHG-0", "C-1"])
async def test_only_a_key_gets_into_a_url(key: str) -> None:
    site = Site()
    with pytest.raises(Rejected):
        await jira(site).ticket(key)
    assert site.requests == []


async def test_a_missing_token_is_unknown_and_names_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JIRA_TOKEN")
    site = Site()
    with pytest.raises(TicketUnavailable, match="env:JIRA_TOKEN"):
        await jira(site).ticket("CHG-4821")
    assert site.requests == []


async def test_the_token_is_known_to_the_redactor_in_every_form_it_travels() -> None:
    guard = redactor()
    site = Site()
    await jira(site, guard=guard).ticket("CHG-4821")
    sent = site.requests[0].headers["Authorization"]
    assert TOKEN not in guard.text(f"x {TOKEN} y")
    assert sent.removeprefix("Basic ") not in guard.text(f"header {sent}")


async def test_the_configured_system_is_opened_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    system = open_tickets(configured(), redactor=redactor(), clock=SystemClock())
    assert isinstance(system, Jira)
    await system.close()
    assert (
        open_tickets(configured("environments: {dev: {context: d, namespaces: [d]}}"), redactor=redactor(), clock=SystemClock())
        is None
    )


async def test_a_system_that_is_down_is_told_soon() -> None:
    """A real socket: nothing listens on the port, and proxies of the environment do not stand between us and loopback."""
    settings = configured(
        "environments:\n  dev: {context: dev, namespaces: [dev]}\n"
        "tickets: {flavour: data-center, url: 'http://127.0.0.1:1/jira', token: 'env:JIRA_TOKEN', timeout: 3}\n"
    )
    system = open_tickets(settings, redactor=redactor(), clock=SystemClock())
    assert system is not None
    with pytest.raises(TicketUnavailable) as caught:
        await system.ticket("CHG-4821")
    assert "can't be reached" in caught.value.detail
    await system.close()

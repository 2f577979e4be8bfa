"""The sandbox's tickets against Jira's published schema, and the shapes its Service Management adds."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
from aiohttp.test_utils import TestServer
from support.clock import ManualClock

from services.sandbox.access import Tokens
from services.sandbox.people import APPROVERS, operator
from services.sandbox.tickets import Tickets

SPEC = (Path(__file__).parents[2] / "../shared/specs/jira-platform-v3-subset.openapi.json").resolve()
TOKENS = Tokens("admin-token", "viewer-token")


@pytest.fixture
async def jira() -> AsyncIterator["Jira"]:
    async with aiohttp.ClientSession() as session:
        app = aiohttp.web.Application()
        tickets = Tickets("http://127.0.0.1:1/jira", TOKENS, ManualClock())

        async def handle(request: aiohttp.web.Request) -> aiohttp.web.Response:
            return tickets.handle(request)

        app.router.add_route("*", "/jira/{path:.*}", handle)
        server = TestServer(app)
        await server.start_server()
        yield Jira(session, str(server.make_url("/jira")))
        await server.close()


class Jira:
    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base

    async def get(self, path: str, token: str | None = TOKENS.admin) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self._session.get(self._base + path, headers=headers) as response:
            return response.status, await response.json()


def validate(document: Any, schema: str) -> None:
    """Against a schema of the published specification; OpenAPI's ``nullable`` and ``readOnly`` add nothing here."""
    specification = json.loads(SPEC.read_text("utf-8"))
    jsonschema.Draft4Validator({"$ref": f"#/components/schemas/{schema}", "components": specification["components"]}).validate(
        document
    )


published = pytest.mark.skipif(not SPEC.is_file(), reason="no published schema beside this repository (../shared/specs)")


@published
@pytest.mark.parametrize("key", ["CHG-4821", "CHG-4822", "CHG-4823", "CHG-4824"])
async def test_an_issue_has_the_published_shape(jira: Jira, key: str) -> None:
    status, issue = await jira.get(f"/rest/api/2/issue/{key}?expand=changelog")
    assert status == 200
    validate(issue, "IssueBean")
    validate(issue["fields"]["status"], "StatusDetails")
    validate(issue["fields"]["assignee"], "UserDetails")
    for history in issue["changelog"]["histories"]:
        validate(history, "Changelog")


@published
async def test_myself_has_the_published_shape(jira: Jira) -> None:
    status, me = await jira.get("/rest/api/2/myself")
    assert status == 200
    validate(me, "User")
    assert me["name"] == operator().account


async def test_only_the_fields_asked_for_are_answered(jira: Jira) -> None:
    _, issue = await jira.get("/rest/api/2/issue/CHG-4821?fields=summary,status")
    assert set(issue["fields"]) == {"summary", "status"}
    assert issue["fields"]["status"]["name"] == "Approved"


@pytest.mark.parametrize(
    ("key", "status", "final", "decisions"),
    [
        ("CHG-4821", "Approved", "approved", {APPROVERS[0].account: "approved", APPROVERS[1].account: "approved"}),
        ("CHG-4822", "In Review", "pending", {APPROVERS[0].account: "approved", APPROVERS[1].account: "pending"}),
        ("CHG-4823", "Approved", "approved", {operator().account: "approved"}),
        ("CHG-4824", "Declined", "declined", {APPROVERS[0].account: "declined", APPROVERS[1].account: "pending"}),
    ],
)
async def test_each_ticket_tells_who_decided_what(
    jira: Jira, key: str, status: str, final: str, decisions: dict[str, str]
) -> None:
    _, issue = await jira.get(f"/rest/api/2/issue/{key}")
    assert issue["fields"]["status"]["name"] == status
    code, page = await jira.get(f"/rest/servicedeskapi/request/{key}/approval")
    assert code == 200
    assert (page["isLastPage"], page["start"], len(page["values"])) == (True, 0, 1)
    (approval,) = page["values"]
    assert approval["finalDecision"] == final
    assert {entry["approver"]["name"]: entry["approverDecision"] for entry in approval["approvers"]} == decisions
    assert ("completedDate" in approval) == (final != "pending")


async def test_without_a_token_nothing_is_told(jira: Jira) -> None:
    for token in (None, "wrong", TOKENS.viewer):
        status, body = await jira.get("/rest/api/2/issue/CHG-4821", token)
        assert status == 401
        assert body["errorMessages"]
    status, body = await jira.get("/rest/api/2/issue/CHG-1")
    assert (status, body["errorMessages"]) == (404, ["Issue Does Not Exist"])

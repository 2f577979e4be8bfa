"""Who we are to Jira, against answers that Atlassian's published description allows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from support.configuration import configured, redactor

from services.clock import SystemClock
from services.integrations.base import Account, TicketUnavailable
from services.integrations.jira import Jira

SPEC = (Path(__file__).parents[2] / "../shared/specs/jira-platform-v3-subset.openapi.json").resolve()
DATE = "Thu, 01 Jan 2026 00:00:10 GMT"
NOON = 1767225610.0
AMIRA = {
    "self": "https://jira.example/rest/api/3/user?accountId=5b10",
    "accountId": "5b10",
    "accountType": "atlassian",
    "displayName": "Amira Haddad",
    "active": True,
}


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JIRA_TOKEN", "pat-4711-secret-value")


def jira(answer: Callable[[httpx.Request], httpx.Response], *, cloud: bool = True) -> Jira:
    flavour = "cloud, user: ops@example.com" if cloud else "data-center"
    settings = configured(
        "environments:\n  dev: {context: dev, namespaces: [dev]}\n"
        f"tickets: {{flavour: {flavour}, url: 'https://jira.example', token: 'env:JIRA_TOKEN', timeout: 9}}\n"
    )
    assert settings.tickets is not None
    return Jira(settings.tickets, redactor=redactor(), clock=SystemClock(), transport=httpx.MockTransport(answer))


@pytest.mark.skipif(not SPEC.exists(), reason=f"the published description is not here: {SPEC.name}")
def test_the_answer_is_one_that_is_published() -> None:
    spec: dict[str, Any] = json.loads(SPEC.read_text())
    operation = spec["paths"]["/rest/api/3/myself"]["get"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(AMIRA, {**schema, "components": spec["components"]})


async def test_our_own_account_and_the_time_there() -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, json=AMIRA, headers={"Date": DATE})

    mine = Account(id="5b10", display_name="Amira Haddad", active=True, server_time=NOON)
    assert await jira(answer).account() == mine
    assert await jira(answer).account("5b10") == mine
    assert [str(url.copy_with(query=None)).rpartition("/rest")[2] for url in asked] == ["/api/3/myself", "/api/3/user"]
    assert asked[1].params["accountId"] == "5b10"


async def test_data_center_is_asked_by_user_name() -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, json={"name": "amira.h", "key": "JIRAUSER1", "active": False})

    found = await jira(answer, cloud=False).account("amira.h")
    assert found == Account(id="amira.h", display_name="amira.h", active=False, server_time=None)
    assert (asked[0].path, asked[0].params["username"]) == ("/rest/api/2/user", "amira.h")


async def test_nobody_of_that_name_is_not_an_error_and_no_access_is() -> None:
    assert await jira(lambda _: httpx.Response(404, json={})).account("gone") is None
    for code in (401, 403, 404):
        with pytest.raises(TicketUnavailable):
            await jira(lambda _, code=code: httpx.Response(code, json={})).account()  # type: ignore[misc]

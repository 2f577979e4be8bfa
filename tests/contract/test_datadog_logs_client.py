"""Datadog's own client against the fake that the sink is tested with, and the sink's requests against the client's models."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from datadog_api_client import ApiClient, Configuration
from datadog_api_client.exceptions import ForbiddenException
from datadog_api_client.v2.api.logs_api import LogsApi
from datadog_api_client.v2.model.http_log import HTTPLog
from datadog_api_client.v2.model.http_log_item import HTTPLogItem
from datadog_api_client.v2.model.logs_list_request import LogsListRequest
from datadog_api_client.v2.model.logs_list_request_page import LogsListRequestPage
from datadog_api_client.v2.model.logs_query_filter import LogsQueryFilter
from support.datadog_logs import APP_KEY, Account
from support.sinks import JOURNAL, NOW, TOKEN, LeapingClock, records, serving

from services.audit.sinks.datadog import DatadogSink
from services.redaction import Redactor
from services.settings.sinks import DatadogLogs

pytestmark = pytest.mark.counterpart


def configuration(fake: Account, key: str = TOKEN) -> Configuration:
    made = Configuration(host=fake.url)
    made.api_key["apiKeyAuth"] = key
    made.api_key["appKeyAuth"] = APP_KEY
    made.server_operation_index["submit_log"] = 1
    made.server_operation_variables["submit_log"] = {"protocol": "http", "name": fake.url.removeprefix("http://")}
    return made


def searched(client: ApiClient) -> list[Any]:
    """The attributes of all entries of the journal, as the client's models read them."""
    query = LogsQueryFilter(
        query=f"source:quarterdeck (journal:{JOURNAL})", _from=str(int((NOW - 60) * 1000)), to=str(int((NOW + 60) * 1000))
    )
    found = LogsApi(client).list_logs(body=LogsListRequest(filter=query, page=LogsListRequestPage(limit=10)))
    return [one.attributes for one in found.data]


async def test_the_client_sends_to_the_fake_and_finds_it_again() -> None:
    fake = Account(LeapingClock())
    async with serving(fake):

        def talk() -> list[str]:
            with ApiClient(configuration(fake)) as client:
                tags = f"journal:{JOURNAL}"
                item = HTTPLogItem(ddsource="quarterdeck", ddtags=tags, hostname="h", message="hello", service="s")
                LogsApi(client).submit_log(body=HTTPLog([item]))
                return [one.message for one in searched(client)]

        assert await asyncio.to_thread(talk) == ["hello"]

        def refused() -> None:
            with ApiClient(configuration(fake, "another")) as client:
                LogsApi(client).submit_log(body=HTTPLog([HTTPLogItem(message="x")]))

        with pytest.raises(ForbiddenException):
            await asyncio.to_thread(refused)


async def test_what_the_sink_sends_is_found_by_the_client_and_read_by_its_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_API_KEY", TOKEN)
    fake = Account(LeapingClock())
    async with serving(fake):
        section = DatadogLogs.model_validate(
            {"kind": "datadog", "intake_url": fake.url, "api_url": fake.url, "api_key": "env:DD_API_KEY"}
        )
        sink = DatadogSink(section, secrets=Redactor(), clock=fake.clock)
        await sink.send(records(3))
        await sink.close()

        def search() -> list[tuple[str, datetime, float]]:
            with ApiClient(configuration(fake)) as client:
                return [(one.service, one.timestamp, one.attributes["quarterdeck"]["seq"]) for one in searched(client)]

        found = await asyncio.to_thread(search)
    assert [(service, seq) for service, _, seq in found] == [("quarterdeck", 1), ("quarterdeck", 2), ("quarterdeck", 3)]
    assert found[0][1] == datetime.fromtimestamp(int(NOW * 1000 + 1) / 1000, UTC)
    for item in msgspec.json.decode(fake.seen[0][1]):
        required = {"message", "ddsource", "ddtags", "hostname", "service"}
        HTTPLogItem(**{name: item[name] for name in required})

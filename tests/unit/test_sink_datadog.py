"""Datadog's intake of logs: its statuses and limits, entries that are too old for it, and reading back what it kept."""

import json
from typing import Any

import msgspec
import pytest
from support.datadog_logs import APP_KEY, Account
from support.sinks import JOURNAL, NOW, TOKEN, LeapingClock, record, records, serving, status

from services.audit.sinks.base import Answer, Assurance, Delivery, Record, Trouble
from services.audit.sinks.datadog import DatadogSink
from services.redaction import Redactor
from services.settings.sinks import DatadogLogs

D, X = Answer.DELIVERED, Answer.REJECTED
READING = {"application_key": "env:DD_APP_KEY"}


def sink(fake: Account, **keys: Any) -> DatadogSink:
    known = {"kind": "datadog", "intake_url": fake.url, "api_url": fake.url, "api_key": "env:DD_API_KEY", "timeout": 20}
    section = DatadogLogs.model_validate_json(json.dumps({**known, **keys}))
    return DatadogSink(section, secrets=Redactor(), clock=fake.clock)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_API_KEY", TOKEN)
    monkeypatch.setenv("DD_APP_KEY", APP_KEY)


@pytest.fixture
def account() -> Account:
    return Account(LeapingClock())


async def test_an_entry_has_its_place_and_words_as_attributes_and_itself_in_the_message(account: Account) -> None:
    async with serving(account):
        one = sink(account, tags=["team:release"])
        batch = [record(1, outcome="failed"), record(2)]
        assert await one.send(batch) == Delivery(answers=(D, D))
        await one.close()
    first = account.logs[0]
    assert first["message"].endswith(batch[0].body.decode())
    assert first["message"].startswith("deployment.started production payment-service v2.15.0 failed (jane) {")
    assert first["quarterdeck"]["hash"] == batch[0].hash
    assert first["quarterdeck"]["id"] == f"{JOURNAL}:1"
    assert first["quarterdeck"]["timestamp"] == batch[0].fields["timestamp"]
    assert first["ddtags"] == f"journal:{JOURNAL},seq_block:0,team:release,env:production"
    assert (first["status"], account.logs[1]["status"]) == ("error", "info")
    assert account.seen[0][0].headers["Content-Encoding"] == "gzip"
    assert sum(map(one.size, batch)) == len(account.seen[0][1]) - 1
    assert one.assurance is Assurance.ACCEPTED


async def test_a_message_is_never_json_altogether(account: Account) -> None:
    async with serving(account):
        one = sink(account)
        await one.send([record(1, event="\0", user="", environment="", service="", version="")])
        await one.close()
    assert account.logs[0]["message"].startswith("entry {")


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (400, Trouble.SUSPECT), (401, Trouble.HOLD), (403, Trouble.HOLD), (404, Trouble.HOLD), (408, Trouble.BUSY),
        (413, Trouble.TOO_LARGE), (429, Trouble.BUSY), (500, Trouble.BUSY), (503, Trouble.BUSY), (302, Trouble.HOLD),
        (200, Trouble.UNREACHABLE), (204, Trouble.UNREACHABLE),
    ],
)  # fmt: skip
async def test_every_status_of_the_table_has_its_meaning(account: Account, code: int, trouble: Trouble) -> None:
    account.faults = [status(code, "" if code == 204 else f"no {TOKEN}", Retry_After="5", Location="https://x.test/")]
    async with serving(account):
        one = sink(account)
        delivery = await one.send(records(3))
        await one.close()
    assert (delivery.trouble, delivery.answers) == (trouble, ())
    assert delivery.retry_after == (5 if trouble is Trouble.BUSY else None)
    assert TOKEN not in delivery.detail


async def test_an_entry_that_would_be_cut_behind_a_202_is_rejected_here(account: Account) -> None:
    body = msgspec.json.encode({"event": "x", "text": "y" * 1_100_000})
    huge = Record(journal=JOURNAL, seq=2, hash="0" * 64, body=body, timestamp=NOW, fields=msgspec.json.decode(body))
    async with serving(account):
        one = sink(account)
        delivery = await one.send([record(1), huge, record(3)])
        await one.close()
    assert one.size(huge) > one.limits.entry_bytes
    assert delivery.answers == (D, X, D)
    assert "would keep 1000000" in delivery.reasons[1]
    assert account.seqs() == [1, 3]


async def test_entries_older_than_the_intake_takes_keep_their_true_time(account: Account) -> None:
    now = account.clock.unix()
    old, edge, fresh = record(1, at=now - 3 * 86_400), record(2, at=now - 17.9 * 3600), record(3, at=now - 60)
    async with serving(account):
        one = sink(account, **READING)
        assert (await one.send([old, edge, fresh])).answers == (D, D, D)
        assert account.seqs() == [1, 2, 3]
        assert await one.missing([old, edge, fresh]) == []
        await one.close()
    assert [round(now - one["timestamp"]) for one in account.logs] == [0, 0, 60]
    assert account.logs[0]["quarterdeck"]["timestamp"] == "2025-12-29T00:00:00.000000Z"


async def test_what_was_accepted_and_then_lost_is_found_missing(account: Account) -> None:
    account.excluded = {2, 5}
    batch = records(6)
    async with serving(account):
        one = sink(account, **READING)
        account.page = 2
        assert (await one.send(batch)).answers == (D,) * 6
        assert await one.missing(batch) == [2, 5]
        account.lose()
        assert await one.missing(batch) == [1, 2, 3, 4, 5, 6]
        assert await one.missing([]) == ()
        await one.close()


@pytest.mark.parametrize("fault", [status(429), status(403), status(500), status(200, "<html>"), status(200, '{"data": 5}')])
async def test_what_can_not_be_asked_is_unknown_not_missing(account: Account, fault: Any) -> None:
    async with serving(account):
        one = sink(account, **READING)
        await one.send(records(1))
        account.faults = [fault]
        assert await one.missing(records(1)) is None
        account.search_status = "timeout"
        assert await one.missing(records(1)) is None
        await one.close()
        without = sink(account)
        assert await without.missing(records(1)) is None
        await without.close()


@pytest.mark.parametrize(
    ("key", "application_key", "words"),
    [
        (TOKEN, APP_KEY, ""),
        ("another", APP_KEY, "answered 403"),
        (TOKEN, "another", "can't be searched"),
        ("", APP_KEY, "DD_API_KEY"),
    ],
)
async def test_the_probe_finds_what_is_wrong(
    account: Account, key: str, application_key: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DD_API_KEY", key)
    monkeypatch.setenv("DD_APP_KEY", application_key)
    async with serving(account):
        one = sink(account, **READING)
        probe = await one.probe()
        await one.close()
    assert probe.ok is not bool(words)
    assert words in probe.detail
    assert {log["ddsource"] for log in account.logs} <= {"quarterdeck-probe"}


async def test_the_probe_tells_another_server_from_datadog(account: Account) -> None:
    async with serving(account):
        one = sink(account)
        for fault in (status(200, "<html>"), status(200, '{"valid": false}')):
            account.faults = [fault]
            assert not (await one.probe()).ok
        account.faults = [lambda request, sent, handled: handled(request, sent), status(404)]
        probe = await one.probe()
        assert not probe.ok
        assert "site" in probe.hint
        await one.close()

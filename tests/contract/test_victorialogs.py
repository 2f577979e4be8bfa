"""The sinks against VictoriaLogs (1.112), a log store that others wrote: what it reads, and that nothing is lost to the rest."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.processes import eventually
from support.shipping import QuickClock, shipping
from support.sinks import Authority, LeapingClock, record, records
from support.victorialogs import needs_victorialogs, victorialogs

from services.audit.shipping import deadletters
from services.audit.shipping.status import SinkState
from services.audit.sinks.base import Answer, Sink
from services.audit.sinks.elasticsearch import ElasticsearchSink
from services.audit.sinks.otlp import OtlpSink
from services.audit.sinks.syslog import SyslogSink
from services.clock import SystemClock
from services.redaction import Redactor
from services.settings.sinks import Elasticsearch, Otlp, Syslog

pytestmark = [pytest.mark.counterpart, needs_victorialogs]

HOSTILE = record(51, event='deploy "]\\ ünd', user='nul\0 line\u2028 quote" back\\ ] lone\ud800 €\r\n%s', outcome="failed")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def syslog(port: int, authority: Authority, clock: SystemClock | None = None) -> SyslogSink:
    known = {"kind": "syslog", "host": "127.0.0.1", "port": port, "ca_file": str(authority.ca), "max_bytes": 65_000}
    section = Syslog.model_validate_json(json.dumps(known))
    return SyslogSink(section, secrets=Redactor(), clock=clock or LeapingClock())


def elsewhere(kind: str, url: str, clock: SystemClock) -> Sink:
    """A sink of a kind whose protocol VictoriaLogs speaks in part only."""
    if kind == "otlp":
        known = json.dumps({"kind": "otlp", "url": f"{url}/insert/opentelemetry"})
        return OtlpSink(Otlp.model_validate_json(known), secrets=Redactor(), clock=clock)
    known = json.dumps({"kind": "elasticsearch", "url": f"{url}/insert/elasticsearch"})
    return ElasticsearchSink(Elasticsearch.model_validate_json(known), secrets=Redactor(), clock=clock)


def own(log: dict[str, Any], name: str) -> str:
    """A parameter of our structured data, as its parser read it."""
    found: str = log.get(f"audit@32473.{name}", "")
    return found


async def test_it_reads_our_messages_over_tls_as_they_are_meant(tmp_path: Path, authority: Authority) -> None:
    batch = [*records(50), HOSTILE]
    with victorialogs(tmp_path, authority) as store:
        sink = syslog(store.syslog, authority)
        assert (await sink.probe()).ok
        assert (await sink.send(batch)).answers == (Answer.DELIVERED,) * 51
        await sink.close()
        logs = {int(own(log, "seq")): log for log in store.holds(51)}
    assert sorted(logs) == [entry.seq for entry in batch]
    for entry in batch:
        log = logs[entry.seq]
        assert log["_msg"].removeprefix("\ufeff").encode() == entry.body
        assert (own(log, "id"), own(log, "hash")) == (entry.id, entry.hash)
        assert log["app_name"] == "quarterdeck"
    assert logs[51]["severity"] == "3"


async def test_nothing_is_lost_at_the_end_of_a_connection(tmp_path: Path, authority: Authority) -> None:
    """Closed without TLS's good-bye, it loses all that it has not read yet."""
    with victorialogs(tmp_path, authority) as store:
        for first in range(1, 1000, 50):
            sink = syslog(store.syslog, authority)
            assert (await sink.send(records(50, first))).answers == (Answer.DELIVERED,) * 50
            await sink.close()
        found = Counter(int(own(log, "seq")) for log in store.holds(1000))
    assert found == Counter(range(1, 1001))


@pytest.mark.parametrize(
    ("kind", "state", "words"),
    [
        ("otlp", SinkState.HELD, "json encoding isn't supported"),
        ("elasticsearch", SinkState.RETRYING, "not the answer to a bulk"),
    ],
)
async def test_what_it_does_not_speak_is_kept_and_holds_no_other_sink_up(
    tmp_path: Path, authority: Authority, kind: str, state: SinkState, words: str
) -> None:
    clock = QuickClock(5.0)
    with victorialogs(tmp_path, authority) as store:
        other = elsewhere(kind, store.url, clock)
        assert not (await other.probe()).ok
        async with shipping(tmp_path, [other, syslog(store.syslog, authority, clock)], entries=40, clock=clock) as place:
            held, sent = kind, "syslog"
            await place.until(lambda: {sink.name: sink.backlog for sink in place.shipper.sinks}.get(sent) == 0)
            await place.until(lambda: any(sink.name == held and sink.state is state for sink in place.shipper.sinks))
            found = next(sink for sink in place.shipper.sinks if sink.name == held)
            eventually("the other sink has all of them", lambda: sum(bool(own(log, "seq")) for log in store.logs()) >= 40, 20.0)
    assert words in found.last_error
    assert found.acked_seq == 0
    assert found.backlog >= 40
    assert not deadletters.undelivered(place.directory, held)

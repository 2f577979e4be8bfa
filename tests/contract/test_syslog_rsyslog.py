"""Syslog over TLS and RELP against a real rsyslogd: what its own parser reads out of our messages, and what it never gets."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import rsyslog
from support.proxy import Line, Proxy
from support.rsyslog import Daemon, needs_relp, needs_tls
from support.sinks import JOURNAL, Authority, LeapingClock, record, records

from services.audit.sinks.base import Answer, Record, Trouble
from services.audit.sinks.relp import RelpSink
from services.audit.sinks.syslog import SyslogSink
from services.redaction import Redactor
from services.settings.sinks import Relp, Syslog

pytestmark = pytest.mark.counterpart

D = Answer.DELIVERED
HOSTILE = record(51, event='deploy "]\\ ünd', user='nul\0 line\u2028 quote" back\\ ] lone\ud800 €\r\n%s', outcome="failed")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def syslog(port: int, authority: Authority, **keys: Any) -> SyslogSink:
    known = {"kind": "syslog", "host": "127.0.0.1", "port": port, "ca_file": str(authority.ca), "max_bytes": 65_000}
    return SyslogSink(Syslog.model_validate_json(json.dumps({**known, **keys})), secrets=Redactor(), clock=LeapingClock())


def relp(port: int, **keys: Any) -> RelpSink:
    known = {"kind": "relp", "host": "127.0.0.1", "port": port, "max_bytes": 65_000}
    return RelpSink(Relp.model_validate_json(json.dumps({**known, **keys})), secrets=Redactor(), clock=LeapingClock())


def read_as_meant(daemon: Daemon, batch: list[Record]) -> None:
    lines = daemon.holds(len(batch))
    assert daemon.seqs() == [entry.seq for entry in batch]
    for line, entry in zip(lines, batch, strict=True):
        assert line["msg"].removeprefix("\ufeff").encode() == entry.body
        known = {"journal": JOURNAL, "seq": str(entry.seq), "id": entry.id, "hash": entry.hash}
        assert daemon.parameters(line) == known
        assert line["time"] == entry.fields["timestamp"]
        assert line["app"] == "quarterdeck"
    assert (lines[0]["pri"], lines[0]["id"]) == ("110", "deployment.started")
    assert (lines[-1]["pri"], lines[-1]["id"]) == ("107", 'deploy"]\\nd')


@needs_tls
async def test_rsyslog_reads_our_messages_over_tls_as_they_are_meant(tmp_path: Path, authority: Authority) -> None:
    batch = [*records(50), HOSTILE]
    with rsyslog.tls(tmp_path, authority) as daemon:
        sink = syslog(daemon.port, authority)
        assert (await sink.probe()).ok
        assert (await sink.send(batch)).answers == (D,) * 51
        read_as_meant(daemon, batch)


@needs_tls
async def test_nothing_is_lost_at_the_end_of_a_connection(tmp_path: Path, authority: Authority) -> None:
    with rsyslog.tls(tmp_path, authority) as daemon:
        sink = syslog(daemon.port, authority)
        for first in range(1, 1000, 50):
            assert (await sink.send(records(50, first))).answers == (D,) * 50
        daemon.holds(1000)
        assert sorted(daemon.seqs()) == list(range(1, 1001))


@needs_tls
async def test_rsyslog_that_wants_our_certificate_takes_nothing_without_it(tmp_path: Path, authority: Authority) -> None:
    with rsyslog.tls(tmp_path, authority, mutual=True) as daemon:
        without = syslog(daemon.port, authority)
        # With TLS 1.3 the handshake is over for us before the refusal comes.
        assert (await without.send(records(3))).trouble is Trouble.HOLD
        assert "CERTIFICATE_REQUIRED" in (await without.probe()).detail
        assert (await syslog(daemon.port, authority, certificate=str(authority.client)).send(records(3))).answers == (D, D, D)
        daemon.holds(3)
        assert daemon.seqs() == [1, 2, 3]


@needs_relp
@pytest.mark.parametrize("encrypted", [False, True])
async def test_rsyslog_takes_our_messages_by_relp(tmp_path: Path, authority: Authority, encrypted: bool) -> None:
    batch = [*records(50), HOSTILE]
    keys = {"ca_file": str(authority.ca), "certificate": str(authority.client)} if encrypted else {"tls": False}
    with rsyslog.relp(tmp_path, authority if encrypted else None) as daemon:
        sink = relp(daemon.port, **keys)
        assert (await sink.probe()).ok
        assert (await sink.send(batch)).answers == (D,) * 51
        read_as_meant(daemon, batch)


@needs_relp
async def test_rsyslog_that_refuses_our_certificate_says_so_by_relp_too(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    with rsyslog.relp(tmp_path, authority) as daemon:
        for keys, words in (({}, "CERTIFICATE_REQUIRED"), ({"certificate": str(other.client)}, "UNKNOWN_CA")):
            sink = relp(daemon.port, ca_file=str(authority.ca), **keys)
            for _ in range(3):  # whether the refusal or the reset is seen first is a matter of luck
                delivery, probe = await sink.send(records(3)), await sink.probe()
                assert (delivery.trouble, probe.ok) == (Trouble.HOLD, False)
                assert words in delivery.detail
                assert words in probe.detail
        assert daemon.lines() == []


@needs_relp
async def test_each_entry_arrives_by_relp_over_a_line_that_is_cut(tmp_path: Path) -> None:
    with rsyslog.relp(tmp_path) as daemon:
        proxy = Proxy(daemon.port)
        try:
            sink = relp(proxy.port, tls=False, timeout=20)
            left = records(600)
            for turn in range(20):
                proxy.set(Line.CUT if turn % 3 == 1 else Line.OPEN)
                delivery = await sink.send(left[:100])
                answers = delivery.answers or (Answer.RETRY,) * len(left[:100])
                assert (delivery.trouble is Trouble.UNREACHABLE) == (turn % 3 == 1)
                left = [entry for entry, answer in zip(left, answers, strict=False) if answer is not D] + left[100:]
                if not left:
                    break
        finally:
            proxy.close()
        daemon.holds(600)
        assert sorted(set(daemon.seqs())) == list(range(1, 601))


@needs_relp
async def test_the_probe_tells_a_receiver_of_syslog_from_one_of_relp(tmp_path: Path, authority: Authority) -> None:
    with rsyslog.relp(tmp_path) as daemon:
        found = await syslog(daemon.port, authority, timeout=2).probe()
        assert not found.ok
        over_tls = await relp(daemon.port, ca_file=str(authority.ca), timeout=2).probe()
        assert not over_tls.ok

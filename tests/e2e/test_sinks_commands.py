"""Every kind of sink from the command line, each to the most real server there is: checked, shipped to, and found wrong."""

import asyncio
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support import rsyslog
from support.bucket import KEYS, Bucket
from support.datadog_logs import APP_KEY, Account
from support.hec import Collector
from support.otlp import Exported, log_records, needs_rotel, rotel, wire
from support.rsyslog import needs_relp, needs_tls
from support.sinks import TOKEN, Authority, serving

from services.audit import Event, Journal
from services.clock import SystemClock
from services.redaction import Redactor

pytestmark = [pytest.mark.counterpart, needs_rotel, needs_relp, needs_tls]

ENTRIES = 60


class Site:
    """A journal, and a server for each kind of sink."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.config = directory / "config.json"
        self.authority = Authority(directory)
        self.collector, self.acknowledging = Collector(), Collector(acknowledges=True)
        self.account, self.exported, self.bucket = Account(SystemClock()), Exported(), Bucket()  # type: ignore[arg-type]
        self.tls: rsyslog.Daemon
        self.relp: rsyslog.Daemon
        self.rotel = ""

    def sinks(self) -> list[dict[str, Any]]:
        ca, keys = str(self.authority.ca), {"access_key": "env:QD_ACCESS", "secret_key": "env:QD_SECRET"}
        hec = {"kind": "splunk", "token": "env:A_TOKEN"}
        return [
            {**hec, "url": self.collector.url, "index": "audit"},
            {**hec, "name": "acknowledging", "url": self.acknowledging.url, "acknowledge": True},
            {
                "kind": "datadog", "intake_url": self.account.url, "api_url": self.account.url, "api_key": "env:A_TOKEN",
                "application_key": "env:A_KEY",
            },
            {"kind": "otlp", "url": self.rotel},
            {"kind": "syslog", "host": "127.0.0.1", "port": self.tls.port, "ca_file": ca},
            {"kind": "relp", "host": "127.0.0.1", "port": self.relp.port, "tls": False},
            {"kind": "s3", "url": self.bucket.url, "bucket": "trail", **keys},
        ]  # fmt: skip

    def configure(self, sinks: list[dict[str, Any]]) -> None:
        base = {"version": 1, "environments": {"dev": {"context": "a", "namespaces": ["dev"]}}}
        self.config.write_text(json.dumps({**base, "journal": {"sinks": sinks}}))

    async def run(self, *words: str, **environment: str) -> tuple[int, str]:
        known = {**os.environ, **KEYS, "A_TOKEN": TOKEN, "A_KEY": APP_KEY, **environment}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "console", *words, "--config", str(self.config), "--home", str(self.home),
            env=known, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(120):
            said, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        for fake in (made.collector, made.acknowledging, made.account, made.exported, made.bucket):
            await stack.enter_async_context(serving(fake))
        for name in ("tls", "relp", "rotel"):
            (tmp_path / name).mkdir()
        made.tls = stack.enter_context(rsyslog.tls(tmp_path / "tls", made.authority))
        made.relp = stack.enter_context(rsyslog.relp(tmp_path / "relp"))
        made.rotel = stack.enter_context(rotel(tmp_path / "rotel", made.exported.url))
        yield made


async def written(site: Site) -> list[str]:
    """The hash of every entry of a journal that holds some of everything, by its number."""
    clock = SystemClock()
    journal = Journal.open(site.home / "journal", redactor=Redactor(b"k" * 32), clock=clock)
    for number in range(ENTRIES):
        await journal.append(Event(event="deployment.executed", user='j"]\\\u2028\0', outcome="failed", data={"n": number}))
    journal.close()
    (segment,) = (site.home / "journal" / "seg").glob("*.jsonl")
    return [line[:64].decode() for line in segment.read_bytes().splitlines()]


async def test_every_entry_is_at_every_sink_with_the_hash_that_it_has_here(site: Site) -> None:
    hashes = await written(site)
    site.exported.wanted = len(hashes)
    site.configure(site.sinks())
    assert await site.run("config", "check") == (0, f"ok: {site.config}: environments dev\n")
    code, said = await site.run("journal", "ship", "--once")
    assert code == 0, said
    here = {number: hash_ for number, hash_ in enumerate(hashes, 1)}
    for fake in (site.collector, site.acknowledging):
        taken = [one["fields"] for one in fake.taken if "fields" in one]
        assert {int(fields["seq"]): fields["hash"] for fields in taken}.items() >= here.items()
    logs = [one["quarterdeck"] for one in site.account.logs if "quarterdeck" in one]
    assert {own["seq"]: own["hash"] for own in logs}.items() >= here.items()
    # Whoever has an entry and the hash before it can compute its own: nothing was changed on the way.
    messages = {one["quarterdeck"]["seq"]: one["message"] for one in site.account.logs if "quarterdeck" in one}
    for number in range(2, len(hashes) + 1):
        body = b"{" + messages[number].partition(" {")[2].encode()
        assert hashlib.sha256(b"audit-v1\0" + hashes[number - 2].encode() + body).hexdigest() == hashes[number - 1]
    for daemon in (site.tls, site.relp):
        daemon.holds(len(hashes))
        found = [daemon.parameters(line) for line in daemon.lines()]
        assert {int(own["seq"]): own["hash"] for own in found}.items() >= here.items()
    async with asyncio.timeout(20):
        await site.exported.arrived.wait()
    exported = [log for _, body in site.exported.seen for log in log_records(body)]
    attributes = [{pair[1][0]: wire(pair[2][0]) for pair in map(wire, log[6])} for log in exported]
    assert {own[b"quarterdeck.seq"][3][0]: own[b"quarterdeck.hash"][1][0].decode() for own in attributes}.items() >= here.items()
    code, said = await site.run("journal", "ship", "--status")
    assert code == 0
    assert TOKEN not in said


async def test_a_check_finds_each_sink_that_is_wrong_and_says_what_to_mend(site: Site) -> None:
    sinks = site.sinks()
    sinks[0]["index"] = "nowhere"
    sinks[1]["url"] = site.bucket.url
    sinks[3]["url"] = site.collector.url
    sinks[4].pop("ca_file")
    sinks[5]["port"] = site.tls.port
    sinks[6]["url"] = site.collector.url
    site.configure(sinks)
    code, said = await site.run("config", "check", A_KEY="not-the-application-key")
    assert code == 2
    lines = {index: line for line in said.splitlines() for index in range(7) if f"journal.sinks[{index}]" in line}
    wrong = [
        "the index is wrong",
        "no event collector",
        "can't be searched",
        "answered 401",
        "certificate",
        "reached",
        "answered 401",
    ]
    for index, words in enumerate(wrong):
        assert words in lines[index], said
    assert TOKEN not in said
    assert KEYS["QD_SECRET"] not in said
    code, said = await site.run("config", "check", "--offline")
    assert code == 0, said

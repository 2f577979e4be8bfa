"""How long each sink takes for five thousand entries in batches of five hundred, receipt included.

Run it with ``python tests/bench/sinks.py [ROUNDS]``; prints one JSON document. Nothing is asserted. The servers over HTTP are the
tests' fakes and run in this very process, so their share of the time is in every figure; syslog and RELP go to a real rsyslogd
where there is one. The reference posts the same bytes, packed, with nothing of ours but the HTTP client.
"""

import asyncio
import contextlib
import gc
import gzip
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

import httpx
from aiohttp import web
from figures import Figure, figure
from support import rsyslog
from support.datadog_logs import Account
from support.hec import Collector
from support.otlp import Receiver
from support.sinks import TOKEN, Authority, Fake, LeapingClock, records, serving

from services.audit.sinks.base import Answer, Sink
from services.audit.sinks.opening import open_sink
from services.clock import SystemClock
from services.redaction import Redactor
from services.settings.sinks import DatadogLogs, Otlp, Relp, SinkSection, Splunk, Syslog

ENTRIES = 5000
BATCH = 500
ROUNDS = 5
TARGET = 1.0
"""Seconds: five thousand entries a second."""


class Deaf(Fake):
    """Takes everything and looks at nothing."""

    def handle(self, request: web.Request, body: bytes) -> web.Response:
        return web.Response(text="{}")


def opened(section: type[SinkSection], **keys: Any) -> Sink:
    made = open_sink(section.model_validate_json(json.dumps(keys)), secrets=Redactor(), clock=SystemClock())
    return made  # type: ignore[return-value]


@contextlib.asynccontextmanager
async def sinks(directory: Path) -> AsyncIterator[dict[str, Sink]]:
    """Those whose server can be had here."""
    collector, acknowledging = Collector(), Collector(acknowledges=True)
    account, receiver = Account(LeapingClock()), Receiver()
    async with contextlib.AsyncExitStack() as stack:
        for fake in (collector, acknowledging, account, receiver):
            await stack.enter_async_context(serving(fake))
        secret = "env:QUARTERDECK_BENCH_TOKEN"
        found = {
            "splunk": opened(Splunk, kind="splunk", url=collector.url, token=secret),
            "splunk_acknowledged": opened(Splunk, kind="splunk", url=acknowledging.url, token=secret, acknowledge=True),
            "datadog": opened(DatadogLogs, kind="datadog", intake_url=account.url, api_url=account.url, api_key=secret),
            "otlp": opened(Otlp, kind="otlp", url=receiver.url),
        }
        if rsyslog.PROGRAM is not None:
            authority = Authority(directory)
            for name in ("tls", "relp"):
                (directory / name).mkdir()
            over_tls = stack.enter_context(rsyslog.tls(directory / "tls", authority))
            by_relp = stack.enter_context(rsyslog.relp(directory / "relp"))
            found["syslog"] = opened(Syslog, kind="syslog", host="127.0.0.1", port=over_tls.port, ca_file=str(authority.ca))
            found["relp"] = opened(Relp, kind="relp", host="127.0.0.1", port=by_relp.port, tls=False)
        yield found
        for sink in found.values():
            await sink.close()


async def measured(rounds: int) -> dict[str, Figure]:
    entries = records(ENTRIES)
    batches = [entries[at : at + BATCH] for at in range(0, ENTRIES, BATCH)]
    deaf = Deaf()
    raw: list[float] = []
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as made:
        async with sinks(Path(made)) as found, serving(deaf), httpx.AsyncClient() as client:
            for _ in range(rounds):
                began = time.perf_counter()
                for batch in batches:
                    content = gzip.compress(b"\n".join(entry.body for entry in batch), 1)
                    await client.post(deaf.url, content=content, headers={"Content-Encoding": "gzip"})
                raw.append(time.perf_counter() - began)
                for name, sink in found.items():
                    began = time.perf_counter()
                    for batch in batches:
                        delivery = await sink.send(batch)
                        if set(delivery.answers) != {Answer.DELIVERED}:
                            raise RuntimeError(f"{name}: {delivery.detail}")
                    taken.setdefault(name, []).append(time.perf_counter() - began)
    what = f"{ENTRIES} entries in batches of {BATCH}, receipt included"
    return {name: figure(took, "s", against=("raw posts", raw), target=TARGET, what=what) for name, took in taken.items()}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    os.environ["QUARTERDECK_BENCH_TOKEN"] = TOKEN
    gc.disable()  # or what the fakes keep is walked over again and again, at the sinks' expense
    print(json.dumps({"sinks": asyncio.run(measured(rounds))}, indent=2))


if __name__ == "__main__":
    main()

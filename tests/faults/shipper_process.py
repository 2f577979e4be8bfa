"""A process that ships a journal for as long as it lives: ``shipper_process.py JOURNAL URL``. Says ``ready`` before it begins."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from services.audit import Journal
from services.audit.shipping.shipper import Shipper, Target, only_one
from services.audit.sinks.elasticsearch import ElasticsearchSink
from services.clock import SystemClock
from services.redaction import Redactor
from services.settings.sinks import Elasticsearch


async def main(directory: Path, url: str) -> None:
    clock, redactor = SystemClock(), Redactor(b"k" * 32)
    section = Elasticsearch(kind="elasticsearch", url=url, timeout=2.0)
    journal = Journal.open(directory, redactor=redactor, clock=clock, program="shipper")
    with only_one(directory):
        sink = ElasticsearchSink(section, secrets=redactor, clock=clock)
        shipper = Shipper(directory, [Target(sink, True)], record=lambda event: journal.append_within(event), clock=clock)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await shipper.run()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))

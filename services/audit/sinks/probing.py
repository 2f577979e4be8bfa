"""Whether the configured sinks would take entries, asked side by side."""

import asyncio
from collections.abc import Sequence

from services.audit.sinks.base import Probe
from services.audit.sinks.opening import open_sink
from services.clock import Clock
from services.settings.load import SecretGuard
from services.settings.sinks import SinkSection

SECONDS = 15.0
"""Wall seconds for one sink, however many requests its probe is."""


async def probe(section: SinkSection, *, secrets: SecretGuard, clock: Clock) -> Probe:
    """Never raises for what the other side does."""
    sink = open_sink(section, secrets=secrets, clock=clock)
    try:
        async with asyncio.timeout(SECONDS):
            return await sink.probe()
    except TimeoutError:
        return Probe(ok=False, detail=f"no answer within {SECONDS:g} s", hint="Check the address and the network.")
    finally:
        await sink.close()


async def probe_all(sections: Sequence[SinkSection], *, secrets: SecretGuard, clock: Clock) -> list[Probe]:
    """In the order of ``sections``."""
    return list(await asyncio.gather(*(probe(section, secrets=secrets, clock=clock) for section in sections)))

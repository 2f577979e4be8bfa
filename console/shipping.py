"""How the journal's entries come to their sinks, looked at for the screen; and a shipper kept at work while some wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.context import Context
    from services.audit.shipping.status import Shipping

LOOK_SECONDS = 1.0
START_SECONDS = 5.0
"""Wall seconds between two attempts to have a shipper at work."""

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def kept_shipping(context: Context) -> AsyncIterator[None]:
    """Meanwhile a shipper is at work, where there is something to ship to: one that was killed is followed by another."""

    async def keep() -> None:
        while True:
            await context.clock.sleep(START_SECONDS)
            await asyncio.to_thread(context.keep_shipping)

    keeping = asyncio.create_task(keep(), name="shipping")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


class ShippingWatch:
    """``found`` is the last look; ``None`` before the first, and where no sink is configured. ``changed`` is called for each new
    one. :meth:`run` it in the background."""

    def __init__(self, context: Context, changed: Callable[[], None]) -> None:
        self.found: Shipping | None = None
        self._context = context
        self._changed = changed

    async def run(self) -> None:
        context = self._context
        if context.configured is None or not context.settings.journal.sinks:
            return
        from services.audit.shipping.status import SinkState, look

        started = context.clock.monotonic()
        while True:
            try:
                sinks = (await asyncio.to_thread(context.configured.usable)).journal.sinks
                found = await asyncio.to_thread(look, context.journal.directory, context.clock.unix(), sinks, context.config)
            except (OSError, ValueError):
                log.exception("how shipping stands can't be read")
            else:
                if found != self.found:
                    self.found = found
                    self._changed()
                wanted = any(sink.state is SinkState.HELD for sink in found.sinks) if found.running else found.waiting
                if wanted and context.clock.monotonic() - started > START_SECONDS:
                    started = context.clock.monotonic()
                    await asyncio.to_thread(context.keep_shipping)
            await context.clock.sleep(LOOK_SECONDS)

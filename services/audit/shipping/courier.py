"""Getting a batch into one sink, whatever it takes: attempts without end, splitting, and the one dead letter among five hundred.

Knows no cursor and no journal file: what it is given is delivered when ``deliver`` returns, or lies among the dead letters with a
substitute in its place at the sink (:mod:`services.audit.shipping.burials`).
"""

import asyncio
import logging
from collections.abc import Sequence
from random import Random

import msgspec

from services.audit.shipping.burials import Burials
from services.audit.shipping.pauses import HOLD_SECONDS, Backoff
from services.audit.shipping.status import SinkState
from services.audit.sinks.base import Answer, Delivery, Knowing, Record, Sink, Trouble, Withdrawing
from services.clock import Clock

WIDTH = 4
"""Batches on their way at a time, where a sink does not mind in which order they come."""

LONGEST_DOUBT_SECONDS = 120.0
"""Between two substitutes, while a sink refuses those too: each costs two lines among the letters, kept for ever."""

_log = logging.getLogger("quarterdeck.shipping")


class Tally(msgspec.Struct, kw_only=True):
    """What has become of a sink's entries since the process began, and what stands in the way now."""

    state: SinkState = SinkState.SHIPPING
    delivered: int = 0
    duplicates: int = 0
    retries: int = 0
    last_ok: float | None = None
    delivery_seconds: float | None = None
    error: str = ""
    error_since: float | None = None
    last_error: str = ""
    last_error_at: float | None = None

    def failed(self, state: SinkState, error: str, now: float) -> None:
        self.state = state
        self.error_since = self.error_since if self.error else now
        self.error = self.last_error = error
        self.last_error_at = now

    def succeeded(self, now: float) -> None:
        self.resumed()
        self.last_ok = now

    def resumed(self) -> None:
        """Nothing stands in the way any more; whether the sink takes anything is not known yet."""
        self.state, self.error, self.error_since = SinkState.SHIPPING, "", None


class Courier:
    """One sink. Several batches may be handed in at a time; while there is trouble, one of them tries and the others wait."""

    def __init__(self, sink: Sink, *, burials: Burials, clock: Clock, random: Random) -> None:
        self.tally = Tally()
        self.connection_lost = False
        """An attempt got no answer since this was last reset: what was taken shortly before may be gone."""
        self._sink = sink
        self._burials = burials
        self._clock = clock
        self._backoff = Backoff(random)
        self._places = asyncio.Semaphore(WIDTH if sink.unordered else 1)
        self._again_at: float | None = None
        """On the monotonic clock, while there is trouble: not before then."""
        self._turn = asyncio.Lock()
        self._doubt = 0.0
        """How long no substitute is tried once one was refused; 0 where one was taken since."""
        self._doubted_until = 0.0
        self._sure_until = 0.0
        """A substitute was taken shortly before that: what is refused is refused for what it is."""

    @property
    def width(self) -> int:
        return WIDTH if self._sink.unordered else 1

    async def deliver(self, records: Sequence[Record]) -> None:
        """Returns when each of ``records`` was taken, or buried. Never gives up."""
        async with self._places:
            parts = [part] if (part := await self._in_place(records)) else []
            while parts:
                parts += reversed(await self._part(parts.pop()))

    async def _in_place(self, records: Sequence[Record]) -> list[Record]:
        """``records`` as they may be sent: of those that were refused before the substitutes, but for what is there after all."""
        found: list[Record] = []
        for record in records:
            if not self._burials.stands(record):
                found.append(record)
            elif not await self._there(record):
                found.append(self._burials.instead(record))
            else:
                await self._found(record)
        return found

    async def _found(self, record: Record) -> None:
        if isinstance(self._sink, Withdrawing) and (stays := await self._sink.withdraw(record)):
            _log.warning("sink %s: the substitute of entry %d stays beside it: %s", self._sink.name, record.seq, stays)
        while True:
            try:
                return await self._burials.found(record)
            except OSError as error:
                self._hold(_unkept(error))
                await self._rest()

    async def _part(self, part: list[Record]) -> list[list[Record]]:
        """One attempt at ``part``; what of it has to be sent again, in the order it has to be sent."""
        large = next((record for record in part if not record.substitute and self._too_large(record)), None)
        if large is not None:
            await self._rest()
            reason = f"larger than the {self._sink.limits.entry_bytes} bytes that the sink takes"
            rest = [record for record in part if record is not large]
            return [*([rest] if rest else []), *await self._reject(large, reason)]
        delivery = await self._attempt(part)
        if delivery.trouble is None:
            if len(part) > 1 and set(delivery.answers) == {Answer.REJECTED} and self._clock.monotonic() >= self._sure_until:
                # It may refuse whatever it is sent: one substitute shows that before anything else is given up.
                return [*await self._reject(part[0], delivery.reasons.get(0) or delivery.detail), part[1:]]
            again: list[list[Record]] = []
            retried: list[Record] = []
            for position, (record, answer) in enumerate(zip(part, delivery.answers, strict=True)):
                if answer is Answer.RETRY:
                    retried.append(record)
                elif answer is Answer.REJECTED:
                    again += await self._reject(record, delivery.reasons.get(position) or delivery.detail)
                elif record.substitute:
                    again += await self._bury(record)
            return [*([retried] if retried else []), *again]
        if len(part) > 1:
            # Refused as a whole: halves, down to the one that it is about.
            return [part[: len(part) // 2], part[len(part) // 2 :]]
        return await self._reject(part[0], delivery.detail)

    def _too_large(self, record: Record) -> bool:
        return self._sink.size(record) > self._sink.limits.entry_bytes

    async def _reject(self, record: Record, reason: str) -> list[list[Record]]:
        """Put a substitute in the place of ``record``; or hold it, where not even that is taken: then it is not about this entry,
        and burying one after the other would empty the journal into the dead letters."""
        if not record.substitute and self._clock.monotonic() < self._doubted_until:
            return self._held(record, reason)
        # An attempt that had no answer, or a process that was killed behind it, may have brought it there.
        if await self._there(record):
            return await self._bury(record) if record.substitute else []
        try:
            if not record.substitute:
                return [[await self._burials.refused(record, reason)]]
            entry = await self._burials.released(record)
        except OSError as error:
            self._hold(_unkept(error))
            return [[record]]
        self._doubt = min(LONGEST_DOUBT_SECONDS, max(HOLD_SECONDS, 2 * self._doubt))
        self._doubted_until = self._clock.monotonic() + self._doubt
        return self._held(entry, reason)

    async def _bury(self, instead: Record) -> list[list[Record]]:
        try:
            await self._burials.taken(instead)
        except OSError as error:
            self._hold(_unkept(error))
            return [[instead]]
        self._doubt = self._doubted_until = 0.0
        self._sure_until = self._clock.monotonic() + HOLD_SECONDS
        return []

    def _held(self, record: Record, said: str) -> list[list[Record]]:
        self._hold(f"takes no entry at all, not even a substitute: {said}")
        return [[record]]

    async def _attempt(self, part: Sequence[Record]) -> Delivery:
        """Send until the sink has an answer that is about the entries."""
        while True:
            if self._again_at is None:
                delivery = await self._sent(part)
            else:
                async with self._turn:
                    await self._rest()
                    delivery = await self._sent(part)
            if delivery.trouble not in (Trouble.UNREACHABLE, Trouble.BUSY, Trouble.HOLD):
                return delivery

    async def _there(self, record: Record) -> bool:
        """Whether the sink has ``record``, as far as it can be asked: asked until it answers."""
        while isinstance(self._sink, Knowing):
            try:
                answer = await self._sink.holds(record)
            except Exception as error:
                answer = self._failed(error)
            if not isinstance(answer, Delivery):
                return answer
            self._judge([record], answer)
            await self._rest()
        return False

    def _failed(self, error: Exception) -> Delivery:
        """A mistake of ours in one sink must not end the others; it is tried again and seen by everybody until it is mended."""
        _log.error("sink %s failed", self._sink.name, exc_info=error)
        return Delivery(trouble=Trouble.UNREACHABLE, detail=f"internal error: {type(error).__name__}")

    async def _rest(self) -> None:
        if (again_at := self._again_at) is not None:
            await self._clock.sleep(max(0.0, again_at - self._clock.monotonic()))

    async def _sent(self, part: Sequence[Record]) -> Delivery:
        try:
            delivery = await self._sink.send(part)
        except Exception as error:
            delivery = self._failed(error)
        if delivery.trouble is None and len(delivery.answers) != len(part):
            _log.error("sink %s gave %d answers for %d entries", self._sink.name, len(delivery.answers), len(part))
            delivery = Delivery(trouble=Trouble.UNREACHABLE, detail="internal error: answers are missing")
        self._judge(part, delivery)
        return delivery

    def _judge(self, part: Sequence[Record], delivery: Delivery) -> None:
        now = self._clock.unix()
        taken = [answer in (Answer.DELIVERED, Answer.DUPLICATE) for answer in delivery.answers]
        tally = self.tally
        if any(taken):
            self._backoff.succeeded()
            tally.delivered += sum(taken)
            tally.duplicates += sum(answer is Answer.DUPLICATE for answer in delivery.answers)
            last = max(record.timestamp for record, there in zip(part, taken, strict=True) if there)
            tally.delivery_seconds = max(0.0, now - last)
        if delivery.trouble in (Trouble.UNREACHABLE, Trouble.BUSY, Trouble.HOLD) or Answer.RETRY in delivery.answers:
            tally.retries += 1
            self.connection_lost = self.connection_lost or delivery.trouble is Trouble.UNREACHABLE
            state = SinkState.HELD if delivery.trouble is Trouble.HOLD else SinkState.RETRYING
            tally.failed(state, delivery.detail, now)
            self._again_at = self._clock.monotonic() + self._backoff.after(delivery)
        else:
            self._again_at = None
            tally.succeeded(now)

    def _hold(self, reason: str) -> None:
        self.tally.failed(SinkState.HELD, reason, self._clock.unix())
        self._again_at = self._clock.monotonic() + HOLD_SECONDS


def _unkept(error: OSError) -> str:
    return f"a dead letter can't be kept: {error.strerror or error}"

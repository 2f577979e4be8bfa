"""The answers of Splunk's HTTP Event Collector, by their ``code``.

https://docs.splunk.com/Documentation/Splunk/latest/Data/TroubleshootHTTPEventCollector#Possible_error_codes
"""

import msgspec

from services.audit.sinks.base import Answer, Delivery, Trouble
from services.audit.sinks.target import HttpTarget, Reply

SUCCESS = 0
_CODES: dict[int, tuple[Trouble, str, str]] = {
    1: (Trouble.HOLD, "the token is disabled", "Enable the token in Splunk."),
    2: (Trouble.HOLD, "no token arrived", "Something between here and Splunk takes the Authorization header away."),
    3: (Trouble.HOLD, "the authorization is not one", "Something between here and Splunk changes the Authorization header."),
    4: (Trouble.HOLD, "the token is not known", "Check the token, and that 'url' is the Splunk that made it."),
    5: (Trouble.HOLD, "no data arrived", "Something between here and Splunk takes the body of requests away."),
    6: (Trouble.SUSPECT, "the data has a bad format", ""),
    7: (Trouble.HOLD, "the index is wrong", "Check 'index', and that the token may write to it."),
    8: (Trouble.BUSY, "internal error of the server", ""),
    9: (Trouble.BUSY, "the server is busy", ""),
    10: (Trouble.HOLD, "no channel arrived", "Something between here and Splunk takes X-Splunk-Request-Channel away."),
    11: (Trouble.HOLD, "the channel is not a valid one", "Something between here and Splunk changes X-Splunk-Request-Channel."),
    12: (Trouble.SUSPECT, "an event is missing", ""),
    13: (Trouble.SUSPECT, "an event is blank", ""),
    14: (Trouble.HOLD, "the token has indexer acknowledgement off", "Switch it on for the token, or write acknowledge: false."),
    15: (Trouble.SUSPECT, "the indexed fields can't be handled", ""),
    16: (Trouble.HOLD, "authorization in the query is not enabled", "Check 'url': it may hold no token."),
    18: (Trouble.BUSY, "the collector's queues are full", ""),
    19: (Trouble.BUSY, "the service of acknowledgements is not available", ""),
    20: (Trouble.BUSY, "queues are full and acknowledgements are not available", ""),
    21: (Trouble.HOLD, "the token is not valid", "Check the token."),
    22: (Trouble.HOLD, "the token is disabled", "Enable the token in Splunk."),
    23: (Trouble.BUSY, "the server is shutting down", ""),
}
"""17, "healthy", is the only other one; it never answers an event."""


class Said(msgspec.Struct, frozen=True):
    """The document of an answer. ``event`` is the number of the first event that was not taken."""

    code: int | None = None
    ackId: int | None = None
    event: int | None = msgspec.field(name="invalid-event-number", default=None)


def said(reply: Reply) -> Said:
    try:
        return msgspec.json.decode(reply.body, type=Said)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Said()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer means."""

    trouble: Trouble | None = None
    detail: str = ""
    hint: str = ""
    retry_after: float | None = None
    event: int | None = None

    @property
    def taken(self) -> bool:
        return self.trouble is None

    def whole(self, entries: int) -> Delivery:
        """For a request whose events before the bad one don't count as delivered."""
        if self.taken:
            return Delivery(answers=(Answer.DELIVERED,) * entries)
        if self.trouble is Trouble.SUSPECT and entries == 1:
            return Delivery(answers=(Answer.REJECTED,), reasons={0: self.detail}, detail=self.detail)
        return Delivery(trouble=self.trouble, detail=self.detail, retry_after=self.retry_after)

    def parted(self, entries: int) -> Delivery:
        """Events before the bad one are taken; it and all after it are not, and come again.

        The number is counted from 0 by some versions and from 1 by others, so only what both readings call taken is: the
        request after this one then begins with the bad event or the one before it.
        """
        if self.trouble is Trouble.SUSPECT and self.event is not None and 2 <= self.event <= entries:
            before = self.event - 1
            answers = (Answer.DELIVERED,) * before + (Answer.RETRY,) * (entries - before)
            return Delivery(answers=answers, detail=self.detail)
        return self.whole(entries)


def judged(target: HttpTarget, reply: Reply) -> Verdict:
    """What ``reply`` of ``target`` means: by its code, and by its status where it has none that is known."""
    found = said(reply)
    if reply.status == 200 and found.code == SUCCESS:
        return Verdict()
    told = target.troubled(reply)
    if told is None:
        # Without Splunk's own word for it, it was somebody else who said yes.
        detail = f"{target.host} answered {reply.status} with something that is not Splunk's"
        return Verdict(trouble=Trouble.UNREACHABLE, detail=detail, hint="Check 'url'.")
    if found.code not in _CODES:
        hint = "Check 'url' and the token." if told.trouble is Trouble.HOLD else ""
        return Verdict(trouble=told.trouble, detail=told.detail, hint=hint, retry_after=told.retry_after)
    trouble, meaning, hint = _CODES[found.code]
    detail = f"{target.host} answered {reply.status}, code {found.code}: {meaning}"
    return Verdict(trouble=trouble, detail=detail, hint=hint, retry_after=told.retry_after, event=found.event)

"""Entries that a sink would cut or refuse for their size are never sent to it: rejected here, they are kept whole elsewhere."""

from collections.abc import Callable, Sequence

import msgspec

from services.audit.sinks.base import Answer, Delivery, Record


class Fit(msgspec.Struct, frozen=True):
    """A batch without the entries that are too large, and how to answer for all of it."""

    records: tuple[Record, ...]
    entries: int
    reasons: dict[int, str]

    def delivery(self, sent: Delivery) -> Delivery:
        """``sent``, which is about ``records``, as an answer about the whole batch. Trouble is the whole batch's already."""
        if not self.reasons or sent.trouble is not None:
            return sent
        answers: list[Answer] = []
        reasons = dict(self.reasons)
        at = 0
        for place in range(self.entries):
            if place in self.reasons:
                answers.append(Answer.REJECTED)
                continue
            answers.append(sent.answers[at])
            if at in sent.reasons:
                reasons[place] = sent.reasons[at]
            at += 1
        return msgspec.structs.replace(sent, answers=tuple(answers), reasons=reasons)


def fit(batch: Sequence[Record], problem: Callable[[Record], str]) -> Fit:
    """Part ``batch`` by ``problem``, which says why an entry can't be sent (empty: it can)."""
    reasons = {place: why for place, record in enumerate(batch) if (why := problem(record))}
    return Fit(tuple(record for place, record in enumerate(batch) if place not in reasons), len(batch), reasons)

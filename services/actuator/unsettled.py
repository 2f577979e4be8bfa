"""What was sent and never answered, until somebody knows what became of it."""

import msgspec

from services.actuator.patch import same
from services.model.objects import Json, value_at
from services.model.rollout import UndoRecord


class Unsettled(msgspec.Struct, frozen=True):
    """The undo of requests without an answer. ``sent``: nobody knows, or it took effect. ``late``: looked up before it took
    effect; it is on its way, or never arrives."""

    sent: tuple[UndoRecord, ...] = ()
    late: tuple[UndoRecord, ...] = ()

    def seen(self, live: dict[str, Json]) -> "Unsettled":
        """What is known once the object was looked at. A value that is neither the one before nor ours: it was ours meanwhile,
        unless it had been seen unchanged (then its patch tests in vain for what was there before)."""
        done = [each for each in self.sent if not same(value_at(live, each.path), each.old)]
        late = [each for each in self.sent if each not in done]
        done += [each for each in self.late if same(value_at(live, each.path), each.new)]
        late += [each for each in self.late if each not in done]
        return Unsettled(tuple(done), tuple(late))

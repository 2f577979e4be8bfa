"""What is asked of the actuator, and what it answers."""

from itertools import pairwise

import msgspec

from services.model.errors import Conflict, HeldByAnother
from services.model.objects import EPOCH_ANNOTATION, Json, ObjectRef, pointer, pointer_parts
from services.model.rollout import Guard, UndoRecord

EPOCH_PATH = pointer("metadata", "annotations", EPOCH_ANNOTATION)


class Write(msgspec.Struct, frozen=True):
    """The value that a JSON pointer shall have; ``None`` removes the member. Items of lists are replaced, never added or removed:
    a list that changes its length is written as a whole."""

    path: str
    value: Json | None


class Mutation(msgspec.Struct, frozen=True, kw_only=True):
    """A change of one object.

    ``command`` is the same change as a command line, for people. ``create`` is the body that creates the object where it is
    absent (always at zero replicas, so that creating takes no effect on users; the writes then follow). ``owned``: what is
    created exists for the rollout alone, so that taking it back deletes it. ``delete``: the object goes. ``expects`` are values
    that must be found for the writes to mean what was planned, e.g. the name of the container whose image is written. Raises
    :class:`ValueError` where the writes contradict one another or touch the epoch, which only the actuator writes.
    """

    object: ObjectRef
    writes: tuple[Write, ...]
    command: str = ""
    step: int = -1
    step_name: str = ""
    create: dict[str, Json] | None = None
    owned: bool = False
    delete: bool = False
    expects: tuple[Guard, ...] = ()

    def __post_init__(self) -> None:
        if (self.owned or self.delete) and (self.writes or self.owned == self.delete or self.owned == (self.create is None)):
            raise ValueError(f"{self.object} is either made, removed, or written to")
        ways = sorted([pointer_parts(write.path) for write in self.writes] + [pointer_parts(EPOCH_PATH)])
        for shorter, longer in pairwise(ways):
            if longer[: len(shorter)] == shorter:
                raise ValueError(f"writes of {self.object} overlap: {pointer(*shorter) or '(all)'} and {pointer(*longer)}")
        for write in self.writes:
            if write.value is None and pointer_parts(write.path)[-1].isdigit():
                raise ValueError(f"write of {self.object} at {write.path} removes an item of a list: write the list as a whole")

    def touches(self, path: str) -> bool:
        """Whether a write changes the value at ``path``, something inside it or something around it."""
        way = pointer_parts(path)
        return any(
            way[: len(written)] == written or written[: len(way)] == way
            for written in (pointer_parts(write.path) for write in self.writes)
        )


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What a mutation did. ``undo`` are the exact values it replaced; ``changed`` is false where all was as wanted already;
    ``status`` is the HTTP status that the API server answered (200, or 201 where the object was created); ``milliseconds``
    is wall time from the request's leaving to its answer (0 where none was sent); ``object`` is the object afterwards and
    ``epoch`` its epoch."""

    undo: tuple[UndoRecord, ...]
    status: int
    milliseconds: float
    changed: bool
    object: dict[str, Json]
    epoch: int


class Superseded(HeldByAnother):
    """The object carries a newer epoch than ours: somebody took over. ``epoch`` is the one found on it."""

    def __init__(self, title: str, detail: str = "", hint: str = "", *, epoch: int = 0) -> None:
        super().__init__(title, detail, hint)
        self.epoch = epoch


class Misplaced(Conflict):
    """The object no longer has the shape the mutation was made for (an expected value is another one, a list item is
    missing): writing by position would hit something else, so nothing was written."""

"""From a mutation and the object as it is: the JSON patch (RFC 6902) that makes it so, and what that patch replaces.

Every patch begins with a ``test`` of the epoch annotation, so the API server itself refuses a driver that was superseded,
then tests whatever the decision was based on. Absence can't be tested portably (implementations differ on ``test`` of a
missing member), so a patch that relies on something being absent is bound to the object's ``resourceVersion`` instead.
"""

import copy
import re
from collections.abc import Iterable

import msgspec

from services.actuator.mutation import EPOCH_PATH, Misplaced, Mutation, Write
from services.actuator.shown import brief, shown
from services.model.objects import Json, ObjectRef, dotted, pointer, pointer_parts, value_at
from services.model.rollout import Guard, UndoRecord

VERSION_PATH = pointer("metadata", "resourceVersion")
IDENTITIES = ("name", "destination", "matches")
"""Members that say which item of a list is meant: a container's name, a route's destination, what a rule is for."""


class Decision(msgspec.Struct, frozen=True):
    """``operations`` is the patch; ``undo`` what it replaces, parents that it has to make first included (as ``{}``)."""

    operations: tuple[dict[str, Json], ...]
    undo: tuple[UndoRecord, ...]


def epoch_of(live: dict[str, Json]) -> int:
    """The epoch on an object; 0 where there is none. Text that is no number counts as none."""
    text = value_at(live, EPOCH_PATH)
    return int(text) if isinstance(text, str) and re.fullmatch("[0-9]{1,18}", text) else 0


def decide(mutation: Mutation, live: dict[str, Json], *, epoch: int, exact: bool = True) -> Decision:
    """The patch that gives ``live`` the values of ``mutation`` and the epoch ``epoch``.

    With ``exact``, values that are as wanted are left alone and each old value is tested. Without, every value is written
    whatever it is now (``live`` may lag behind; the epoch's test still keeps everybody else out). Raises :class:`Misplaced`.
    """
    for expected in mutation.expects:
        if not same(found := value_at(live, expected.path), expected.value):
            raise _misplaced(
                mutation.object,
                expected.path,
                f"{_brief(expected.path, expected.value)} was expected there, {_brief(expected.path, found)} is",
            )
    undo: list[UndoRecord] = []
    operations: list[dict[str, Json]] = []
    guards: dict[str, Guard] = {expected.path: expected for expected in mutation.expects}
    made: set[str] = set()
    relies_on_absence = False
    for write in mutation.writes:
        old = value_at(live, write.path)
        if same(old, write.value) and (exact or old is None):
            continue
        found_guards = identities(live, write.path)
        guards.update({guard.path: guard for guard in found_guards})
        if write.value is not None:
            for parent in _missing_parents(mutation.object, live, write.path):
                if parent not in made:
                    made.add(parent)
                    undo.append(UndoRecord(object=mutation.object, path=parent, old=None, new={}, step=mutation.step))
                    operations.append({"op": "add", "path": parent, "value": {}})
        if old is not None and exact:
            operations.append({"op": "test", "path": write.path, "value": old})
        relies_on_absence |= old is None
        undo.append(
            UndoRecord(
                object=mutation.object,
                path=write.path,
                old=old,
                new=write.value,
                step=mutation.step,
                # What this very mutation renames will not say afterwards which item was meant.
                guards=tuple(guard for guard in found_guards if not mutation.touches(guard.path)),
            )
        )
        operations.append(_operation(live, write))
    tests = [{"op": "test", "path": guard.path, "value": guard.value} for guard in guards.values()] if operations else []
    fence = _fence(live, epoch, bound=bool(made) or (relies_on_absence and exact))
    return Decision((*fence, *tests, *operations), tuple(undo))


def identities(document: dict[str, Json], path: str) -> tuple[Guard, ...]:
    """For each list on the way of ``path``: what says which item is meant, where its items say so."""
    found: list[Guard] = []
    parts = pointer_parts(path)
    here: Json = document
    for depth, part in enumerate(parts):
        if isinstance(here, list) and part.isdigit() and int(part) < len(here):
            here = here[int(part)]
            if isinstance(here, dict) and depth + 1 < len(parts):
                for key in IDENTITIES:
                    if here.get(key) is not None and parts[depth + 1] != key:
                        found.append(Guard(pointer(*parts[: depth + 1], key), here[key]))
                        break
        elif isinstance(here, dict):
            here = here.get(part)
        else:
            break
    return tuple(found)


def written(document: dict[str, Json], writes: Iterable[Write]) -> dict[str, Json]:
    """A copy of ``document`` with the writes made, parents included: what the object will look like."""
    result: dict[str, Json] = copy.deepcopy(document)
    for write in writes:
        *way, last = pointer_parts(write.path)
        here: Json = result
        for part in way:
            if isinstance(here, list):
                here = here[int(part)]
                continue
            if here.get(part) is None:
                if write.value is None:
                    break
                here[part] = {}
            here = here[part]
        else:
            if isinstance(here, list):
                here[int(last)] = write.value
            elif write.value is None:
                here.pop(last, None)
            else:
                here[last] = write.value
    return result


def newborn(ref: ObjectRef, body: dict[str, Json], epoch: int) -> dict[str, Json]:
    """The body that creates an object of a rollout: with its epoch, at zero replicas where the kind has them."""
    writes = [Write(EPOCH_PATH, str(epoch))]
    if ref.kind == "Deployment":
        writes.append(Write(pointer("spec", "replicas"), 0))
    return written(body, writes)


def same(one: Json, other: Json) -> bool:
    """Whether two JSON values are equal as JSON (Python holds ``True == 1``)."""
    return msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(other, order="deterministic")


def _fence(live: dict[str, Json], epoch: int, *, bound: bool) -> list[dict[str, Json]]:
    held = value_at(live, EPOCH_PATH)
    version = {"op": "test", "path": VERSION_PATH, "value": value_at(live, VERSION_PATH)}
    if held is None:
        annotations = pointer("metadata", "annotations")
        make = [] if isinstance(value_at(live, annotations), dict) else [{"op": "add", "path": annotations, "value": {}}]
        return [version, *make, {"op": "add", "path": EPOCH_PATH, "value": str(epoch)}]
    fence = [{"op": "test", "path": EPOCH_PATH, "value": held}]
    if bound:
        fence.append(version)
    if held != str(epoch):
        fence.append({"op": "replace", "path": EPOCH_PATH, "value": str(epoch)})
    return fence


def _missing_parents(ref: ObjectRef, live: dict[str, Json], path: str) -> list[str]:
    """The objects that have to be made so that ``path`` can be added, outermost first."""
    missing: list[str] = []
    here: Json = live
    parts = pointer_parts(path)
    for depth, part in enumerate(parts):
        if isinstance(here, list):
            if not part.isdigit() or int(part) >= len(here):
                raise _misplaced(ref, path, f"there is no item {part} in a list of {len(here)}")
            here = here[int(part)]
        elif isinstance(here, dict) or here is None:
            if here is None:
                missing.append(pointer(*parts[:depth]))
            here = here.get(part) if here else None
        else:
            raise _misplaced(
                ref, path, f"{dotted(pointer(*parts[:depth]))} is {_brief(path, here)}, neither an object nor a list"
            )
    return missing


def _operation(live: dict[str, Json], write: Write) -> dict[str, Json]:
    if write.value is None:
        return {"op": "remove", "path": write.path}
    # In an object `add` also replaces; in a list it would insert.
    in_list = isinstance(value_at(live, pointer(*pointer_parts(write.path)[:-1])), list)
    return {"op": "replace" if in_list else "add", "path": write.path, "value": write.value}


def _brief(path: str, value: Json) -> str:
    return brief(shown(path, value))


def _misplaced(ref: ObjectRef, path: str, why: str) -> Misplaced:
    return Misplaced(
        f"{ref} in {ref.namespace} is not what the change was made for",
        f"{dotted(path)}: {why}. Nothing was written.",
        "Look at the object; plan again.",
    )

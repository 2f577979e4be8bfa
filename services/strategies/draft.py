"""The objects of a plan as they will be after each step: every change is recorded with the value that the steps before it
leave there, so a plan reads as one chain."""

import copy
from collections.abc import Mapping
from typing import Any

from services.model.objects import Change, Json, ObjectRef, pointer, pointer_parts, value_at


class Draft:
    """Starts from the objects as they are; absent ones start empty."""

    def __init__(self, objects: Mapping[ObjectRef, Mapping[str, Any] | None]) -> None:
        self._objects: dict[ObjectRef, Any] = {ref: copy.deepcopy(dict(body or {})) for ref, body in objects.items()}

    def at(self, ref: ObjectRef, path: str) -> Json:
        return value_at(self._objects[ref], path)

    def make(self, ref: ObjectRef, body: Mapping[str, Any]) -> None:
        """The object is there from here on."""
        self._objects[ref] = copy.deepcopy(dict(body))

    def set(self, ref: ObjectRef, path: str, value: Json, *, volatile: bool = False) -> tuple[Change, ...]:
        """Put ``value`` at ``path``; no change where it is there already."""
        old = self.at(ref, path)
        if old == value:
            return ()
        _put(self._objects[ref], path, copy.deepcopy(value))
        return (Change(ref, path, copy.deepcopy(old), value, volatile),)

    def match(self, ref: ObjectRef, path: str, value: Json) -> tuple[Change, ...]:
        """Make the value at ``path`` equal ``value``, changing only the parts that differ."""
        found = tuple(
            Change(ref, where, old, new) for where, old, new in differences(copy.deepcopy(self.at(ref, path)), value, path)
        )
        _put(self._objects[ref], path, copy.deepcopy(value))
        return found


def differences(old: Json, new: Json, path: str = "") -> list[tuple[str, Json, Json]]:
    """(JSON pointer, before, after) of the smallest parts that differ; ``None`` means absent. Lists of different length differ
    as a whole: taking one apart by index would say that every later entry changed."""
    if old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        return [found for key in sorted({*old, *new}) for found in differences(old.get(key), new.get(key), path + pointer(key))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            found
            for index, (before, after) in enumerate(zip(old, new, strict=True))
            for found in differences(before, after, path + pointer(index))
        ]
    return [(path, old, new)]


def _put(document: Any, path: str, value: Json) -> None:
    *way, last = pointer_parts(path)
    for part in way:
        document = document[int(part)] if isinstance(document, list) else document.setdefault(part, {})
    if isinstance(document, list):
        document[int(last)] = value
    elif value is None:
        document.pop(last, None)
    else:
        document[last] = value

"""The three ways to change an object by a patch: JSON patch, JSON merge patch, strategic merge patch."""

import copy
from typing import Any

from services.model.objects import pointer_parts

Json = Any


class PatchFailed(Exception):
    """An operation does not hold on this document: its ``test`` fails, or its path is not there."""


class PatchMalformed(Exception):
    """The patch itself is not one."""


def json_patch(document: Json, operations: Json) -> Json:
    """RFC 6902: the document after all operations, the given one untouched.

    Raises PatchMalformed where an operation lacks what its kind needs, PatchFailed where one can't be applied.
    """
    if not isinstance(operations, list):
        raise PatchMalformed("a JSON patch is a list of operations")
    document = copy.deepcopy(document)
    for operation in operations:
        if not isinstance(operation, dict) or operation.get("op") not in _OPERATIONS:
            raise PatchMalformed(f"no operation of a JSON patch: {operation!r}")
        missing = [name for name in _OPERATIONS[operation["op"]] if name not in operation]
        pointers = [operation[name] for name in ("path", "from") if name in operation]
        if missing or not all(isinstance(path, str) and (not path or path.startswith("/")) for path in pointers):
            raise PatchMalformed(f"operation {operation['op']!r} needs {', '.join(_OPERATIONS[operation['op']])}")
        document = _apply(document, operation)
    return document


_OPERATIONS = {
    "add": ("path", "value"),
    "remove": ("path",),
    "replace": ("path", "value"),
    "move": ("from", "path"),
    "copy": ("from", "path"),
    "test": ("path", "value"),
}


def _apply(document: Json, operation: dict[str, Json]) -> Json:
    path = pointer_parts(operation["path"])
    match operation["op"]:
        case "add":
            return _put(document, path, copy.deepcopy(operation["value"]), insert=True)
        case "remove":
            return _remove(document, path)[0]
        case "replace":
            _read(document, path)
            return _put(document, path, copy.deepcopy(operation["value"]), insert=False)
        case "move":
            source = pointer_parts(operation["from"])
            if path[: len(source)] == source and path != source:
                raise PatchFailed("a value can't be moved into itself")
            document, value = _remove(document, source)
            return _put(document, path, value, insert=True)
        case "copy":
            return _put(document, path, copy.deepcopy(_read(document, pointer_parts(operation["from"]))), insert=True)
        case _:
            if not _same(_read(document, path), operation["value"]):
                raise PatchFailed(f"test of {operation['path']} failed")
            return document


def _same(one: Json, other: Json) -> bool:
    """Equality of JSON: numbers by value, but ``true`` is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _index(items: list[Json], part: str, end: int) -> int:
    if not (part.isascii() and part.isdigit() and (part == "0" or part[0] != "0") and int(part) <= end):
        raise PatchFailed(f"no index {part!r} in a list of {len(items)}")
    return int(part)


def _read(document: Json, path: list[str]) -> Json:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(document, part, len(document) - 1)]
        else:
            raise PatchFailed(f"no value at {part!r}")
    return document


def _put(document: Json, path: list[str], value: Json, *, insert: bool) -> Json:
    if not path:
        return value
    holder, last = _read(document, path[:-1]), path[-1]
    if isinstance(holder, dict):
        holder[last] = value
    elif isinstance(holder, list) and insert:
        holder.insert(len(holder) if last == "-" else _index(holder, last, len(holder)), value)
    elif isinstance(holder, list):
        holder[_index(holder, last, len(holder) - 1)] = value
    else:
        raise PatchFailed(f"nothing can be put into {type(holder).__name__}")
    return document


def _remove(document: Json, path: list[str]) -> tuple[Json, Json]:
    if not path:
        return None, document
    value = _read(document, path)
    holder, last = _read(document, path[:-1]), path[-1]
    del holder[int(last) if isinstance(holder, list) else last]
    return document, value


def merge_patch(document: Json, patch: Json) -> Json:
    """RFC 7386: ``null`` removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


MERGE_KEYS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "ports": ("containerPort", "port"),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "hostAliases": ("ip",),
}
"""Lists whose items strategic merge tells apart by a key; all others are replaced whole."""


def strategic_merge(document: Json, patch: Json) -> Json:
    """Kubernetes' strategic merge patch for the lists in ``MERGE_KEYS``, with its directives ``$patch``, ``$setElementOrder``,
    ``$retainKeys`` and ``$deleteFromPrimitiveList``. Raises PatchMalformed for a directive it does not know."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    directive = patch.get("$patch")
    if directive not in (None, "merge", "replace", "delete"):
        raise PatchMalformed(f"unknown directive $patch: {directive!r}")
    if directive == "delete":
        return {}
    merged = dict(document) if isinstance(document, dict) and directive != "replace" else {}
    if (kept := patch.get("$retainKeys")) is not None:
        merged = {key: value for key, value in merged.items() if key in kept}
    for key, value in patch.items():
        there = merged.get(key)
        listed = there if isinstance(there, list) else []
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.split("/", 1)[1]
            merged[name] = [item for item in merged.get(name) or () if item not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, list) and (merge_key := _merge_key(key, [*listed, *value])):
            merged[key] = _merge_items(listed, value, merge_key)
        elif key == "finalizers" and isinstance(value, list):
            merged[key] = [*listed, *(item for item in value if item not in listed)]
        else:
            merged[key] = strategic_merge(there, value)
    for key, order in patch.items():
        name = key.split("/", 1)[1] if key.startswith("$setElementOrder/") else ""
        if name and isinstance(merged.get(name), list) and (merge_key := _merge_key(name, merged[name])):
            place = {item.get(merge_key): index for index, item in enumerate(order)}
            merged[name].sort(key=lambda item: place.get(item.get(merge_key), len(place)))
    return merged


def _merge_key(name: str, items: list[Json]) -> str | None:
    objects = [item for item in items if isinstance(item, dict) and "$patch" not in item] or [
        item for item in items if isinstance(item, dict)
    ]
    return next((key for key in MERGE_KEYS.get(name, ()) if objects and all(key in item for item in objects)), None)


def _merge_items(items: list[Json], changes: list[Json], merge_key: str) -> list[Json]:
    if any(change == {"$patch": "replace"} for change in changes):
        return [copy.deepcopy(change) for change in changes if "$patch" not in change]
    merged = list(items)
    for change in changes:
        at = next((index for index, item in enumerate(merged) if item.get(merge_key) == change.get(merge_key)), None)
        if change.get("$patch") == "delete":
            if at is not None:
                del merged[at]
        elif at is None:
            merged.append(strategic_merge({}, change))
        else:
            merged[at] = strategic_merge(merged[at], change)
    return merged

"""Names of cluster objects and the exact changes that are made to them."""

from typing import Any

import msgspec

Json = Any
"""A JSON value: None, bool, int, float, str, or lists and dicts of them."""

EPOCH_ANNOTATION = "quarterdeck/epoch"
"""Annotation on every object of a rollout: who took the rollout over last (a counter, as text). See ``services/actuator``."""


class ObjectRef(msgspec.Struct, frozen=True, order=True):
    """One object of one cluster's namespace. ``kind`` is the Kubernetes kind, e.g. ``Deployment``."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


class Change(msgspec.Struct, frozen=True):
    """One value that a step replaces: a JSON pointer (RFC 6901) with the value before and after; ``None`` means absent.

    ``volatile`` marks values that somebody else may move without making the plan another one (replica counts that an
    autoscaler owns): they are shown, but are not part of the plan's digest.
    """

    object: ObjectRef
    path: str
    old: Json
    new: Json
    volatile: bool = False


def pointer(*parts: str | int) -> str:
    """JSON pointer of ``parts``, each escaped as RFC 6901 asks: ``pointer("a/b", 0) == "/a~1b/0"``."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def pointer_parts(path: str) -> list[str]:
    """The unescaped parts of a JSON pointer; the inverse of :func:`pointer` up to numbers, which stay text."""
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def dotted(path: str) -> str:
    """A JSON pointer as people read it: ``/spec/http/0/weight`` becomes ``spec.http[0].weight``."""
    text = ""
    for part in pointer_parts(path):
        if part.isdigit():
            text += f"[{part}]"
        elif "." in part or "/" in part:
            text += f'["{part}"]'
        else:
            text += f".{part}" if text else part
    return text


def value_at(document: Json, path: str) -> Json:
    """The value at a JSON pointer, or ``None`` where any part of the way is absent."""
    for part in pointer_parts(path):
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            return None
    return document

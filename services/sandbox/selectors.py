"""Label and field selectors, as text of a request or as ``matchLabels``/``matchExpressions`` of an object."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from services.sandbox.errors import bad_request
from services.sandbox.resources import Object

Match = Callable[[Object], bool]

_KEY = r"[A-Za-z0-9][-A-Za-z0-9_./]*"
_SET = re.compile(rf"^\s*({_KEY})\s+(in|notin)\s*\(([^()]*)\)\s*$")
_EQUAL = re.compile(rf"^\s*({_KEY})\s*(==|=|!=)\s*([-A-Za-z0-9_.]*)\s*$")
_EXISTS = re.compile(rf"^\s*(!?)\s*({_KEY})\s*$")

FIELDS = {
    "pods": ("spec.nodeName", "spec.restartPolicy", "status.phase", "status.podIP"),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "type",
        "source",
        "reportingComponent",
    ),
    "secrets": ("type",),
    "namespaces": ("status.phase",),
    "replicasets": ("status.replicas",),
}


def label_selector(text: str) -> Match:
    """Matches objects by their labels: ``a=b``, ``a!=b``, ``a in (b,c)``, ``a notin (b)``, ``a``, ``!a``, joined by commas.

    Raises ApiError 400 where the text is none of these.
    """
    tests = [_requirement(part) for part in re.split(r",(?![^()]*\))", text) if text.strip()]
    return lambda found: all(test(found["metadata"].get("labels") or {}) for test in tests)


def _requirement(part: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _SET.match(part):
        key, operator, values = match.groups()
        return _among(key, operator == "in", {value.strip() for value in values.split(",")})
    if match := _EQUAL.match(part):
        key, operator, value = match.groups()
        return _among(key, operator != "!=", {value})
    if match := _EXISTS.match(part):
        absent, key = bool(match[1]), match[2]
        return lambda labels: (key in labels) != absent
    raise bad_request(f"unable to parse requirement: {part!r}: found no operator of: '=', '!=', '==', 'in', 'notin'")


def _among(key: str, wanted: bool, values: set[str]) -> Callable[[Mapping[str, str]], bool]:
    return lambda labels: labels.get(key) in values if wanted else labels.get(key) not in values


def field_selector(text: str, plural: str) -> Match:
    """Matches objects by the few fields the resource allows; ApiError 400 for any other."""
    tests: list[tuple[list[str], bool, str]] = []
    for part in filter(None, text.split(",")):
        key, operator, value = re.split(r"(!=|==?)", part, maxsplit=1) if "=" in part else (part, "", "")
        if not operator:
            raise bad_request(f"invalid selector: {part!r}; can't understand {part!r}")
        if key not in ("metadata.name", "metadata.namespace", *FIELDS.get(plural, ())):
            raise bad_request(f'"{key}" is not a known field selector: only "metadata.name", "metadata.namespace"')
        tests.append((key.split("."), operator != "!=", value))
    return lambda found: all((_text_at(found, path) == value) == wanted for path, wanted, value in tests)


def _text_at(found: Object, path: list[str]) -> str:
    value: Any = found
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector (``matchLabels``, ``matchExpressions``) selects these labels; an empty one selects all."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        key, operator, values = expression["key"], expression["operator"], set(expression.get("values") or ())
        if operator in ("In", "NotIn"):
            holds = (labels.get(key) in values) == (operator == "In")
        else:
            holds = (key in labels) == (operator == "Exists")
        if not holds:
            return False
    return True

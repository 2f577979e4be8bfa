"""Elasticsearch's query language and response filter, as far as anybody asks a log store with a few thousand documents.

https://www.elastic.co/docs/explore-analyze/query-filter/languages/querydsl · ``filter_path``:
https://www.elastic.co/docs/reference/elasticsearch/rest-apis/common-options
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
Matches = Callable[[str, Document], bool]
"""Whether a document, by id and source, is one of those asked for."""

_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
}


class NotUnderstood(Exception):
    """A query that this store does not know; the text says which part."""


def compiled(query: Any) -> Matches:
    """The query as a function. Raises :class:`NotUnderstood`."""
    if not query:
        return lambda id_, source: True
    if not isinstance(query, dict) or len(query) != 1:
        raise NotUnderstood("a query is an object with one key")
    ((kind, body),) = query.items()
    match kind:
        case "match_all":
            return lambda id_, source: True
        case "ids":
            wanted = set(body.get("values", ()))
            return lambda id_, source: id_ in wanted
        case "exists":
            return lambda id_, source: any(True for _ in values(source, str(body.get("field"))))
        case "term" | "match" | "match_phrase":
            field, value = _only(kind, body)
            value = value.get("value", value.get("query")) if isinstance(value, dict) else value
            return lambda id_, source: any(_same(found, value) for found in values(source, field))
        case "terms":
            field, given = _only(kind, body)
            return lambda id_, source: any(_same(found, one) for found in values(source, field) for one in given)
        case "prefix":
            field, value = _only(kind, body)
            start = str(value.get("value") if isinstance(value, dict) else value)
            return lambda id_, source: any(str(found).startswith(start) for found in values(source, field))
        case "range":
            return _range(*_only(kind, body))
        case "bool":
            return _bool(body)
    raise NotUnderstood(f"unknown query [{kind}]")


def by_words(text: str) -> Matches:
    """``q=field:value``, several of them with ``AND`` between."""
    if not text or text == "*":
        return compiled(None)
    parts = [part.partition(":") for part in text.split(" AND ")]
    if not all(colon for _, colon, _ in parts):
        raise NotUnderstood("q= takes field:value, with AND between several")
    return compiled({"bool": {"must": [{"term": {field.strip(): value.strip().strip('"')}} for field, _, value in parts]}})


def ordered(found: list[tuple[str, str, dict[str, Any]]], sort: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """``found`` (index, id, source) by ``sort``: a field, ``{"field": "desc"}``, ``{"field": {"order": "desc"}}``, or a list."""
    for key in reversed(sort if isinstance(sort, list) else [sort] if sort else []):
        field, order = (key, "asc") if isinstance(key, str) else next(iter(key.items()))
        order = order.get("order", "asc") if isinstance(order, dict) else order
        field, _, suffix = field.partition(":") if isinstance(key, str) else (field, "", "")
        down = (suffix or order) == "desc"
        there = [one for one in found if next(values(one[2], field), None) is not None]
        rest = [one for one in found if next(values(one[2], field), None) is None]
        # numbers among themselves, everything else as text; documents without the field last, as Elasticsearch has them
        found = sorted(there, key=lambda one: _rank(next(values(one[2], field))), reverse=down) + rest
    return found


def filtered(document: Any, paths: str) -> Any:
    """``document`` reduced to what ``filter_path`` names: comma-separated, with ``*`` for any key."""
    if not paths:
        return document
    reduced = _reduced(document, [path.split(".") for path in paths.split(",")])
    return {} if reduced is None else reduced


def values(source: Any, field: str) -> Iterator[Any]:
    """What stands under a dotted path; each part of a list by itself. ``.keyword`` is the field itself."""
    yield from _values(source, field.removesuffix(".keyword"))


def _values(source: Any, field: str) -> Iterator[Any]:
    if isinstance(source, list):
        for part in source:
            yield from _values(part, field)
    elif not field:
        if source is not None:
            yield source
    elif isinstance(source, dict):
        name = field
        while name:
            # a key may hold dots itself
            if name in source:
                yield from _values(source[name], field[len(name) + 1 :])
            name = name.rpartition(".")[0]


def _range(field: str, bounds: Any) -> Matches:
    tests = [(_COMPARED[name], bound) for name, bound in bounds.items() if name in _COMPARED]

    def inside(id_: str, source: Document) -> bool:
        return any(all(_holds(test, found, bound) for test, bound in tests) for found in values(source, field))

    return inside


def _holds(test: Callable[[Any, Any], bool], value: Any, bound: Any) -> bool:
    numbers = isinstance(value, int | float) and isinstance(bound, int | float)
    return test(value, bound) if numbers else test(str(value), str(bound))


def _bool(body: Mapping[str, Any]) -> Matches:
    def parts(name: str) -> Sequence[Matches]:
        given = body.get(name, [])
        return [compiled(part) for part in (given if isinstance(given, list) else [given])]

    must, excluded, should = (*parts("must"), *parts("filter")), parts("must_not"), parts("should")
    least = 1 if should and not must else 0
    least = int(body.get("minimum_should_match", least))

    def holds(id_: str, source: Document) -> bool:
        return (
            all(part(id_, source) for part in must)
            and not any(part(id_, source) for part in excluded)
            and sum(part(id_, source) for part in should) >= least
        )

    return holds


def _only(kind: str, body: Any) -> tuple[str, Any]:
    fields = {name: value for name, value in body.items() if name != "boost"} if isinstance(body, dict) else {}
    if len(fields) != 1:
        raise NotUnderstood(f"[{kind}] takes one field")
    return next(iter(fields.items()))


def _same(found: Any, value: Any) -> bool:
    if isinstance(found, bool) or isinstance(value, bool):
        return str(found).lower() == str(value).lower()
    return bool(found == value) or str(found) == str(value)


def _rank(value: Any) -> tuple[int, float, str]:
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def _reduced(document: Any, paths: Sequence[Sequence[str]]) -> Any:
    if not all(paths):
        return document
    if isinstance(document, list):
        parts = [reduced for part in document if (reduced := _reduced(part, paths)) is not None]
        return parts or None
    if not isinstance(document, dict):
        return None
    found = {}
    for key, value in document.items():
        deeper = [path[1:] for path in paths if path[0] in ("*", key)]
        if deeper and (reduced := _reduced(value, deeper)) is not None:
            found[key] = reduced
    return found or None

"""From a file to :class:`Settings`, or to every problem in it at once."""

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from services.settings import document
from services.settings.problems import ConfigurationError, Problem
from services.settings.section import BrokenRule
from services.settings.settings import ENVIRONMENTS, Settings

_RULES = {
    "extra_forbidden": "is not a known key",
    "missing": "is required",
    "string_type": "must be text (put it in quotes)",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list",
    "dict_type": "must be a section of keys",
    "model_type": "must be a section of keys",
    "model_attributes_type": "must be a section of keys",
    "path_type": "must be a path",
    "none_required": "must be left out",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "enum": "is not one of the accepted words",
    "literal_error": "is not one of the accepted words",
    "union_tag_invalid": "is not one of the accepted words",
    "union_tag_not_found": "is required",
    "string_pattern_mismatch": "has a form that is not accepted",
    "string_too_long": "is too long",
    "too_short": "has too few entries",
    "too_long": "has too many entries",
}


class SecretGuard(Protocol):
    """Who knows the secrets in use and takes them out of texts (``services.redaction.Redactor``)."""

    def register(self, secret: str) -> None: ...

    def text(self, s: str, /) -> str: ...


def load(path: Path, *, redactor: SecretGuard) -> Settings:
    """Read and validate the configuration.

    Raises :class:`ConfigurationError` with every problem, each with file, line, key, rule and what is accepted. No secret is
    looked up here, and none that was written into the file by mistake is repeated in a message.
    """
    file = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(document.MAX_BYTES + 1)
        text = raw.decode()
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no configuration at {path}", hint="Make one with: quarterdeck config init, or name one with --config FILE."
        ) from None
    except OSError as error:
        raise ConfigurationError(f"The configuration {path} can't be read: {error.strerror or type(error).__name__}") from error
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise _refused(file, [Problem(file=file, line=line, key="", problem="is not UTF-8 text", accepted="UTF-8")]) from None
    return parse(text, file=file, base=path.absolute().parent, redactor=redactor)


def parse(text: str, *, file: str, base: Path, redactor: SecretGuard) -> Settings:
    """The same for a text; relative paths in it count from ``base``."""
    read = document.parse(text, file)
    problems = list(read.problems)
    unread = {problem.key for problem in problems}
    if not problems or read.data:
        try:
            settings = Settings.model_validate_json(json.dumps(_completed(read.data)), strict=True, context={"base": base})
        except ValidationError as error:
            schema = Settings.model_json_schema()
            details = error.errors(include_url=False)
            for detail in details:
                if detail["type"] == "too_short" and any(_is_inside(other["loc"], detail["loc"]) for other in details):
                    # Entries that are wrong themselves were not counted; what they lack is said already.
                    continue
                if detail["input"] is None and document.dotted(detail["loc"]) in unread:
                    # What could not be read is said already; that nothing stands there is no second problem.
                    continue
                problems += _problems(detail, read, file, schema, redactor)
    if problems:
        raise _refused(file, problems)
    settings._file = file
    settings._lines = {document.dotted(key): line for key, line in read.lines.items() if key}
    return settings


def _is_inside(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _refused(file: str, problems: list[Problem]) -> ConfigurationError:
    distinct = sorted(set(problems), key=lambda problem: (problem.line, problem.key))
    count = "1 problem" if len(distinct) == 1 else f"{len(distinct)} problems"
    return ConfigurationError(f"The configuration {file} has {count}", distinct)


def _completed(data: dict[str, Any]) -> dict[str, Any]:
    """``data`` with each environment's tier written out: the environment's name, or production for a name that is not known."""
    environments = data.get("environments")
    if not isinstance(environments, dict):
        return data
    completed = {
        name: {"tier": name if name in ENVIRONMENTS else "production"} | body if isinstance(body, dict) else body
        for name, body in environments.items()
    }
    return data | {"environments": completed}


def _problems(
    detail: ErrorDetails, read: document.Document, file: str, schema: Mapping[str, Any], redactor: SecretGuard
) -> Iterator[Problem]:
    """The problems behind one error of the models: one, or those of values that don't fit together."""
    place = tuple(part for part in detail["loc"] if part != "[key]")
    key = _written(schema, place)
    rules: list[BrokenRule] = detail.get("ctx", {}).get("rules", [])
    if not rules:
        yield _problem(key, place, detail, read, file, schema, redactor)
    for rule in rules:
        at = (*key, *rule.key)
        name = redactor.text(document.dotted(at))
        yield Problem(file=file, line=read.line(at), key=name, problem=redactor.text(rule.rule), accepted=rule.accepted)


def _written(schema: Mapping[str, Any], place: document.Key) -> document.Key:
    """The key that a person wrote, of a ``place`` in the models: without the kinds that entries of lists were taken for."""
    return tuple(part for at, part in enumerate(place) if part not in _kinds(_schema_at(schema, place[:at])))


def _problem(
    key: document.Key,
    place: document.Key,
    detail: ErrorDetails,
    read: document.Document,
    file: str,
    schema: Mapping[str, Any],
    redactor: SecretGuard,
) -> Problem:
    context = detail.get("ctx", {})
    kind = detail["type"]
    node = _schema_at(schema, place)
    rule = str(context.get("rule") or _RULES.get(kind) or detail["msg"])
    accepted = str(context.get("accepted") or ("'key: value' lines" if "properties" in node else _described(schema, place)))
    suggestion = ""
    if kind == "extra_forbidden":
        known = list(_schema_at(schema, place[:-1]).get("properties", ()))
        suggestion = _nearest(str(key[-1]), known)
        accepted = ", ".join(known)
    elif key[:1] == ("environments",) and "[key]" in detail["loc"]:
        rule, accepted = "is not the name of an environment", ", ".join(ENVIRONMENTS)
        suggestion = _nearest(str(key[-1]), ENVIRONMENTS, cutoff=0.5)
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        kinds = _kinds(node)
        suggestion = _nearest(str(context.get("tag", "")), kinds, cutoff=0.5)
        key, accepted = (*key, "kind"), ", ".join(kinds)
    elif kind in ("enum", "literal_error") and isinstance(detail["input"], str):
        words = [str(word) for word in node.get("enum", [node["const"]] if "const" in node else [])]
        suggestion = _nearest(detail["input"], words)
    return Problem(
        file=file,
        line=read.line(key[:-1] if kind in ("missing", "union_tag_not_found") else key),
        key=redactor.text(document.dotted(key)),
        problem=redactor.text(rule),
        accepted=accepted,
        suggestion=suggestion,
    )


def _nearest(word: str, known: Any, cutoff: float = 0.6) -> str:
    found = difflib.get_close_matches(word.lower().replace("-", "_"), known, n=1, cutoff=cutoff)
    return str(found[0]) if found else ""


def _schema_at(schema: Mapping[str, Any], key: tuple[str | int, ...]) -> Mapping[str, Any]:
    """The JSON schema of the value at ``key``; empty where the schema does not know it."""
    node: Mapping[str, Any] = schema
    for part in key:
        node = _resolved(schema, node)
        if isinstance(part, int):
            node = node.get("items", {})
        elif part in (kinds := _kinds(node)):
            node = {"$ref": kinds[str(part)]}
        elif part in node.get("properties", {}):
            node = node["properties"][part]
        else:
            inner: Any = node.get("additionalProperties") or next(iter(node.get("patternProperties", {}).values()), {})
            node = inner if isinstance(inner, Mapping) else {}
    return _resolved(schema, node)


def _kinds(node: Mapping[str, Any]) -> Mapping[str, str]:
    """The schemas of what ``node`` may be, by kind; empty for what is of one kind only."""
    kinds: Mapping[str, str] = node.get("discriminator", {}).get("mapping", {})
    return kinds


def _described(schema: Mapping[str, Any], key: document.Key) -> str:
    """What is accepted at ``key``, or in the list that it is an item of."""
    own = str(_schema_at(schema, key).get("description", ""))
    return own or (_described(schema, key[:-1]) if key and isinstance(key[-1], int) else "")


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """``node`` with references followed and ``X | None`` taken as X; its own description wins."""
    own = node.get("description")
    while True:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        elif "anyOf" in node:
            node = next(option for option in node["anyOf"] if option.get("type") != "null")
        elif len(node.get("allOf", ())) == 1:
            node = node["allOf"][0]
        else:
            return {**node, "description": own} if own else node

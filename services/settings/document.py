"""A YAML document as plain values together with the line of every key, read defensively.

Anchors and aliases work, but what they expand to is bounded; depth, size and the number of values are too. Duplicate keys,
keys that are not text, and tags that would build objects are problems, not surprises.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from services.settings.problems import Problem

MAX_BYTES = 256 * 1024
MAX_DEPTH = 24
MAX_VALUES = 20_000

Key = tuple[str | int, ...]
"""The way to a value: ``("environments", "dev", "aliases", 0)``."""

_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "map", "seq", "merge")}
_NUMBER_TAGS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_QUOTED = re.compile(r"(['\"]).{3,}?\1")


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """``lines`` holds the line (from 1) of every key and list item, and of the document itself under ``()``."""

    data: dict[str, Any]
    lines: dict[Key, int]
    problems: tuple[Problem, ...]

    def line(self, key: Key) -> int:
        """The line of the longest known part of ``key``."""
        for end in range(len(key), -1, -1):
            if key[:end] in self.lines:
                return self.lines[key[:end]]
        return 1


class _TooMuch(yaml.YAMLError):
    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.what = what
        self.line = line


class _Loader(yaml.SafeLoader):
    """Composes nodes; refuses nesting that would exhaust the interpreter's stack before anything is built."""

    depth = 0

    # Dates stay text: no key of ours is a date, and a person's name such as 2024-01-01 is no reason for surprise.
    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _TooMuch(f"is nested deeper than {MAX_DEPTH} levels", self.get_mark().line + 1)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Reader:
    """Turns composed nodes into values, counting them: an alias costs what it expands to."""

    def __init__(self, file: str, loader: _Loader) -> None:
        self.file = file
        self.loader = loader
        self.lines: dict[Key, int] = {}
        self.problems: list[Problem] = []
        self.count = 0

    def read(self, node: yaml.Node, key: Key) -> Any:
        line = node.start_mark.line + 1
        self.count += 1
        if self.count > MAX_VALUES:
            raise _TooMuch(f"expands to more than {MAX_VALUES:,} values", line)
        if len(key) > MAX_DEPTH:
            raise _TooMuch("contains itself through an alias", line)
        if node.tag not in _PLAIN_TAGS:
            self.problem(line, key, "uses a YAML tag", "plain values without tags (no leading '!')")
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            values = []
            for index, item in enumerate(node.value):
                self.lines[(*key, index)] = item.start_mark.line + 1
                values.append(self.read(item, (*key, index)))
            return values
        return self.scalar(node, key)

    def mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, (line, value_node) in self.members(node, key):
            self.lines[(*key, name)] = line
            values[name] = self.read(value_node, (*key, name))
        return values

    def members(self, node: yaml.MappingNode, key: Key) -> Iterator[tuple[str, tuple[int, yaml.Node]]]:
        """The members of a mapping; those merged with ``<<`` first, so that written ones win."""
        own: dict[str, tuple[int, yaml.Node]] = {}
        merged: dict[str, tuple[int, yaml.Node]] = {}
        self.count += 1
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            self.count += 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for source in sources:
                    if not isinstance(source, yaml.MappingNode) or len(key) + 1 > MAX_DEPTH or source is node:
                        self.problem(line, key, "merges something that is not a mapping", "'<<: *anchor' of a mapping")
                        continue
                    for name, member in self.members(source, (*key, "<<")):
                        merged.setdefault(name, member)
                continue
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                self.problem(line, key, "has a key that is not text", "a word, in quotes if it looks like a number or yes/no")
                continue
            name = str(key_node.value)
            if name in own:
                self.problem(line, (*key, name), f"is written twice (first in line {own[name][0]})", "each key once")
                continue
            own[name] = (line, value_node)
        if self.count > MAX_VALUES:
            raise _TooMuch(f"expands to more than {MAX_VALUES:,} values", node.start_mark.line + 1)
        yield from (merged | own).items()

    def scalar(self, node: yaml.Node, key: Key) -> Any:
        line = node.start_mark.line + 1
        if node.tag in _NUMBER_TAGS and not _DECIMAL.fullmatch(node.value):
            # YAML 1.1 reads 0310 as 200 and 1:30 as 90.
            self.problem(line, key, "is a number in a form that is easily misread", "decimal digits, or text in quotes")
            return None
        constructor = self.loader.yaml_constructors[node.tag]
        try:
            value = constructor(self.loader, node)
        except (ValueError, OverflowError, KeyError, yaml.YAMLError):
            self.problem(line, key, "can't be read as a value", "text in quotes, a number, true or false")
            return None
        try:
            # Two escapes may make one character, as JSON writes those beyond the first 65,536.
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le") if isinstance(value, str) else value
        except UnicodeDecodeError:
            self.problem(line, key, "holds half of a character (a lone surrogate)", "whole characters")
            return None

    def problem(self, line: int, key: Key, rule: str, accepted: str) -> None:
        self.problems.append(Problem(file=self.file, line=line, key=dotted(key), problem=rule, accepted=accepted))


def parse(text: str, file: str) -> Document:
    """Read ``text``. Whatever is wrong is in ``problems``; ``data`` holds what could be read. Never raises for bad input."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return _failed(file, 0, f"is larger than {MAX_BYTES // 1024} KiB", "a configuration file")
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
        return _failed(file, line, "is not valid YAML: holds a control character", "UTF-8 text without control characters")
    try:
        reader = _Reader(file, loader)
        root = loader.get_single_node()
        if root is None:
            return Document(data={}, lines={(): 1}, problems=())
        if not isinstance(root, yaml.MappingNode):
            return _failed(file, root.start_mark.line + 1, "is not a mapping", "'key: value' lines")
        reader.lines[()] = root.start_mark.line + 1
        data = reader.read(root, ())
        return Document(data=data if isinstance(data, dict) else {}, lines=reader.lines, problems=tuple(reader.problems))
    except _TooMuch as error:
        return _failed(file, error.line, error.what, "a configuration written by hand")
    except yaml.YAMLError as error:
        return _failed(file, _line_of(error), _explain(error), "valid YAML (indentation with spaces, quotes closed)")
    finally:
        loader.dispose()


def dotted(key: Key) -> str:
    """A key as people write it: ``environments.dev.aliases[0]``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _failed(file: str, line: int, rule: str, accepted: str) -> Document:
    return Document(data={}, lines={}, problems=(Problem(file=file, line=line, key="", problem=rule, accepted=accepted),))


def _line_of(error: yaml.YAMLError) -> int:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return mark.line + 1 if mark is not None else 0


def _explain(error: yaml.YAMLError) -> str:
    # The parser's own message may quote the file, and what it quotes may be a secret.
    text = getattr(error, "problem", None) or getattr(error, "reason", None) or "can't be parsed"
    mark = getattr(error, "problem_mark", None)
    where = f" (column {mark.column + 1})" if mark is not None else ""
    return f"is not valid YAML: {_QUOTED.sub('…', str(text))}{where}"

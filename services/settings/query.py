"""Queries with ``{{placeholders}}``: where each stands decides how its value is written, so that no value can change a query.

PromQL strings: https://prometheus.io/docs/prometheus/latest/querying/basics/#string-literals
"""

import re
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, StringConstraints

from services.settings.section import broken

PLACES = ("namespace", "service", "workload", "version", "arm", "pods", "window")
"""What may stand in double braces: of the service, of one version's workload, its version, which arm it is (``canary``,
``stable``), the names of its pods as a regular expression, and the time since the last look (``12345ms``)."""
WINDOW = "window"
APART = frozenset({"workload", "version", "arm", "pods"})
"""Those that tell the two versions apart: a query without any of them would find both equal, whatever they do."""

_PLACE = re.compile(r"\{\{\s*([a-z]*)\s*\}\}")
_DISTRIBUTION = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,199}\{(?:[^{}]|\{\{[^{}]*\}\})+\}")
_REGEX = re.compile(r"[=!]~\s*$")


class Part(NamedTuple):
    """A piece of a query: text as it is, or a placeholder. ``regex``: it stands in the string of ``=~`` or ``!~``."""

    text: str
    place: str = ""
    regex: bool = False


def promql(query: str) -> tuple[Part, ...]:
    """The pieces of a PromQL query. A placeholder stands inside a quoted string, ``{{window}}`` outside of any.

    Raises the error of a validator where one stands elsewhere or is not known.
    """
    parts: list[Part] = []
    text, quote, regex, at = "", "", False, 0
    while at < len(query):
        if found := _PLACE.match(query, at):
            _check(found[1], quote)
            parts += [Part(text), Part("", found[1], regex)]
            text, at = "", found.end()
            continue
        char = query[at]
        if quote and quote != "`" and char == "\\":
            text, at = text + query[at : at + 2], at + 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'`":
            quote, regex = char, _REGEX.search(text) is not None
        text, at = text + char, at + 1
    if quote:
        raise broken("has a string without an end", "a PromQL query")
    return tuple(part for part in (*parts, Part(text)) if part != Part(""))


def _check(name: str, quote: str) -> None:
    accepted = ", ".join(f"{{{{{place}}}}}" for place in PLACES)
    if name not in PLACES:
        raise broken(f"has a placeholder that is not known ({{{{{name}}}}})", accepted)
    if name == WINDOW and quote:
        raise broken("has {{window}} inside a string", "{{window}} as a duration: increase(x[{{window}}])")
    if name != WINDOW and quote not in ('"', "'"):
        raise broken(f"has {{{{{name}}}}} outside of a string in quotes (\" or ')", f'label="{{{{{name}}}}}"')


_SPEEDS = re.compile(r"\b(rate|irate|delta|idelta|deriv|increase)\s*\(")
_COUNTS = f"a counter as it stands (its differences are taken here), or increase(x[{{{{{WINDOW}}}}}])"


def _counting(parts: tuple[Part, ...]) -> None:
    """Raises the error of a validator for a query that gives speeds: their differences from look to look are noise, and a verdict
    would come of counts that nobody counted."""
    bare = _bare("".join(f"{{{{{part.place}}}}}" if part.place else part.text for part in parts))
    for found in _SPEEDS.finditer(bare):
        if found[1] != "increase":
            raise broken(f"has {found[1]}(), which gives no counts", _COUNTS)
        ranges = re.findall(r"\[\s*([^\]]*?)\s*\]", bare[found.end() :])
        if not ranges or any(re.sub(r"\s", "", one) != f"{{{{{WINDOW}}}}}" for one in ranges):
            raise broken("has increase() of a window of its own, which gives no counter", _COUNTS)


def _bare(query: str) -> str:
    """``query`` without its strings and comments."""
    return re.sub(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`|#[^\n]*", "", query)


_NO_COUNT = re.compile(r"(?:^|[^A-Za-z0-9_.])(avg|min|max|p\d\d(?:\.\d+)?)\s*:")
_PER_TIME = re.compile(r"\.as_rate\s*\(|\b(?:per_second|per_minute|per_hour|derivative|diff|dt|rate)\s*\(")


def _counting_tags(query: str) -> None:
    """Raises the error of a validator for a query that gives an average or a speed instead of counts."""
    accepted = "a count: sum:NAME{TAGS}.as_count()"
    if found := _PER_TIME.search(query):
        raise broken(f"has {found[0].strip('.( ')}(), which gives no counts", accepted)
    if (found := _NO_COUNT.search(query)) and ".as_count(" not in query:
        raise broken(f"asks for {found[1]}: without .as_count(), which gives no counts", accepted)


def check_promql(text: str) -> None:
    """Raises the error of a validator for a query that can't be asked of each version, or gives no counts."""
    parts = promql(text)
    apart(parts)
    _counting(parts)


def check_tagged(text: str) -> None:
    """The same for Datadog's language."""
    apart(tagged(text))
    _counting_tags(text)


def tagged(query: str) -> tuple[Part, ...]:
    """The pieces of a Datadog query. Raises the error of a validator for a placeholder that is not known."""
    parts: list[Part] = []
    at = 0
    for found in re.finditer(r"\{\{\s*(namespace|service|workload|version|arm)\s*\}\}", query):
        parts += [Part(query[at : found.start()]), Part("", found[1])]
        at = found.end()
    parts.append(Part(query[at:]))
    if any("{{" in part.text for part in parts):
        raise broken("has a placeholder that is not known", "{{namespace}}, {{service}}, {{workload}}, {{version}}, {{arm}}")
    return tuple(part for part in parts if part != Part(""))


def apart(parts: tuple[Part, ...]) -> None:
    """Raises the error of a validator for a query that asks the same of both versions."""
    if not any(part.place in APART for part in parts):
        raise broken("asks the same of both versions", "one of {{workload}}, {{version}}, {{arm}} or {{pods}} in it")


def _line(text: str) -> str:
    if not text.strip() or any(not char.isprintable() and char not in "\n\t" for char in text):
        raise broken("is empty or holds control characters", "a query")
    return text.strip()


def _promql(text: str) -> str:
    check_promql(text)
    return text


def _tagged(text: str) -> str:
    check_tagged(text)
    return text


def _tags_apart(text: str) -> str:
    apart(tagged(text))
    return text


def _distribution(text: str) -> str:
    if not _DISTRIBUTION.fullmatch(text):
        raise broken("is no distribution", "its name and tags, e.g. trace.http.request{version:{{version}}}, and nothing around")
    return text


Query = Annotated[str, StringConstraints(max_length=4000), AfterValidator(_line)]
PromQuery = Annotated[str, StringConstraints(max_length=4000), AfterValidator(_line), AfterValidator(_promql)]
TagQuery = Annotated[str, StringConstraints(max_length=4000), AfterValidator(_line), AfterValidator(_tagged)]

DistributionQuery = Annotated[
    str, StringConstraints(max_length=4000), AfterValidator(_line), AfterValidator(_tags_apart), AfterValidator(_distribution)
]
"""A metric of Datadog by its name and tags; what is asked of it is for the reader to write around."""


class SeriesOf(NamedTuple):
    """The series of one metric on a page, by name and labels, which have to have exactly these values."""

    name: str
    labels: tuple[tuple[str, str], ...]


def series(text: str) -> SeriesOf:
    """What ``name`` or ``name{label="value",…}`` selects. Raises the error of a validator for anything else."""
    # Imported here: most configurations have no such query, and every command reads a configuration.
    from prometheus_client.parser import text_string_to_metric_families

    try:
        # That is the very form in which a page writes a sample, less its value.
        (family,) = text_string_to_metric_families(f"{text} 1\n")
        (sample,) = family.samples
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, AssertionError):
        sample = None
    if sample is None or "\n" in text or sample.value != 1 or sample.timestamp is not None:
        raise broken("does not select series of a page", 'name or name{label="value"}')
    return SeriesOf(sample.name, tuple(sorted(sample.labels.items())))

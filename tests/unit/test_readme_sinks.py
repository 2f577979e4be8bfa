"""What the README says of sinks is so: every kind is in it, its example is a configuration, and a yes is worth what it says."""

import re
from pathlib import Path

import pytest
import yaml
from support.clock import ManualClock
from support.configuration import configured

from services.audit.sinks.base import Archive, Assurance
from services.audit.sinks.opening import open_sink
from services.redaction import Redactor
from services.settings.sinks import SinkField, SinkSection

README = (Path(__file__).parents[2] / "README.md").read_text()
EXAMPLE = README.partition("<!-- sinks -->\n```yaml\n")[2].partition("```")[0]
TABLE = README.partition("<!-- sinks -->")[2].partition("|---|")[2]
ROWS = {
    kind: (worth, left)
    for kinds, worth, left in re.findall(
        r"^\| (`[a-z0-9`, ]+`) \| (.+) \| (.+) \|$", README.partition("<!-- sinks -->")[2].partition("|---|")[2], re.M
    )
    for kind in re.findall(r"`(\w+)`", kinds)
}


def sections() -> list[SinkSection]:
    base = "version: 1\nenvironments: {dev: {context: a, namespaces: [dev]}}\n"
    return list(configured(base + EXAMPLE).journal.sinks)


def worth(section: SinkSection) -> Assurance:
    sink = open_sink(section, secrets=Redactor(), clock=ManualClock())
    return Assurance.DURABLE if isinstance(sink, Archive) else sink.assurance


def test_every_kind_is_in_the_table_and_all_but_the_twin_in_the_example() -> None:
    kinds = {str(kind.model_fields["kind"].annotation).split("'")[1] for kind in SinkField.__origin__.__args__}  # type: ignore[attr-defined]
    assert set(ROWS) == kinds
    assert {section.kind for section in sections()} == kinds - {"opensearch"}


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.kind)
def test_a_yes_is_worth_what_the_table_says(section: SinkSection) -> None:
    said = ROWS[section.kind][0]
    plain, _, best = said.partition(";")
    assert worth(section).value in (best if " with `acknowledge" in best or " with `queues" in best else plain)
    keys = {"acknowledge": False, "queues_on_disk": False}
    least = section.model_copy(update={key: value for key, value in keys.items() if hasattr(section, key)})
    assert worth(least).value in plain


def test_the_keys_that_the_table_names_are_there() -> None:
    for section in sections():
        words = " ".join(ROWS[section.kind])
        for key in re.findall(r"`([a-z_]+)(?:: \w+)?`", words):
            assert key in type(section).model_fields, (section.kind, key)
    assert yaml.safe_load(EXAMPLE)["journal"]["sinks"]

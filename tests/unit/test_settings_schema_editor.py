"""The schema for editors, and the first configuration, held against each other and against what really validates."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.configuration import WHOLE, configured, redactor

from console.cli import main
from services.model.release import Tier
from services.sandbox.home import configuration
from services.settings import ConfigurationError, load, parse
from services.settings.jsonschema import BASES, DIALECT, MEANINGS, schema
from services.settings.starter import KnownContext, starting

ROOT = Path(__file__).parents[2]
SCHEMA = schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
EVERYTHING = yaml.safe_load(WHOLE) | {
    "metrics": {"scrape_url": "https://m.example/{namespace}/{pod}", "port": 8080, "path": "/metrics", "interval": 10},
    "canary": {"steps": [{"weight": 5, "seconds": 60}], "soak_seconds": 10},
    "triggers": {"error_rate": 0.05, "cpu": 0.9},
    "default_strategy": {"dev": "rolling"},
    "journal": {"retention_days": 500, "sinks": [{"kind": "elasticsearch", "url": "https://es.example", "api_key": "env:KEY"}]},
}


def keys(document: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every key that has a meaning of its own: names of environments and services are the user's."""
    inside = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in inside:
        if isinstance(document, dict) and way not in (("environments",), ("smoke_tests",)):
            yield (*way, key)
        yield from keys(value, (*way, key))


WAYS = sorted(keys(EVERYTHING), key=str)


def test_it_is_a_schema_of_the_dialect_it_names() -> None:
    assert SCHEMA["$schema"] == DIALECT
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("through_proxy", [True, False])
def test_the_sandboxs_configuration_validates(through_proxy: bool, tmp_path: Path) -> None:
    document = configuration(
        home=tmp_path,
        kubeconfig=tmp_path / "kubeconfig",
        token_file=tmp_path / "token",
        web="http://127.0.0.1:8099",
        speed=20,
        epoch=1.5,
        through_proxy=through_proxy,
    )
    VALIDATOR.validate(document)
    configured(yaml.safe_dump(document))


def test_the_readmes_example_validates() -> None:
    text = (ROOT / "README.md").read_text().partition("<!-- config -->\n```yaml\n")[2].partition("```")[0]
    VALIDATOR.validate(yaml.safe_load(text))


contexts = st.lists(
    st.builds(
        KnownContext,
        st.one_of(
            st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=40),
            st.sampled_from(["dev", "staging", "production", "eu-prod", "dev-prod", "kind-stage", "canary"]),
        ),
        st.sampled_from(["default", "shop", "prod", "dev"]),
        st.sampled_from(["", "c", "prod-eu", "dev-1"]),
    ),
    max_size=6,
    unique_by=lambda context: context.name,
)


@given(contexts)
def test_every_first_configuration_validates_and_is_strict_where_it_guesses(known: list[KnownContext]) -> None:
    text = starting(known, "jane")
    VALIDATOR.validate(yaml.safe_load(text))
    settings = parse(text, file="config.yaml", base=Path("/etc"), redactor=redactor())
    for name, environment in settings.environments.items():
        words = f"{environment.context} {next((one.cluster for one in known if one.name == environment.context), '')}".lower()
        if name != "production" and "prod" in words.replace("-", " ").replace("_", " ").split():
            assert environment.tier is Tier.PRODUCTION
    assert settings.policy.production.approvals >= 2


@given(st.sampled_from(WAYS), st.sampled_from(["x", "_", "s"]))
def test_a_typo_in_any_key_is_refused(way: tuple[Any, ...], extra: str) -> None:
    document = copy.deepcopy(EVERYTHING)
    section: Any = document
    for part in way[:-1]:
        section = section[part]
    section[way[-1] + extra] = section.pop(way[-1])
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize(
    "change",
    [
        {"environments": {}},
        {"environments": {"qa": {"context": "c", "namespaces": ["n"]}}},
        {"environments": {"dev": {"context": "c", "namespaces": ["Not_Legal"]}}},
        {"policy": {"production": {"approvals": 1}}},
        {"policy": {"production": {"ticket": "waived"}}},
        {"tickets": EVERYTHING["tickets"] | {"token": "the-token-itself"}},
        {"smoke_tests": {"shop": [{"name": "x", "path": "no-slash"}]}},
        {"probes": {"failures": 0}},
        {"metrics": {"port": "8080"}},
        {"journal": {"retention_days": 30}},
        {"journal": {"sinks": [{"kind": "elastic", "url": "https://es.example"}]}},
        {"journal": {"sinks": [{"kind": "opensearch", "url": "https://es.example", "api_key": "env:KEY"}]}},
        {"journal": {"sinks": [{"kind": "elasticsearch", "url": "https://es.example", "api_key": "the-key-itself"}]}},
    ],
)
def test_an_editor_is_told_what_check_refuses(change: dict[str, Any]) -> None:
    document = EVERYTHING | change
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(ConfigurationError):
        configured(yaml.safe_dump(document))
    VALIDATOR.validate(EVERYTHING)


def test_every_key_has_a_description_and_every_meaning_a_key() -> None:
    models = {"Settings": SCHEMA, **SCHEMA["$defs"]}
    there = {f"{name}.{key}": node for name, model in models.items() for key, node in model.get("properties", {}).items()}
    assert {key for key, node in there.items() if len(node.get("description", "")) < 10} == set()
    inherited = {f"{BASES[name]}.{key}" for name in BASES for key in models[name]["properties"]}
    assert set(MEANINGS) <= set(there) | inherited


def test_people_get_it_in_lines_and_programs_as_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    lines = capsys.readouterr().out
    assert lines.count("\n") > 100
    assert main(["config", "schema", "-o", "json"]) == 0
    assert json.loads(lines) == json.loads(capsys.readouterr().out) == SCHEMA


KUBECONFIG = """\
contexts:
- {name: dev-prod-tools, context: {cluster: a}}
- {name: dev, context: {cluster: prod-eu, namespace: shop}}
- {name: kind-staging, context: {cluster: c, namespace: checkout}}
- {name: eu-1, context: {cluster: d}}
"""


def test_what_is_not_clear_is_taken_for_production(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig, path = tmp_path / "kubeconfig", tmp_path / "config.yaml"
    kubeconfig.write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    assert main(["config", "init", str(path)]) == 0
    settings = load(path, redactor=redactor())
    found = {name: (one.context, one.namespaces, one.tier) for name, one in settings.environments.items()}
    assert found == {
        "dev": ("dev", ("shop",), Tier.PRODUCTION),  # its cluster is called prod-eu
        "staging": ("kind-staging", ("checkout",), Tier.STAGING),
        "production": ("dev-prod-tools", ("default",), Tier.PRODUCTION),  # its name says two things
    }
    text = path.read_text()
    assert "# In no environment, since their names don't say which: eu-1" in text
    assert "yaml-language-server: $schema=config.schema.json" in text
    assert "quarterdeck doctor" in capsys.readouterr().out
    assert main(["config", "check", str(path)]) == 0

"""The section ``metrics``: what can't be right is refused when the configuration is read, and what is judged has its weight."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.configuration import redactor
from support.prometheus import metrics, subject

from console.cli import main
from services.analysis.judge import ERRORS, LATENCY, Parameters
from services.analysis.sources.promql import filled, string
from services.analysis.sources.weighing import ratios
from services.analysis.windows import ArmName
from services.settings import ConfigurationError, parse

BASE = "version: 1\nenvironments:\n  production: {context: production, namespaces: [shop]}\nmetrics: "
SERVER = {"url": "https://prometheus.test"}
KEYS = {"api_key": "env:A", "application_key": "env:B"}


def ratio(**keys: Any) -> dict[str, Any]:
    return {"name": "orders", "total": "orders_total", "bad": 'orders_total{result="failed"}', **keys}


def queries(total: str, errors: str) -> dict[str, Any]:
    return {"prometheus": {**SERVER, "queries": {"total": total, "errors": errors}}}


REFUSED = {
    "no server": ({"source": "prometheus"}, "needs the section 'prometheus'"),
    "no account": ({"source": "datadog"}, "needs the section 'datadog'"),
    "a token in the clear": ({"prometheus": {"url": "http://prometheus.test", "token": "env:T"}}, "in the clear"),
    "a token itself": ({"prometheus": {**SERVER, "token": "abcdef"}}, "not a reference to a secret"),
    "a user alone": ({"prometheus": {**SERVER, "user": "jane"}}, "both 'user' and 'password'"),
    "two ways in": (
        {"prometheus": {**SERVER, "user": "a", "password": "env:P", "token": "env:T"}},
        "both 'token' and 'password'",
    ),
    "an unknown placeholder": (
        {"prometheus": {**SERVER, "queries": {"total": 'x{a="{{nope}}"}', "errors": 'x{a="{{version}}"}'}}},
        "placeholder that is not known",
    ),
    "a placeholder outside of a string": (
        {"prometheus": {**SERVER, "queries": {"total": "x{a={{version}}}", "errors": 'x{a="{{version}}"}'}}},
        "outside of a string",
    ),
    "the same of both versions": (
        {"prometheus": {**SERVER, "queries": {"total": 'x{a="{{service}}"}', "errors": 'x{a="{{version}}"}'}}},
        "asks the same of both versions",
    ),
    "windows in one of two": (
        {"prometheus": {**SERVER, "queries": {"total": 'increase(x{a="{{arm}}"}[{{window}}])', "errors": 'x{a="{{arm}}"}'}}},
        "in one query and not in another",
    ),
    "a speed for a counter": (
        queries('sum(rate(x{a="{{arm}}"}[5m]))', 'rate(y{a="{{arm}}"}[5m])'),
        "has rate(), which gives no counts",
    ),
    "a speed over the window": (
        queries('irate (x{a="{{arm}}"}[{{window}}])', 'irate(y{a="{{arm}}"}[{{window}}])'),
        "has irate(), which gives no counts",
    ),
    "a difference of a gauge": (queries('delta(x{a="{{arm}}"}[1m])', 'delta(y{a="{{arm}}"}[1m])'), "has delta(), which gives no"),
    "an increase of its own window": (
        queries('increase(x{a="{{arm}}"}[5m])', 'increase(y{a="{{arm}}"}[5m])'),
        "has increase() of a window of its own, which gives no counter. Accepted: a counter as it stands (its differences are "
        "taken here), or increase(x[{{window}}])",
    ),
    "a speed as a ratio": (
        {
            "source": "prometheus",
            "prometheus": SERVER,
            "ratios": [ratio(total='x{a="{{arm}}"}', bad='rate(y{a="{{arm}}"}[5m])')],
        },
        "ratio orders: bad has rate(), which gives no counts",
    ),
    "an average of an account": (
        {"source": "datadog", "datadog": {**KEYS, "total": "avg:x{version:{{version}}}"}},
        "asks for avg: without .as_count(), which gives no counts. Accepted: a count: sum:NAME{TAGS}.as_count()",
    ),
    "a speed of an account": (
        {"source": "datadog", "datadog": {**KEYS, "errors": "sum:x{version:{{version}}}.as_rate()"}},
        "has as_rate(), which gives no counts",
    ),
    "bad ones that are all": ({"ratios": [ratio(total="x", bad="x")]}, "has the same query for 'total' and 'bad'"),
    "bad ones that are more": (
        {"ratios": [ratio(total='x{code="500"}', bad="x")]},
        "ratio orders: bad selects all that total does, or more",
    ),
    "errors that are all requests": (
        {"prometheus": {**SERVER, "queries": {"total": 'x{a="{{arm}}"}', "errors": 'x{a="{{arm}}"}'}}},
        "has the same query for 'total' and 'errors'",
    ),
    "PromQL for pages": ({"ratios": [ratio(bad="rate(x[1m])")]}, "does not select series of a page"),
    "a page's series for PromQL": ({"source": "prometheus", "prometheus": SERVER, "ratios": [ratio()]}, "the same of both"),
    "a name twice": ({"ratios": [ratio(weight=0.05), ratio(weight=0.05)]}, "share a name"),
    "a name in use": ({"ratios": [ratio(name="errors")]}, "take one that is in use"),
    "too much weight": ({"ratios": [ratio(weight=0.2)]}, "sum to 1.1"),
    "endpoints of an account": (
        {"source": "datadog", "datadog": KEYS, "endpoints": [{"name": "pay", "value": "/pay"}]},
        "can't be told apart",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_right_is_refused(name: str, tmp_path: Path) -> None:
    section, rule = REFUSED[name]
    with pytest.raises(ConfigurationError) as caught:
        parse(BASE + msgspec.json.encode(section).decode(), file="c.yaml", base=tmp_path, redactor=redactor())
    assert rule in "\n".join(str(problem) for problem in caught.value.problems)
    assert "abcdef" not in str(caught.value)


@pytest.mark.parametrize(
    "section",
    [
        queries('rate{a="{{arm}}"}', 'y{a="{{arm}}",path="rate(x)"}'),
        queries('sum by (rate) (x{a="{{arm}}"}) # no rate() here', 'y_rate_total{a="{{arm}}"}'),
        queries('sum(increase(x{a="{{arm}}"}[ {{ window }} ]))', 'increase(y{a="{{arm}}"}[{{window}}])'),
        {"source": "datadog", "datadog": {**KEYS, "total": "sum:avg.orders{version:{{version}}}.as_count()"}},
        {"source": "datadog", "datadog": {**KEYS, "total": "avg:orders{version:{{version}}}.as_count()"}},
    ],
)
def test_counts_are_taken(section: dict[str, Any], tmp_path: Path) -> None:
    assert parse(BASE + msgspec.json.encode(section).decode(), file="c.yaml", base=tmp_path, redactor=redactor())


def test_ratios_and_endpoints_are_metrics_of_the_judge() -> None:
    config = metrics(
        weights={"errors": 0.4, "latency": 0.3},
        ratios=[ratio(weight=0.1, tolerance=2.0, difference=0.01, skip=60)],
        endpoints=[{"name": "pay", "value": "/pay", "weight": 0.15}],
    )
    orders, pay = ratios(config)
    assert (orders.name, orders.weight, orders.r, orders.d, orders.skip) == ("orders", 0.1, 2.0, 0.01, 60.0)
    assert (pay.name, pay.weight, pay.r, pay.d) == ("pay", 0.15, 1.2, 0.0002)
    whole = (msgspec.structs.replace(ERRORS, weight=0.4), msgspec.structs.replace(LATENCY, weight=0.3), orders, pay)
    assert Parameters(metrics=whole).metrics == whole


@given(st.text(min_size=1))
def test_no_value_ends_the_string_it_stands_in(value: str) -> None:
    written = string(value)
    assert not set(written) & set("\"'`{}\n\r")
    for quote in "\"'":
        made = filled(f"x{{a={quote}{{{{version}}}}{quote}}}", subject(versions=(value, "v1")), ArmName.CANARY)
        assert made == f"x{{a={quote}{written}{quote}}}"


def test_a_server_that_cannot_be_asked_is_not_the_files_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    section = {"source": "prometheus", "prometheus": {"url": "http://127.0.0.1:9", "timeout": 2}}
    path.write_text(BASE + msgspec.json.encode(section).decode() + "\n")
    assert main(["config", "check", str(path)]) == 0
    said = capsys.readouterr()
    assert "127.0.0.1:9 can't be reached" in said.err
    assert main(["config", "check", str(path), "--offline"]) == 0
    assert "can't be reached" not in capsys.readouterr().err

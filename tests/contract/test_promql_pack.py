"""The packs' queries on the series of ``promql-pack.promtool-test.yml``: promtool finds what the reference's own rules find."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.analysis.sources import Subject, Version
from services.analysis.sources.promql import Queries, filled, packed
from services.analysis.windows import ArmName
from services.settings.schema import Series

PROMTOOL = shutil.which("promtool")
REFERENCE = (Path(__file__).parents[2] / "../shared/specs/promql-pack.promtool-test.yml").resolve()
pytestmark = [
    pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: apt-get install prometheus)"),
    pytest.mark.skipif(not REFERENCE.exists(), reason="the reference series are not here"),
    pytest.mark.counterpart,
]
SHOP = Subject(
    namespace="shop",
    service="checkout",
    versions={
        # The reference's one workload of Istio stands for the canary.
        ArmName.CANARY: Version(workload="checkout", version="v2", pods=("checkout-1",)),
        ArmName.STABLE: Version(workload="checkout-stable", version="v1", pods=("checkout-stable-1",)),
    },
)
RATIOS = {"istio": "istio_error_ratio", "nginx": "nginx_error_ratio", "envoy": "envoy_error_ratio"}


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """The reference test, whose OpenTelemetry series get the version that this pack tells the arms apart by; less the native
    histograms, which no pack reads and not every promtool knows."""
    text = REFERENCE.read_text().replace('job="shop/checkout"', 'job="shop/checkout",service_version="v2"')
    found: dict[str, Any] = yaml.safe_load(text)["tests"][0]
    found["input_series"] = [series for series in found["input_series"] if "{{" not in series["values"]]
    return found


def rated(query: str) -> str:
    """The rate of a query that selects counters: of each selector in it."""
    return re.sub(r"[a-z_]+\{(?:[^{}\"]|\"[^\"]*\")*\}", lambda selector: f"rate({selector[0]}[1m])", query)


def asked(pack: str) -> Queries:
    return packed(pack, Series(), SHOP, ArmName.CANARY)


def ratio(pack: str) -> str:
    queries = asked(pack)
    bad, total = (rated(filled(query, SHOP, ArmName.CANARY)) for query in (queries.errors, queries.total))
    return f"(sum({bad}) or vector(0)) / sum({total})"


def expected(reference: dict[str, Any], expression: str) -> float:
    (found,) = (test for test in reference["promql_expr_test"] if expression in test["expr"])
    return float(found["exp_samples"][0]["value"])


def check(place: Path, reference: dict[str, Any], expressions: dict[str, float]) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    tests = [
        {"expr": f"round({expression}, 0.0001)", "eval_time": "4m", "exp_samples": [{"labels": "{}", "value": value}]}
        for expression, value in expressions.items()
    ]
    one = {"interval": reference["interval"], "input_series": reference["input_series"], "promql_expr_test": tests}
    file = place / "test.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": [one]}))
    return subprocess.run([PROMTOOL, "test", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False)


def test_the_error_ratio_of_every_convention_is_the_references(reference: dict[str, Any], tmp_path: Path) -> None:
    wanted = {ratio(pack): expected(reference, name) for pack, name in RATIOS.items()}
    wanted[ratio("opentelemetry")] = expected(reference, "otel_error_ratio")
    done = check(tmp_path, reference, wanted)
    assert done.returncode == 0, done.stdout + done.stderr


def test_p99_of_istios_milliseconds_is_the_references(reference: dict[str, Any], tmp_path: Path) -> None:
    # The reference's buckets carry no namespace.
    for series in reference["input_series"]:
        if series["series"].startswith("istio_request_duration") and "namespace" not in series["series"]:
            series["series"] = series["series"].replace("{", '{destination_workload_namespace="shop",', 1)
    queries = asked("istio")
    assert queries.latency is not None
    quantile = f"histogram_quantile(0.99, sum by (le) ({rated(filled(queries.latency, SHOP, ArmName.CANARY))}))"
    done = check(tmp_path, reference, {f"{quantile} * {queries.unit}": expected(reference, "istio_p99_ms") / 1000})
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_check_can_fail(reference: dict[str, Any], tmp_path: Path) -> None:
    assert check(tmp_path, reference, {ratio("istio"): 0.5}).returncode != 0

"""The judge against cases that were computed independently: a table on standard output, exit 1 where one is off.

``python tests/bench/judge_vectors.py [FILE]``; without a file, ``../shared/judge_vectors.json`` beside the project.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from services.analysis.judge.canary import combine
from services.analysis.judge.dispersion import history_dispersion
from services.analysis.judge.evidence import AT_ONCE, HEALTH_GRID, REGRESSION_GRID, Mixture, Onsets, advance, log_e
from services.analysis.judge.flapping import Probes, probed
from services.analysis.judge.metric import Evidence, observed
from services.analysis.judge.parameters import ERRORS, Interval, Metric, Null, Parameters
from services.analysis.judge.sequence import share_limits
from services.analysis.judge.sizing import plan
from services.analysis.tails import binomial_tail

FILE = Path(__file__).resolve().parents[3] / "shared" / "judge_vectors.json"
TOLERANCE = 1e-9
Case = Mapping[str, Any]
Pairs = Iterator[tuple[float | None, float | None]]


class Compared(NamedTuple):
    """One case: how many figures it has, and the largest error among them, relative or absolute, whichever is smaller."""

    group: str
    name: str
    figures: int
    error: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        return self.figures > 0 and self.error <= self.tolerance


def compared(document: Case) -> list[Compared]:
    """Every case of the file. A group that nobody here knows is an error, not an omission."""
    found = []
    for group, content in document["tests"].items():
        for case in content["cases"]:
            errors = [_error(got, expected) for got, expected in _GROUPS[group](case)]
            tolerance = {"share_cs": 1e-8, "binomial_tail": 1e-10}.get(group, TOLERANCE)
            found.append(Compared(group, _name(case), len(errors), max(errors, default=math.inf), tolerance))
            if group == "metric_path":
                errors = [_error(got, expected) for got, expected in _limits(case)]
                found.append(Compared(group, f"{_name(case)}, limits", len(errors), max(errors), case["tol_cs"]))
    return found


def expectation(R: float, null: Null, w: float, trials: tuple[int, int], rates: tuple[float, float]) -> float:
    """E[e^w] by enumeration of every pair of counts of two independent binomials, canary first."""
    (n, m), (p_canary, p_control) = trials, rates
    return math.fsum(
        _chance(n, s, p_canary) * _chance(m, f, p_control) * math.exp(w * log_e(R, null, Interval(n, m, s, f)))
        for s in range(n + 1)
        for f in range(m + 1)
    )


def main() -> int:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    rows = compared(json.loads(path.read_text()))
    for row in rows:
        verdict = "ok" if row.agrees else "OFF"
        print(f"{row.group:<33} {row.name[:60]:<60} {row.figures:>4} {row.error:>9.1e} ≤ {row.tolerance:.0e}  {verdict}")
    off = sum(not row.agrees for row in rows)
    print(f"{sum(row.figures for row in rows)} figures, worst error {max(row.error for row in rows):.1e}, {off} rows off")
    return 1 if off else 0


def _name(case: Case) -> str:
    return str(
        case.get("name") or " ".join(f"{key}={value}" for key, value in case.items() if not isinstance(value, list | dict))
    )


def _error(got: float | None, expected: float | None) -> float:
    if got is None or expected is None:
        return 0.0 if got is expected else math.inf
    difference = abs(got - expected)
    return min(difference, difference / abs(expected)) if expected else difference


def _interval(case: Case) -> Interval:
    return Interval(case["n"], case["m"], case["s"], case["f"])


def _rows(case: Case) -> list[Interval]:
    return [Interval(*row) for row in case["rows"]]


def _one_interval(case: Case) -> Pairs:
    yield log_e(case["R"], Null(case["r"], case["d"]), _interval(case)), case["log_e"]


def _expectation(case: Case) -> Pairs:
    trials, rates = (case["n"], case["m"]), (case["p_canary"], case["p_control"])
    yield expectation(case["R"], Null(case["r"], case["d"]), case["w"], trials, rates), case["expectation"]


def _mixture(case: Case) -> Pairs:
    grid = {"regression": REGRESSION_GRID, "health": HEALTH_GRID}[case["grid"]]
    onsets = Onsets(case["v1"], case["H"]) if case["H"] else AT_ONCE
    cap = math.inf if case["cap"] is None else case["cap"]
    mixture = Mixture()
    for row, expected in zip(_rows(case), case["log_e"], strict=True):
        mixture = advance(mixture, grid, Null(case["r"], case["d"]), onsets, row, w=case["w"], cap=cap)
        yield mixture.log_e, expected


def _metric_path(case: Case) -> Iterator[tuple[Interval, Evidence]]:
    metric = Metric(name="one", r=case["r"], d=case["d"], weight=0.5, history=case["hist"])
    parameters = Parameters(metrics=(metric,))
    evidence = Evidence()
    for number, row in enumerate(_rows(case), 1):
        if number > case["warmup"]:
            evidence = observed(evidence, metric, parameters, row, number=number)
        yield row, evidence


def _metric(case: Case) -> Pairs:
    yield Parameters(metrics=(ERRORS,)).cap(ERRORS), case["cap"]
    crossed = None
    for number, ((_, evidence), log, d) in enumerate(zip(_metric_path(case), case["log_e"], case["D"], strict=True), 1):
        yield evidence.log_e, log
        yield evidence.D, d
        crossed = crossed or (number if evidence.log_e >= math.log(200) else None)
    yield evidence.log_ok, case["final_log_ok"]
    yield crossed, case["abort_interval_at_log200"]


def _limits(case: Case) -> Pairs:
    *_, (_, evidence) = _metric_path(case)
    yield from zip(evidence.ratio_limits, case["final_ratio_cs"], strict=True)


def _share(case: Case) -> Pairs:
    yield from zip(share_limits(case["s"], case["f"], case["alpha"]), (case["low"], case["high"]), strict=True)


def _combined(case: Case) -> Pairs:
    yield combine((weight, log) for weight, log in case["parts"]), case["log_e"]


def _history(case: Case) -> Pairs:
    yield history_dispersion(_rows(case)), case["D"]


def _plan(case: Case) -> Pairs:
    times = plan(case["rps"], case["share"], case["p0"], case["p1"], case["D"])
    yield from zip(times or (None, None), case["t50_t90"] or (None, None), strict=True)


def _probes(case: Case) -> Pairs:
    state = Probes()
    for letter, expected in zip(case["probes"], case["log_e"], strict=True):
        state = probed(state, ok=letter == "1")
        yield state.log_e, expected
    yield float(state.consecutive_failures), case["consecutive_failures"]


def _tail(case: Case) -> Pairs:
    yield binomial_tail(case["n"], case["p"], case["x"]), case["tail"]


def _chance(trials: int, successes: int, p: float) -> float:
    return math.comb(trials, successes) * p**successes * (1.0 - p) ** (trials - successes)


_GROUPS: Mapping[str, Callable[[Case], Pairs]] = {
    "interval_log_e": _one_interval,
    "expectation_under_boundary_null": _expectation,
    "mixture_path": _mixture,
    "metric_path": _metric,
    "share_cs": _share,
    "combine": _combined,
    "history_dispersion": _history,
    "plan": _plan,
    "probe_e_process": _probes,
    "binomial_tail": _tail,
}

if __name__ == "__main__":
    sys.exit(main())

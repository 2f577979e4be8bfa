"""The judge and Argo Rollouts' example rule on the same simulated canaries: what each finds, how soon, what it aborts wrongly.

``python tests/bench/judge.py`` takes a minute or two; ``--full`` as many replications as the published table (hours on one core,
``--workers`` divides it). Fixed seeds: the same numbers each time. A row of the document stands under each of ours.
"""

import argparse
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from judge_traffic import INTERVAL_S, NOISES, canary

from services.analysis.judge import ERRORS, Interval, Parameters, Verdict, begin, calibrate, observe
from services.analysis.judge.argo import Argo, measured

PAIRS = tuple((0.001, bad) for bad in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)) + tuple(
    (0.01, bad) for bad in (0.02, 0.05, 0.1, 0.5)
)
RATES = (5.0, 100.0, 5000.0)
SCENARIOS = tuple((rps, base, bad) for rps in RATES for base, bad in PAIRS)
_USUAL = ((5.0, 0.01), (100.0, 0.001), (100.0, 0.01), (5000.0, 0.001), (5000.0, 0.01))
FAMILIES = tuple(NOISES)[:-1]
CELLS = tuple((noise, rps, base) for noise in NOISES for rps, base in _USUAL)
METHODS = ("Argo, failureLimit 0", "Argo, failureLimit 3", "judge, no history", "judge, calibrated")
DOCUMENT = {
    "Argo, failureLimit 0": (18, 120.0, 3.8, 58.0, 99.6),
    "Argo, failureLimit 3": (12, 480.0, 7.9, 2.5, 82.0),
    "judge, no history": (29, 30.0, 1.06, 12.0, 18.0),
    "judge, calibrated": (29, 30.0, 1.00, 0.9, 2.6),
}
"""Found of 33, median of medians in s, excess failed requests, worst false aborts in 10 and 60 min in %."""
ROWS = 60
HISTORY = 180
PLAIN = Parameters(metrics=(ERRORS,))
NEVER = math.inf


class Task(NamedTuple):
    """One cell: ``repeats`` canaries of ``rows`` intervals. ``bad`` is ``None`` for healthy ones."""

    noise: str
    rps: float
    base: float
    bad: float | None
    rows: int
    repeats: int


class Cell(NamedTuple):
    """Seconds until the abort, for each method and each canary; infinite for never."""

    task: Task
    aborts: dict[str, list[float]]

    def within(self, method: str, seconds: float) -> float:
        """The share that was aborted by then."""
        times = self.aborts[method]
        return sum(time <= seconds for time in times) / len(times)

    def median(self, method: str) -> float:
        return statistics.median_high(self.aborts[method])

    def excess(self, method: str) -> float:
        """Failed requests beyond the control's rate until the abort, or to the end."""
        task, end = self.task, self.task.rows * INTERVAL_S
        assert task.bad is not None
        return statistics.fmean(min(time, end) for time in self.aborts[method]) * task.rps * (task.bad - task.base)


def simulate(task: Task) -> Cell:
    """Every method on the same counts."""
    draws = Random(repr(task))
    aborts: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(task.repeats):
        before = list(canary(draws, noise=task.noise, rps=task.rps, base=task.base, rows=HISTORY))
        rows = list(canary(draws, noise=task.noise, rps=task.rps, base=task.base, bad=task.bad, rows=task.rows))
        calibrated = calibrate(PLAIN, [[{ERRORS.name: row} for row in before]]).parameters
        aborts["Argo, failureLimit 0"].append(_argo(rows, 0))
        aborts["Argo, failureLimit 3"].append(_argo(rows, 3))
        aborts["judge, no history"].append(_judge(rows, PLAIN))
        aborts["judge, calibrated"].append(_judge(rows, calibrated))
    return Cell(task, aborts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="1,000 replications of each regression, 2,000 of each healthy cell")
    parser.add_argument("--power", type=int, default=60, help="replications of each regression (%(default)s)")
    parser.add_argument("--healthy", type=int, default=60, help="replications of each healthy cell (%(default)s)")
    parser.add_argument("--hour", action="store_true", help="healthy canaries of an hour, not of ten minutes; part of --full")
    parser.add_argument("--cells", action="store_true", help="print every cell, not the summary alone")
    parser.add_argument("--workers", type=int, default=1, help="processes (%(default)s)")
    args = parser.parse_args()
    power, healthy = (1000, 2000) if args.full else (args.power, args.healthy)
    hour = args.hour or args.full
    tasks = [Task("ideal", rps, base, bad, ROWS, power) for rps, base, bad in SCENARIOS]
    tasks += [Task(noise, rps, base, None, ROWS * (6 if hour else 1), healthy) for noise, rps, base in CELLS]
    with multiprocessing.Pool(args.workers) as pool:
        cells = []
        for cell in pool.imap_unordered(simulate, tasks):
            cells.append(cell)
            print(f"bench: {len(cells)} of {len(tasks)} cells", file=sys.stderr, flush=True)
    faults = sorted((cell for cell in cells if cell.task.bad is not None), key=lambda cell: tasks.index(cell.task))
    calm = sorted((cell for cell in cells if cell.task.bad is None), key=lambda cell: tasks.index(cell.task))
    if args.cells:
        _cells(faults, calm, hour)
    print(f"{_cost():.0f} µs a metric and scrape")
    beyond = [cell for cell in calm if cell.task.noise not in FAMILIES]
    for method in METHODS:
        worst = max(cell.within(method, 3600) for cell in beyond)
        print(f"harsher than the table, drift of both arms: {method} aborts {worst:.1%} at worst")
    return _summary(faults, [cell for cell in calm if cell.task.noise in FAMILIES], hour)


def _judge(rows: Sequence[Interval], parameters: Parameters) -> float:
    state = begin(parameters)
    for row in rows:
        state = observe(parameters, state, {ERRORS.name: row})
        if state.verdict is Verdict.REGRESSED:
            return state.since_s
    return NEVER


def _argo(rows: Sequence[Interval], limit: int) -> float:
    run = Argo()
    for row in rows:
        run = measured(run, row, INTERVAL_S, failure_limit=limit)
        if run.aborted_at is not None:
            return run.aborted_at
    return NEVER


def _cost() -> float:
    """Processor microseconds of one metric at one scrape, the least of several runs: others share the machine."""
    rows = [{ERRORS.name: row} for row in canary(Random(1), noise="ideal", rps=5000, base=0.01, rows=400)]
    runs = []
    for _ in range(10):
        state, began = begin(PLAIN), time.process_time()
        for row in rows:
            state = observe(PLAIN, state, row)
        runs.append((time.process_time() - began) / len(rows))
    return min(runs) * 1e6


def _cells(faults: Sequence[Cell], calm: Sequence[Cell], hour: bool) -> None:
    print(f"{'regression: found · median s':<34}" + "".join(f"{method:>22}" for method in METHODS))
    for cell in faults:
        found = [f"{cell.within(method, 600):.2f} · {cell.median(method):g}" for method in METHODS]
        name = f"{cell.task.rps:g} rps, {cell.task.base:.1%} → {cell.task.bad:.1%}"
        print(f"{name:<34}" + "".join(f"{one:>22}" for one in found))
    print(f"{'healthy: aborted in 10 / 60 min, %':<34}" + "".join(f"{method:>22}" for method in METHODS))
    for cell in calm:
        told = [f"{cell.within(method, 600):.1%}" + (f" / {cell.within(method, 3600):.1%}" if hour else "") for method in METHODS]
        name = f"{cell.task.noise}, {cell.task.rps:g} rps, {cell.task.base:.1%}"
        print(f"{name:<34}" + "".join(f"{one:>22}" for one in told))


def _summary(faults: Sequence[Cell], calm: Sequence[Cell], hour: bool) -> int:
    """The rows of the table, each above the document's. 1 where one is further off than chance explains."""
    header = f"{'method':<24}{'≥95 % found':>12}{'median s':>10}{'excess ×':>10}{'10 min, %':>11}{'60 min, %':>11}"
    print(f"{header}  worst family")
    off = 0
    for method in METHODS:
        found = sum(cell.within(method, 600) >= 0.95 for cell in faults)
        median = statistics.median(cell.median(method) for cell in faults)
        excess = math.exp(statistics.fmean(math.log(cell.excess(method) / cell.excess(METHODS[-1])) for cell in faults))
        worst = max(calm, key=lambda cell: cell.within(method, 3600))
        ten, sixty = (100 * max(cell.within(method, seconds) for cell in calm) for seconds in (600, 3600))
        doc = DOCUMENT[method]
        at = f"{worst.task.noise}, {worst.task.rps:g} rps, {worst.task.base:.1%}"
        print(f"{method:<24}{found:>9}/{len(faults)}{median:>10g}{excess:>10.2f}{ten:>11.1f}{sixty if hour else '-':>11.4}  {at}")
        print(f"{'  document':<24}{doc[0]:>9}/33{doc[1]:>10g}{doc[2]:>10.2f}{doc[3]:>11.1f}{doc[4]:>11.1f}")
        off += not _agrees(method, found, median, excess, (ten, sixty if hour else None), calm[0].task.repeats)
    print(f"{off} of {len(METHODS)} rows further from the document than chance explains")
    return 1 if off else 0


def _agrees(method: str, found: int, median: float, excess: float, worst: tuple[float, float | None], repeats: int) -> bool:
    """A scenario or three may fall on the other side of 95 %, a median be off by a scrape or a minute's window; false aborts
    within four standard errors: a maximum over cells is above its own mean."""
    doc = DOCUMENT[method]
    aborts = all(got is None or abs(got - was) <= _noise(was, repeats) for got, was in zip(worst, doc[3:], strict=True))
    return abs(found - doc[0]) <= 3 and abs(median - doc[1]) <= 60 and abs(math.log(excess / doc[2])) <= 0.25 and aborts


def _noise(percent: float, repeats: int) -> float:
    share = max(0.01, min(0.99, percent / 100.0))
    return 100.0 * (4.0 * math.sqrt(share * (1.0 - share) / repeats) + 0.02)


if __name__ == "__main__":
    sys.exit(main())

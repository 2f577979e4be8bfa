"""Labelled recordings of ten minutes, healthy and not, judged as ``analyse --replay`` judges them.

``python tests/bench/judge_labelled.py [--sets N] [--write DIR]``: sets of 20 healthy and 20 regressed canaries of every kind of
noise and traffic, with and without a history; prints false aborts, aborts before the onset, what was found and how late.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from judge_traffic import CLUSTERED, INTERVAL_S, NOISES, arm, level_of, poisson

from services.analysis.judge import ERRORS, LATENCY, Parameters, Verdict
from services.analysis.recording import COLUMNS, parse
from services.analysis.replay import replay

ROWS = 60
HISTORY = 180
KINDS = ("errors", "errors, small", "errors, little traffic", "latency", "both")
PARAMETERS = Parameters(metrics=(ERRORS, LATENCY), interval_s=INTERVAL_S)
_NOISES = (
    *("ideal", "shared drift", "shared bursts", CLUSTERED, "own gamma 0.3", "own gamma 0.6", "own drift", "own bursts"),
    *("other pods", "drift of both"),
)


class Labelled(NamedTuple):
    """``onset_s`` is where the regression begins, ``None`` for a healthy canary."""

    name: str
    onset_s: float | None
    document: dict[str, Any]


class Judged(NamedTuple):
    series: Labelled
    aborted_s: float | None

    @property
    def delay(self) -> float | None:
        """Seconds from the onset to the abort; ``None`` where there was none, or it came too early."""
        if self.series.onset_s is None or self.aborted_s is None or self.aborted_s <= self.series.onset_s:
            return None
        return self.aborted_s - self.series.onset_s


def labelled(seed: int) -> Iterator[Labelled]:
    """One set of forty: every other one is healthy."""
    draws = Random(seed)
    for number in range(40):
        yield _series(draws, number, KINDS[number // 2 % len(KINDS)] if number % 2 else None)


def judged(series: Labelled) -> Judged:
    """Through the file's own form, as the command reads it."""
    found = replay(parse(json.dumps(series.document).encode(), series.name), PARAMETERS)
    return Judged(series, found.at_s if found.verdict is Verdict.REGRESSED else None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=10, help="how many sets of forty (%(default)s)")
    parser.add_argument("--seed", type=int, default=1000, help="the first set's (%(default)s)")
    parser.add_argument("--write", metavar="DIR", type=Path, help="write the recordings there as well")
    args = parser.parse_args()
    sets = [[judged(series) for series in labelled(args.seed + number)] for number in range(args.sets)]
    if args.write:
        args.write.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(sets):
            for at, found in enumerate(one):
                label = {"onset_s": found.series.onset_s, "name": found.series.name}
                path = args.write / f"{args.seed + number}-{at:02}.json"
                path.write_text(json.dumps(found.series.document | {"label": label}))
    _kinds([found for one in sets for found in one])
    kept = [_kept(one) for one in sets]
    print(f"{sum(kept)} of {len(kept)} sets: at most 1 false abort, none before the onset, 18 of 20 found, median ≤ 100 s")
    return 0


def _kept(found: Sequence[Judged]) -> bool:
    wrong = sum(one.aborted_s is not None for one in found if one.series.onset_s is None)
    faults = [one for one in found if one.series.onset_s is not None]
    early = sum(one.aborted_s is not None and one.delay is None for one in faults)
    delays = [one.delay for one in faults if one.delay is not None]
    return wrong <= 1 and not early and len(delays) >= 18 and statistics.median(delays) <= 100.0


def _kinds(found: Sequence[Judged]) -> None:
    healthy = [one for one in found if one.series.onset_s is None]
    wrong = [one.series.name for one in healthy if one.aborted_s is not None]
    print(f"healthy: {len(wrong)} of {len(healthy)} aborted{''.join(f'; {name}' for name in wrong)}")
    for one in found:
        if one.series.onset_s is not None and one.aborted_s is not None and one.delay is None:
            print(f"early: {one.series.name}, at {one.aborted_s:g} s, begins at {one.series.onset_s:g} s")
    print(f"{'regression':<26}{'cases':>6}{'found':>8}{'early':>7}{'median s':>10}{'90 % s':>8}")
    for kind in (*KINDS, ""):
        cases = [one for one in found if one.series.onset_s is not None and one.series.name.startswith(kind)]
        cases = [one for one in cases if not kind or one.series.name.split(";")[0] == kind]
        delays = sorted(one.delay if one.delay is not None else math.inf for one in cases)
        seen = sum(delay < math.inf for delay in delays)
        early = sum(one.aborted_s is not None and one.delay is None for one in cases)
        median, ninety = statistics.median_low(delays), delays[math.ceil(0.9 * len(delays)) - 1]
        print(f"{kind or 'all':<26}{len(cases):>6}{seen / len(cases):>8.1%}{early:>7}{median:>10g}{ninety:>8g}")


def _series(draws: Random, number: int, kind: str | None) -> Labelled:
    small = kind == "errors, small"
    little = kind == "errors, little traffic" or (kind is None and number % 8 == 0)
    rps = draws.choice((5.0, 10.0, 20.0)) if little else draws.choice((100.0, 300.0, 1000.0, 5000.0))
    share = draws.choice((0.05, 0.1, 0.25))
    base = draws.choice((0.005, 0.01)) if little or small else draws.choice((0.0005, 0.001, 0.005, 0.01))
    noise = draws.choice(("ideal", "shared drift", "own gamma 0.3")) if small or little else draws.choice(_NOISES)
    factor = draws.uniform(2.0, 2.5) if small else draws.uniform(6.0, 12.0) if little else draws.uniform(3.0, 15.0)
    slower = draws.uniform(2.5, 6.0)
    onset = draws.randrange(0, 37)
    history = draws.random() < 0.5
    bad = min(0.5, base * factor) if kind and kind != "latency" else base
    slow = 0.01 * slower if kind in ("latency", "both") else 0.01
    rows = list(_rows(draws, noise, rps, share, (base, 0.01), (bad, slow), onset, ROWS, warm=False))
    before = list(_rows(draws, noise, rps, share, (base, 0.01), (base, 0.01), 0, HISTORY, warm=True)) if history else None
    name = f"{kind or 'healthy'}; {noise}, {rps:g} rps of {share:.0%}, {base:.2%} → {bad:.2%}, slow 1 % → {slow:.1%}"
    name += ", history" if history else ""
    document = {
        "interval_s": INTERVAL_S,
        "columns": list(COLUMNS),
        "rows": rows,
        "pre_rows": before,
        "slow_threshold": "P99 before the deploy",
    }
    return Labelled(name, onset * INTERVAL_S if kind else None, document)


def _rows(
    draws: Random, noise: str, rps: float, share: float, control: tuple[float, float], canary: tuple[float, float], onset: int,
    rows: int, *, warm: bool,
) -> Iterator[list[int]]:  # fmt: skip
    """Counts in the order of the columns; rates are of failed and of slow requests. A cold canary is slow at first; latency has a
    noise of its own that both arms share."""
    moments, level = NOISES[noise](draws, share), 0.0
    n, m = rps * INTERVAL_S, rps * INTERVAL_S * (1.0 - share) / share
    clustered = noise == CLUSTERED
    for number in range(rows):
        now = next(moments)
        level = 0.85 * level + draws.gauss(0.0, 0.1)
        errors, slow = canary if number >= onset else control
        cold = 1.0 if warm else 1.0 + 4.0 * math.exp(-number)
        shared = level_of(level, 0.19)
        yield [
            *_arm(draws, n * now.traffic, _rate(errors, now.canary, now.canary_burst), slow * shared * cold, clustered),
            *_arm(draws, m * now.traffic, _rate(control[0], now.control, now.control_burst), control[1] * shared, clustered),
        ]


def _rate(base: float, factor: float, burst: float) -> float:
    return min(0.8, base * factor + burst)


def _arm(draws: Random, requests: float, errors: float, slow: float, clustered: bool) -> tuple[int, int, int]:
    failed, _ = arm(draws, requests, errors, clustered=clustered)
    late = poisson(draws, requests * min(slow, 0.15))
    return failed + late + poisson(draws, requests * (1.0 - errors - min(slow, 0.15))), failed, late


if __name__ == "__main__":
    sys.exit(main())

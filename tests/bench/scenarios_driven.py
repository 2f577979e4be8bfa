"""The scenarios of the sandbox on a clock that is moved by hand: hundreds of seeds of the canary's analyses in minutes.

The simulated pods, the windows over their pages, the hard triggers and the judge are the real ones; cluster, processes and
network are left out (``scenarios.py`` has them). ``python tests/bench/scenarios_driven.py noisy-healthy --seeds 100``.

``bad-in-noise`` and ``incident-in-noise`` are harder than any of the sandbox's: counts so unsteady that what they allow is wide,
and few, under ``on_shared_incident: pause``. A bad version must be taken back and never wait behind an incident that is none.
"""

import argparse
import math
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec
import yaml
from crowd_writer import begun

from services.analysis import ArmName, Limits, Windows, evaluate, is_shared_incident, reasons
from services.analysis.baseline import measure
from services.analysis.parse import parse
from services.model.rollout import Rollout, StepOutcome, StepState
from services.model.steps import Analyse
from services.redaction import Redactor
from services.rollout import judging, state
from services.rollout.passing import doubt, proven_early
from services.sandbox.behaviour import WELL, Behaviour, Scenario, scenarios
from services.sandbox.fleet import BY_NAME, OFFER_SERVICE
from services.sandbox.podmetrics import PodMetrics
from services.sandbox.weather import CELL_SECONDS, Incident, Moment, Noise, Weather
from services.settings import Settings
from services.settings import parse as parsed

NAMES = ("good", "noisy-healthy", "errors", "tiny", "late", "slow", "shared")
PAUSES = {"triggers": {"on_shared_incident": "pause"}}
WILD = Noise(drift=0.8, own=0.8, cluster=10.0)
HARD = {
    "bad-in-noise": Scenario("fails 8 %", Behaviour(errors=0.08), rate=400.0, noise=WILD, settings=PAUSES),
    "late-in-noise": Scenario(
        "fails 8 % a minute later", Behaviour(errors=0.08, after=60), rate=400.0, noise=WILD, settings=PAUSES
    ),
    "incident-in-noise": Scenario(
        "both fail", rate=400.0, noise=WILD, incident=Incident(errors=0.3, after=80, seconds=180), settings=PAUSES
    ),
}
HELD = 300.0
"""Seconds for which it is watched on while a shared incident has it wait for a person; nobody comes."""
SHARED = "shared-incident"
SCRAPE = 10.0
REACTION = 3.0
"""Seconds between two steps in which the share moves."""
PODS = {5: 1, 10: 1, 25: 2, 50: 3}
"""Of the canary, by its share of the requests in percent."""
CONFIGURATION = "version: 1\nenvironments: {production: {context: production, namespaces: [production]}}\n"


class End(NamedTuple):
    """``name`` is ``passed``, ``undecided``, the trigger's, or ``shared-incident`` where it waits for a person; ``seconds`` since
    the canary's first requests, ``highest`` the largest ln E of a regression on the way."""

    name: str
    seconds: float
    highest: float
    extended: int


class Canary:
    """Pods of both versions under one scenario, scraped every ten seconds."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        own = BY_NAME[OFFER_SERVICE]
        self.workload = replace(own, rate=scenario.rate) if scenario.rate is not None else own
        self.random = Random(seed)
        self.weather = Weather(scenario.noise, f"{seed}/production/{OFFER_SERVICE}")
        self.at = SCRAPE * self.random.random()
        self.share = 0.0
        self.exposed: float | None = None
        self.stable = {f"old-{number}": self._pod(f"old-{number}", WELL) for number in range(self.workload.replicas)}
        self.new: dict[str, PodMetrics] = {}
        self.windows = Windows(keep=math.inf)
        self.scrape(0.0)

    def _pod(self, name: str, behaviour: Behaviour) -> PodMetrics:
        planned = self.workload.rate / self.workload.replicas
        return PodMetrics(self.workload, behaviour, self.at, 1.0, 2.0**29, planned, 0.0, name)

    def expose(self, percent: int) -> None:
        for number in range(len(self.new), PODS[percent]):
            self.new[f"new-{number}"] = self._pod(f"new-{number}", self.scenario.behaviour)
        self.scrape(REACTION)
        self.share = percent / 100
        if self.exposed is None:
            self.exposed = self.at

    def scrape(self, seconds: float) -> None:
        """Serve for so long, then have every pod's page read."""
        until = self.at + seconds
        while self.at < until:
            upto = min(until, (math.floor(self.at / CELL_SECONDS) + 1) * CELL_SECONDS)
            self._serve(upto - self.at)
            self.at = upto
        pods = {**self.stable, **self.new}
        arms = {name: "canary" if name in self.new else "stable" for name in pods}
        readings = {name: parse(pod.page(self.at), self.at) for name, pod in pods.items()}
        self.windows.feed(self.at, arms, readings, ready=list(pods))

    def _serve(self, seconds: float) -> None:
        age = self.at - self.exposed if self.exposed is not None else -math.inf
        late = age >= self.scenario.behaviour.after
        incident = self.scenario.incident
        hit = incident.errors if incident is not None and 0 <= age - incident.after < incident.seconds else 0.0
        for pods, share in ((self.stable, 1.0 - self.share), (self.new, self.share)):
            for name, pod in pods.items():
                moment = Moment(self.weather.factor(name, self.at), hit, self.scenario.noise.cluster, late)
                pod.serve(self.random, self.workload.rate * share / len(pods), seconds, moment)


def configured(scenario: Scenario) -> Settings:
    """The defaults, with the sections that the scenario has of its own."""
    document = yaml.safe_load(CONFIGURATION) | scenario.settings
    return parsed(yaml.safe_dump(document), file="scenarios", base=Path.cwd(), redactor=Redactor())


def course(settings: Settings) -> Rollout:
    """The analyses of a canary by the settings' own course."""
    steps = tuple(
        Analyse(name=f"{step.weight} %", seconds=step.seconds, expected_seconds=step.seconds, min_requests=0)
        for step in settings.canary.steps
    )
    rollout = begun(0)
    states = tuple(StepState(outcome=StepOutcome.RUNNING, expected_seconds=step.seconds) for step in steps)
    plan = msgspec.structs.replace(rollout.plan, steps=steps)
    return msgspec.structs.replace(rollout, plan=plan, steps=states, judgement=None)


def run(scenario: Scenario, seed: int, settings: Settings) -> End:
    canary, rollout = Canary(scenario, seed), course(settings)
    for _ in range(round(settings.canary.baseline_seconds / SCRAPE)):
        canary.scrape(SCRAPE)
    measured = measure(canary.windows, settings.canary.baseline_seconds)
    rollout = msgspec.structs.replace(rollout, baseline=judging.calibrated(settings, rollout, canary.windows, measured))
    highest, extended = 0.0, 0
    judged_to: float | None = None
    for index, step in enumerate(settings.canary.steps):
        canary.expose(step.weight)
        assert canary.exposed is not None
        raised, served = canary.at, canary.windows.served(ArmName.CANARY)
        judged_to = canary.exposed if judged_to is None else judged_to
        rollout = msgspec.structs.replace(rollout, step=index, exposed_at=canary.exposed, raised_at=raised, weight=step.weight)
        held: float | None = None
        while True:
            canary.scrape(SCRAPE)
            rollout, judged_to = _judged(rollout, canary, settings, judged_to)
            assert rollout.judgement is not None
            highest = max(highest, rollout.judgement.log_e)
            seconds = canary.at - canary.exposed
            rollout, fired = _looked(rollout, canary, settings, raised)
            if fired == SHARED:
                held = canary.at if held is None else held
            elif fired:
                return End(fired, seconds, highest, extended)
            if held is not None:
                if canary.at - held >= HELD:
                    return End(SHARED, seconds, highest, extended)
                continue
            requests = canary.windows.served(ArmName.CANARY) - served
            rollout = state.step_progressed(rollout, seconds=canary.at - raised, requests=requests)
            if proven_early(rollout, settings):
                break
            if canary.at - raised < state.current_state(rollout).expected_seconds:
                continue
            if judging.proven(rollout) and not doubt(rollout, settings):
                break
            if state.is_extended(rollout):
                return End("undecided", seconds, highest, extended)
            rollout = state.extended(rollout, step.seconds, "undecided")
            extended += 1
    return End("passed", seconds, highest, extended)


def _judged(rollout: Rollout, canary: Canary, settings: Settings, since: float) -> tuple[Rollout, float]:
    assert canary.exposed is not None
    trial = judging.trial_of(rollout, settings)
    counts = judging.counted(canary.windows, since, warm_up=settings.metrics.warm_up, exposed_at=canary.exposed)
    look = judging.look(rollout, counts, trial)
    return state.judged(rollout, judging.judged(rollout, trial, look)), canary.at


def _looked(rollout: Rollout, canary: Canary, settings: Settings, raised: float) -> tuple[Rollout, str]:
    """The rollout with what was seen at the latest look, and the name of the trigger that ends it, or of the incident that has it
    wait; empty where nothing does."""
    limits = judging.limits_now(Limits.of(settings), rollout.judgement)
    readings = evaluate(
        limits, canary.windows, baseline=rollout.baseline, exposed_at=canary.exposed, raised_at=raised, now=canary.at
    )
    readings = (*readings, judging.reading(rollout.judgement))
    rollout = state.observed(rollout, sample=canary.windows.sample(), triggers=readings, actual_weight=None)
    fired = reasons(readings)
    assert canary.exposed is not None
    shared = is_shared_incident(readings, limits, canary.windows, canary.exposed, canary.at, baseline=rollout.baseline)
    if shared and settings.triggers.on_shared_incident == "pause":
        return rollout, SHARED
    return rollout, fired[0].name if fired else ""


def main() -> int:
    known = {name: scenarios()[name] for name in NAMES} | HARD
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=list(known), metavar="SCENARIO", help=", ".join(known))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    given = parser.parse_args()
    if unknown := set(given.scenarios) - set(known):
        parser.error(f"not among those that are driven: {', '.join(sorted(unknown))}; accepted: {', '.join(known)}")
    print(f"{'scenario':<16} {'ends':<32} {'seconds since the first requests':<34} {'extended':>8} {'largest ln E':>13}")
    for name in given.scenarios:
        settings = configured(known[name])
        ends = [run(known[name], seed, settings) for seed in range(given.first, given.first + given.seeds)]
        names = ", ".join(f"{end} {count}×" for end, count in Counter(end.name for end in ends).most_common())
        times = sorted(end.seconds for end in ends)
        spread = f"{times[0]:.0f} / {times[len(times) // 2]:.0f} / {times[-1]:.0f}"
        highest = max(end.highest for end in ends)
        print(f"{name:<16} {names:<32} {spread:<34} {sum(end.extended for end in ends):>8} {highest:>13.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

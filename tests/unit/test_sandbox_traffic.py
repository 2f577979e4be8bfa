"""Simulated requests: who gets how many, how they end, and what the metrics pages say about it."""

import math
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from support.clock import ManualClock

from services.sandbox import fleet
from services.sandbox.behaviour import Behaviours, scenarios
from services.sandbox.cluster import EmbeddedCluster
from services.sandbox.draws import binomial, clustered, multinomial, poisson
from services.sandbox.manifests import deployment
from services.sandbox.resources import DEPLOYMENTS, PODS, VIRTUALSERVICES, labels
from services.sandbox.traffic import Traffic, quantity
from services.sandbox.weather import Noise, Weather

RATE = fleet.BY_NAME["payment-service"].rate


class Load:
    """The seeded fleet with a canary of the release on offer, its requests counted as the test moves time."""

    def __init__(self, scenario: str = "good", canary_pods: int = 2) -> None:
        self.clock = ManualClock()
        self.behaviours = Behaviours(scenarios()[scenario])
        self.cluster = EmbeddedCluster(self.clock, Random(3), self.behaviours)
        self.cluster.seed()
        self.traffic = Traffic(self.cluster.store, self.clock, Random(4), self.behaviours)
        body = deployment(fleet.BY_NAME["payment-service"], "production", fleet.PROGRESS_DEADLINE)
        marks = {"app": "payment-service", "track": "canary"}
        body["metadata"] = {"name": "payment-service-canary", "labels": marks}
        body["spec"] |= {"replicas": canary_pods, "selector": {"matchLabels": marks}}
        body["spec"]["template"]["metadata"]["labels"] = marks
        body["spec"]["template"]["spec"]["containers"][0]["image"] = fleet.image("payment-service", fleet.OFFER_VERSION)
        self.cluster.registry.create(DEPLOYMENTS, "production", body)

    async def run(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.cluster.controllers.settle()
            await self.clock.advance(1)
            self.cluster.schedule.run_due()
        self.cluster.controllers.settle()

    def weight(self, canary: int) -> None:
        route = self.cluster.registry.read(VIRTUALSERVICES, "production", "payment-service")
        http = [
            {
                "route": [
                    {**entry, "weight": weight}
                    for entry, weight in zip(route["spec"]["http"][0]["route"], (100 - canary, canary), strict=True)
                ]
            }
        ]
        self.cluster.registry.update(
            VIRTUALSERVICES, "production", "payment-service", {**route, "spec": {**route["spec"], "http": http}}
        )

    def pods(self, track: str) -> list[dict[str, Any]]:
        found = self.cluster.store.all(PODS, "production")
        return [pod for pod in found if labels(pod).get("app") == "payment-service" and labels(pod)["track"] == track]

    def samples(self, track: str) -> dict[tuple[str, str], float]:
        """Sums over the pods of a track, by sample name and code or bucket bound."""
        sums: dict[tuple[str, str], float] = {}
        for pod in self.pods(track):
            for family in text_string_to_metric_families(self.traffic.page(pod)):
                for sample in family.samples:
                    key = (sample.name, sample.labels.get("code", sample.labels.get("le", "")))
                    sums[key] = sums.get(key, 0) + sample.value
        return sums


def requests(samples: dict[tuple[str, str], float]) -> float:
    return sum(value for (name, _), value in samples.items() if name == "http_requests_total")


def failures(samples: dict[tuple[str, str], float]) -> float:
    return samples.get(("http_requests_total", "500"), 0.0)


def p99(samples: dict[tuple[str, str], float]) -> float:
    buckets = sorted((float(bound), value) for (name, bound), value in samples.items() if name.endswith("_bucket"))
    return next(bound for bound, value in buckets if value >= 0.99 * buckets[-1][1])


async def test_requests_follow_the_weights_of_the_route() -> None:
    load = Load()
    await load.run(15)
    load.weight(25)
    load.samples("stable")
    before = {track: requests(load.samples(track)) for track in ("stable", "canary")}
    await load.run(60)
    served = {track: requests(load.samples(track)) - before[track] for track in ("stable", "canary")}
    total = sum(served.values())
    assert total == pytest.approx(60 * RATE, rel=0.02)
    assert served["canary"] / total == pytest.approx(0.25, rel=0.02)


async def test_a_change_of_weight_counts_what_came_before_under_the_old_one() -> None:
    load = Load()
    await load.run(15)
    load.samples("stable")
    await load.run(50)
    load.weight(50)
    assert requests(load.samples("canary")) == 0
    await load.run(10)
    load.weight(0)
    await load.run(40)
    assert requests(load.samples("canary")) == pytest.approx(10 * RATE / 2, rel=0.05)


async def test_nothing_reaches_pods_that_are_not_ready() -> None:
    load = Load("stuck")
    load.weight(50)
    await load.run(15)
    load.samples("stable")
    await load.run(30)
    assert requests(load.samples("canary")) == 0
    assert requests(load.samples("stable")) == pytest.approx(30 * RATE / 2, rel=0.05)


async def test_errors_belong_to_the_new_version_alone() -> None:
    load = Load("errors")
    load.weight(50)
    await load.run(10)
    load.samples("stable")
    await load.run(60)
    canary, stable = load.samples("canary"), load.samples("stable")
    assert canary["http_requests_total", "500"] / requests(canary) == pytest.approx(0.0805, rel=0.05)
    assert stable["http_requests_total", "500"] / requests(stable) == pytest.approx(0.0005, rel=0.2)


async def test_the_slow_version_doubles_the_99th_percentile() -> None:
    load = Load("slow")
    load.weight(50)
    await load.run(10)
    load.samples("stable")
    await load.run(60)
    assert p99(load.samples("stable")) == pytest.approx(0.045, rel=0.26)
    assert p99(load.samples("canary")) == pytest.approx(0.090, rel=0.26)
    assert p99(load.samples("canary")) / p99(load.samples("stable")) > 1.5


async def test_the_leaking_version_fills_its_memory_within_150_seconds() -> None:
    load = Load("leak", canary_pods=1)
    load.samples("stable")
    await load.run(10)
    limit = quantity("512Mi")
    shares = []
    for _ in range(15):
        shares.append(load.samples("canary")["process_resident_memory_bytes", ""] / limit)
        await load.run(10)
    assert shares == sorted(shares)
    assert shares[0] < 0.55
    assert load.samples("canary")["process_resident_memory_bytes", ""] / limit > 0.9
    assert load.samples("stable")["process_resident_memory_bytes", ""] / limit / 6 < 0.5


async def test_counters_never_go_back_and_agree_with_each_other() -> None:
    load = Load()
    load.weight(10)
    await load.run(10)
    pod = load.pods("stable")[0]
    last: dict[tuple[str, str], float] = {}
    for _ in range(20):
        page = load.traffic.page(pod)
        now = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if not sample.name.startswith("process_resident"):
                    now[sample.name, str(sorted(sample.labels.items()))] = sample.value
        assert all(value >= last.get(key, 0) for key, value in now.items())
        answered = sum(value for (name, _), value in now.items() if name == "http_requests_total")
        assert answered == now["http_request_duration_seconds_count", "[]"]
        last = now
        await load.run(3)
    busy = last["process_cpu_seconds_total", "[]"] / 60
    assert 0.2 < busy < 0.6


async def test_a_scenario_can_change_while_pods_run() -> None:
    load = Load("good")
    load.weight(50)
    await load.run(10)
    load.samples("canary")
    await load.run(20)
    load.behaviours.scenario = scenarios()["errors"]
    load.traffic.scenario_changed()
    before = load.samples("canary")
    await load.run(20)
    after = load.samples("canary")
    failed = after["http_requests_total", "500"] - before["http_requests_total", "500"]
    assert before["http_requests_total", "500"] / requests(before) < 0.002
    assert failed / (requests(after) - requests(before)) == pytest.approx(0.0805, rel=0.05)


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(0, 2**32))
def test_binomial_counts_stay_within_their_bounds(trials: int, share: float, seed: int) -> None:
    count = binomial(Random(seed), trials, share)
    assert 0 <= count <= trials
    assert abs(count - trials * share) <= 8 * math.sqrt(trials * share * (1 - share)) + 30


@given(st.integers(0, 10**5), st.lists(st.floats(0.001, 1), min_size=1, max_size=20), st.integers(0, 2**32))
def test_a_multinomial_loses_nobody(trials: int, weights: list[float], seed: int) -> None:
    shares = [weight / sum(weights) for weight in weights]
    counts = multinomial(Random(seed), trials, shares)
    assert sum(counts) == trials
    assert all(count >= 0 for count in counts)


def test_small_and_large_means_are_met() -> None:
    random = Random(5)
    for mean in (0.2, 5.0, 29.0, 500.0):
        drawn = [poisson(random, mean) for _ in range(4000)]
        assert sum(drawn) / len(drawn) == pytest.approx(mean, abs=5 * math.sqrt(mean / 4000))
    drawn = [binomial(random, 1000, 0.004) for _ in range(4000)]
    assert sum(drawn) / len(drawn) == pytest.approx(4, abs=0.2)


def test_quantities() -> None:
    assert [quantity(text) for text in ("1", "500m", "512Mi", "2k", "1.5Gi")] == [1, 0.5, 2**29, 2000, 1.5 * 2**30]


def test_every_scenario_has_what_its_name_says() -> None:
    found = scenarios()
    bad = {"errors", "tiny", "late", "slow", "crash", "stuck", "leak"}
    assert set(found) == bad | {"good", "noisy-healthy", "shared", "low-traffic", "no-traffic", "alert", "other-alerts"}
    offered = fleet.image(fleet.OFFER_SERVICE, fleet.OFFER_VERSION)
    running = fleet.image(fleet.OFFER_SERVICE, "v2.14.1")
    for name, scenario in found.items():
        behaviours = Behaviours(scenario)
        assert behaviours.of("production", offered) == scenario.behaviour
        assert behaviours.of("production", running) == found["good"].behaviour
        assert scenario.behaviour.fate == {"crash": "crash", "stuck": "neverready"}.get(name, "")


async def test_a_late_fault_begins_minutes_after_the_first_requests() -> None:
    load = Load("late")
    load.samples("stable")
    await load.run(30)
    load.weight(50)
    failed = []
    for _ in range(7):
        before = load.samples("canary")
        await load.run(60)
        after = load.samples("canary")
        failed.append((failures(after) - failures(before)) / (requests(after) - requests(before)))
    assert failed == [pytest.approx(0.0005, rel=0.4)] * 5 + [pytest.approx(0.0205, rel=0.1)] * 2
    assert load.traffic.behaviour(load.pods("canary")[0]).errors == 0.02
    # It has begun for pods that come later as well, and not for the old version.
    await load.run(10)
    stable = load.samples("stable")
    assert failures(stable) / requests(stable) == pytest.approx(0.0005, rel=0.2)


async def test_an_incident_hits_both_versions_and_passes() -> None:
    load = Load("shared")
    incident = scenarios()["shared"].incident
    assert incident is not None
    load.samples("stable")
    await load.run(30)
    load.weight(20)

    async def shares(seconds: float) -> list[float]:
        before = {track: load.samples(track) for track in ("canary", "stable")}
        await load.run(seconds)
        after = {track: load.samples(track) for track in before}
        return [
            (failures(after[track]) - failures(before[track])) / (requests(after[track]) - requests(before[track]))
            for track in before
        ]

    assert max(await shares(incident.after)) < 0.002
    assert await shares(incident.seconds) == pytest.approx([incident.errors] * 2, rel=0.02)
    assert max(await shares(60)) < 0.002


async def test_requests_that_do_not_reach_the_new_version_reach_the_old_one() -> None:
    load = Load("no-traffic")
    load.weight(50)
    await load.run(15)
    load.samples("stable")
    await load.run(30)
    assert requests(load.samples("canary")) == 0
    assert requests(load.samples("stable")) == pytest.approx(30 * RATE, rel=0.05)


async def test_few_requests_are_few_for_everybody() -> None:
    load = Load("low-traffic")
    load.samples("stable")
    await load.run(200)
    assert requests(load.samples("stable")) == pytest.approx(1000, rel=0.2)


async def test_noise_is_the_same_for_the_same_seed_whoever_looks_when() -> None:
    noise = scenarios()["noisy-healthy"].noise
    often, seldom, other = Weather(noise, "1"), Weather(noise, "1"), Weather(noise, "2")
    seconds = [float(second) for second in range(0, 3000, 5)]
    seen = [often.factor("a", second) for second in seconds]
    assert [seldom.factor("a", second) for second in seconds[::2]] == seen[::2]
    assert [other.factor("a", second) for second in seconds] != seen
    assert sum(seen) / len(seen) == pytest.approx(1.0, abs=0.35)
    # What all pods share moves them together; what is a pod's own does not.
    shared = [Weather(msgspec.structs.replace(noise, own=0.0), "1").factor(pod, 40.0) for pod in ("a", "b")]
    assert shared[0] == shared[1]
    assert often.factor("a", 3000.0) != often.factor("b", 3000.0)


def test_without_noise_nothing_moves() -> None:
    assert {Weather(Noise(), "1").factor("a", second) for second in (0.0, 17.0, 500.0)} == {1.0}


def test_clusters_make_the_same_mean_more_unsteady() -> None:
    random = Random(6)
    drawn = [clustered(random, 60.0, 3.0) for _ in range(4000)]
    mean = sum(drawn) / len(drawn)
    assert mean == pytest.approx(60, rel=0.03)
    # A geometric size of mean c has E[size²]/E[size] = 2c − 1.
    assert sum((count - mean) ** 2 for count in drawn) / len(drawn) / mean == pytest.approx(5.0, rel=0.1)
    assert clustered(random, 0.0, 3.0) == 0

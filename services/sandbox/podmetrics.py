"""What one simulated pod has served and used, and its ``/metrics`` page."""

import math
from dataclasses import dataclass, field
from functools import cache
from random import Random

from services.sandbox.behaviour import WELL, Behaviour
from services.sandbox.draws import binomial, clustered, multinomial, poisson
from services.sandbox.fleet import Workload
from services.sandbox.weather import CALM, Moment

BOUNDS = (*(round(0.001 * 1.25**step, 6) for step in range(42)), 10.0)
"""Upper bounds of the latency buckets in seconds: steps of 1.25 from 1 ms, then 10 s."""

SIGMA = 0.5
"""Spread of the lognormal response times."""
_P99_Z = 2.3263478740408408
READS = 0.6
"""Share of GET requests; the rest are POST."""
CPU_IDLE, CPU_AT_PLAN = 0.10, 0.40
"""Shares of the CPU limit: without load, and under the load each pod of the seeded fleet carries."""
MEMORY_SHARE, LEAK_SECONDS, LEAK_FROM = 0.45, 140.0, 0.52
"""Share of the memory limit in use; a leak adds ``LEAK_FROM`` of it evenly over ``LEAK_SECONDS`` pace seconds."""


@cache
def latency_shares(p99: float) -> tuple[float, ...]:
    """Share of requests in each bucket, the last one above all bounds: lognormal with this 99th percentile (s)."""
    mu = math.log(p99) - _P99_Z * SIGMA
    below = [0.5 * (1 + math.erf((math.log(bound) - mu) / (SIGMA * math.sqrt(2)))) for bound in BOUNDS]
    return tuple(upper - lower for lower, upper in zip([0.0, *below], [*below, 1.0], strict=True))


@cache
def mean_latency(p99: float) -> float:
    return math.exp(math.log(p99) - _P99_Z * SIGMA + SIGMA * SIGMA / 2)


@dataclass(slots=True)
class PodMetrics:
    """Counters since the pod's start. ``born`` is its pace second."""

    workload: Workload
    behaviour: Behaviour
    born: float
    cpu_limit: float
    memory_limit: float
    plan_rate: float
    """Requests a second that the pod was sized for."""
    started: float
    """Unix seconds."""
    name: str = ""
    version: str = ""
    answered: dict[tuple[str, str], int] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    latency_sum: float = 0.0
    cpu_seconds: float = 0.0

    def serve(self, random: Random, rate: float, seconds: float, moment: Moment = CALM) -> None:
        """Account for ``seconds`` (pace) in which ``rate`` requests a second arrived and errors were subject to ``moment``."""
        load = rate / self.plan_rate if self.plan_rate else 0.0
        used = min(0.99, max(0.0, CPU_IDLE + (CPU_AT_PLAN - CPU_IDLE) * load + random.gauss(0, 0.02)))
        self.cpu_seconds += used * self.cpu_limit * seconds
        if not (requests := poisson(random, rate * seconds)):
            return
        behaviour = self.behaviour if moment.faulty else WELL
        share = self.workload.errors * moment.factor + behaviour.errors + moment.added
        if moment.cluster > 1.0:
            errors = min(requests, clustered(random, requests * share, moment.cluster))
        else:
            errors = binomial(random, requests, min(1.0, share))
        for code, count in (("200", requests - errors), ("500", errors)):
            reads = binomial(random, count, READS)
            self._count(code, "GET", reads)
            self._count(code, "POST", count - reads)
        p99 = self.workload.p99 * behaviour.latency
        for index, count in enumerate(multinomial(random, requests, latency_shares(p99))):
            self.buckets[index] += count
        self.latency_sum += mean_latency(p99) * requests

    def _count(self, code: str, method: str, count: int) -> None:
        self.answered[code, method] = self.answered.get((code, method), 0) + count

    def memory(self, now: float) -> float:
        """Bytes in use at this pace second."""
        age = max(0.0, now - self.born)
        share = MEMORY_SHARE + 0.01 * math.sin(now / 37 + self.born)
        if self.behaviour.leak:
            share = min(0.985, MEMORY_SHARE + LEAK_FROM * age / LEAK_SECONDS)
        return share * self.memory_limit

    def page(self, now: float) -> str:
        """The Prometheus text exposition at this pace second."""
        lines = ["# HELP http_requests_total Requests answered.", "# TYPE http_requests_total counter"]
        lines += [
            f'http_requests_total{{code="{code}",method="{method}"}} {count}' for (code, method), count in self.answered.items()
        ]
        lines += ["# HELP http_request_duration_seconds Response times.", "# TYPE http_request_duration_seconds histogram"]
        total = 0
        for name, count in zip(_BUCKET_NAMES, self.buckets, strict=True):
            total += count
            lines.append(f"{name} {total}")
        lines += [
            f"http_request_duration_seconds_sum {self.latency_sum:.6f}",
            f"http_request_duration_seconds_count {total}",
            "# HELP process_cpu_seconds_total CPU time used.",
            "# TYPE process_cpu_seconds_total counter",
            f"process_cpu_seconds_total {self.cpu_seconds:.6f}",
            "# HELP process_resident_memory_bytes Memory in use.",
            "# TYPE process_resident_memory_bytes gauge",
            f"process_resident_memory_bytes {self.memory(now):.0f}",
            "# HELP process_start_time_seconds Start of the process.",
            "# TYPE process_start_time_seconds gauge",
            f"process_start_time_seconds {self.started:.3f}",
        ]
        return "\n".join(lines) + "\n"


_BUCKET_NAMES = [f'http_request_duration_seconds_bucket{{le="{bound}"}}' for bound in (*BOUNDS, "+Inf")]

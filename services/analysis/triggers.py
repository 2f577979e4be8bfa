"""The hard triggers of an automatic rollback (R5.5), in forms that a healthy service does not set off by chance.

Pure functions of what was measured; pace seconds come in as arguments. The literal rules stay literal in meaning and ask for a
minimum of data: a rate over its limit must rest on enough requests, or be too unlikely (one in a thousand, binomial) for a
service at the limit; a share of a limit must be over in three samples running. What is not known never fires, and says so.
"""

import math
from collections.abc import Callable, Sequence

import msgspec

from services.analysis.judge.flapping import ABORT_AT, TOLERATED
from services.analysis.judge.sequence import ratio_limits
from services.analysis.probes import HealthHistory
from services.analysis.tails import binomial_tail
from services.analysis.windows import TRAILING, ArmName, PodHistory, Served, Windows
from services.model.rollout import Baseline, Reason, TriggerName, TriggerReading
from services.settings import Settings

SLOW_SHARE = 0.01
"""P99 over a limit says the same as: more than this share of requests is slower than the limit."""

PRECEDENCE = (
    TriggerName.HEALTH,
    TriggerName.CRASH_LOOP,
    TriggerName.PROGRESS_DEADLINE,
    TriggerName.ERROR_RATE,
    TriggerName.LATENCY_P99,
    TriggerName.CPU,
    TriggerName.MEMORY,
    TriggerName.JUDGE,
)
"""Which of several reasons is named first: the plainest one."""

SHARED_INCIDENT = "both versions are failing: this looks like an incident, not the new version"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """``error_rate``, ``cpu`` and ``memory`` are shares (0–1), ``latency_increase`` the share by which P99 may exceed the
    baseline; ``error_seconds`` and ``warm_up`` pace seconds; ``health_failures`` probes in a row.

    The rest is the data that a limit asks for: ``min_requests`` (``min_slow_requests`` for P99), or a tail probability of at most
    ``rare``; the tail alone where the baseline's error rate is above ``strict_above``, since the plain form would fire by chance.
    ``samples`` in a row of CPU or memory.
    """

    error_rate: float = 0.05
    error_seconds: float = 300.0
    latency_increase: float = 0.5
    health_failures: int = 3
    cpu: float = 0.9
    memory: float = 0.9
    warm_up: float = 30.0
    min_errors: int = 5
    min_requests: int = 50
    min_slow_requests: int = 1000
    rare: float = 0.001
    strict_above: float = 0.02
    samples: int = 3

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        limits = settings.triggers
        return cls(
            error_rate=limits.error_rate,
            error_seconds=limits.error_seconds,
            latency_increase=limits.latency_increase,
            health_failures=settings.probes.failures,
            cpu=limits.cpu,
            memory=limits.memory,
            warm_up=settings.metrics.warm_up,
            min_errors=limits.min_errors,
            min_requests=limits.min_requests,
            min_slow_requests=limits.min_slow_requests,
            rare=limits.rare,
            strict_above=limits.strict_above,
            samples=limits.samples,
        )


class WorkloadFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster says about the new version's workload. ``waited`` and ``deadline`` are seconds since its last change and
    how many it has to become ready; ``deadline_passed`` is the cluster's own word for it."""

    crash_looping: tuple[str, ...] = ()
    waited: float | None = None
    deadline: float = 0.0
    deadline_passed: bool = False
    detail: str = ""


class Unserved(msgspec.Struct, frozen=True, kw_only=True):
    """Requests go to a version of which no pod is ready: for how many pace seconds, of ``limit``, ``weight`` percent of them."""

    seconds: float
    limit: float
    weight: int


def evaluate(
    limits: Limits,
    windows: Windows,
    *,
    baseline: Baseline | None,
    exposed_at: float | None,
    now: float,
    raised_at: float | None = None,
    health: Sequence[HealthHistory] = (),
    unserved: Unserved | None = None,
    workload: WorkloadFacts | None = None,
) -> tuple[TriggerReading, ...]:
    """Every trigger's reading at pace second ``now``. ``exposed_at`` is when the new version got its first requests,
    ``raised_at`` when it last got more of them (``None``: never since); ``workload`` is ``None`` where nothing is known of it."""
    lately = windows.now - TRAILING if now - windows.now <= TRAILING else math.inf
    return (
        error_rate(limits, windows, baseline=baseline, exposed_at=exposed_at, raised_at=raised_at, now=now),
        latency_p99(limits, windows, baseline=baseline, exposed_at=exposed_at, now=now),
        health_endpoint(limits, health, unserved),
        crash_loop(workload),
        progress_deadline(workload),
        cpu(limits, windows.pods(ArmName.CANARY), exposed_at=exposed_at, since=lately),
        memory(limits, windows.pods(ArmName.CANARY), since=lately),
    )


def exceeds(limits: Limits, *, requests: float, errors: float, baseline: Baseline | None) -> bool:
    """Whether these counts are over the error rate's limit by more than chance: over it, at least ``min_errors``, and at least
    ``min_requests`` or a tail P(Bin(requests, limit) ≥ errors) ≤ ``rare``. Strict form, where the baseline fails more than
    ``strict_above`` already: the tail alone."""
    if errors < limits.min_errors or errors <= limits.error_rate * requests:
        return False
    enough = not _strict(limits, baseline) and requests >= limits.min_requests
    return enough or binomial_tail(requests, limits.error_rate, errors) <= limits.rare


def _strict(limits: Limits, baseline: Baseline | None) -> bool:
    return baseline is not None and baseline.error_rate is not None and baseline.error_rate > limits.strict_above


def error_rate(
    limits: Limits,
    windows: Windows,
    *,
    baseline: Baseline | None,
    exposed_at: float | None,
    now: float,
    raised_at: float | None = None,
) -> TriggerReading:
    """Trailing min(60 s, age since exposure), within the first ``error_seconds`` after the latest rise of the new version's
    share, the first one included (a version is as new to the users it gets then): see :func:`exceeds`."""
    reading = _Reading(TriggerName.ERROR_RATE, limits.error_rate, "share")
    served = _trailing(windows, ArmName.CANARY, exposed_at, now)
    if exposed_at is None:
        return reading.unknown("no requests reach the new version yet")
    if served is None or not served.requests:
        return reading.unknown("no requests of the new version were measured in the last 60 s")
    if served.errors is None:
        return reading.unknown("its metrics carry no status codes")
    value = served.errors / served.requests
    counts = f"{served.errors:.0f} of {served.requests:.0f} requests failed"
    if now - max(exposed_at, raised_at if raised_at is not None else exposed_at) > limits.error_seconds:
        return reading.quiet(value, f"{counts}; the first {limits.error_seconds:.0f} s are over")
    strict = _strict(limits, baseline)
    over = value > limits.error_rate
    fired = exceeds(limits, requests=served.requests, errors=served.errors, baseline=baseline)
    if fired and _control_fails(limits, windows, served, exposed_at, now):
        return reading.fires(value, f"{counts}; {SHARED_INCIDENT}")
    if fired:
        return reading.fires(value, counts)
    if over:
        counts += "; too few to tell" if not strict else "; may be chance"
    if strict and baseline is not None and baseline.error_rate is not None:
        counts += f"; strict, since {baseline.error_rate:.1%} failed before the deploy"
    return reading.quiet(value, counts)


def latency_p99(
    limits: Limits, windows: Windows, *, baseline: Baseline | None, exposed_at: float | None, now: float
) -> TriggerReading:
    """Trailing 60 s after warm-up: more than 1 % of requests slower than the baseline's P99 plus the allowed increase, and at
    least ``min_slow_requests`` or a tail P(Bin(requests, 0.01) ≥ slow) ≤ ``rare``. Values are seconds."""
    if baseline is None or not baseline.p99:
        return _Reading(TriggerName.LATENCY_P99, None, "s").unknown("no baseline to compare with")
    limit = baseline.p99 * (1 + limits.latency_increase)
    reading = _Reading(TriggerName.LATENCY_P99, limit, "s")
    if exposed_at is None:
        return reading.unknown("no requests reach the new version yet")
    served = _trailing(windows, ArmName.CANARY, exposed_at, now, warm_up=limits.warm_up)
    durations = served.durations if served is not None else None
    p99 = durations.quantile(0.99) if durations is not None else None
    if durations is None or p99 is None:
        warming = now - exposed_at < limits.warm_up
        return reading.unknown("warming up" if warming else "no durations of the new version were measured in the last 60 s")
    slow = durations.above(limit)
    if slow is None:
        return reading.unknown(f"its histogram ends at {durations.end:g} s, below the limit of {limit:.3g} s")
    counts = f"{slow:.0f} of {durations.total:.0f} requests slower than {limit * 1000:.0f} ms"
    over = slow > SLOW_SHARE * durations.total
    if over and _too_slow(limits, durations.total, slow):
        shared = f"; {SHARED_INCIDENT}" if _control_slow(limits, windows, limit, exposed_at, now) else ""
        return reading.fires(p99, counts + shared)
    return reading.quiet(p99, counts + ("; too few to tell" if over else ""))


def _too_slow(limits: Limits, requests: float, slow: float) -> bool:
    return slow > SLOW_SHARE * requests and (
        requests >= limits.min_slow_requests or binomial_tail(requests, SLOW_SHARE, slow) <= limits.rare
    )


def health_endpoint(limits: Limits, histories: Sequence[HealthHistory], unserved: Unserved | None = None) -> TriggerReading:
    """The longest row of answers other than 200 that any new pod's health endpoint has given; one that fails now and then, more
    often than a healthy one ever does; or nobody there to answer."""
    if unserved is not None and unserved.seconds >= unserved.limit:
        return _Reading(TriggerName.HEALTH, unserved.limit, "s").fires(
            unserved.seconds,
            f"no pod of the new version has been ready for {unserved.seconds:.0f} s, "
            f"and it gets {unserved.weight} % of the requests",
        )
    reading = _Reading(TriggerName.HEALTH, float(limits.health_failures), "probes")
    if not histories:
        return reading.unknown("no new pod has been probed yet")
    worst = max(histories, key=lambda history: history.failures)
    value = float(worst.failures)
    if worst.failures >= limits.health_failures:
        return reading.fires(value, f"{worst.pod} failed {worst.failures} probes in a row: {worst.detail}")
    flapping = max(histories, key=lambda history: history.flapping.log_e)
    if flapping.flapping.log_e >= ABORT_AT and flapping.failed >= limits.health_failures:
        share = flapping.failed / flapping.flapping.probes
        return _Reading(TriggerName.HEALTH, TOLERATED, "share").fires(
            share, f"{flapping.pod} fails now and then: {flapping.failed} of {flapping.flapping.probes} probes; {flapping.detail}"
        )
    told = [history for history in histories if history.told and history.started]
    if not told:
        why = "no new pod has been ready yet" if any(history.told for history in histories) else "nobody can say"
        return reading.unknown(f"{why}: {histories[0].detail}")
    if worst.failures:
        return reading.quiet(value, f"{worst.pod}: {worst.detail}")
    return reading.quiet(value, f"{len(told)} of {len(histories)} pods answer")


def crash_loop(workload: WorkloadFacts | None) -> TriggerReading:
    """Any new pod that the cluster keeps restarting."""
    reading = _Reading(TriggerName.CRASH_LOOP, 0.0, "pods")
    if workload is None:
        return reading.unknown("the new version's pods are not known")
    if workload.crash_looping:
        return reading.fires(float(len(workload.crash_looping)), workload.detail or f"{', '.join(workload.crash_looping)} crash")
    return reading.quiet(0.0, "")


def progress_deadline(workload: WorkloadFacts | None) -> TriggerReading:
    """The workload did not become ready in the time it has."""
    reading = _Reading(TriggerName.PROGRESS_DEADLINE, workload.deadline if workload else None, "s")
    if workload is None:
        return reading.unknown("the new version's workload is not known")
    if workload.deadline_passed:
        return reading.fires(workload.waited if workload.waited is not None else workload.deadline, workload.detail)
    return reading.quiet(workload.waited or 0.0, workload.detail)


def cpu(limits: Limits, pods: Sequence[PodHistory], *, exposed_at: float | None, since: float) -> TriggerReading:
    """``samples`` running of any new pod over the limit, after its warm-up. Pods not read since ``since`` are unknown."""

    def samples(pod: PodHistory) -> tuple[tuple[float, float], ...]:
        warm = max(pod.first_seen, exposed_at if exposed_at is not None else pod.first_seen) + limits.warm_up
        return tuple(sample for sample in pod.cpu if sample[0] >= warm)

    limited = any(pod.cpu_limited for pod in pods)
    return _resource(TriggerName.CPU, "CPU", limits.cpu, pods, samples, limits.samples, limited=limited, since=since)


def memory(limits: Limits, pods: Sequence[PodHistory], *, since: float) -> TriggerReading:
    """``samples`` running of any new pod over the limit; says how fast it climbs. Pods not read since ``since`` are unknown."""
    limited = any(pod.memory_limited for pod in pods)
    return _resource(
        TriggerName.MEMORY, "memory", limits.memory, pods, lambda pod: pod.memory, limits.samples, limited=limited, since=since
    )


def reasons(readings: Sequence[TriggerReading]) -> tuple[Reason, ...]:
    """Everything that fired, in order of precedence: the first is the reason, the others were true as well."""
    fired = sorted((reading for reading in readings if reading.fired), key=lambda reading: PRECEDENCE.index(reading.name))
    return tuple(
        Reason(kind="trigger", name=reading.name.value, value=reading.value, limit=reading.limit, detail=reading.detail)
        for reading in fired
    )


def is_shared_incident(
    readings: Sequence[TriggerReading], limits: Limits, windows: Windows, exposed_at: float, now: float
) -> bool:
    """Whether error rate and latency are all that fired, and the old version fails and is slow as well: the policy
    ``on_shared_incident`` decides then."""
    fired = {reading.name: reading for reading in readings if reading.fired}
    if not fired or not fired.keys() <= {TriggerName.ERROR_RATE, TriggerName.LATENCY_P99}:
        return False
    canary = _trailing(windows, ArmName.CANARY, exposed_at, now)
    if TriggerName.ERROR_RATE in fired and not _control_fails(limits, windows, canary, exposed_at, now):
        return False
    slow = fired.get(TriggerName.LATENCY_P99)
    return slow is None or slow.limit is None or _control_slow(limits, windows, slow.limit, exposed_at, now)


def _control_fails(limits: Limits, windows: Windows, canary: Served | None, exposed_at: float, now: float) -> bool:
    """Whether the old version is over the same limit or, failing as well, can't be told from the new one: 1 is among the ratios
    that their counts allow (95 %)."""
    control = _trailing(windows, ArmName.STABLE, exposed_at, now)
    if control is None or control.requests < limits.min_requests or control.errors is None:
        return False
    if control.errors > limits.error_rate * control.requests:
        return True
    if canary is None or canary.errors is None or control.errors < limits.min_errors:
        return False
    low, high = ratio_limits(canary.errors, control.errors, canary.requests, control.requests)
    return low <= 1.0 <= high


def _control_slow(limits: Limits, windows: Windows, limit: float, exposed_at: float, now: float) -> bool:
    control = _trailing(windows, ArmName.STABLE, exposed_at, now)
    durations = control.durations if control is not None else None
    slow = durations.above(limit) if durations is not None else None
    return durations is not None and slow is not None and _too_slow(limits, durations.total, slow)


def _trailing(windows: Windows, arm: str, exposed_at: float | None, now: float, *, warm_up: float = 0.0) -> Served | None:
    """The last 60 s up to the latest round, from exposure on; ``None`` where there was no round lately."""
    if exposed_at is None or now - windows.now > TRAILING:
        return None
    until = windows.now
    return windows.count(arm, max(until - TRAILING, exposed_at), until, warm_up=warm_up, exposed_at=exposed_at)


def _resource(
    name: TriggerName,
    what: str,
    limit: float,
    pods: Sequence[PodHistory],
    samples: Callable[[PodHistory], tuple[tuple[float, float], ...]],
    needed: int,
    *,
    limited: bool,
    since: float,
) -> TriggerReading:
    reading = _Reading(name, limit, "share")
    measured = [(pod, taken) for pod in pods if pod.read_at >= since and (taken := samples(pod))]
    if not measured:
        if pods and not limited:
            return reading.unknown(f"the containers have no {what} limit")
        return reading.unknown(f"no {what} of a new pod was measured in the last 60 s")
    pod, taken = max(measured, key=lambda each: (_running(each[1], limit), each[1][-1][1]))
    running, value = _running(taken, limit), taken[-1][1]
    climb = _climb(taken) if name is TriggerName.MEMORY else ""
    if running >= needed:
        return reading.fires(value, f"{pod.pod}: {running} samples running above {limit:.0%}{climb}")
    over = f", {running} of {needed} samples above {limit:.0%}" if running else ""
    return reading.quiet(value, f"{pod.pod}{over}{climb}")


def _running(samples: Sequence[tuple[float, float]], limit: float) -> int:
    """How many of the latest samples running are above ``limit``."""
    count = 0
    for _, share in reversed(samples):
        if share <= limit:
            break
        count += 1
    return count


def _climb(samples: Sequence[tuple[float, float]]) -> str:
    """The slope over the kept samples, where it is worth a word."""
    (first_at, first), (last_at, last) = samples[0], samples[-1]
    if last_at <= first_at:
        return ""
    a_minute = (last - first) / (last_at - first_at) * 60
    return f", {a_minute:+.1%} of the limit a minute" if abs(a_minute) >= 0.005 else ""


class _Reading(msgspec.Struct, frozen=True):
    """A trigger about to be told."""

    name: TriggerName
    limit: float | None
    unit: str

    def unknown(self, why: str) -> TriggerReading:
        return TriggerReading(name=self.name, value=None, limit=self.limit, unit=self.unit, detail=why)

    def quiet(self, value: float, detail: str) -> TriggerReading:
        return TriggerReading(name=self.name, value=value, limit=self.limit, unit=self.unit, detail=detail)

    def fires(self, value: float, detail: str) -> TriggerReading:
        return TriggerReading(name=self.name, value=value, limit=self.limit, unit=self.unit, fired=True, detail=detail)

"""The hard triggers of an automatic rollback (R5.5), in forms that a healthy service does not set off by chance.

Pure functions of what was measured; pace seconds come in as arguments. The literal rules stay literal in meaning and ask for a
minimum of data: a rate over its limit must rest on enough requests, or be too unlikely (one in a thousand, binomial) for a
service at the limit; a share of a limit must be over in three samples running. What is not known never fires, and says so.
"""

import math
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

import msgspec

from services.analysis.incident import SHARED_INCIDENT, control_fails, control_slow, trailing
from services.analysis.limits import SAMPLE_SECONDS, SLOW_SHARE, Limits, exceeds, strict, too_slow
from services.analysis.probes import HealthHistory
from services.analysis.windows import ArmName, PodHistory, Windows
from services.model.alerts import Alert, AlertsLook
from services.model.rollout import Baseline, Reason, TriggerName, TriggerReading

PRECEDENCE = (
    TriggerName.ALERT,
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


NAMED = 3
"""Alerts that are told by name."""


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
    lately = windows.now - limits.window if now - windows.now <= limits.window else math.inf
    return (
        error_rate(limits, windows, baseline=baseline, exposed_at=exposed_at, raised_at=raised_at, now=now),
        latency_p99(limits, windows, baseline=baseline, exposed_at=exposed_at, now=now),
        health_endpoint(limits, health, unserved),
        crash_loop(workload),
        progress_deadline(workload),
        cpu(limits, windows.pods(ArmName.CANARY), exposed_at=exposed_at, since=lately),
        memory(limits, windows.pods(ArmName.CANARY), since=lately),
    )


def error_rate(
    limits: Limits,
    windows: Windows,
    *,
    baseline: Baseline | None,
    exposed_at: float | None,
    now: float,
    raised_at: float | None = None,
) -> TriggerReading:
    """Trailing min(window, age since exposure), within the first ``error_seconds`` after the latest rise of the new version's
    share, the first one included (a version is as new to the users it gets then): see :func:`exceeds`."""
    reading = _Reading(TriggerName.ERROR_RATE, limits.error_rate, "share")
    served = trailing(limits, windows, ArmName.CANARY, exposed_at, now)
    if exposed_at is None:
        return reading.unknown("no requests reach the new version yet")
    if served is None or not served.requests:
        return reading.unknown(f"no requests of the new version were measured in the last {limits.window:.0f} s")
    if served.errors is None:
        return reading.unknown("its metrics carry no status codes")
    value = served.errors / served.requests
    counts = f"{served.errors:.0f} of {served.requests:.0f} requests failed"
    if now - max(exposed_at, raised_at if raised_at is not None else exposed_at) > limits.error_seconds:
        return reading.quiet(value, f"{counts}; the first {limits.error_seconds:.0f} s are over")
    fired = exceeds(limits, requests=served.requests, errors=served.errors, baseline=baseline)
    stricter = strict(limits, baseline)
    if not fired and value > limits.error_rate:
        counts += "; may be chance" if stricter else "; too few to tell"
    if stricter and baseline is not None and baseline.error_rate is not None:
        counts += f"; strict, since {baseline.error_rate:.1%} failed before the deploy"
    if fired and control_fails(limits, windows, served, baseline, exposed_at, now):
        counts += f"; {SHARED_INCIDENT}"
    return reading.fires(value, counts) if fired else reading.quiet(value, counts)


def latency_p99(
    limits: Limits, windows: Windows, *, baseline: Baseline | None, exposed_at: float | None, now: float
) -> TriggerReading:
    """The trailing window after warm-up: more than 1 % of requests slower than the baseline's P99 plus the allowed increase, and
    at least ``min_slow_requests`` or a tail P(Bin(requests, 0.01) ≥ slow) ≤ ``rare``. Values are seconds."""
    if baseline is None or not baseline.p99:
        return _Reading(TriggerName.LATENCY_P99, None, "s").unknown("no baseline to compare with")
    limit = baseline.p99 * (1 + limits.latency_increase)
    reading = _Reading(TriggerName.LATENCY_P99, limit, "s")
    if exposed_at is None:
        return reading.unknown("no requests reach the new version yet")
    served = trailing(limits, windows, ArmName.CANARY, exposed_at, now, warm_up=limits.warm_up)
    durations = served.durations if served is not None else None
    p99 = durations.quantile(0.99) if durations is not None else None
    if durations is None or p99 is None:
        warming = now - exposed_at < limits.warm_up
        return reading.unknown(
            "warming up" if warming else f"no durations of the new version were measured in the last {limits.window:.0f} s"
        )
    slow = durations.above(limit)
    if slow is None:
        return reading.unknown(f"its histogram ends at {durations.end:g} s, below the limit of {limit:.3g} s")
    counts = f"{slow:.0f} of {durations.total:.0f} requests slower than {limit * 1000:.0f} ms"
    over = slow > SLOW_SHARE * durations.total
    if over and too_slow(limits, durations.total, slow):
        shared = f"; {SHARED_INCIDENT}" if control_slow(limits, windows, limit, exposed_at, now) else ""
        return reading.fires(p99, counts + shared)
    return reading.quiet(p99, counts + ("; too few to tell" if over else ""))


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
    if flapping.flapping.log_e >= limits.flapping_at and flapping.failed >= limits.health_failures:
        share = flapping.failed / flapping.flapping.probes
        return _Reading(TriggerName.HEALTH, limits.tolerated, "share").fires(
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
    return _resource(TriggerName.CPU, "CPU", limits.cpu, pods, samples, limits, limited=limited, since=since)


def memory(limits: Limits, pods: Sequence[PodHistory], *, since: float) -> TriggerReading:
    """``samples`` running of any new pod over the limit; says how fast it climbs. Pods not read since ``since`` are unknown."""
    limited = any(pod.memory_limited for pod in pods)
    return _resource(
        TriggerName.MEMORY, "memory", limits.memory, pods, lambda pod: pod.memory, limits, limited=limited, since=since
    )


def alert(look: AlertsLook, *, before: Collection[str] | None, begun: datetime, changed: bool) -> TriggerReading:
    """Any alert of the service that fires now and did not ``before`` anything was changed (fingerprints; ``None``: nobody could
    say, and those that fire since earlier than ``begun`` are taken for such). Nothing fires before anything is ``changed``."""
    reading = _Reading(TriggerName.ALERT, 0.0, "alerts")
    if not look.known:
        told = reading.unknown(f"alerts are not watched: {look.problem or 'not asked yet'}")
        return msgspec.structs.replace(told, at=look.at)
    new = [each for each in look.firing if changed and not _fired_before(each, before, begun)]
    old = [each for each in look.firing if each not in new]
    if new:
        told = reading.fires(float(len(new)), f"{_named(new)} firing for the service")
        return msgspec.structs.replace(told, at=look.at, subject=new[0].name)
    since = f" new; firing since before: {_named(old)}" if old else ""
    return msgspec.structs.replace(reading.quiet(0.0, f"none{since}"), at=look.at)


def _fired_before(alert: Alert, before: Collection[str] | None, begun: datetime) -> bool:
    return alert.since < begun if before is None else alert.fingerprint in before


def _named(alerts: Sequence[Alert]) -> str:
    names = list(dict.fromkeys(f"{each.name} (since {each.since.astimezone(UTC):%H:%M:%S}Z)" for each in alerts))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def reasons(readings: Sequence[TriggerReading]) -> tuple[Reason, ...]:
    """Everything that fired, in order of precedence: the first is the reason, the others were true as well."""
    fired = sorted((reading for reading in readings if reading.fired), key=lambda reading: PRECEDENCE.index(reading.name))
    return tuple(
        Reason(
            kind="trigger",
            name=reading.name.value,
            value=reading.subject or reading.value,
            limit=reading.limit,
            detail=reading.detail,
        )
        for reading in fired
    )


def _resource(
    name: TriggerName,
    what: str,
    limit: float,
    pods: Sequence[PodHistory],
    samples: Callable[[PodHistory], tuple[tuple[float, float], ...]],
    limits: Limits,
    *,
    limited: bool,
    since: float,
) -> TriggerReading:
    reading = _Reading(name, limit, "share")
    measured = [(pod, taken) for pod in pods if pod.read_at >= since and (taken := samples(pod))]
    if not measured:
        if pods and not limited:
            return reading.unknown(f"the containers have no {what} limit")
        return reading.unknown(f"no {what} of a new pod was measured in the last {limits.window:.0f} s")
    pod, taken = max(measured, key=lambda each: (_running(each[1], limit), each[1][-1][1]))
    running, value = _running(taken, limit), taken[-1][1]
    climb = _climb(taken) if name is TriggerName.MEMORY else ""
    span = taken[-1][0] - taken[-running][0] if running else 0.0
    if running >= limits.samples and span >= _least_span(limits.samples):
        return reading.fires(value, f"{pod.pod}: {running} samples running above {limit:.0%}{climb}")
    over = f", above {limit:.0%} for {span:.0f} s" if running >= limits.samples else ""
    over = f", {running} of {limits.samples} samples above {limit:.0%}" if 0 < running < limits.samples else over
    return reading.quiet(value, f"{pod.pod}{over}{climb}")


def _least_span(samples: int) -> float:
    """Seconds that so many samples :data:`SAMPLE_SECONDS` apart take, less what rounds come early by."""
    return 0.9 * (samples - 1) * SAMPLE_SECONDS


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

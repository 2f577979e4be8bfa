"""A rollout as it is kept in its checkpoint: everything another console needs to show it, resume it or roll it back."""

from datetime import datetime
from enum import StrEnum

import msgspec

from services.model.gates import GateResult
from services.model.objects import Json, ObjectRef
from services.model.release import Release
from services.model.steps import Plan


class Phase(StrEnum):
    """Where a rollout stands. The last four are final."""

    RUNNING = "running"
    PAUSED = "paused"
    ROLLING_BACK = "rolling_back"
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled_back"
    NEEDS_ATTENTION = "needs_attention"
    REFUSED = "refused"

    @property
    def final(self) -> bool:
        return self in (Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.REFUSED)


class Kind(StrEnum):
    """What a rollout is for: a new version, or only the way back to an earlier one."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"


class StepOutcome(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    ABORTED = "aborted"


class StepState(msgspec.Struct, frozen=True, kw_only=True):
    """``started`` is wall time; ``seconds`` and ``elapsed`` are pace."""

    outcome: StepOutcome = StepOutcome.PENDING
    started: datetime | None = None
    seconds: float = 0.0
    expected_seconds: float = 0.0
    """What it is expected to take now (an extended analysis takes longer than planned)."""
    requests: float = 0.0
    """Requests the new version served while this step ran (analyses only)."""
    note: str = ""
    verdict: str = ""
    """What an analysis came to: healthy, undecided, no_data, promoted (by a person), or holds: nothing wrong, no proof asked."""
    argo_at: float | None = None
    """Seconds after exposure at which Argo's default rule had aborted by then, on the same counts; ``None``: it had not."""


EVIDENCE_UNIT = "of 100"
ENOUGH_EVIDENCE = 100.0
"""The judge's evidence wherever a person or a document is told of it: of the 100 that make a rollback, or prove health. ``log_e``
and what is named so beside it is ln E itself, in nats."""


def of_hundred(evidence: float) -> str:
    """Evidence as a person reads it: only what reaches 100 is shown as 100, and evidence of the contrary is 0."""
    if evidence >= ENOUGH_EVIDENCE:
        return f"{ENOUGH_EVIDENCE:.0f}"
    return f"{min(ENOUGH_EVIDENCE - 1.0, max(0.0, evidence)):.0f}"


class TriggerName(StrEnum):
    ALERT = "alert"
    ERROR_RATE = "error-rate"
    LATENCY_P99 = "latency-p99"
    HEALTH = "health"
    CRASH_LOOP = "crash-loop"
    PROGRESS_DEADLINE = "progress-deadline"
    CPU = "cpu"
    MEMORY = "memory"
    JUDGE = "judge"


class TriggerReading(msgspec.Struct, frozen=True, kw_only=True):
    """One trigger at one look: ``value`` against ``limit`` in ``unit``; each is ``None`` while unknown.

    ``fired`` is the guarded decision (judge, section 8), not merely value > limit; ``detail`` says what is missing.
    """

    name: TriggerName
    value: float | None
    limit: float | None
    unit: str
    fired: bool = False
    detail: str = ""
    at: float | None = None
    """Pace second at which what it rests on was told, where that is not the look's own."""
    subject: str = ""
    """What it fired for, where that says more than the value: the name of an alert."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a rollout ended as it did. ``kind``: trigger, gate, input, operator or error."""

    kind: str
    name: str
    value: Json = None
    limit: Json = None
    detail: str = ""


class Guard(msgspec.Struct, frozen=True):
    """What says which item of a list a path means: a container's name, a route's destination."""

    path: str
    value: Json


class UndoRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One value this rollout replaced: what was there, and what it wrote. ``None`` means absent."""

    object: ObjectRef
    path: str
    old: Json
    new: Json
    step: int
    guards: tuple[Guard, ...] = ()
    revision: int = 0
    """The Deployment's revision that ``old`` was taken from, where it was."""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """What one version served over the trailing window: counts, not rates. Latencies in seconds; shares 0–1. ``errors`` is
    ``None`` where requests were counted and nobody can say how they ended."""

    pods: int = 0
    ready: int = 0
    requests: float = 0.0
    errors: float | None = 0.0
    p50: float | None = None
    p99: float | None = None
    cpu: float | None = None
    memory: float | None = None
    restarts: int = 0

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.requests if self.requests and self.errors is not None else None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One scrape: pace second, the new version (canary) beside the old one (stable)."""

    at: float
    canary: Arm
    stable: Arm


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """How old the metrics are that everything else is drawn from, and what is wrong with reading them. Pace seconds."""

    data_at: float | None = None
    """Of the newest data of every version that has to be read, the older; ``None`` before there was any."""
    missing: tuple[str, ...] = ()
    """Versions (canary, stable) that could not be read at the latest look. Data that is just not due yet is none such."""
    since: float | None = None
    """Since when something is missing without a break: the data before it is of then."""
    why: str = ""
    """What is wrong, on one line. Without anything ``missing``, what could not be read in part."""

    @property
    def words(self) -> str:
        """What is missing, and why; empty where nothing is."""
        if not self.missing:
            return ""
        whose = "metrics" if len(self.missing) > 1 else f"the metrics of {self.missing[0]}"
        return f"{whose} can't be read ({self.why})"


class SlowEdge(msgspec.Struct, frozen=True):
    """The bound of the latency histogram (s) nearest a percentile of the running version, and how many of the ``total``
    requests whose duration is known took longer than it."""

    seconds: float
    slow: float
    total: float


class Events(msgspec.Struct, frozen=True):
    """How many events of a ratio there were, and how many of them were bad."""

    total: float
    bad: float


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """The judge on the time before the deploy: pods of the running version against each other, in so many ``rows`` of counts.

    Of ``splits`` it ``aborted`` so many; 0 is what it should be. ``noise`` is each metric's dispersion (1 is Poisson) where it is
    taken as known from there; ``brief`` that of a look too short to know, which counts as much as it has rows, where it is
    more than is assumed without it.
    """

    rows: int
    splits: int
    aborted: int
    noise: dict[str, float] = {}
    brief: dict[str, float] = {}


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The running version before anything changed. ``requests`` 0 means nothing was served: nothing can be compared."""

    seconds: float
    requests: float
    error_rate: float | None
    p99: float | None
    edges: dict[str, SlowEdge] = {}
    """What counts as slow for the judge, by the name of its metric."""
    ratios: dict[str, Events] = {}
    """Ratios and endpoints that are judged besides, by name."""
    replay: Replayed | None = None


class JudgedMetric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric before the judge, counted from exposure on: ``s`` bad ones of ``n`` requests to the new version, ``f`` of ``m``
    to the old one. Evidence in nats."""

    name: str
    edge: float | None = None
    """What is slow, in seconds; ``None`` for a metric that is no latency."""
    n: float
    s: float
    m: float
    f: float
    ratio_low: float
    ratio_high: float | None
    """Limits of the ratio of the bad shares, 95 % at all times at once; ``None``: none."""
    r: float
    """Ratio that is tolerated."""
    d: float
    """Difference of the shares that is tolerated."""
    noise: float
    """D: how much noisier than Poisson the counts are taken to be."""
    log_e: float
    log_ok: float
    onset: float
    """Seconds after exposure at which a regression began, if there is one."""
    path: tuple[float, ...] = ()
    """The newest values of ``log_e``, one an interval…"""
    alone_at: float | None = None
    """…and the value at which this metric would make an abort by itself."""


class Unproven(msgspec.Struct, frozen=True, kw_only=True):
    """A metric that is judged and has no part in a proof of health, and why: nothing of it could be compared. ``needed``: without
    it nothing is proven."""

    name: str
    edge: float | None = None
    why: str
    needed: bool = False


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What the judge says now (``services/analysis/judge``). Gauges go from 0 to 100; ``seconds`` are pace, from exposure on."""

    verdict: str
    """healthy, regressed, undecided or no_data."""
    seconds: float
    intervals: int
    regression: float
    health: float
    log_e: float
    """ln E of a regression in any metric…"""
    abort_at: float
    """…and the value at which the rollout is rolled back."""
    highest: float
    """The largest ln E so far: evidence as strong as that appears in at most 1 of exp(highest) deploys of a healthy version."""
    leading: str
    """The metric to name."""
    past: bool
    """Whether the new version is compared with the time before the deploy: nothing else serves any more."""
    metrics: tuple[JudgedMetric, ...]
    """Those that have data…"""
    unproven: tuple[Unproven, ...] = ()
    """…and those that health is not, or not yet, proven for."""
    path: tuple[float, ...]
    """The newest values of ``log_e``, one an interval."""
    argo_at: float | None = None
    """When Argo's default rule would have aborted, seconds after exposure…"""
    argo_unanswered: bool = False
    """…and whether because its measurements had no data."""
    at: float | None = None
    """Pace second of the latest look that could be compared…"""
    quiet: float = 0.0
    """…and for how long, up to it, one of the versions had no requests."""
    detail: str = ""
    """Why, in words."""
    memory: Json = None
    """What the judge goes on from; nobody else reads it."""

    @property
    def undrawn(self) -> "Judgement":
        """Without what is only drawn of each metric."""
        return msgspec.structs.replace(self, metrics=tuple(msgspec.structs.replace(one, path=()) for one in self.metrics))


class Driver(msgspec.Struct, frozen=True, kw_only=True):
    """Who drives: the person, the machine, a token that only the living process holds."""

    operator: str
    host: str
    home: str
    """An opaque id of the home directory: consoles of the same home can restart this driver at once."""
    token: str
    since: datetime

    @property
    def identity(self) -> str:
        """The Lease's holderIdentity."""
        return f"{self.operator}@{self.host}#{self.token}"


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """The checkpoint. ``now`` is the pace second of its writing; ``step`` the step under way."""

    v: int = 1
    id: str
    release: Release
    plan: Plan
    gates: tuple[GateResult, ...] = ()
    operator: str
    approvers: tuple[str, ...] = ()
    created: datetime
    phase: Phase = Phase.RUNNING
    step: int = 0
    steps: tuple[StepState, ...] = ()
    undo: tuple[UndoRecord, ...] = ()
    epoch: int = 0
    driver: Driver | None = None
    baseline: Baseline | None = None
    exposed_at: float | None = None
    """Pace second of the first share of requests on the new version."""
    raised_at: float | None = None
    """Pace second from which the first five minutes count: the latest rise of the new version's share, or the end of the
    latest time in which nobody watched it. Never before ``exposed_at``."""
    weight: int = 0
    actual_weight: int | None = None
    samples: tuple[Sample, ...] = ()
    triggers: tuple[TriggerReading, ...] = ()
    reason: Reason | None = None
    also: tuple[Reason, ...] = ()
    next: str = ""
    """What the machine will do next, in words."""
    next_at: float | None = None
    """Pace second at which it will, where that is known."""
    now: float = 0.0
    written: datetime | None = None
    started: float = 0.0
    finished: float | None = None
    rollback_started: float | None = None
    breach_at: float | None = None
    left: tuple[str, ...] = ()
    """Commands to do by hand what could not be restored."""
    journal_first: int | None = None
    journal_last: int | None = None
    pause_reason: str = ""
    freshness: Freshness | None = None
    """``None``: nobody has said."""
    judgement: Judgement | None = None
    alerts_before: tuple[str, ...] | None = None
    """Fingerprints of the alerts that fired for the service before anything was changed; ``None``: nobody could say."""
    cluster: str = ""
    """What tells its cluster from others (see ``services/rollout/belonging.py``); empty where that could not be read."""

    @property
    def kind(self) -> Kind:
        """A rollout without steps was made from what runs now, to take it back: it has only its rollback to do."""
        return Kind.DEPLOY if self.plan.steps else Kind.ROLLBACK

    @property
    def versions(self) -> tuple[str, str]:
        """From which version to which it goes: for a rollback ``release.version`` is the one that is left."""
        goes = (self.plan.previous_version, self.release.version)
        return goes if self.kind is Kind.DEPLOY else (goes[1], goes[0])


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished rollout leaves in its cluster: the evidence of the ``rollback-tested`` gate."""

    rollout: str
    service: str
    version: str
    previous_version: str
    environment: str
    tier: str
    strategy: str
    outcome: str
    """``succeeded``, ``rolled_back`` or ``needs_attention``."""
    restored: bool
    operator: str
    finished: datetime
    journal_id: str
    journal_seq: int
    journal_hash: str
    values_restored: int = 0
    """Values that the rollout had changed and its rollback put back. A record of an older form says nothing here: 0."""
    template_changed: bool = False
    """Whether the stable workload itself had begun to run this version."""
    highest_weight: int = 0
    """The largest share of the requests, in percent, that was routed to this version beside stable."""
    pods: int = 0
    """The most pods of this version that were seen at once."""
    served: bool = False
    """Whether this version was seen to answer requests."""

    @property
    def took_back(self) -> bool:
        """Whether something of the new version really ran and was taken back: what a rehearsed rollback has to show."""
        return self.values_restored > 0 and (self.template_changed or self.highest_weight > 0 or self.pods > 0)

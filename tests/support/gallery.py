"""Every widget on one screen, with fixed values: a deploy of payment-service at 25 %."""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from services.model.fleet import PodView
from services.model.gates import GateName, GateOutcome, GateResult
from services.model.objects import Change, ObjectRef
from services.model.release import Release, Strategy, Target, Tier
from services.model.rollout import Phase, Rollout, StepOutcome, StepState, TriggerName, TriggerReading
from services.model.steps import Analyse, EnsureWorkload, MeasureBaseline, PatchImage, Plan, SetTraffic, SmokeTest
from widgets import ink
from widgets.charts import Chart, Series, SeriesChart, spark
from widgets.confirm import TypedConfirmation
from widgets.diff import PlanDiff
from widgets.evidence import ChecklistView
from widgets.form import Field, Validity
from widgets.grid import Column, Grid, Row
from widgets.keybar import Key, KeyBar
from widgets.logview import LogEntry, LogView
from widgets.pods import POD_COLUMNS, PodStrip, pod_rows
from widgets.statusbar import Part, StatusBar
from widgets.stepper import Stepper
from widgets.triggers import Triggers

STABLE = ObjectRef("Deployment", "production", "payment-service")
CANARY = ObjectRef("Deployment", "production", "payment-service-canary")
ROUTE = ObjectRef("VirtualService", "production", "payment-service")

PLAN = Plan(
    steps=(
        MeasureBaseline(name="measure v2.14.1", seconds=60, expected_seconds=60),
        EnsureWorkload(
            name="canary v2.15.0, 1 replica",
            workload=CANARY,
            source=STABLE,
            images={"app": "registry.example/payment-service:v2.15.0"},
            labels={"track": "canary"},
            replicas=1,
            expected_seconds=20,
            changes=(Change(CANARY, "/spec/replicas", 0, 1, volatile=True),),
            command="kubectl scale deployment/payment-service-canary -n production --replicas=1",
        ),
        SetTraffic(
            name="25 %",
            router="istio",
            route=ROUTE,
            weight=25,
            expected_seconds=1,
            changes=(
                Change(ROUTE, "/spec/http/0/route/0/weight", 90, 75),
                Change(ROUTE, "/spec/http/0/route/1/weight", 10, 25),
            ),
            command="kubectl patch virtualservice/payment-service -n production --type=json -p '[…]'",
        ),
        Analyse(name="analyse 180 s", seconds=180, min_requests=500, expected_seconds=180),
        PatchImage(
            name="promote stable to v2.15.0",
            workload=STABLE,
            promotes=True,
            expected_seconds=60,
            changes=(
                Change(
                    STABLE,
                    "/spec/template/spec/containers/0/image",
                    "registry.example/payment-service:v2.14.1",
                    "registry.example/payment-service:v2.15.0",
                ),
            ),
            command="kubectl set image deployment/payment-service app=registry.example/payment-service:v2.15.0 -n production",
        ),
        SmokeTest(name="smoke tests (4)", checks=(), expected_seconds=4),
    ),
    objects=(STABLE, CANARY, ROUTE),
    stable=STABLE,
    canary=CANARY,
    route=ROUTE,
    previous_version="v2.14.1",
    new_images={"app": "registry.example/payment-service:v2.15.0"},
    digest="digest-1",
    rollback_seconds=2,
    notes=("payment-service has an autoscaler: replica counts may move",),
)


def step(outcome: StepOutcome, seconds: float = 0.0, note: str = "", requests: float = 0.0) -> StepState:
    return StepState(outcome=outcome, seconds=seconds, note=note, requests=requests)


ROLLOUT = Rollout(
    id="r-1",
    release=Release(
        service="payment-service",
        version="v2.15.0",
        target=Target(environment="production", tier=Tier.PRODUCTION, context="production", namespace="production"),
        strategy=Strategy.CANARY,
        ticket="CHG-4821",
    ),
    plan=PLAN,
    operator="jane",
    created=datetime(2026, 1, 1, tzinfo=UTC),
    step=3,
    steps=(
        step(StepOutcome.DONE, 60),
        step(StepOutcome.DONE, 4.1),
        step(StepOutcome.DONE, 0.4),
        step(StepOutcome.RUNNING, 70, "analysing", 1050),
        step(StepOutcome.PENDING),
        step(StepOutcome.PENDING),
    ),
    now=1000.0,
    next="promote stable if healthy",
    next_at=1110.0,
)

READINGS = (
    TriggerReading(name=TriggerName.ERROR_RATE, value=0.0021, limit=0.05, unit="share"),
    TriggerReading(name=TriggerName.LATENCY_P99, value=0.071, limit=0.066, unit="s", detail="2 of 3 looks"),
    TriggerReading(name=TriggerName.HEALTH, value=3, limit=3, unit="failures", fired=True, detail="payment-service-canary-x1"),
    TriggerReading(name=TriggerName.CPU, value=0.41, limit=0.9, unit="share"),
    TriggerReading(name=TriggerName.MEMORY, value=None, limit=0.9, unit="share", detail="no limit on the container"),
)

GATES = (
    GateResult(name=GateName.TICKET, outcome=GateOutcome.PASS, evidence="CHG-4821 is Approved", source="jira"),
    GateResult(
        name=GateName.APPROVAL,
        outcome=GateOutcome.FAIL,
        evidence="1 of 2: Ada Byron",
        detail="Ask one more of the designated approvers to approve CHG-4821; you can't approve your own.",
    ),
    GateResult(name=GateName.SMOKE_TESTS, outcome=GateOutcome.WAIVED, evidence="waived by policy in dev"),
    GateResult(
        name=GateName.ROLLBACK_TESTED,
        outcome=GateOutcome.UNKNOWN,
        evidence="the cluster staging does not answer",
        detail="Check the connection to staging, then ask again.",
    ),
)


def pod(name: str, version: str, track: str, ready: bool = True, reason: str = "", restarts: int = 0) -> PodView:
    return PodView(
        name=name, version=version, track=track, ready=ready, phase="Running", reason=reason, restarts=restarts, created=1000.0
    )


PODS = (
    pod("payment-service-canary-7d9-aaaaa", "v2.15.0", "canary"),
    pod("payment-service-canary-7d9-bbbbb", "v2.15.0", "canary", False, "CrashLoopBackOff", 4),
    pod("payment-service-canary-7d9-ccccc", "v2.15.0", "canary", False, "ContainerCreating"),
    *(pod(f"payment-service-6c4-{letter * 5}", "v2.14.1", "stable") for letter in "defghi"),
)

CHART = Chart(
    "P99",
    (
        Series("canary", tuple((float(at), 0.046 + 0.004 * ((at // 10) % 3)) for at in range(0, 300, 10)), ink.Tone.CANARY),
        Series(
            "stable",
            tuple((float(at), None if 100 <= at < 140 else 0.041 + 0.001 * ((at // 10) % 4)) for at in range(0, 300, 10)),
            ink.Tone.STABLE,
        ),
    ),
    unit="s",
    limit=0.066,
    now=300.0,
    span=300.0,
)


KEYS = (
    Key("R", "roll back now (≈ 2 s to stable)"),
    Key("p", "pause", priority=1),
    Key("P", "promote step", False, "the analysis is not over", priority=2),
    Key("A", "abort", priority=2),
    Key("j", "journal", priority=3),
    Key("?", "help", priority=1),
)

SERVICES = tuple(
    Row(
        name,
        (
            name,
            "v2.14.1",
            (f"{ready}/3", "good" if ready == 3 else "warn"),
            ("ok" if ready == 3 else "! degraded", "good" if ready == 3 else "warn"),
            spark(tuple(0.01 * ((at * ready) % 5) for at in range(8)), 8),
        ),
    )
    for name, ready in [("payment-service", 3), ("checkout", 2), ("search [/foo]\x1b[31m", 3), ("ledger", 3)]
)

SERVICE_COLUMNS = (
    Column("name", "SERVICE", 16, flex=2),
    Column("version", "VERSION", 10, flex=1),
    Column("ready", "READY", 5, align="right"),
    Column("health", "HEALTH", 12, priority=1),
    Column("errors", "ERRORS", 8, priority=2),
)


class Gallery(App[None]):
    """One of the scenes below. ``prepare`` gives the widgets their values once they are there."""

    CSS = "Vertical { height: auto; } .half { width: 1fr; padding: 0 1; } .tall { height: 1fr; }"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None  # a focused field blinks

    def __init__(
        self, scene: Callable[[], list[Widget]], prepare: Callable[["Gallery"], None], theme: str = "textual-dark"
    ) -> None:
        super().__init__()
        self.animation_level = "none"
        self.theme = theme
        self._scene = scene
        self._prepare = prepare

    def compose(self) -> ComposeResult:
        yield from self._scene()

    def on_mount(self) -> None:
        self._prepare(self)


def rollout_scene() -> list[Widget]:
    right = Vertical(Triggers(), PodStrip(), classes="half")
    return [
        StatusBar(),
        Horizontal(Vertical(Stepper(), classes="half"), right, classes="tall"),
        SeriesChart(),
        LogView(),
        KeyBar(),
    ]


def fill_rollout(app: App[None]) -> None:
    app.query_one(StatusBar).show(
        [Part("quarterdeck", "strong"), Part("payment-service → v2.15.0"), Part("production", "accent")],
        [Part("● journal ok", "good"), Part("ship 1.2s", "muted", 2), Part("jane", priority=1), Part("14:32:07Z", "muted")],
    )
    app.query_one(Stepper).show(ROLLOUT, 1002.0)
    app.query_one(Triggers).show(READINGS, 2.0)
    app.query_one(PodStrip).show(PODS)
    chart = app.query_one(SeriesChart)
    chart.styles.height = 9
    chart.show(CHART)
    log = app.query_one(LogView)
    log.styles.height = 3
    log.replace(
        [
            LogEntry("14:31:55", "kubectl patch virtualservice payment-service -n production -p '{…}'", "200", 6, "good"),
            LogEntry("14:31:58", "GET /pods [/foo]\x1b[2J", "refused", 0.4, "bad"),
        ]
    )
    app.query_one(KeyBar).show(KEYS)


def deploy_scene() -> list[Widget]:
    form = Vertical(
        Field("service", "Service", value="payment-service", check=lambda value: Validity(True, "runs v2.14.1")),
        Field("version", "Version", value="latest", check=lambda value: Validity(False, "not a semantic version, e.g. v1.2.3")),
        Field("environment", "Environment", choices=("dev", "staging", "canary", "production")),
        TypedConfirmation(),
        classes="half",
    )
    return [Horizontal(form, Vertical(ChecklistView(), classes="half"), classes="tall"), PlanDiff(), KeyBar(lines=2)]


def fill_deploy(app: App[None]) -> None:
    app.query_one(ChecklistView).show(GATES, {GateName.GRADUAL_ROLLOUT})
    app.query_one(PlanDiff).show(PLAN)
    app.query_one(TypedConfirmation).ask("production", "digest-1")
    app.query_one(TypedConfirmation).block("approval: 1 of 2")
    app.query_one(KeyBar).show(KEYS)


def lists_scene() -> list[Widget]:
    return [Grid(SERVICE_COLUMNS, id="services"), Grid(POD_COLUMNS, id="pods")]


def fill_lists(app: App[None]) -> None:
    app.query_one("#services", Grid).apply(SERVICES)
    app.query_one("#services", Grid).focus()
    app.query_one("#pods", Grid).apply(pod_rows(PODS, 1300.0))


def rolling_back(app: App[None]) -> None:
    fill_rollout(app)
    states = (*ROLLOUT.steps[:3], step(StepOutcome.ABORTED, 74, "error-rate 8.1% > 5%"), *ROLLOUT.steps[4:])
    app.query_one(Stepper).show(
        msgspec.structs.replace(ROLLOUT, phase=Phase.ROLLING_BACK, steps=states, rollback_started=1000.0, next_at=None), 1003.2
    )

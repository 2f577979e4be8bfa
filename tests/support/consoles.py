"""A console without clusters: pictures pushed by hand, and a session that records what it was asked."""

import argparse
import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from console.app import ConsoleApp
from console.draft import Answer, Draft, Preview
from console.exports import save_entries
from console.inspecting import Said, Standing
from console.pages import JournalPages
from console.tailing import Followed, LogsOf
from console.verifying import Verified
from console.view import Picture, RolloutCard
from services.audit.exporting import Form
from services.audit.verify import Verification
from services.cluster.calls import Call
from services.cluster.objectevents import ObjectEvent
from services.cluster.revisions import PodOf, Revision
from services.model.fleet import EnvironmentView, FleetView, Health, PodView, ServiceFigures, ServiceView
from services.model.gates import GateName, GateOutcome, GateResult
from services.model.objects import ObjectRef
from services.model.release import DeployRequest
from services.model.rollout import Arm, Baseline, Rollout, Sample
from services.model.steps import Plan
from services.rollout.foresight import Foresight
from services.rollout.outlook import Outlook, Sight
from services.rollout.provenance import Origin
from services.traffic.rules import RouteRules, Rule
from support.clock import ManualClock
from support.gallery import PLAN, PODS, READINGS, ROLLOUT
from support.judgements import REPLAYED, judgement
from widgets.logpane import Record

NOW = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
PACE = 1002.0
HOSTILE = "[/foo] [bold red]x[/] [@click=app.quit]q[/]\x1b[31m\u202e\u0000 " + "long " * 40


def service(name: str, environment: str = "production", **changes: Any) -> ServiceView:
    return ServiceView(
        **{
            "name": name,
            "namespace": environment,
            "environment": environment,
            "context": environment,
            "kind": "Deployment",
            "version": "v2.14.1",
            "ready": 3,
            "desired": 3,
            "health": Health.OK,
            "changed": NOW.timestamp() - 7200,
            **changes,
        }
    )


def environment(name: str, services: tuple[ServiceView, ...] = (), **changes: Any) -> EnvironmentView:
    return EnvironmentView(
        **{
            "name": name,
            "tier": name,
            "context": name,
            "namespaces": (name,),
            "reachable": True,
            "age_seconds": 1.0,
            "services": services,
            **changes,
        }
    )


def _samples() -> tuple[Sample, ...]:
    return tuple(
        Sample(
            at=700.0 + 10 * index,
            canary=Arm(pods=1, ready=1, requests=900.0, errors=1.0 + index % 3, p50=0.012, p99=0.046 + 0.001 * (index % 4)),
            stable=Arm(pods=3, ready=3, requests=2700.0, errors=5.0, p50=0.011, p99=0.044),
        )
        for index in range(31)
    )


def rollout(id: str = "r-1", **changes: Any) -> Rollout:
    base = msgspec.structs.replace(
        ROLLOUT,
        id=id,
        weight=25,
        actual_weight=25,
        samples=_samples(),
        triggers=tuple(reading for reading in READINGS if not reading.fired),
        baseline=Baseline(seconds=60, requests=18_000, error_rate=0.0019, p99=0.044, replay=REPLAYED),
        judgement=judgement(),
        started=700.0,
        created=datetime(2026, 1, 1, 0, 4, tzinfo=UTC),
    )
    release = {key: changes.pop(key) for key in ("service", "version") if key in changes}
    return msgspec.structs.replace(base, release=msgspec.structs.replace(base.release, **release), **changes)


def card(rollout: Rollout, **changes: Any) -> RolloutCard:
    return RolloutCard(
        **{
            "rollout": rollout,
            "environment": rollout.release.target.environment,
            "watched": True if not rollout.phase.final else None,
            "driver": "jane@laptop",
            "own": True,
            **changes,
        }
    )


def entry(seq: int, event: str, **changes: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "seq": seq,
        "id": f"id-{seq}",
        "timestamp": f"2026-01-01T00:09:{seq % 60:02d}.000000Z",
        "event": event,
        "user": "jane",
        "environment": "production",
        "service": "payment-service",
        "version": "v2.15.0",
        "command": "",
        "outcome": "ok",
        "rollback_triggered": False,
        "duration_seconds": None,
        "rollout": "r-1",
        "phase": "",
        "ref": "",
        "data": {},
        **changes,
    }


ENTRIES = (
    entry(1, "deployment.started", outcome="started"),
    entry(2, "deployment.approval_checked", outcome="pass"),
    entry(3, "deployment.executed", phase="intent", outcome="", data={"name": "25 %"}),
    entry(
        4,
        "deployment.executed",
        phase="outcome",
        ref="id-3",
        duration_seconds=0.006,
        command="kubectl patch virtualservice/payment-service -n production --type=json -p '[…]'",
        data={"name": "25 %"},
    ),
    entry(5, "deployment.health_check", outcome="holds"),
)
FLEET = FleetView(
    environments=(
        environment("dev", (service("payment-service", "dev", health=Health.FAILED, ready=0, detail="CrashLoopBackOff"),)),
        environment("staging", (service("payment-service", "staging"), service("checkout", "staging"))),
        environment(
            "production",
            (
                service("accounts"),
                service("checkout", version="v1.9.0", ready=5, desired=6, health=Health.DEGRADED, detail="1 of 6 not ready"),
                service("payment-service", canary_version="v2.15.0", canary_ready=1, canary_weight=25),
                service("search", changed=NOW.timestamp() - 600),
            ),
        ),
    )
)


FIGURES = {
    ("production", "accounts"): ServiceFigures(age=4.0, errors=0.00004, p99=0.035, trend=(0.034, 0.036, 0.035, 0.035)),
    ("production", "checkout"): ServiceFigures(age=4.0, errors=0.062, p99=0.31, trend=(0.08, 0.09, 0.2, 0.31)),
    ("production", "payment-service"): ServiceFigures(age=2.0, errors=0.002, p99=0.041, trend=(0.041, 0.06, None, 0.041)),
    ("production", "search"): ServiceFigures(problem="search-7d9f-x2: answered 404"),
    ("staging", "checkout"): ServiceFigures(age=90.0, errors=0.01, p99=0.02, trend=(0.02,)),
}
"""Few errors, too many, a hole in the trend, none at all, old ones; and of the others nothing."""


def picture(**changes: Any) -> Picture:
    return Picture(
        **{
            "fleet": FLEET,
            "rollouts": (card(rollout()),),
            "entries": ENTRIES,
            "operator": "Jane Doe",
            "now": NOW,
            "pace": PACE,
            "connecting": False,
            "figures": FIGURES,
            **changes,
        }
    )


def gates(**outcomes: GateOutcome) -> tuple[GateResult, ...]:
    """Every gate passes, but those named (with _ for -)."""
    return tuple(
        GateResult(
            name=name,
            outcome=outcomes.get(
                name.value.replace("-", "_"), GateOutcome.UNKNOWN if name is GateName.ENVIRONMENT else GateOutcome.PASS
            ),
            evidence=f"{name.value} was looked at",
        )
        for name in GateName
    )


STABLE_WORKLOAD = ObjectRef("Deployment", "production", "payment-service")


def revision(
    number: int, version: str, pods: int, *, current: bool = False, track: str = "stable", made: float = 7200.0
) -> Revision:
    """A revision of the payment service with so many ready pods, made so many seconds ago."""
    name = "payment-service" + ("-canary" if track == "canary" else "")
    return Revision(
        workload=msgspec.structs.replace(STABLE_WORKLOAD, name=name),
        replica_set=f"{name}-{number}",
        track=track,
        number=number,
        version=version,
        created=NOW.timestamp() - made,
        desired=pods,
        ready=pods,
        current=current,
        pods=tuple(
            PodOf(
                name=f"{name}-{number}-{index}",
                uid=f"{name}-{number}-{index}",
                ready=True,
                phase="Running",
                reason="",
                restarts=index,
                created=NOW.timestamp() - made,
                node="node-a",
                containers=(name, "proxy"),
            )
            for index in range(pods)
        ),
    )


STANDING = Standing(
    revisions=(
        revision(1, "v2.15.0", 1, current=True, track="canary", made=120.0),
        revision(12, "v2.14.1", 3, current=True),
        revision(11, "v2.14.0", 0, made=90_000.0),
        revision(10, "v2.13.9", 0, made=900_000.0),
    ),
    origins={
        "payment-service-canary-1": Origin(operator="jane", rollout="r-1", source="rollout"),
        "payment-service-12": Origin(operator="ops-lee", rollout="r-0", source="record"),
    },
    routes=(
        RouteRules(
            router="istio",
            ref=ObjectRef("VirtualService", "production", "payment-service"),
            rules=(
                Rule("headers x-beta exact yes", (("payment-service canary", None),)),
                Rule("every request", (("payment-service stable", 75), ("payment-service canary", 25))),
            ),
            actual=25,
        ),
    ),
)
SAID = Said(
    events=(
        ObjectEvent(
            about=("Pod", "payment-service-canary-1-0"),
            warning=True,
            reason="Unhealthy",
            message="Readiness probe failed: HTTP probe failed with statuscode: 503",
            count=3,
            first=NOW.timestamp() - 110,
            last=NOW.timestamp() - 90,
            key="one",
        ),
        ObjectEvent(
            about=("Deployment", "payment-service-canary"),
            warning=False,
            reason="ScalingReplicaSet",
            message="Scaled up replica set payment-service-canary-1 to 1",
            count=1,
            first=NOW.timestamp() - 120,
            last=NOW.timestamp() - 120,
            key="two",
        ),
    )
)


def foresight(**changes: Any) -> Foresight:
    """At 250 requests a second to the new version a doubling is seen, though not within the analysis's time."""
    seen = {"surely": 0.0042, "even": 0.0033, "doubled": 340.0, "health": 90.0}
    errors = Sight(metric="errors", now=0.0019, **seen)
    one = Outlook(step=3, weight=25, rate=250.0, seconds=180.0, errors=errors)
    baseline = Baseline(seconds=60, requests=60_000, error_rate=0.0019, p99=0.044, replay=REPLAYED)
    return Foresight(**{"outlook": (one,), "baseline": baseline, **changes})


class StubTail:
    """A log: batches that were there from the start, then those that a test puts."""

    def __init__(self, first: list[Record]) -> None:
        self.waiting: asyncio.Queue[list[Record]] = asyncio.Queue()
        self.waiting.put_nowait(first)
        self.followed = Followed(live=2, containers=("payment-service", "proxy"), container="payment-service")

    async def batches(self) -> AsyncGenerator[list[Record]]:
        while True:
            yield await self.waiting.get()


CHECKED = Verification(
    ok=True,
    entries=12_345,
    segments=3,
    first=1,
    last=12_345,
    problems=(),
    signed=12_300,
    signed_at="2026-11-23T14:30:00.000000Z",
    key="quarterdeck.journal/0b1c2d3e+a1b2c3d4+AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
)


class StubSession:
    """``console.session.Session`` with its deploys and rollbacks in one; ``asked`` keeps the intents in their order."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.results = gates()
        self.plan: Plan = PLAN
        self.failure: Exception | None = None
        self.problems: dict[str, str] = {}
        self.looked_at: tuple[str, ...] = ()
        self.standings = STANDING
        self.said = SAID
        self.log: list[Record] = []
        self.tail = StubTail([])
        self.home: Any = None
        self.sandboxed = False
        self.read_only = False
        self.calls: tuple[Call, ...] = ()
        self.looks: list[Foresight] = [foresight()]
        """What is known, one after the other, of what the analyses of a plan will see."""
        self.mute: Exception | None = None
        """Why what a service stands on can't be asked."""
        self.gone = ""
        """Why what a rollback was to restore is no longer to be done."""
        self.pages = JournalPages(Path("there is no journal"))
        self.checked = Verified(NOW, CHECKED)

    @property
    def deploys(self) -> "StubSession":
        return self

    @property
    def inspecting(self) -> "StubSession":
        return self

    async def standing(self, environment: str, namespace: str, service: str) -> Standing:
        if self.mute is not None:
            raise self.mute
        return self.standings if service == "payment-service" else Standing()

    async def events(self, environment: str, namespace: str, service: str, pods: Sequence[str]) -> Said:
        return self.said

    def logs(self, wanted: LogsOf, previous: bool, since: int | None, container: str) -> StubTail:
        self.asked.append(("logs", wanted.words, "previous" if previous else "", str(since or ""), container))
        self.tail = StubTail(self.log)
        return self.tail

    @property
    def rollbacks(self) -> "StubSession":
        return self

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def close(self, patience: float) -> None:
        pass

    def field_problem(self, name: str, value: str) -> str:
        return self.problems.get(name, "")

    async def verified(self) -> Verified:
        return self.checked

    async def saved_entries(self, name: str, form: Form, chunks: AsyncIterator[Sequence[Mapping[str, Any]]]) -> tuple[Path, int]:
        return await save_entries(self.home, name, form, chunks, NOW)

    def redacted(self, text: str) -> str:
        return text

    def canonical_environment(self, text: str) -> str:
        return "production" if text == "prod" else text

    def look_at(self, services: Sequence[ServiceView]) -> None:
        self.looked_at = tuple(service.name for service in services)

    def pods(self, environment: str, service: str) -> tuple[PodView, ...]:
        return PODS if service == "payment-service" else ()

    def driver_process(self, card: RolloutCard) -> int | None:
        return 4711 if card.own else None

    async def draft(self, request: DeployRequest) -> Draft:
        self._fail()
        release = msgspec.structs.replace(
            ROLLOUT.release,
            service=request.service,
            version=request.version,
            target=msgspec.structs.replace(ROLLOUT.release.target, environment=self.canonical_environment(request.environment)),
        )
        return Draft(release, self.plan)

    async def checks(self, draft: Draft, confirmed: str | None = None) -> AsyncIterator[GateResult]:
        for result in self.results:
            yield result

    async def foresight(self, draft: Draft) -> AsyncGenerator[Foresight]:
        for look in self.looks:
            yield look
        await asyncio.Event().wait()

    async def start(self, draft: Draft, typed: str) -> str:
        self.asked.append(("start", draft.release.service, typed))
        self._fail()
        return "r-1"

    async def intend(self, card: RolloutCard, verb: str) -> Answer:
        return self._answer(verb, card)

    async def take_over(self, card: RolloutCard) -> Answer:
        return self._answer("take_over", card)

    async def of_rollout(self, card: RolloutCard) -> Answer:
        return self._answer("roll_back", card)

    def overtaken(self, environment: str, service: str, preview: Preview) -> str:
        return self.gone

    async def of_service(self, environment: str, service: str, preview: Preview) -> Answer:
        self.asked.append(("roll_back_service", environment, service))
        return Answer("rolling back", "r-1")

    async def preview(self, environment: str, service: str, revision: str = "") -> Preview:
        self.asked.append(("preview", environment, service, *([revision] if revision else [])))
        self._fail()
        return Preview(f"roll back {service} in {environment}", ("image v2.15.0 back to v2.14.1", HOSTILE), rollout(), revision)

    def _answer(self, verb: str, card: RolloutCard) -> Answer:
        self.asked.append((verb, card.key))
        self._fail()
        return Answer(f"{verb} of {HOSTILE}", card.key)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class TestConsole(ConsoleApp):
    """The console on a stub; the first picture is there from the start."""

    __test__ = False
    session: StubSession  # type: ignore[assignment]
    own_clock: ManualClock

    def __init__(self, shown: Picture | None = None, **arguments: str) -> None:
        super().__init__(argparse.Namespace(**arguments))
        self.clock = self.own_clock = ManualClock()
        self.session = StubSession()
        self.picture = picture() if shown is None else shown

    async def pause_briefly(self) -> None:
        await asyncio.sleep(0)


def words_on(app: ConsoleApp) -> str:
    """Everything that is on the screen, as text."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


def questioned(app: ConsoleApp, question: type) -> bool:
    """Whether such a question is on the screen, and its key has begun to rest: what a test's clock does counts from now on."""
    return isinstance(app.screen, question) and getattr(app.screen, "_rests_until", None) is not None


async def until(pilot: Any, there: Callable[[], Any]) -> None:
    """Let the console work until ``there`` holds; fails after half a minute: a busy machine is no defect."""
    end = time.monotonic() + 30.0
    while time.monotonic() < end:
        if there():
            return
        await pilot.pause(0.01)
    raise AssertionError(f"it never came:\n{words_on(pilot.app)}")


Scene = Callable[[Any], Awaitable[None]]

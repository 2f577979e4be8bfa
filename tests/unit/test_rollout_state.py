"""What can happen to a rollout, in any order that can occur: the checkpoint never contradicts itself."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.model.gates import Checklist, GateName, GateOutcome, GateResult
from services.model.objects import ObjectRef
from services.model.release import Release, Strategy, Target, Tier
from services.model.rollout import Arm, Freshness, Phase, Reason, Rollout, Sample, StepOutcome, UndoRecord
from services.model.steps import Analyse, MeasureBaseline, PatchImage, Pause, Plan, SetTraffic, WaitReady
from services.rollout import state

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STABLE = ObjectRef("Deployment", "production", "payment-service")
ROUTE = ObjectRef("VirtualService", "production", "payment-service")
PLAN = Plan(
    steps=(
        MeasureBaseline(name="baseline", seconds=60, expected_seconds=60),
        SetTraffic(name="5 %", router="istio", route=ROUTE, weight=5),
        Analyse(name="analyse", seconds=120, expected_seconds=120, min_requests=500),
        Pause(name="wait", seconds=None),
        PatchImage(name="promote", workload=STABLE, promotes=True),
        WaitReady(name="ready", workload=STABLE, timeout=300),
    ),
    objects=(STABLE, ROUTE),
    stable=STABLE,
    canary=None,
    route=ROUTE,
    previous_version="v2.14.1",
    new_images={"app": "app:v2.15.0"},
    digest="d",
    rollback_seconds=2,
)
BREACH = Reason(kind="trigger", name="error-rate", value=0.08, limit=0.05, detail="8 of 100")


def fresh() -> Rollout:
    return state.begin(
        id="r1",
        release=Release(
            service="payment-service",
            version="v2.15.0",
            target=Target(environment="production", tier=Tier.PRODUCTION, context="production", namespace="production"),
            strategy=Strategy.CANARY,
        ),
        plan=PLAN,
        checklist=Checklist(results=(GateResult(name=GateName.TICKET, outcome=GateOutcome.PASS, evidence=""),), digest="d"),
        operator="jane",
        approvers=("amira",),
        created=NOW,
        pace=100.0,
    )


def at_step(number: int) -> Rollout:
    rollout = fresh()
    for _ in range(number):
        rollout = state.step_finished(state.step_started(rollout, NOW))
    return state.step_started(rollout, NOW)


class RolloutMachine(RuleBasedStateMachine):
    """Every sequence of calls that the engine, the watch loop and people can make."""

    def __init__(self) -> None:
        super().__init__()
        self.rollout = fresh()
        self.pace = 100.0
        self.first_reason: Reason | None = None

    def running(self) -> bool:
        return self.rollout.phase is Phase.RUNNING and state.current(self.rollout) is not None

    @precondition(running)
    @rule()
    def start(self) -> None:
        before = self.rollout
        self.rollout = state.step_started(self.rollout, NOW)
        if state.current_state(before).outcome is StepOutcome.RUNNING:
            assert self.rollout == before  # a driver that resumes finds the step as it was left

    @precondition(lambda self: self.running() and state.current_state(self.rollout).outcome is StepOutcome.RUNNING)
    @rule(seconds=st.floats(0, 500), requests=st.floats(0, 1e6))
    def progress(self, seconds: float, requests: float) -> None:
        before = state.current_state(self.rollout).seconds
        self.rollout = state.step_progressed(self.rollout, seconds=seconds, requests=requests)
        assert state.current_state(self.rollout).seconds >= before

    @precondition(lambda self: self.running() and state.current_state(self.rollout).outcome is StepOutcome.RUNNING)
    @rule()
    def finish(self) -> None:
        self.rollout = state.step_finished(self.rollout)

    @precondition(lambda self: self.running())
    @rule()
    def pause(self) -> None:
        self.rollout = state.paused(self.rollout, "operator: paused by jane")

    @precondition(lambda self: self.rollout.phase is Phase.PAUSED)
    @rule()
    def resume(self) -> None:
        self.rollout = state.resumed(self.rollout)

    @precondition(lambda self: not self.rollout.phase.final and self.rollout.phase is not Phase.NEEDS_ATTENTION)
    @rule(name=st.sampled_from(["error-rate", "cpu"]))
    def breach(self, name: str) -> None:
        reason = Reason(kind="trigger", name=name)
        already = self.rollout.phase is Phase.ROLLING_BACK
        self.rollout = state.breached(self.rollout, reason, pace=self.pace)
        if not already:
            self.first_reason = reason

    @precondition(lambda self: self.rollout.phase is Phase.ROLLING_BACK)
    @rule(left=st.lists(st.just("kubectl …"), max_size=2))
    def rolled_back(self, left: list[str]) -> None:
        self.rollout = state.rolled_back(self.rollout, left=tuple(left), pace=self.pace)

    @precondition(lambda self: self.rollout.phase is Phase.NEEDS_ATTENTION)
    @rule()
    def again(self) -> None:
        self.rollout = state.tried_again(self.rollout, pace=self.pace)

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.pace += seconds
        self.rollout = state.stamped(self.rollout, pace=self.pace, written=NOW)

    @invariant()
    def steps_are_in_order(self) -> None:
        outcomes = [own.outcome for own in self.rollout.steps]
        done = [outcome is StepOutcome.DONE for outcome in outcomes]
        assert done == sorted(done, reverse=True)
        assert done.count(True) == self.rollout.step
        assert outcomes.count(StepOutcome.RUNNING) <= 1

    @invariant()
    def nothing_runs_in_a_rollback(self) -> None:
        if self.rollout.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.NEEDS_ATTENTION):
            assert not {StepOutcome.RUNNING, StepOutcome.PENDING} & {own.outcome for own in self.rollout.steps}
            assert self.rollout.reason == self.first_reason
            assert self.rollout.breach_at is not None

    @invariant()
    def restored_means_nothing_left(self) -> None:
        assert (self.rollout.phase is Phase.ROLLED_BACK) <= (not self.rollout.left)
        assert (self.rollout.phase is Phase.NEEDS_ATTENTION) <= bool(self.rollout.left)

    @invariant()
    def it_says_what_comes_next(self) -> None:
        if self.rollout.phase in (Phase.RUNNING, Phase.PAUSED, Phase.ROLLING_BACK, Phase.NEEDS_ATTENTION):
            assert self.rollout.next
        else:
            assert not self.rollout.next

    @invariant()
    def it_survives_its_checkpoint(self) -> None:
        assert msgspec.json.decode(msgspec.json.encode(self.rollout), type=Rollout) == self.rollout


TestRollout = RolloutMachine.TestCase


def test_the_countdown_of_an_analysis() -> None:
    rollout = state.step_progressed(at_step(2), seconds=72)
    rollout = state.stamped(rollout, pace=500.0, written=NOW)
    assert rollout.next_at == 548.0
    assert rollout.next == "wait if healthy; undecided → +120 s, then ask"


def test_an_extended_analysis_asks_next_time() -> None:
    rollout = state.extended(at_step(2), 120, "undecided")
    assert state.is_extended(rollout)
    assert rollout.next == "wait if healthy; undecided → ask a person"


def test_the_next_share_of_requests_is_named() -> None:
    assert at_step(0).next == "5 % of requests to the new version"


def test_a_pause_that_the_operator_asked_for_needs_nobody_else() -> None:
    rollout = at_step(2)
    assert not state.needs_person(state.paused(rollout, "operator: paused by jane"))
    assert state.needs_person(state.paused(rollout, "undecided: 12 of 500 requests"))


def test_the_first_five_minutes_count_from_the_first_share() -> None:
    rollout = state.exposed(at_step(1), weight=5, pace=130.0)
    rollout = state.exposed(rollout, weight=25, pace=400.0)
    assert rollout.exposed_at == 130.0
    assert rollout.weight == 25


def test_the_five_minutes_count_anew_from_each_rise_of_the_share() -> None:
    rollout = state.exposed(at_step(1), weight=5, pace=130.0)
    rollout = state.exposed(rollout, weight=25, pace=400.0)
    assert (rollout.exposed_at, rollout.raised_at) == (130.0, 400.0)
    rollout = state.exposed(rollout, weight=25, pace=500.0)
    assert rollout.raised_at == 400.0  # the same share again is no rise
    assert state.exposed(rollout, weight=0, pace=600.0).raised_at == 400.0
    promoted = state.risen(rollout, pace=700.0)
    assert (promoted.exposed_at, promoted.raised_at, promoted.weight) == (130.0, 700.0, 25)


def test_a_version_without_a_route_is_exposed_as_its_pods_come() -> None:
    rollout = state.risen(at_step(4), pace=130.0)
    assert (rollout.exposed_at, rollout.raised_at, rollout.weight) == (130.0, 130.0, 0)


def test_a_time_in_which_nobody_watched_puts_an_exposed_version_on_trial_again() -> None:
    assert state.watched_anew(at_step(1), pace=120.0).raised_at is None
    rollout = state.watched_anew(state.exposed(at_step(1), weight=5, pace=130.0), pace=900.0)
    assert (rollout.exposed_at, rollout.raised_at, rollout.triggers) == (130.0, 900.0, ())


def test_only_the_newest_samples_are_kept() -> None:
    rollout = fresh()
    for second in range(100):
        rollout = state.observed(
            rollout, sample=Sample(at=float(second), canary=Arm(), stable=Arm()), triggers=(), actual_weight=None
        )
    assert [sample.at for sample in rollout.samples] == [float(second) for second in range(40, 100)]


@given(st.lists(st.sampled_from(["/spec/template", "/spec/replicas"]), max_size=5))
def test_promotion_is_told_by_what_was_recorded(paths: list[str]) -> None:
    undo = tuple(UndoRecord(object=STABLE, path=path, old=1, new=2, step=4) for path in paths)
    assert state.promoting(state.recorded(fresh(), undo)) == ("/spec/template" in paths)


def test_a_finished_rollout_can_still_be_rolled_back() -> None:
    rollout = fresh()
    for _ in PLAN.steps:
        rollout = state.step_finished(state.step_started(rollout, NOW))
    rollout = state.succeeded(rollout, pace=900.0)
    rolling = state.breached(rollout, BREACH, pace=950.0)
    assert rolling.phase is Phase.ROLLING_BACK
    assert rolling.finished is None
    assert {own.outcome for own in rolling.steps} == {StepOutcome.DONE}


@given(
    behind=st.floats(-3600, 3600),
    away=st.floats(0, 7200),
    speed=st.sampled_from([1.0, 20.0]),
    exposed=st.none() | st.floats(0, 500),
)
def test_a_checkpoint_of_a_machine_whose_clock_differs(behind: float, away: float, speed: float, exposed: float | None) -> None:
    """``behind`` wall seconds by which the taker's clock is behind the writer's, ``away`` how long nobody drove."""
    written = 1000.0
    rollout = state.stamped(at_step(2), pace=written, written=NOW)
    sample = Sample(at=990.0, canary=Arm(), stable=Arm())
    fresh = Freshness(data_at=980.0, missing=("stable",), since=980.0, why="no answer")
    rollout = msgspec.structs.replace(rollout, exposed_at=exposed, raised_at=exposed, samples=(sample,), freshness=fresh)
    pace, now = written + (away - behind) * speed, NOW + timedelta(seconds=away - behind)
    found = state.rebased(rollout, pace=pace, now=now, speed=speed)
    elapsed = max(0.0, (now - NOW).total_seconds()) * speed
    assert pace - elapsed - 1e-3 <= found.now <= pace + 1e-3
    shift = found.now - rollout.now
    assert abs(found.started - rollout.started - shift) < 1e-6
    assert abs(found.samples[0].at - sample.at - shift) < 1e-6
    assert found.freshness is not None
    assert found.freshness.data_at == found.freshness.since
    assert abs(found.samples[0].at - (found.freshness.data_at or 0.0) - 10.0) < 1e-6
    assert (found.exposed_at is None) == (exposed is None)
    if exposed is not None and found.exposed_at is not None and found.raised_at is not None:
        assert abs(found.exposed_at - exposed - shift) < 1e-6
        assert found.exposed_at == found.raised_at
    if rollout.next_at is not None and found.next_at is not None:
        assert abs(found.next_at - rollout.next_at - shift) < 1e-6
    assert (
        msgspec.structs.replace(
            found,
            **{
                name: getattr(rollout, name)
                for name in ("now", "started", "exposed_at", "raised_at", "next_at", "samples", "freshness")
            },
        )
        == rollout
    )
    if away >= behind:
        assert abs(shift) < 1e-3  # within what the clocks allow nothing moves


def test_a_checkpoint_that_was_never_written_is_only_kept_from_the_future() -> None:
    assert state.rebased(fresh(), pace=5000.0, now=NOW, speed=1.0) == fresh()
    assert state.rebased(fresh(), pace=40.0, now=NOW, speed=1.0).started == 40.0


def test_a_rollback_takes_longer_once_stable_was_changed() -> None:
    ready = WaitReady(name="stable ready", workload=STABLE, timeout=300, expected_seconds=18)
    plan = msgspec.structs.replace(PLAN, canary=ObjectRef("Deployment", "shop", "app-canary"), steps=(*PLAN.steps[:-1], ready))
    rollout = msgspec.structs.replace(fresh(), plan=plan)
    assert state.expected_rollback(rollout) == 2
    image = UndoRecord(object=STABLE, path="/spec/template/spec/containers/0/image", old="app:v1", new="app:v2", step=4)
    promoted = msgspec.structs.replace(rollout, undo=(image,))
    assert state.expected_rollback(promoted) == 20
    rolling = msgspec.structs.replace(plan, canary=None)
    assert state.expected_rollback(msgspec.structs.replace(promoted, plan=rolling)) == 2, "its plan counts the pods already"

"""What the documents of a result say: kinds and names that programs act on, and times of steps that ran."""

import msgspec
import pytest
from support.rollouts import rollout

from services.model.rollout import Kind, Phase, StepOutcome, StepState
from services.model.steps import Analyse, Scale
from services.rollout.follow import Followed
from services.rollout.report import steps, verdict

replace = msgspec.structs.replace


@pytest.mark.parametrize(
    ("pause", "kind", "name", "detail"),
    [
        ("attention: the cluster refused x: 403", "error", "attention", "the cluster refused x: 403"),
        ("undecided: too few requests", "operator", "undecided", "too few requests"),
        ("shared incident: both fail", "trigger", "shared-incident", "both fail"),
        ("operator: paused by jane", "operator", "operator", "paused by jane"),
    ],
)
def test_why_it_waits_is_a_word_and_a_sentence(pause: str, kind: str, name: str, detail: str) -> None:
    _, code, reason = verdict(Followed(replace(rollout(), phase=Phase.PAUSED, pause_reason=pause)))
    assert code == 5
    assert reason is not None
    assert (reason.kind, reason.name, reason.detail) == (kind, name, detail)


def test_only_steps_that_ran_have_seconds() -> None:
    base = rollout()
    plan = replace(base.plan, steps=(Scale(name="a", workload=base.plan.stable, replicas=1),) * 4)
    outcomes = (StepOutcome.DONE, StepOutcome.ABORTED, StepOutcome.SKIPPED, StepOutcome.PENDING)
    states = tuple(StepState(outcome=outcome, seconds=0.5 if index < 2 else 0.0) for index, outcome in enumerate(outcomes))
    told = steps(replace(base, plan=plan, steps=states))
    assert [each["seconds"] for each in told] == [0.5, 0.5, None, None]


def test_a_way_back_is_told_from_a_deploy() -> None:
    back = rollout()
    plan = replace(back.plan, steps=(Analyse(name="analyse", seconds=1, min_requests=1),))
    deploy = replace(back, plan=plan)
    assert (deploy.kind, deploy.versions) == (Kind.DEPLOY, ("v2.14.1", "v2.15.0"))
    assert (back.kind, back.versions) == (Kind.ROLLBACK, ("v2.15.0", "v2.14.1"))

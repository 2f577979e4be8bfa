"""What the documents of a result say: kinds and names that programs act on, and times of steps that ran."""

import argparse
import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.clock import ManualClock
from support.rollouts import NOW, rollout

from console.commands.rollback import _follow
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


@pytest.mark.parametrize("taken_back", [True, False])
async def test_a_rollback_names_what_runs_now_and_warns_of_a_version_that_was_taken_back(
    taken_back: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    back = replace(rollout(), phase=Phase.ROLLED_BACK)
    release = back.release
    told = {
        "event": "deployment.completed",
        "outcome": "rolled_back",
        "environment": release.target.environment,
        "service": release.service,
        "version": back.plan.previous_version,
        "rollout": "r-before",
        "user": "jane",
        "timestamp": NOW.isoformat(),
        "data": {"previous_version": "v2.13.0", "reason": {"kind": "operator", "name": "rollback", "detail": "P99 doubled"}},
    }

    async def followed(*_: object) -> Followed:
        return Followed(back)

    monkeypatch.setattr("console.commands.following.followed", followed)
    monkeypatch.setattr("console.commands.following.not_recorded", lambda *_: "")
    journal = SimpleNamespace(entries=lambda **_: [told] if taken_back else [])
    context: Any = SimpleNamespace(clock=ManualClock(), journal=journal)
    inventory: Any = SimpleNamespace(checkpoints={}, records={})
    code = await _follow(argparse.Namespace(service=release.service, output="json"), context, inventory, back, None)
    out, err = capsys.readouterr()
    told_of = json.loads(out)["rollback"]
    assert (code, told_of["restored_version"]) == (0, "v2.14.1")
    warned = f"v2.14.1 was rolled back to v2.13.0 at {NOW:%Y-%m-%d %H:%M:%S}Z: P99 doubled (rollout r-before, begun by jane)"
    assert (warned in err and "WARNING" in err) is taken_back
    assert (told_of["taken_back_before"] or {}).get("reason") == ("P99 doubled" if taken_back else None)

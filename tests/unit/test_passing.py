"""What an analysis needs to pass: proof, time and requests enough, and a new version that does not fail right now."""

import math
from typing import Any

import msgspec
import pytest
from support.configuration import configured
from support.judged import analysis
from support.rollouts import rollout

from services.analysis.judge import Verdict
from services.analysis.trial import Look, Trial, looked, opened
from services.model.rollout import Arm, Baseline, Rollout, Sample, StepOutcome, StepState, TriggerName, TriggerReading
from services.rollout import judging, state
from services.rollout.passing import doubt, proven_early
from widgets.format import reading

SETTINGS = configured()
WELL = Arm(requests=1000.0, errors=1.0)
BASELINE = Baseline(seconds=600.0, requests=100_000.0, error_rate=0.001, p99=0.1)
ERRORS = TriggerReading(name=TriggerName.ERROR_RATE, value=0.001, limit=0.05, unit="share", detail="1 of 1000 requests")
STABLE = Arm(requests=9000.0, errors=9.0)


def trial(looks: int = 12, errors: float = 1.0) -> Trial:
    found = opened(judging.parameters(SETTINGS, BASELINE))
    for _ in range(looks):
        found = looked(found, Look(counts={"errors": (2000.0, 18_000.0, errors, 18.0)}, seconds=10.0, step=0))
    return found


def under_way(
    judge: Trial | None = None,
    *,
    seconds: float = 80.0,
    expected: float = 300.0,
    requests: float = 5000.0,
    lately: Arm | None = WELL,
    readings: tuple[TriggerReading, ...] = (ERRORS,),
    **step: Any,
) -> Rollout:
    """In an analysis of five minutes that may end early."""
    base = rollout()
    own = analysis(300.0, **{"promote_early": True, **step})
    begun = msgspec.structs.replace(
        base,
        plan=msgspec.structs.replace(base.plan, steps=(own,)),
        steps=(StepState(outcome=StepOutcome.RUNNING, seconds=seconds, expected_seconds=expected, requests=requests),),
        baseline=BASELINE,
        triggers=readings,
        samples=(Sample(at=90.0, canary=lately, stable=STABLE),) if lately is not None else (),
    )
    found, look = judge or trial(), Look(counts={"errors": (2000.0, 18_000.0, 1.0, 18.0)}, seconds=10.0, step=0)
    return state.judged(begun, judging.judged(begun, found, look))


def test_what_is_proven_passes_before_its_time() -> None:
    assert trial().state.verdict is Verdict.HEALTHY
    assert proven_early(under_way(), SETTINGS) == "proven healthy before its time"
    extended = under_way(seconds=350.0, expected=600.0, promote_early=False)
    assert proven_early(extended, SETTINGS) == "proven healthy after 350 s"


def test_what_was_proven_at_another_share_is_no_proof_before_the_judge_has_looked_at_this_one() -> None:
    found = under_way()
    assert judging.proven(found)
    (begun,) = found.steps
    done = msgspec.structs.replace(begun, outcome=StepOutcome.DONE)
    plan = msgspec.structs.replace(found.plan, steps=(*found.plan.steps, analysis(300.0, promote_early=True)))
    second = msgspec.structs.replace(found, plan=plan, step=1, steps=(done, begun))
    assert proven_early(second, SETTINGS) == ""
    assert not judging.proven(second)
    assert second.judgement is not None
    looks = judging.under_way(second.judgement, 1)
    for _ in range(12):
        look = Look(counts={"errors": (2000.0, 18_000.0, 1.0, 18.0)}, seconds=10.0, step=1)
        second, looks = state.judged(second, judging.judged(second, looks, look)), looked(looks, look)
    assert proven_early(second, SETTINGS) == "proven healthy before its time"


@pytest.mark.parametrize(
    ("lacks", "how"),
    [
        ("the time that a verdict takes at this share", {"seconds": 50.0}),
        ("requests", {"requests": 99.0}),
        ("proof", {"judge": trial(looks=1)}),
        ("proof of what is worse", {"judge": trial(errors=3.0)}),
        ("leave to end before its time", {"promote_early": False}),
        ("anything: its time is over", {"seconds": 300.0}),
        ("a need of proof", {"proof": False}),
        ("word of its errors", {"lately": Arm(requests=1000.0, errors=None)}),
        ("requests that do not fail now", {"lately": Arm(requests=1000.0, errors=80.0)}),
    ],
)
def test_what_lacks_anything_goes_on(lacks: str, how: dict[str, Any]) -> None:
    assert proven_early(under_way(**how), SETTINGS) == "", lacks


def test_who_has_no_judgement_goes_on() -> None:
    assert proven_early(msgspec.structs.replace(under_way(), judgement=None), SETTINGS) == ""


def test_nobody_is_called_good_whose_errors_are_not_known() -> None:
    assert doubt(under_way(), SETTINGS) == ""
    other = TriggerReading(name=TriggerName.HEALTH, value=0.0, limit=3.0, unit="failures", detail="answers")
    assert doubt(under_way(readings=(other, ERRORS)), SETTINGS) == ""
    for unknown in (
        under_way(readings=(other,)),
        under_way(readings=()),
        under_way(lately=None),
        under_way(lately=Arm(requests=1000.0, errors=None)),
    ):
        assert doubt(unknown, SETTINGS).startswith("the new version's error rate is not known")
    blind = msgspec.structs.replace(ERRORS, value=None, detail="no requests in the last 60 s")
    assert doubt(under_way(readings=(blind,)), SETTINGS) == (
        "the new version's error rate is not known (no requests in the last 60 s)"
    )


def test_who_fails_now_is_not_good_though_its_trigger_looks_no_more() -> None:
    assert doubt(under_way(lately=Arm(requests=1000.0, errors=80.0)), SETTINGS) == (
        "80 of 1000 requests to the new version failed lately, more than 5% of them"
    )
    few = Arm(requests=40.0, errors=4.0)
    assert doubt(under_way(lately=few), SETTINGS) == "", "too few to tell"
    usual = under_way(lately=Arm(requests=100.0, errors=8.0))
    assert doubt(usual, SETTINGS) != ""
    before = msgspec.structs.replace(BASELINE, error_rate=0.04)
    assert doubt(msgspec.structs.replace(usual, baseline=before), SETTINGS) == "", "where 4 % always failed, 8 of 100 is chance"


@pytest.mark.parametrize("share", [0.99996, 0.9999999])
def test_evidence_that_is_nearly_enough_is_not_all_of_it(share: float) -> None:
    found = trial(looks=1, errors=40.0)
    # of a judge who would take so much of it for enough
    parameters = msgspec.structs.replace(found.parameters, alpha=math.exp(-found.state.log_e / share))
    nearly = msgspec.structs.replace(found, parameters=parameters)
    judgement = judging.judged(under_way(), nearly, Look(counts={}, seconds=10.0, step=0))
    assert judgement.verdict == Verdict.UNDECIDED
    assert 99.0 < judgement.regression < 100.0
    assert reading(judgement.regression, "of 100") == "99"
    assert "of a regression 99 of 100" in judging.evidence_words(state.judged(under_way(), judgement))

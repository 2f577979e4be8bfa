"""A rollout before the judge: every look of it in order, from the new version's first requests on.

The engine and the retrospective go through the same function, so that what was recorded is judged again exactly as it was.
"""

import math
from collections.abc import Collection, Mapping

import msgspec

from services.analysis.judge import ERRORS, Evidence, Interval, Parameters, Proof, State, Verdict, begin, observe, proven
from services.analysis.judge.argo import Argo, measured, unanswered
from services.analysis.judge.evidence import Mixture

PAST_R = 2.0
"""Against the past, what moves everything no longer cancels: a ratio up to this is tolerated then, and is what counts as
unacceptable."""
CARRIED = 0.25
"""Share of the evidence of health that a step may take over from those before it: the rest it has to earn at its own share of the
requests. Throwing evidence away keeps its guarantee."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One interval as it was counted: for each metric n, m, s, f (see :class:`Interval`). ``past``: the control is the time
    before the deploy. ``step`` is the plan's step under way. ``missing``: why there are none of a metric, in words.
    ``alone``: metrics of which the time before the deploy has nothing to compare with, where that is the control."""

    counts: dict[str, tuple[float, float, float, float]]
    seconds: float
    step: int = 0
    past: bool = False
    missing: dict[str, str] = {}
    alone: tuple[str, ...] = ()


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rollout stands before the judge. Its size does not grow; everything in it can be stored as JSON."""

    parameters: Parameters
    edges: dict[str, float] = {}
    """What is slow for each metric of latency, in seconds."""
    state: State
    argo: Argo = Argo()
    step: int = -1
    past: bool = False
    alone: tuple[str, ...] = ()
    """As in the latest look."""

    @property
    def proven(self) -> bool:
        """Whether every metric that has data, or has to have some, has enough evidence of health, and the traffic is not away."""
        decided = self.state.verdict in (Verdict.REGRESSED, Verdict.NO_DATA)
        return not decided and proven(self.judging, self.state)

    @property
    def judging(self) -> Parameters:
        """The parameters as the latest look was judged with."""
        return against_the_past(self.parameters, self.state, self.alone) if self.past else self.parameters


def opened(parameters: Parameters, edges: Mapping[str, float] | None = None) -> Trial:
    """A trial in which nothing was seen yet."""
    return Trial(parameters=parameters, edges=dict(edges or {}), state=begin(parameters))


def going_into(trial: Trial, step: int) -> Trial:
    """The trial as ``step`` of the plan begins with it: health has to be proven anew there. The same one within its step."""
    if step == trial.step:
        return trial
    return msgspec.structs.replace(trial, state=_renewed(trial.parameters, trial.state), step=step)


def looked(trial: Trial, look: Look) -> Trial:
    """The trial after one more interval. Raises ``ValueError`` for counts that can't be, or of a metric that it does not have."""
    state = going_into(trial, look.step).state
    counts = {name: Interval(*four) for name, four in look.counts.items()}
    parameters = against_the_past(trial.parameters, state, look.alone) if look.past else trial.parameters
    return Trial(
        parameters=trial.parameters,
        edges=trial.edges,
        state=observe(parameters, state, counts, seconds=look.seconds),
        argo=beside(trial.argo, look),
        step=look.step,
        past=look.past,
        alone=look.alone,
    )


def beside(argo: Argo, look: Look) -> Argo:
    """Argo's default rule after one more interval. It does not stand still where there are no requests, or nothing is known."""
    errors = look.counts.get(ERRORS.name)
    if errors is None or not errors[0]:
        return unanswered(argo, look.seconds)
    return measured(argo, Interval(*errors), look.seconds)


def against_the_past(parameters: Parameters, state: State, alone: Collection[str] = ()) -> Parameters:
    """The same judge with the time before the deploy as its control: more is tolerated, and the noise is taken as unknown, since
    what was measured between pods at one moment says nothing of two moments. Of those that stand ``alone`` nothing more can be
    proven; one that was compared before has no part in the proof then, one that never was still keeps it from being one."""
    metrics = tuple(
        msgspec.structs.replace(
            metric,
            r=max(metric.r, PAST_R),
            health_r=max(metric.health_r, PAST_R),
            history=None,
            rows=None,
            proof=Proof.NEVER if metric.name in alone and one.has_data else metric.proof,
        )
        for metric, one in zip(parameters.metrics, state.metrics, strict=True)
    )
    return msgspec.structs.replace(parameters, metrics=metrics)


def _renewed(parameters: Parameters, state: State) -> State:
    """The state at the beginning of another step: health has to be proven anew, nearly all of it."""
    most = CARRIED * parameters.healthy_at
    metrics = tuple(_carried(one, one.log_ok - most) if one.log_ok > most else one for one in state.metrics)
    verdict = Verdict.UNDECIDED if state.verdict is Verdict.HEALTHY else state.verdict
    return msgspec.structs.replace(state, metrics=metrics, verdict=verdict)


def _carried(evidence: Evidence, surplus: float) -> Evidence:
    def less(mixture: Mixture) -> Mixture:
        wealth = tuple(one - surplus for one in mixture.log_wealth)
        return Mixture(wealth, mixture.used, mixture.log_e - surplus)

    return msgspec.structs.replace(
        evidence,
        healthy_relative=less(evidence.healthy_relative),
        healthy_absolute=less(evidence.healthy_absolute),
        log_ok=evidence.log_ok - surplus,
    )


def worst(limit: float) -> float | None:
    """A limit for a document that has no infinity."""
    return limit if math.isfinite(limit) else None

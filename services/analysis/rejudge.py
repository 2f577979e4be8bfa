"""A rollout judged again from its journal: every look that was recorded, in order, with the settings of then or others."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from services.analysis.judge import ERRORS, Interval, Parameters, Verdict, leading
from services.analysis.judge.argo import Argo
from services.analysis.recording import Recording
from services.analysis.replay import Replay, first_trigger
from services.analysis.trial import Look, beside, looked, opened
from services.model.errors import Rejected
from services.model.rollout import TriggerName

NOTHING = Interval(0.0, 0.0, 0.0, 0.0)


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal holds of one rollout before the judge. ``parameters`` are those of then."""

    parameters: Parameters
    looks: tuple[Look, ...]

    def recording(self) -> Recording:
        """The same counts in the form of a file, with intervals of their mean length."""
        rows = tuple(
            {ERRORS.name: NOTHING, **{name: Interval(*four) for name, four in look.counts.items()}} for look in self.looks
        )
        return Recording(interval_s=sum(look.seconds for look in self.looks) / len(self.looks), rows=rows)


def recorded(entries: Iterable[Mapping[str, Any]], rollout: str) -> Recorded:
    """The looks in a rollout's ``deployment.health_check`` entries, oldest first. Raises :class:`Rejected` where there are none,
    and for one that can't be read."""
    looks: list[Look] = []
    parameters: Parameters | None = None
    for entry in entries:
        data = entry.get("data")
        judge = data.get("judge") if isinstance(data, dict) else None
        if not isinstance(judge, dict):
            continue
        try:
            looks.append(msgspec.convert(judge, Look, strict=False))
            if parameters is None and "parameters" in judge:
                parameters = msgspec.convert(judge["parameters"], Parameters, strict=False)
        except (msgspec.ValidationError, ValueError) as error:
            raise Rejected("journal", f"entry {entry.get('seq')}", f"has no look of the judge ({error})", _ACCEPTED) from None
    if not looks or parameters is None:
        raise Rejected("rollout", rollout, "has no look of the judge in this journal", _ACCEPTED)
    return Recorded(parameters=parameters, looks=tuple(looks))


_ACCEPTED = "a rollout that this home drove and that got requests: see `quarterdeck journal list --event deployment.health_check`"


def rejudge(found: Recorded, parameters: Parameters, *, hard_triggers: bool = False) -> Replay:
    """Every look in order, as the engine had them. Raises :class:`Rejected` for counts that can't be."""
    trial, path, argo, fired = opened(parameters), [], _argo(found.looks), False
    trigger = first_trigger(found.recording()) if hard_triggers else None
    for look in found.looks:
        try:
            trial = looked(trial, look)
        except (ValueError, TypeError) as error:
            raise Rejected("journal", f"look {trial.state.intervals + 1}", str(error), _ACCEPTED) from None
        path.append(trial.state.log_e)
        fired = trigger is not None and trial.state.intervals == trigger.interval
        if fired or trial.state.verdict is Verdict.REGRESSED:
            break
    state = trial.state
    verdict = Verdict.REGRESSED if fired else state.verdict
    at = {Verdict.REGRESSED: state.elapsed_s, Verdict.HEALTHY: state.since_s}.get(verdict)
    leader = None if verdict is Verdict.NO_DATA else leading(parameters, state)[0].name
    return Replay(
        verdict=verdict,
        at_s=None if at is None else round(at, 6),
        metric=TriggerName.ERROR_RATE.value if fired else leader,
        intervals=len(found.looks),
        parameters=parameters,
        state=state,
        path=tuple(path),
        calibration=None,
        trigger=trigger if fired else None,
        argo=argo,
    )


def _argo(looks: Sequence[Look]) -> Argo:
    run = Argo()
    for look in looks:
        run = beside(run, look)
    return run

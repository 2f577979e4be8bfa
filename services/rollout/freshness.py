"""How old the metrics of a rollout are, and what is wrong with reading them: what a person is told beside every figure."""

from collections.abc import Mapping, Sequence

from services.analysis import ArmName, Unreadable, Windows
from services.analysis import Reading as PodAnswer
from services.analysis.sources import Reading
from services.model.rollout import Freshness, Rollout
from services.model.steps import MeasureBaseline
from services.rollout import state
from services.rollout.arms import Arms

_MOST_SAID = 300
"""Characters of a reason that are kept: it may quote what the other side answered, and has to fit into the checkpoint."""


def needed(rollout: Rollout, found: Arms | None = None) -> tuple[ArmName, ...]:
    """Versions whose metrics have to be there now: both once the new one gets requests, before it the old one's while its
    baseline is measured. Of ``found``, only those that have pods."""
    if rollout.exposed_at is not None:
        wanted = tuple(ArmName)
    else:
        wanted = (ArmName.STABLE,) if isinstance(state.current(rollout), MeasureBaseline) else ()
    pods = {ArmName.CANARY: True, ArmName.STABLE: True}
    if found is not None:
        pods = {ArmName.CANARY: bool(found.canary), ArmName.STABLE: bool(found.stable)}
    return tuple(arm for arm in wanted if pods[arm])


def from_pods(rollout: Rollout, windows: Windows, found: Arms, answers: Mapping[str, PodAnswer]) -> Freshness:
    """At a look that read the pods' own pages."""
    wanted = needed(rollout, found)
    missing = tuple(arm for arm in wanted if windows.read_at(arm) != windows.now)
    silent = {pod: answer.why for pod, answer in answers.items() if isinstance(answer, Unreadable)}
    names = found.names
    first = [f"{pod}: {why}" for pod, why in silent.items() if names.get(pod) in missing] or [
        f"{pod}: {why}" for pod, why in silent.items()
    ]
    more = f", and {len(silent) - 1} more" if len(silent) > 1 else ""
    why = f"{first[0]}{more}" if first else "its pods were not asked" if missing else ""
    return _after(rollout.freshness, windows.now, _oldest(windows, wanted), missing, why)


def from_elsewhere(
    rollout: Rollout, windows: Windows, found: Arms, reading: Reading, *, source: str, began: float, patience: float
) -> Freshness:
    """At a look at a metrics server that is looked at since pace second ``began``. Where it told nothing and nothing is wrong,
    its data is not due yet; after ``patience`` pace seconds of that, something is."""
    wanted = needed(rollout, found)
    untold = tuple(arm for arm in wanted if windows.read_at(arm) != windows.now)
    told = _oldest(windows, wanted)
    overdue = windows.now - (began if told is None else told) > patience
    missing = untold if reading.problem or overdue else ()
    why = reading.problem or (f"{source} has told nothing new" if missing else "")
    return _after(rollout.freshness, windows.now, None if told is None else min(told, reading.at - reading.age), missing, why)


def all_told(rollout: Rollout, windows: Windows, found: Arms) -> bool:
    """Whether the latest look told something of every version that has to be read."""
    return all(windows.read_at(arm) == windows.now for arm in needed(rollout, found) or (ArmName.STABLE,))


def unread(rollout: Rollout, now: float, why: str) -> Freshness:
    """At a look that could read nothing at all."""
    before = rollout.freshness
    return _after(before, now, before.data_at if before is not None else None, needed(rollout), why)


def _oldest(windows: Windows, arms: Sequence[ArmName]) -> float | None:
    """Of the newest data of each version; ``None`` where one was never read."""
    read = [windows.read_at(arm) for arm in arms or (ArmName.STABLE,)]
    known = [at for at in read if at is not None]
    return min(known) if len(known) == len(read) else None


def _after(before: Freshness | None, now: float, data_at: float | None, missing: Sequence[ArmName], why: str) -> Freshness:
    since = None
    if missing:
        # What went missing did so after the latest look that had everything.
        since = before.since if before is not None and before.missing else data_at
        since = now if since is None else since
    why = why if len(why) <= _MOST_SAID else why[: _MOST_SAID - 1] + "…"
    return Freshness(data_at=data_at, missing=tuple(arm.value for arm in missing), since=since, why=why)

"""The journal entries of a rollout, with the fields that every one of them carries (R6.1)."""

from services.audit import Event
from services.model.objects import Json
from services.model.rollout import Phase, Rollout


def entry(
    rollout: Rollout,
    event: str,
    *,
    outcome: str = "",
    command: str = "",
    data: dict[str, Json] | None = None,
    duration: float | None = None,
    user: str = "",
    phase: str = "",
    ref: str = "",
) -> Event:
    """``event`` about ``rollout``. ``duration`` is pace seconds; ``user`` the rollout's operator unless somebody else acted."""
    return Event(
        event=event,
        user=user or rollout.operator,
        environment=rollout.release.target.environment,
        service=rollout.release.service,
        version=rollout.release.version,
        command=command,
        change_ticket=rollout.release.ticket,
        approvers=rollout.approvers,
        outcome=outcome,
        rollback_triggered=rollout.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK) or rollout.breach_at is not None,
        duration_seconds=duration,
        rollout=rollout.id,
        phase=phase,
        ref=ref,
        data=data or {},
    )

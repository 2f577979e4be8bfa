"""R3.5: the rollback of this very release has been run with success outside production, and the evidence can be looked up.

Evidence is the record that a finished rollout leaves in its cluster, so a colleague's rehearsal counts as well as one's own.
A rollback that had nothing to take back (aborted while the baseline was measured, say) restores everything and proves nothing.
"""

from datetime import UTC, datetime

from services.gates.question import Finding, Question
from services.model.gates import GateOutcome
from services.model.release import Tier
from services.model.rollout import Record


async def look(question: Question) -> Finding:
    release = question.release
    records = [
        record
        for record in await question.find_records(release.service)
        if record.service == release.service and record.version == release.version and _rehearses(record, question)
    ]
    restored = [record for record in records if record.outcome == "rolled_back" and record.restored]
    tested = [record for record in restored if record.took_back]
    if tested:
        record = max(tested, key=_ended)
        return Finding(
            outcome=GateOutcome.PASS,
            evidence=(
                f"rolled back {_how_far(record)} in {record.environment} by {record.operator} "
                f"on {record.finished:%Y-%m-%d %H:%M}Z, restored; "
                f"journal entry {record.journal_seq}, hash {record.journal_hash[:12]}"
            ),
            source=f"rollout {record.rollout}, journal {record.journal_id}",
        )
    last = max((record for record in records if record.outcome != "succeeded"), key=_ended, default=None)
    evidence = f"no rollback of {release.version} has been rehearsed"
    if last is not None:
        when = f"in {last.environment} on {last.finished:%Y-%m-%d %H:%M}Z"
        evidence = f"the rollback of {release.version} {when} did not restore the service"
        if last in restored:
            evidence = f"the rollback of {release.version} {when} has no record of anything that ran and was taken back"
    place = _rehearsal_place(question)
    return Finding(
        outcome=GateOutcome.FAIL,
        evidence=evidence,
        detail=(
            f"Rehearse it: quarterdeck deploy {release.service} {release.version} -e {place}, and once the new version "
            f"has a share of the requests, quarterdeck rollback {release.service} -e {place}."
        ),
    )


def _ended(record: Record) -> datetime:
    """When it ended. A record that names no time zone was not written by us; it must not keep the others from being compared."""
    return record.finished if record.finished.tzinfo is not None else record.finished.replace(tzinfo=UTC)


def _how_far(record: Record) -> str:
    """How far the release had come when it was taken back."""
    if record.template_changed:
        return "after promotion"
    if record.highest_weight:
        return f"from {record.highest_weight} %"
    return f"with {record.pods} pod{'s' if record.pods != 1 else ''} of it running without requests"


def _rehearses(record: Record, question: Question) -> bool:
    """Whether a record is from an environment that we know and that is not production. Its own word is not enough."""
    environment = question.settings.environments.get(record.environment)
    return environment is not None and environment.tier is not Tier.PRODUCTION and record.tier != Tier.PRODUCTION


def _rehearsal_place(question: Question) -> str:
    """The configured environment to rehearse in: staging where there is one."""
    names = {environment.tier: name for name, environment in reversed(question.settings.environments.items())}
    return next((names[tier] for tier in (Tier.STAGING, Tier.CANARY, Tier.DEV) if tier in names), Tier.STAGING.value)

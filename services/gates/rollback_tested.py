"""R3.5: the rollback of this very release has been run with success outside production, and the evidence can be looked up.

Evidence is the record that a finished rollout leaves in its cluster, so a colleague's rehearsal counts as well as one's own.
"""

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
    tested = [record for record in records if record.outcome == "rolled_back" and record.restored]
    if tested:
        record = max(tested, key=lambda record: record.finished)
        return Finding(
            outcome=GateOutcome.PASS,
            evidence=(
                f"rolled back in {record.environment} by {record.operator} on {record.finished:%Y-%m-%d %H:%M}Z, restored; "
                f"journal entry {record.journal_seq}, hash {record.journal_hash[:12]}"
            ),
            source=f"rollout {record.rollout}, journal {record.journal_id}",
        )
    last = max((record for record in records if record.outcome != "succeeded"), key=lambda record: record.finished, default=None)
    evidence = f"no rollback of {release.version} has been rehearsed"
    if last is not None:
        when = f"in {last.environment} on {last.finished:%Y-%m-%d %H:%M}Z"
        evidence = f"the rollback of {release.version} {when} did not restore the service"
    place = _rehearsal_place(question)
    return Finding(
        outcome=GateOutcome.FAIL,
        evidence=evidence,
        detail=(
            f"Rehearse it: quarterdeck deploy {release.service} {release.version} -e {place}, "
            f"then quarterdeck rollback {release.service} -e {place}."
        ),
    )


def _rehearses(record: Record, question: Question) -> bool:
    """Whether a record is from an environment that we know and that is not production. Its own word is not enough."""
    environment = question.settings.environments.get(record.environment)
    return environment is not None and environment.tier is not Tier.PRODUCTION and record.tier != Tier.PRODUCTION


def _rehearsal_place(question: Question) -> str:
    """The configured environment to rehearse in: staging where there is one."""
    names = {environment.tier: name for name, environment in reversed(question.settings.environments.items())}
    return next((names[tier] for tier in (Tier.STAGING, Tier.CANARY, Tier.DEV) if tier in names), Tier.STAGING.value)

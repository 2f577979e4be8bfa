"""R3.3: smoke tests are defined for the service and are part of the plan, so that they run by themselves."""

from services.gates.question import Finding, Question
from services.model.gates import GateOutcome
from services.model.steps import SmokeTest


async def look(question: Question) -> Finding:
    service = question.release.service
    checks = question.settings.checks(service)
    if not checks:
        return Finding(
            outcome=GateOutcome.FAIL,
            evidence=f"no smoke tests are defined for {service}",
            detail=f"Define at least one under 'smoke_tests: {service}:' in the configuration.",
        )
    planned = {check for step in question.plan.steps if isinstance(step, SmokeTest) for check in step.checks}
    if not planned.issuperset(checks):
        return Finding(
            outcome=GateOutcome.FAIL,
            evidence=f"the plan does not run the smoke tests of {service}",
            detail="Make the plan again: the configuration has changed since.",
        )
    names = ", ".join(check.name for check in checks)
    count = "1 check runs" if len(checks) == 1 else f"{len(checks)} checks run"
    return Finding(
        outcome=GateOutcome.PASS,
        evidence=f"{count} after the deploy: {names}",
        source=question.settings.where(f"smoke_tests.{service}"),
    )

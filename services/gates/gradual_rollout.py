"""R3.4: the new version reaches its users gradually."""

from services.gates.question import Finding, Question
from services.model.gates import GateOutcome
from services.model.release import Strategy
from services.model.steps import SetTraffic

GRADUAL = (Strategy.ROLLING, Strategy.CANARY)


async def look(question: Question) -> Finding:
    """Pass for the strategies that replace a version little by little; a canary must have a first step below all requests."""
    strategy = question.release.strategy
    accepted = ", ".join(GRADUAL)
    if strategy not in GRADUAL:
        return Finding(outcome=GateOutcome.FAIL, evidence=f"{strategy} is not gradual", detail=f"Choose one of: {accepted}.")
    if strategy is Strategy.ROLLING:
        return Finding(outcome=GateOutcome.PASS, evidence="rolling: pods are replaced a few at a time", source="the plan")
    weights = [step.weight for step in question.plan.steps if isinstance(step, SetTraffic) and step.weight > 0]
    if not weights or weights[0] >= 100:
        return Finding(
            outcome=GateOutcome.FAIL,
            evidence="the canary would get all requests at once",
            detail="Give 'canary.steps' of the configuration a first weight below 100.",
        )
    steps = " → ".join(str(weight) for weight in weights)
    return Finding(outcome=GateOutcome.PASS, evidence=f"canary: {steps} % of the requests, then all", source="the plan")

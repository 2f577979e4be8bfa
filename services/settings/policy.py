"""Which gates bind in which tier. Strict unless the configuration says otherwise, and never less than strict in production."""

from enum import StrEnum

from pydantic import Field, model_validator

from services.model.release import Tier
from services.settings.section import BrokenRule, Section, broken_together, ranged

PRODUCTION_APPROVALS = 2


class Binding(StrEnum):
    """Whether a gate binds. ``waived`` is shown in the checklist, with the line that says so."""

    REQUIRED = "required"
    WAIVED = "waived"


def _binding() -> Binding:
    return Field(default=Binding.REQUIRED, description="required or waived")


class Policy(Section):
    """The gates of one tier (R3). ``approvals`` counts distinct people other than the operator; 0 waives the gate."""

    ticket: Binding = _binding()
    approvals: int = ranged(0, 10, "people", default=1)
    smoke_tests: Binding = _binding()
    gradual_rollout: Binding = _binding()
    rollback_tested: Binding = Field(default=Binding.WAIVED, description="required or waived")


class ProductionPolicy(Policy):
    """Production can be made stricter, never more lenient."""

    approvals: int = ranged(0, 10, "people", default=PRODUCTION_APPROVALS)
    rollback_tested: Binding = _binding()

    @model_validator(mode="after")
    def _never_relaxed(self) -> "ProductionPolicy":
        gates = ("ticket", "smoke_tests", "gradual_rollout", "rollback_tested")
        rules = [
            BrokenRule((gate,), "may not be waived: production can't be relaxed", "required")
            for gate in gates
            if getattr(self, gate) is Binding.WAIVED
        ]
        if self.approvals < PRODUCTION_APPROVALS:
            rule = f"{self.approvals} are too few: production can't be relaxed"
            rules.append(BrokenRule(("approvals",), rule, f"{PRODUCTION_APPROVALS} or more"))
        if rules:
            raise broken_together(rules)
        return self


class Policies(Section):
    """One policy a tier; what is not written is strict."""

    dev: Policy = Policy()
    staging: Policy = Policy()
    canary: Policy = Policy()
    production: ProductionPolicy = ProductionPolicy()

    def __getitem__(self, tier: Tier) -> Policy:
        policy: Policy = getattr(self, tier.value)
        return policy

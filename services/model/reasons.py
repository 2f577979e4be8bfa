"""An error as the reason of a result: for programs that read documents and entries, not for people."""

from services.model.errors import ExitCode, HeldByAnother, QuarterdeckError, Rejected
from services.model.rollout import Reason

_KINDS = {ExitCode.REJECTED: "input", ExitCode.GATE_UNMET: "gate"}


def reason_of(error: QuarterdeckError) -> Reason:
    """``input`` for what was rejected (named by its field), ``gate`` for an unmet one, ``operator`` where somebody else holds
    it, else ``error``."""
    if isinstance(error, Rejected):
        detail = f"{error.rule}; accepted: {error.accepted}"
        return Reason(kind="input", name=error.field, value=error.value, detail=detail)
    kind = "operator" if isinstance(error, HeldByAnother) else _KINDS.get(ExitCode(error.exit_code), "error")
    return Reason(kind=kind, name=error.word, detail=str(error))

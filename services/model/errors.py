"""What can go wrong, in the operator's words.

::

    QuarterdeckError
     ├ Rejected          bad input or configuration: nothing was attempted            exit 2
     ├ GateUnmet         a gate is not passed                                         exit 3
     ├ NeedsAttention    a person has to look: the state is not what it should be     exit 5
     ├ HeldByAnother     another operator drives this service                         exit 6
     ├ ObserverMode      a change was asked for in read-only mode                     exit 2
     ├ Unavailable       a cluster or system could not be reached or did not answer   exit 1
     │  ├ Forbidden      it answered 401 or 403
     │  ├ Conflict       the object changed meanwhile (409, or a failed ``test`` of a JSON patch)
     │  ├ NotFound       404
     │  ├ Throttled      429; ``retry_after`` in seconds
     │  └ OutcomeUnknown a write was sent and no answer came: it may have taken effect
     └ Invalid           the cluster refused a request as malformed or against its rules exit 1
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line; a pipeline acts on them."""

    DONE = 0
    FAILED = 1
    REJECTED = 2
    GATE_UNMET = 3
    ROLLED_BACK = 4
    NEEDS_ATTENTION = 5
    HELD_BY_ANOTHER = 6
    INTERRUPTED = 7


class QuarterdeckError(Exception):
    """What failed (``title``), on what and why (``detail``), and the one next action (``hint``)."""

    exit_code = ExitCode.FAILED
    word = "failed"
    """What a result and a journal entry call it: for programs, so it never changes with the wording of a title."""

    def __init__(self, title: str, detail: str = "", hint: str = "") -> None:
        super().__init__(title)
        self.title = title
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        title = self.title if self.title.endswith(("?", "!", ".")) else f"{self.title}."
        return " ".join(part for part in (title, self.detail, self.hint) if part).replace("..", ".")


class Rejected(QuarterdeckError):
    """Input that breaks a rule: the field, the value (already redacted), the rule and what would be accepted (R2.7)."""

    exit_code = ExitCode.REJECTED
    word = "rejected"

    def __init__(self, field: str, value: str, rule: str, accepted: str) -> None:
        super().__init__(f"{field}: {rule}", f"Got {value!r}.", f"Accepted: {accepted}.")
        self.field = field
        self.value = value
        self.rule = rule
        self.accepted = accepted


class GateUnmet(QuarterdeckError):
    exit_code = ExitCode.GATE_UNMET
    word = "gate_unmet"


class NeedsAttention(QuarterdeckError):
    exit_code = ExitCode.NEEDS_ATTENTION
    word = "needs_attention"


class HeldByAnother(QuarterdeckError):
    exit_code = ExitCode.HELD_BY_ANOTHER
    word = "held"


class ObserverMode(QuarterdeckError):
    exit_code = ExitCode.REJECTED
    word = "read_only"


class Unavailable(QuarterdeckError):
    word = "unavailable"


class Forbidden(Unavailable):
    word = "forbidden"


class Conflict(Unavailable):
    word = "conflict"


class NotFound(Unavailable):
    word = "not_found"


class Throttled(Unavailable):
    word = "throttled"

    def __init__(self, title: str, detail: str = "", hint: str = "", retry_after: float = 1.0) -> None:
        super().__init__(title, detail, hint)
        self.retry_after = retry_after


class OutcomeUnknown(Unavailable):
    """A write left and its answer was lost. Look at the object before doing anything else."""

    word = "outcome_unknown"


class Invalid(QuarterdeckError):
    """The cluster refused a request as malformed or against its rules (400, 422): asking again will not help."""

    word = "invalid"

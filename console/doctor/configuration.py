"""The configuration itself, as ``quarterdeck config check`` reads it."""

from pathlib import Path

from console.doctor.finding import Finding, Group, Topic
from services.settings import ConfigurationError, Settings


def told(path: Path, settings: Settings | None, error: ConfigurationError | None) -> list[Finding]:
    """One finding for each thing that is wrong."""
    if settings is not None:
        return [Topic(Group.CONFIGURATION, "valid", str(path)).ok(f"environments {', '.join(settings.environments)}")]
    if error is None:
        return []
    if not error.problems:
        return [Topic(Group.CONFIGURATION, "valid", str(path)).problem(error.title, error.detail or "a file", error.hint)]
    return [
        Topic(Group.CONFIGURATION, problem.key or "valid", f"{path}:{problem.line}" if problem.line else str(path)).problem(
            problem.problem,
            problem.accepted,
            f"Did you mean {problem.suggestion!r}?" if problem.suggestion else "Correct it, then: quarterdeck config check",
        )
        for problem in error.problems
    ]

"""The metrics server, where requests, errors and latency come from one: does it answer, and does it take every query."""

from console.doctor.finding import Check, Finding, Group, Topic
from services.analysis.sources.checking import check, example
from services.clock import Clock
from services.redaction import Redactor
from services.settings import Settings

_NEEDED = "every query: without data nothing is promoted"


def checks(settings: Settings, clock: Clock, redactor: Redactor) -> list[Check]:
    """None where the pods' own pages are the source: how they are read is a check of its own."""
    metrics = settings.metrics
    if metrics.source == "pods":
        return []
    place = metrics.prometheus.url if metrics.source == "prometheus" and metrics.prometheus is not None else "datadog"
    topic = Topic(Group.MEASUREMENTS, "metrics server", place)

    async def queries() -> list[Finding]:
        namespace = next(iter(settings.environments.values())).namespaces[0]
        found = await check(metrics, example(namespace), clock=clock, register=redactor)
        told = [
            topic.problem(f"{key} is refused: {redactor.text(said)}", _NEEDED, f"Correct it ({settings.where(key)}).")
            for key, said in found.refused.items()
        ]
        told += [
            topic.warning(f"{key} {said}", _NEEDED, f"Look whether it is what you mean ({settings.where(key)}).")
            for key, said in found.unmatched.items()
        ]
        if found.unasked:
            action = f"Check 'metrics.{metrics.source}' of the configuration and that it can be reached from here."
            told.append(topic.problem(redactor.text(found.unasked), _NEEDED, action))
        return told or [topic.ok("every query is taken")]

    return [Check(topic, queries)]

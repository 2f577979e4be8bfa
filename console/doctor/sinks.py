"""Where the journal is shipped to: does each sink answer, does it take our credentials, and would it take an entry."""

from functools import partial
from pathlib import Path

from console.doctor.finding import Check, Finding, Group, Topic
from services.audit.shipping.status import SinkState, look
from services.audit.sinks.probing import probe
from services.clock import Clock
from services.redaction import Redactor
from services.settings import Settings
from services.settings.sinks import SinkSection

_NEEDED = "every entry at every sink within a minute; until then it is on this machine alone"
_SAY = "quarterdeck journal ship --status"


def checks(settings: Settings, home: Path, clock: Clock, redactor: Redactor) -> list[Check]:
    """A probe of each sink, and how far it has come; a word where none is configured."""
    found = []
    for section in settings.journal.sinks:
        topic = Topic(Group.JOURNAL, f"sink {section.label}", str(getattr(section, "url", "") or section.kind))
        found.append(Check(topic, partial(_probed, topic, section, settings, home, clock, redactor)))
    if not found:
        found.append(Check(Topic(Group.JOURNAL, "shipping"), _nowhere))
    return found


async def _nowhere() -> list[Finding]:
    topic = Topic(Group.JOURNAL, "shipping")
    return [topic.skipped("no sink is configured: what is recorded is on this machine alone (journal.sinks)")]


async def _probed(
    topic: Topic, section: SinkSection, settings: Settings, home: Path, clock: Clock, redactor: Redactor
) -> list[Finding]:
    answer = await probe(section, secrets=redactor, clock=clock)
    if not answer.ok:
        return [topic.problem(redactor.text(answer.detail), _NEEDED, answer.hint)]
    (sink,) = look(home / "journal", clock.unix(), [section]).sinks
    if sink.state is SinkState.STOPPED:
        return [topic.problem(f"would take entries, but gets none: {sink.error}", _NEEDED, _SAY)]
    if sink.late:
        waits = f"{sink.backlog} entries wait, the oldest for {sink.lag_seconds:.0f} s"
        return [topic.warning(f"takes entries, but {waits}", _NEEDED, "quarterdeck journal ship --once")]
    if sink.dead_letters:
        return [topic.warning(f"takes entries; {sink.dead_letters} were refused", _NEEDED, "quarterdeck journal dlq list")]
    return [topic.ok(answer.detail or "takes entries")]

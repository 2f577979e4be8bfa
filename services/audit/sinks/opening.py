"""From a sink's section of the configuration to the sink. Each kind's code is loaded only where it is configured."""

from collections.abc import Sequence

from services.audit.sinks.base import Archive, Sink
from services.clock import Clock
from services.settings.load import SecretGuard
from services.settings.sinks import Elasticsearch, OpenSearch, SinkSection


def open_sink(section: SinkSection, *, secrets: SecretGuard, clock: Clock) -> Sink | Archive:
    """Nothing is connected yet. A secret that is not there is told by the sink's answers, not here."""
    match section:
        case Elasticsearch() | OpenSearch():
            from services.audit.sinks.elasticsearch import ElasticsearchSink

            return ElasticsearchSink(section, secrets=secrets, clock=clock)
    raise AssertionError(f"{section.kind} is a kind of sink without code")


def open_sinks(sections: Sequence[SinkSection], *, secrets: SecretGuard, clock: Clock) -> list[Sink | Archive]:
    return [open_sink(section, secrets=secrets, clock=clock) for section in sections]

"""From a sink's section of the configuration to the sink. Each kind's code is loaded only where it is configured."""

from services.audit.sinks.base import Archive, Sink
from services.clock import Clock
from services.settings.load import SecretGuard
from services.settings.sinks import S3, DatadogLogs, Elasticsearch, OpenSearch, Otlp, Relp, SinkSection, Splunk, Syslog


def open_sink(section: SinkSection, *, secrets: SecretGuard, clock: Clock) -> Sink | Archive:
    """Nothing is connected yet. A secret that is not there is told by the sink's answers, not here."""
    match section:
        case Elasticsearch() | OpenSearch():
            from services.audit.sinks.elasticsearch import ElasticsearchSink

            return ElasticsearchSink(section, secrets=secrets, clock=clock)
        case Splunk():
            from services.audit.sinks.splunk import SplunkSink

            return SplunkSink(section, secrets=secrets, clock=clock)
        case DatadogLogs():
            from services.audit.sinks.datadog import DatadogSink

            return DatadogSink(section, secrets=secrets, clock=clock)
        case Otlp():
            from services.audit.sinks.otlp import OtlpSink

            return OtlpSink(section, secrets=secrets, clock=clock)
        case Syslog():
            from services.audit.sinks.syslog import SyslogSink

            return SyslogSink(section, secrets=secrets, clock=clock)
        case Relp():
            from services.audit.sinks.relp import RelpSink

            return RelpSink(section, secrets=secrets, clock=clock)
        case S3():
            from services.audit.sinks.s3 import S3Archive

            return S3Archive(section, secrets=secrets, clock=clock)
    raise AssertionError(f"{section.kind} is a kind of sink without code")

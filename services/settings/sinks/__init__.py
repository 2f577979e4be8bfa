"""Where the journal is shipped to: one small file a kind of sink, told apart by ``kind``."""

from typing import Annotated

from pydantic import Field

from services.settings.sinks.base import SinkSection
from services.settings.sinks.datadog import DatadogLogs
from services.settings.sinks.elasticsearch import Elasticsearch, OpenSearch
from services.settings.sinks.otlp import Otlp
from services.settings.sinks.s3 import S3
from services.settings.sinks.splunk import Splunk
from services.settings.sinks.syslog import Relp, Syslog

SinkField = Annotated[
    Elasticsearch | OpenSearch | Splunk | DatadogLogs | Otlp | Syslog | Relp | S3,
    Field(discriminator="kind", description="a sink: {kind: elasticsearch, url: https://…}"),
]
"""One entry of ``journal.sinks``. A kind is added here, in ``services/audit/sinks/opening.py`` and nowhere else."""

__all__ = [
    "S3",
    "DatadogLogs",
    "Elasticsearch",
    "OpenSearch",
    "Otlp",
    "Relp",
    "SinkField",
    "SinkSection",
    "Splunk",
    "Syslog",
]

"""Where the journal is shipped to: one small file a kind of sink, told apart by ``kind``."""

from typing import Annotated

from pydantic import Field

from services.settings.sinks.base import SinkSection
from services.settings.sinks.elasticsearch import Elasticsearch, OpenSearch

SinkField = Annotated[
    Elasticsearch | OpenSearch,
    Field(discriminator="kind", description="a sink: {kind: elasticsearch, url: https://…}"),
]
"""One entry of ``journal.sinks``. A kind is added here, in ``services/audit/sinks/opening.py`` and nowhere else."""

__all__ = ["Elasticsearch", "OpenSearch", "SinkField", "SinkSection"]

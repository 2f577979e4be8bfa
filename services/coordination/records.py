"""What a finished rollout leaves in its cluster: the evidence that the rollback-tested gate looks for."""

import logging
from collections.abc import Iterable
from operator import attrgetter

import msgspec

from services.cluster.connection import Connection
from services.cluster.objects import KIND_LABEL, RECORD, RESOURCES, ROLLOUT_LABEL, SERVICE_LABEL, ConfigMap
from services.cluster.writer import Writer
from services.model.errors import Conflict, NotFound
from services.model.objects import ObjectRef
from services.model.rollout import Record

KEPT = 20
"""Records kept of each service."""
DATA_KEY = "record"

log = logging.getLogger(__name__)


def record_ref(namespace: str, rollout_id: str) -> ObjectRef:
    return ObjectRef("ConfigMap", namespace, f"quarterdeck-record-{rollout_id}")


async def records(connection: Connection, namespace: str, service: str) -> tuple[Record, ...]:
    """The records of a service, oldest first. One that can't be read is no evidence: it is left out and logged."""
    labels = f"{KIND_LABEL}={RECORD},{SERVICE_LABEL}={service}"
    return records_in(await connection.list("ConfigMap", namespace, labels=labels), service)


def records_in(config_maps: Iterable[ConfigMap], service: str) -> tuple[Record, ...]:
    """The same out of ConfigMaps that are known already, whatever else is among them."""
    found: list[Record] = []
    for config_map in config_maps:
        if config_map.metadata.labels.get(SERVICE_LABEL) != service:
            continue
        try:
            found.append(msgspec.json.decode(config_map.data[DATA_KEY], type=Record))
        except (KeyError, msgspec.DecodeError) as error:
            log.warning("record %s in %s can't be read: %s", config_map.metadata.name, config_map.metadata.namespace, error)
    return tuple(sorted(found, key=attrgetter("finished", "rollout")))


async def keep(connection: Connection, writer: Writer, record: Record, namespace: str) -> None:
    """See :meth:`services.coordination.Coordination.record`."""
    ref = record_ref(namespace, record.rollout)
    body = {
        "apiVersion": RESOURCES["ConfigMap"].api_version,
        "kind": "ConfigMap",
        "metadata": {
            "name": ref.name,
            "namespace": namespace,
            "labels": {KIND_LABEL: RECORD, SERVICE_LABEL: record.service, ROLLOUT_LABEL: record.rollout},
        },
        "data": {DATA_KEY: msgspec.json.encode(record).decode()},
    }
    try:
        await writer.create(ref, body)
    except Conflict:
        # Written before: a rollout that ended twice (rolled back after it had succeeded) has its last end on record.
        found = await connection.get(ref)
        await writer.replace(ref, {**found, "data": body["data"]})
    for old in (await records(connection, namespace, record.service))[:-KEPT]:
        try:
            await writer.delete(record_ref(namespace, old.rollout))
        except NotFound:
            log.info("record of rollout %s was removed by somebody else", old.rollout)

"""The checkpoint of a rollout: one ConfigMap, from which another console can show, resume or roll back.

Fenced like everything else: it carries the epoch of its last writer, and each write tests it, so a driver that was
superseded can't write over its successor's checkpoint.
"""

import logging

import msgspec

from services.cluster.connection import Connection
from services.cluster.objects import CHECKPOINT, KIND_LABEL, RESOURCES, ROLLOUT_LABEL, SERVICE_LABEL, ConfigMap
from services.cluster.writer import Writer
from services.coordination.lease import annotation, epoch_of
from services.model.errors import Conflict, Forbidden, HeldByAnother, NeedsAttention, NotFound, QuarterdeckError
from services.model.objects import EPOCH_ANNOTATION, Json, ObjectRef, pointer, value_at
from services.model.rollout import Rollout

LIMIT = 64 * 1024
"""Bytes of a checkpoint (a ConfigMap may hold 1 MiB, and etcd keeps each version of it for minutes)."""
KEPT = 10
"""Finished checkpoints kept of each service."""
TIMEOUT = 10.0
ATTEMPTS = 6
SHORT = 160
WANTED_ANNOTATION = "quarterdeck/rollback"
"""On a checkpoint: somebody asked for this rollout to be rolled back, and why. Whoever drives it next does that."""
EPOCH_PATH = pointer("metadata", "annotations", EPOCH_ANNOTATION)
DATA_KEY = "rollout"

log = logging.getLogger(__name__)


def checkpoint_ref(namespace: str, rollout_id: str) -> ObjectRef:
    return ObjectRef("ConfigMap", namespace, f"quarterdeck-rollout-{rollout_id}")


def encode(rollout: Rollout, limit: int = LIMIT) -> bytes:
    """The checkpoint within ``limit`` bytes: what is only drawn goes first (the course of each metric, then the oldest samples),
    then long texts are cut. What a rollback needs (plan, undo records) is never shortened, nor what the judge goes on from: where
    that alone is too large, raises :class:`NeedsAttention`."""
    body = msgspec.json.encode(rollout)
    if len(body) <= limit:
        return body
    if rollout.judgement is not None:
        rollout = msgspec.structs.replace(rollout, judgement=rollout.judgement.undrawn)
    drop, keep = 0, len(rollout.samples)
    while drop < keep:  # the fewest samples to drop from the front
        middle = (drop + keep) // 2
        if len(msgspec.json.encode(msgspec.structs.replace(rollout, samples=rollout.samples[middle:]))) <= limit:
            keep = middle
        else:
            drop = middle + 1
    rollout = msgspec.structs.replace(rollout, samples=rollout.samples[drop:])
    body = msgspec.json.encode(rollout)
    if len(body) <= limit:
        return body
    body = msgspec.json.encode(_with_short_texts(rollout))
    if len(body) <= limit:
        return body
    raise NeedsAttention(
        f"The checkpoint of rollout {rollout.id} is too large",
        f"Plan, undo records and the judge's memory alone take {len(body)} bytes, {limit} are allowed. It was not written.",
        "Split the release into several.",
    )


def decode(config_map: ConfigMap) -> Rollout:
    """The rollout in a checkpoint. Raises :class:`NeedsAttention` where it can't be read, e.g. written by a newer version."""
    try:
        return msgspec.json.decode(config_map.data[DATA_KEY], type=Rollout)
    except (KeyError, msgspec.DecodeError) as error:
        raise NeedsAttention(
            f"Checkpoint {config_map.metadata.name} can't be read",
            f"{type(error).__name__}: {error}.",
            "Was it written by another version? Open it with that version, or kubectl get configmap "
            f"{config_map.metadata.name} -n {config_map.metadata.namespace} -o yaml.",
        ) from error


class Checkpoints:
    """Save, load and tidy the checkpoints of one cluster."""

    def __init__(self, connection: Connection, writer: Writer) -> None:
        self._connection = connection
        self._writer = writer
        self._known: dict[ObjectRef, str] = {}
        """The epoch text of checkpoints as we wrote them last: the next write needs no look first."""

    async def save(self, rollout: Rollout) -> None:
        """See :meth:`services.coordination.Coordination.save`."""
        ref = checkpoint_ref(rollout.release.target.namespace, rollout.id)
        data = encode(rollout).decode()
        epoch = str(rollout.epoch)
        stored = self._known.pop(ref, None)
        fence = [{"op": "test", "path": EPOCH_PATH, "value": epoch}] if stored == epoch else await self._fence(ref, rollout)
        for _ in range(ATTEMPTS):
            try:
                if fence is None:
                    await self._writer.create(ref, self._body(ref, rollout, data))
                    await self._tidy_after_start(ref.namespace, rollout.release.service)
                else:
                    write = {"op": "add", "path": pointer("data", DATA_KEY), "value": data}
                    await self._writer.patch(ref, [*fence, write], timeout=TIMEOUT)
            except (Conflict, NotFound):
                fence = await self._fence(ref, rollout)
            else:
                self._known[ref] = epoch
                return
        raise Conflict(
            f"The checkpoint of rollout {rollout.id} could not be written",
            f"{ATTEMPTS} attempts met another writer; the stored one is older.",
            f"Look who writes configmap/{ref.name} in {ref.namespace}.",
        )

    async def take(self, rollout: Rollout, rollback: str = "") -> Rollout:
        """See :meth:`services.coordination.Coordination.take`."""
        marks = {EPOCH_ANNOTATION: str(rollout.epoch), **({WANTED_ANNOTATION: rollback} if rollback else {})}
        ref = checkpoint_ref(rollout.release.target.namespace, rollout.id)
        epoch = str(rollout.epoch)
        for _ in range(ATTEMPTS):
            found = await self._found(ref)
            try:
                if found is None:
                    body = self._body(ref, rollout, encode(rollout).decode())
                    body["metadata"]["annotations"] = marks
                    await self._writer.create(ref, body)
                    await self._tidy_after_start(ref.namespace, rollout.release.service)
                    taken = rollout
                else:
                    self._not_newer(found, rollout)
                    version = value_at(found, "/metadata/resourceVersion")
                    test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
                    write: list[dict[str, Json]] = [
                        {"op": "add", "path": pointer("metadata", "annotations", name), "value": text}
                        for name, text in marks.items()
                    ]
                    if not annotation(found, EPOCH_ANNOTATION):
                        write = [{"op": "add", "path": "/metadata/annotations", "value": marks}]
                    await self._writer.patch(ref, [test, *write], timeout=TIMEOUT)
                    taken = decode(msgspec.convert(found, ConfigMap))
            except (Conflict, NotFound):
                continue
            self._known[ref] = epoch
            return taken
        raise Conflict(
            f"The checkpoint of rollout {rollout.id} could not be taken over",
            f"{ATTEMPTS} attempts met another writer.",
            f"Look who writes configmap/{ref.name} in {ref.namespace}.",
        )

    async def load(self, namespace: str, rollout_id: str) -> Rollout | None:
        """See :meth:`services.coordination.Coordination.load`."""
        found = await self._found(checkpoint_ref(namespace, rollout_id))
        return decode(msgspec.convert(found, ConfigMap)) if found is not None else None

    async def epoch(self, namespace: str, rollout_id: str) -> int:
        """The epoch of the checkpoint's last writer; 0 where there is none, or none that may be read."""
        try:
            return epoch_of(await self._found(checkpoint_ref(namespace, rollout_id)) or {})
        except Forbidden as error:
            log.warning("the checkpoint of %s may not be read: %s", rollout_id, error)
            return 0

    async def rollback_wanted(self, namespace: str, rollout_id: str) -> str:
        """See :meth:`services.coordination.Coordination.rollback_wanted`."""
        return annotation(await self._found(checkpoint_ref(namespace, rollout_id)) or {}, WANTED_ANNOTATION)

    async def tidy(self, namespace: str, service: str) -> int:
        """See :meth:`services.coordination.Coordination.tidy`."""
        labels = f"{KIND_LABEL}={CHECKPOINT},{SERVICE_LABEL}={service}"
        finished: list[tuple[float, str]] = []
        for config_map in await self._connection.list("ConfigMap", namespace, labels=labels):
            try:
                rollout = decode(config_map)
            except NeedsAttention:
                log.warning("checkpoint %s of %s can't be read and is left alone", config_map.metadata.name, service)
                continue
            if rollout.phase.final:
                finished.append((rollout.created.timestamp(), config_map.metadata.name))
        old = [name for _, name in sorted(finished, reverse=True)[KEPT:]]
        for name in old:
            try:
                await self._writer.delete(ObjectRef("ConfigMap", namespace, name))
            except NotFound:
                log.info("checkpoint %s was removed by somebody else", name)
        return len(old)

    async def _tidy_after_start(self, namespace: str, service: str) -> None:
        try:
            await self.tidy(namespace, service)
        except QuarterdeckError:
            # The rollout's own checkpoint is safe; too many old ones are no reason to stop it. The next start tries again.
            log.warning("old checkpoints of %s in %s could not be removed", service, namespace, exc_info=True)

    async def _fence(self, ref: ObjectRef, rollout: Rollout) -> list[dict[str, Json]] | None:
        """The operations that tie a write to the epoch that is stored; ``None`` where there is no checkpoint yet."""
        found = await self._found(ref)
        if found is None:
            return None
        self._not_newer(found, rollout)
        epoch = str(rollout.epoch)
        if text := annotation(found, EPOCH_ANNOTATION):
            test = {"op": "test", "path": EPOCH_PATH, "value": text}
            return [test] if text == epoch else [test, {"op": "replace", "path": EPOCH_PATH, "value": epoch}]
        version = {"op": "test", "path": "/metadata/resourceVersion", "value": value_at(found, "/metadata/resourceVersion")}
        return [version, {"op": "add", "path": "/metadata/annotations", "value": {EPOCH_ANNOTATION: epoch}}]

    @staticmethod
    def _not_newer(found: dict[str, Json], rollout: Rollout) -> None:
        if (stored := epoch_of(found)) > rollout.epoch:
            raise HeldByAnother(
                f"Rollout {rollout.id} was taken over",
                f"Its checkpoint has epoch {stored}, this driver's is {rollout.epoch}. Nothing was written.",
                f"Watch it (quarterdeck watch {rollout.id}).",
            )

    async def _found(self, ref: ObjectRef) -> dict[str, Json] | None:
        try:
            return await self._connection.get(ref)
        except NotFound:
            return None

    def _body(self, ref: ObjectRef, rollout: Rollout, data: str) -> dict[str, Json]:
        return {
            "apiVersion": RESOURCES["ConfigMap"].api_version,
            "kind": "ConfigMap",
            "metadata": {
                "name": ref.name,
                "namespace": ref.namespace,
                "labels": {KIND_LABEL: CHECKPOINT, SERVICE_LABEL: rollout.release.service, ROLLOUT_LABEL: rollout.id},
                "annotations": {EPOCH_ANNOTATION: str(rollout.epoch)},
            },
            "data": {DATA_KEY: data},
        }


def _with_short_texts(rollout: Rollout) -> Rollout:
    replace = msgspec.structs.replace
    return replace(
        rollout,
        gates=tuple(replace(gate, evidence=gate.evidence[:SHORT], detail=gate.detail[:SHORT]) for gate in rollout.gates),
        steps=tuple(replace(step, note=step.note[:SHORT]) for step in rollout.steps),
        triggers=tuple(replace(trigger, detail=trigger.detail[:SHORT]) for trigger in rollout.triggers),
        reason=replace(rollout.reason, detail=rollout.reason.detail[:SHORT]) if rollout.reason else None,
        also=tuple(replace(reason, detail=reason.detail[:SHORT]) for reason in rollout.also[:4]),
        next=rollout.next[:SHORT],
        pause_reason=rollout.pause_reason[:SHORT],
    )

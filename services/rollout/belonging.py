"""Which cluster a rollout belongs to. A context is only a name in a kubeconfig: it can be renamed, and it can be made to lead to
another cluster. What is driven, and above all rolled back, has to be in the cluster where it began.

A cluster has no id of its own; the uid of its ``kube-system`` namespace is what is generally used for one. Where that may not be
read, that of the rollout's own namespace has to do.
"""

import asyncio
import logging

import msgspec

from services.cluster.connection import Connection
from services.coordination import Coordination
from services.model.errors import QuarterdeckError, Rejected
from services.model.objects import ObjectRef, value_at
from services.model.rollout import Phase, Rollout
from services.rollout.station import Station

SYSTEM = "kube-system"
PATIENCE = 3.0
"""Wall seconds for a look at whose cluster it is: what does not answer has not answered otherwise either."""

log = logging.getLogger(__name__)


async def identity(connection: Connection, namespace: str) -> str:
    """What tells the cluster from others, as ``NAMESPACE/UID``; empty where nothing of the kind may be read."""
    for name in (SYSTEM, namespace):
        try:
            async with asyncio.timeout(PATIENCE):
                found = await connection.get(ObjectRef("Namespace", "", name))
        except (QuarterdeckError, TimeoutError) as error:
            log.info("namespace %s of %s was not read: %s", name, connection.context, error)
            continue
        if uid := value_at(found, "/metadata/uid"):
            return f"{name}/{uid}"
    return ""


async def belonging(station: Station, rollout: Rollout) -> Rollout:
    """The rollout with the context that leads to its cluster now: the one it was started with, else the one configured for its
    environment, where the same cluster is found there.

    Raises :class:`Rejected` where neither leads to it.
    """
    target = rollout.release.target
    known = station.clusters.contexts()
    environment = station.settings.environments.get(target.environment)
    candidates = dict.fromkeys([target.context, *([environment.context] if environment is not None else [])])
    others: list[str] = []
    for context in candidates:
        if context not in known:
            others.append(f"context {context} is not in the kubeconfig")
            continue
        why = await _elsewhere(station, rollout, context, renamed=context != target.context)
        if not why:
            if context != target.context:
                log.warning("%s was started through context %s, which is %s now", rollout.id, target.context, context)
            return through(rollout, context)
        others.append(why)
    raise Rejected(
        "context",
        target.context,
        f"does not lead to the cluster of rollout {rollout.id} any more: {'; '.join(others)}. Nothing was changed",
        f"a context of the environment {target.environment} that leads to the cluster where it began",
    )


def through(rollout: Rollout, context: str) -> Rollout:
    """The rollout with its cluster reached through ``context``, which its command lines name too."""
    release = rollout.release
    return msgspec.structs.replace(
        rollout, release=msgspec.structs.replace(release, target=msgspec.structs.replace(release.target, context=context))
    )


async def _elsewhere(station: Station, rollout: Rollout, context: str, *, renamed: bool) -> str:
    """Why the cluster behind ``context`` is not the rollout's; empty where it is, or, for the context it was started with, where
    nothing says that it is not."""
    connection = await station.clusters.connect(context)
    if rollout.cluster:
        name = rollout.cluster.partition("/")[0]
        found = await identity(connection, rollout.release.target.namespace)
        if found == rollout.cluster:
            return ""
        if found.partition("/")[0] == name:
            return f"context {context} leads to another cluster (its namespace {name} is another one)"
    if not renamed:
        return ""
    # Nobody else has a checkpoint of this id: where it is, is where the rollout began.
    if await _stored(station, connection, rollout) is not None:
        return ""
    return f"context {context} leads to a cluster that is not known to be the one"


async def must_be_open(station: Station, rollout: Rollout) -> None:
    """Raise :class:`Rejected` where the rollout was rolled back already, before anything of its service is taken: what runs now
    came later, and where it is the same version again, taking it back once more would look right to every check."""
    connection = await station.clusters.connect(rollout.release.target.context)
    stored = await _stored(station, connection, rollout) or rollout
    if stored.phase is Phase.ROLLED_BACK:
        raise Rejected(
            "rollout",
            rollout.id,
            f"was rolled back to {rollout.plan.previous_version} already. Nothing was changed",
            f"`quarterdeck rollback {rollout.release.service} -e {rollout.release.target.environment}` for a rollout that began "
            "since, else the same with `--to REVISION`",
        )


async def _stored(station: Station, connection: Connection, rollout: Rollout) -> Rollout | None:
    target = rollout.release.target
    try:
        async with asyncio.timeout(PATIENCE):
            return await Coordination(connection, station.clock, read_only=True).load(target.namespace, rollout.id)
    except (QuarterdeckError, TimeoutError) as error:
        log.warning("the checkpoint of %s was not read: %s", rollout.id, error)
        return None

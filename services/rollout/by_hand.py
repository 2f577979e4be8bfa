"""What a person can run where no driver could: the commands that put a service back, from the record of what was changed."""

import asyncio
from collections.abc import Sequence

from services.actuator.undo import fold, plan_restore
from services.cluster.connection import Clusters, Connection
from services.model.errors import NotFound, QuarterdeckError
from services.model.objects import Json, ObjectRef
from services.model.rollout import Rollout


async def commands(clusters: Clusters, rollout: Rollout) -> tuple[str, ...]:
    """In the order in which they have to be run; each names its context. None where nothing is left to restore, or where the
    cluster does not even show what is there."""
    folded = fold(rollout.undo)
    refs = tuple(dict.fromkeys(item.object for item in folded))
    try:
        connection = await clusters.connect(rollout.release.target.context)
        documents = await _read(connection, refs)
    except QuarterdeckError:
        # It is told already that the cluster refuses or is away; without a look at it any command would be a guess.
        return ()
    restore = plan_restore(
        folded,
        dict(zip(refs, documents, strict=True)),
        context=rollout.release.target.context,
        stable=rollout.plan.stable,
        canary=rollout.plan.canary,
        route=rollout.plan.route,
        step=rollout.step,
    )
    return tuple(mutation.command for phase in restore.phases for mutation in phase.mutations)


async def _read(connection: Connection, refs: Sequence[ObjectRef]) -> list[dict[str, Json] | None]:
    async def one(ref: ObjectRef) -> dict[str, Json] | None:
        try:
            return await connection.get(ref)
        except NotFound:
            return None

    return list(await asyncio.gather(*(one(ref) for ref in refs)))

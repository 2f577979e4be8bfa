"""Whether an autoscaler sets a workload's replicas: then they are its own business, in a plan and in a rollback."""

import asyncio
import logging

from services.cluster.connection import Connection
from services.cluster.objects import Autoscaler, ScaleTarget
from services.model.errors import QuarterdeckError
from services.model.objects import ObjectRef

LOOK_SECONDS = 5.0
"""Wall seconds for an answer: a rollback may be waiting for it."""

log = logging.getLogger(__name__)


async def is_autoscaled(connection: Connection, ref: ObjectRef) -> bool | None:
    """Whether a HorizontalPodAutoscaler has ``ref`` as its target; ``None`` where that can't be read (the permission to list them
    is often missing)."""
    wanted = ScaleTarget(kind=ref.kind, name=ref.name)
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            found: list[Autoscaler] = await connection.list("HorizontalPodAutoscaler", ref.namespace)
    except (QuarterdeckError, TimeoutError) as error:
        log.warning("which autoscalers there are in %s is not known: %r", ref.namespace, error)
        return None
    return any(each.spec.scale_target_ref == wanted for each in found)

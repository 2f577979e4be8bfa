"""The records that finished rollouts of a service left, wherever it runs: what the gate ``rollback-tested`` looks at."""

import asyncio

from services.coordination import records
from services.model.errors import QuarterdeckError
from services.model.rollout import Record
from services.rollout.station import Station


async def records_everywhere(station: Station, service: str) -> list[Record]:
    """The records in every configured environment. One that can't be asked is left out as long as others have some; where
    nothing was found and something could not be asked, its error is raised: unknown is not none."""
    places = [(env.context, namespace) for env in station.settings.environments.values() for namespace in env.namespaces]

    async def of(context: str, namespace: str) -> tuple[Record, ...]:
        return await records(await station.clusters.connect(context), namespace, service)

    answers = await asyncio.gather(*(of(*place) for place in places), return_exceptions=True)
    found: list[Record] = []
    problem: BaseException | None = None
    for answer in answers:
        if isinstance(answer, BaseException):
            if not isinstance(answer, QuarterdeckError):
                raise answer
            problem = answer
        else:
            found += answer
    if not found and problem is not None:
        raise problem
    return found

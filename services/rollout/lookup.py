"""Which rollout an id means: as it was started from this home, else by its checkpoint in a configured environment."""

from services.coordination import Coordination
from services.model.errors import Forbidden, Rejected, Unavailable
from services.model.rollout import Rollout
from services.rollout import home as homes
from services.rollout.belonging import through
from services.rollout.holding import Patience, patiently
from services.rollout.station import Station


async def find(station: Station, rollout_id: str, patience: Patience) -> Rollout:
    """The rollout that ``rollout_id`` names. Clusters that are away are asked again for as long as ``patience`` says: what none
    of those that answer has may be in one of them.

    Raises :class:`Rejected` where every environment has answered and none has it, and :class:`Unavailable` where one has not
    (:class:`Forbidden` where all that have not were refusals).
    """
    started = homes.read_started(station.home, rollout_id)
    if started is not None:
        return started
    return await patiently(station, patience, lambda: _in_clusters(station, rollout_id))


async def _in_clusters(station: Station, rollout_id: str) -> Rollout:
    places = {(env.context, namespace) for env in station.settings.environments.values() for namespace in env.namespaces}
    unread: list[tuple[str, Unavailable]] = []
    for context, namespace in sorted(places):
        try:
            connection = await station.clusters.connect(context)
            found = await Coordination(connection, station.clock, read_only=True).load(namespace, rollout_id)
        except Unavailable as error:
            unread.append((context, error))
            continue
        if found is not None:
            # The one who started it may call the same cluster by another name in his kubeconfig.
            return through(found, context)
    if unread:
        kind = Forbidden if all(isinstance(error, Forbidden) for _, error in unread) else Unavailable
        away = "; ".join(f"{context}: {error.title}" for context, error in unread)
        raise kind(
            f"Rollout {rollout_id} was not found",
            f"No environment that answered has its checkpoint. Not read: {away}.",
            "Try again once they answer.",
        )
    raise Rejected(
        "rollout", rollout_id, "has no checkpoint in any configured environment", "an id that `quarterdeck status` shows"
    )

"""How a picture is made of what is watched, the journal's tail and the clock. Nothing here waits."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from console.view import Picture, RolloutCard
from services.model.fleet import FleetView, ServiceFigures
from services.model.rollout import Phase, Rollout

if TYPE_CHECKING:
    from console.context import Context
    from console.ended import Ended
    from console.rollbacks import Rollbacks
    from console.takeovers import Takeovers
    from console.watching import Watching
    from services.audit.shipping.status import Shipping

ROLLBACK_WINDOW = 3600.0
"""Wall seconds after a rollout's end in which one key rolls it back at once."""


def picture_of(
    context: Context,
    watching: Watching,
    takeovers: Takeovers,
    rollbacks: Rollbacks,
    ended: Ended,
    entries: tuple[dict[str, Any], ...],
    unreadable: str = "",
    figures: Mapping[tuple[str, str], ServiceFigures] = MappingProxyType({}),
    shipping: Shipping | None = None,
) -> Picture:
    """Everything as it is now. ``unreadable`` says what is wrong with ``entries``: then they are of an earlier moment."""
    from services.cluster.fleet import fleet_view

    health = context.journal.health
    fleet = fleet_view(context.settings.environments, watching.inventories, context.clock)
    return Picture(
        fleet=_with_problems(fleet, watching.problems),
        rollouts=_cards(context, watching, takeovers, rollbacks, ended),
        ends=ended.ends,
        entries=entries,
        journal_ok=health.ok and not unreadable,
        journal_detail=health.detail or unreadable,
        shipping=shipping,
        operator=context.operator.name if context.operator else context.user,
        read_only=context.read_only,
        now=context.clock.now(),
        pace=context.clock.pace(),
        speed=context.clock.speed,
        figures=figures,
        error_limit=context.settings.triggers.error_rate,
        connecting=not watching.begun,
    )


def _with_problems(fleet: FleetView, problems: dict[str, str]) -> FleetView:
    import msgspec

    return FleetView(
        environments=tuple(
            msgspec.structs.replace(view, problem=problems[view.context]) if view.context in problems else view
            for view in fleet.environments
        )
    )


def _cards(
    context: Context, watching: Watching, takeovers: Takeovers, rollbacks: Rollbacks, ended: Ended
) -> tuple[RolloutCard, ...]:
    from services.cluster.fleet import rollouts
    from services.rollout.home import alive, driven_from, home_id
    from services.rollout.routes import read_back

    now, mine = context.clock.now(), home_id(context.home)
    found: list[RolloutCard] = []
    for inventory in watching.inventories.values():
        for watch in rollouts(inventory, context.clock, local_alive=lambda rollout: alive(context.home, rollout)):
            rollout: Rollout = read_back(watch.rollout, inventory)
            over_for = (now - rollout.written).total_seconds() if rollout.phase.final and rollout.written else 0.0
            window = ROLLBACK_WINDOW - over_for if rollout.phase is Phase.SUCCEEDED else 0.0
            found.append(
                RolloutCard(
                    rollout=rollout,
                    environment=rollout.release.target.environment,
                    watched=not watch.orphaned,
                    driver=watch.who,
                    own=driven_from(context.home, rollout),
                    window_left=max(0.0, window),
                    lease_age=watch.lease_age,
                    why_orphaned=watch.reason,
                    replaced=takeovers.look(watch, mine, now),
                    asked=rollbacks.unconfirmed(rollout, ended.moment_of(rollout.id)),
                )
            )
    return tuple(sorted(ended.beside(found), key=lambda card: (not card.live, -card.rollout.created.timestamp())))

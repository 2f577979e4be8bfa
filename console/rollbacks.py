"""Rollbacks asked for with the key: of a rollout at once; of a service only after it was shown what that restores."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from console.draft import Answer, Preview, answer_to
from console.takeovers import ending_of
from console.view import Picture, RollbackAsked, RolloutCard, phase_word
from services.model.errors import Rejected
from services.model.release import Target
from services.model.rollout import Phase, Rollout

if TYPE_CHECKING:
    import subprocess
    from datetime import datetime

    from console.context import Context
    from console.watching import Watching
    from services.rollout.immediate import Immediate

SETTLING = 30.0
"""Wall seconds after a rollback to the revision before in which a service has no revision before."""
HEARD_WITHIN = 20.0
"""Wall seconds after the first accepted patch in which its driver's checkpoint tells of it; else it is said to be silent."""
_BY_KEY = "asked for with the rollback key"


class Rollbacks:
    """``picture`` is what the operator sees now; ``started`` is told of every driver."""

    def __init__(
        self,
        context: Context,
        watching: Watching,
        picture: Callable[[], Picture],
        started: Callable[[subprocess.Popen[bytes]], None],
    ) -> None:
        self._context = context
        self._watching = watching
        self._picture = picture
        self._started = started
        self._restored: dict[tuple[str, str], float] = {}
        """When a service without a rollout was rolled back from here (monotonic)."""
        self._asked: dict[str, tuple[RollbackAsked, Rollout, float]] = {}
        """By rollout: its rollback from here, of which no checkpoint tells yet, what it was as that was asked for, and when that
        was asked for or accepted (monotonic)."""

    def unconfirmed(self, rollout: Rollout, ended: datetime | None = None) -> RollbackAsked | None:
        """The rollback that was asked for from here and that no cluster shows yet. ``ended``: when its driver did, if so."""
        if rollout.id not in self._asked:
            return None
        asked, before, since = self._asked[rollout.id]
        back = rollout.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
        other = rollout.phase is not before.phase and (rollout.phase.final or rollout.phase is Phase.NEEDS_ATTENTION)
        given_up = ended is not None and ended > asked.at
        if back or other or given_up or rollout.epoch > before.epoch:
            self._asked.pop(rollout.id, None)
            return None
        return asked._replace(silent=asked.accepted and self._context.clock.monotonic() - since > HEARD_WITHIN)

    async def of_rollout(self, card: RolloutCard) -> Answer:
        """At once: the first restoring patch leaves from here, a driver does and verifies the rest."""
        from services.rollout.immediate import rollback_now

        inventory = self._watching.inventory_of(card.rollout.release.target.context)
        newest = self._picture().rollout(card.key) or card
        if newest.rollout.phase is Phase.ROLLED_BACK:
            raise Rejected("rollout", card.key, f"is {ending_of(newest)}. Nothing was done", "a look at what runs now")
        asked, clock = self.unconfirmed(newest.rollout), self._context.clock
        if asked is None or asked.silent:  # else it is the one that is on its way already
            self._asked[card.key] = RollbackAsked(clock.now()), newest.rollout, clock.monotonic()
        try:
            done = await rollback_now(self._context, inventory, newest.rollout, reason=_BY_KEY)
        except Exception:
            self._asked.pop(card.key, None)  # whatever it was: nothing is on its way
            raise
        return self._told(done)

    def overtaken(self, environment: str, service: str, preview: Preview) -> str:
        """Why what :meth:`preview` showed is no longer to be done, if somebody else was quicker."""
        shown = preview.rollout
        newest = self._picture().rollout(shown.id)
        if newest is not None and newest.rollout.phase is Phase.ROLLED_BACK:
            return f"it was rolled back meanwhile: {ending_of(newest)}"
        later = [
            card
            for card in self._picture().rollouts_of(environment, service)
            if card.key != shown.id and card.rollout.created > shown.created and card.rollout.phase is not Phase.REFUSED
        ]
        if later:
            other = later[0]
            who, goal = other.rollout.operator, other.rollout.versions[1]
            state = phase_word(other.rollout.phase) if other.live else ending_of(other)
            return f"{who} began to bring {service} to {goal} meanwhile ({state})"
        if newest is not None and newest.live and shown.phase.final:
            return f"{newest.driver or 'somebody'} is at it: it is {phase_word(newest.rollout.phase)}"
        return self._deleted(shown)

    def _deleted(self, shown: Rollout) -> str:
        """That the revision whose template was to be restored is no longer there, as far as a current picture shows."""
        from services.cluster.objects import REVISION_ANNOTATION
        from services.cluster.workloads import replicasets_of

        stable, wanted = shown.plan.stable, {record.revision for record in shown.undo if record.revision}
        inventory = self._watching.picture(shown.release.target.context)
        if not wanted or inventory is None or not inventory.can_read("ReplicaSet", stable.namespace):
            return ""
        there = {each.metadata.annotations.get(REVISION_ANNOTATION) for each in replicasets_of(inventory, stable)}
        gone = [number for number in sorted(wanted) if str(number) not in there]
        return f"revision {gone[0]} was deleted meanwhile" if gone else ""

    async def of_service(self, environment: str, service: str, preview: Preview) -> Answer:
        """The same for a service whose rollback window is over, or that has no rollout: exactly what ``preview`` showed. Raises
        ``Rejected`` where it is something else by now."""
        from services.rollout.immediate import rollback_service_now

        target = self._target(environment, service)
        inventory = self._watching.inventory_of(target.context)
        shown, revision = preview.rollout, preview.revision
        if gone := self.overtaken(environment, service, preview):
            raise Rejected("service", service, f"is not rolled back: {gone}. Nothing was done", "a look at it, then R again")
        if revision:
            self._none_under_way(environment, service, revision)
        card = self._last_change(environment, service)
        if card is not None and card.key == shown.id:
            return await self.of_rollout(card)
        self._restored[environment, service] = self._context.clock.monotonic()
        done = await rollback_service_now(
            self._context, inventory, target, service, shown=shown, revision=revision, reason=_BY_KEY
        )
        return self._told(done)

    async def preview(self, environment: str, service: str, revision: str = "") -> Preview:
        """What a rollback would restore, to ``revision`` where one is asked for. Raises ``Rejected`` where there is nothing to
        go back to."""
        from services.rollout.preview import restored_values, restoring_revision, revision_lines, taken_back_before

        target = self._target(environment, service)
        inventory = self._watching.inventory_of(target.context)
        card = self._last_change(environment, service)
        if revision:
            self._none_under_way(environment, service, revision)
            shown = await restoring_revision(self._context, inventory, target, service, revision)
            lines = revision_lines(shown, revision)
        elif card is not None:
            shown, lines = card.rollout, restored_values(card.rollout)
        else:
            ago = self._context.clock.monotonic() - self._restored.get((environment, service), -SETTLING)
            if ago < SETTLING:
                # Its checkpoint may not have come yet, and what ran before it now is the release that was taken back.
                raise Rejected("service", service, "was rolled back a moment ago", "a look at its rollout, then R again")
            shown = await restoring_revision(self._context, inventory, target, service)
            lines = revision_lines(shown)
        before = await taken_back_before(self._context, inventory, shown)
        where = f"{environment} to revision {revision}" if revision else environment
        warning = f"{before.words}." if before is not None else ""
        return Preview(f"roll back {service} in {where}", lines, shown, revision, warning)

    def _none_under_way(self, environment: str, service: str, revision: str) -> None:
        """A rollout that is under way is rolled back first: its driver would go on over whatever was restored."""
        live = next((card for card in self._picture().rollouts_of(environment, service) if card.live), None)
        if live is not None:
            raise Rejected("to", revision, f"rollout {live.key} is under way", "roll that one back first, then go to a revision")

    def _last_change(self, environment: str, service: str) -> RolloutCard | None:
        """The newest rollout of a service that left something to undo."""
        cards = self._picture().rollouts_of(environment, service)
        return next((card for card in cards if card.rollout.undo and card.rollout.phase is not Phase.ROLLED_BACK), None)

    def _told(self, done: Immediate) -> Answer:
        if done.process is not None:
            self._started(done.process)
        if done.seconds is not None:
            self._accepted(done.rollout, done.seconds)
        return answer_to(done)

    def _accepted(self, rollout: Rollout, after: float) -> None:
        """Its first patch was accepted so many wall seconds after it was asked for; what came behind that took its time too."""
        clock = self._context.clock
        now = RollbackAsked(clock.now()), rollout, clock.monotonic()
        asked, before, _ = self._asked.get(rollout.id, now)
        self._asked[rollout.id] = RollbackAsked(asked.at + timedelta(seconds=after), accepted=True), before, clock.monotonic()

    def _target(self, environment: str, service: str) -> Target:
        found = self._picture().service(environment, service)
        if found is None:
            raise Rejected("service", service, f"is not in {environment}", "a service that the fleet shows")
        name, settings = self._context.settings.resolve_environment(environment)
        return Target(environment=name, tier=settings.tier, context=settings.context, namespace=found.namespace)

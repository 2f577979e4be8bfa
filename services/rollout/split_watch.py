"""Noticing that somebody else has changed how a rollout's requests are split, while its shares are being analysed."""

from services.actuator.mutation import Superseded
from services.actuator.patch import epoch_of
from services.model.errors import HeldByAnother, QuarterdeckError
from services.model.objects import Json, ObjectRef, value_at
from services.model.rollout import Phase, StepOutcome
from services.model.steps import Analyse, Pause
from services.rollout import state
from services.rollout.routes import router_of
from services.rollout.run import Run
from services.traffic.router import NotRoutable, Pods

REPLICAS = "/spec/replicas"

Seen = tuple[int | None, str]
"""The share in percent (``None``: none can be told), and how to say it."""


class SplitWatch:
    """Compares the share that was set with the one that is there. What was told once is not told again, so that a person who
    resumes has accepted it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._told: Seen | None = None

    async def look(self) -> str:
        """Why the rollout has to wait for a person; empty where the split is as it was set. A difference is looked up in the
        cluster before it counts: an inventory may lag behind our own change.

        Raises :class:`Superseded` where a newer driver of this rollout has changed it: a rollback's first patch comes ahead of
        its lease, and is nobody's interference."""
        run = self._run
        route, wanted = run.rollout.plan.route, run.rollout.weight
        if route is None or not self._settled() or not run.sees(route):
            return ""
        if self._as_set(self._share(run.last_seen(route), run.last_seen(run.rollout.plan.stable), route)):
            self._told = None
            return ""
        try:
            live = await run.connection.get(route)
            if (epoch := epoch_of(live)) > run.hold.epoch:
                title = f"{route} is driven by somebody else now"
                raise Superseded(title, f"It carries epoch {epoch}, this driver's is {run.hold.epoch}.", epoch=epoch)
            seen = self._share(live, await run.connection.get(run.rollout.plan.stable), route)
        except HeldByAnother:
            raise
        except QuarterdeckError as error:
            seen = (None, f"{route} can't be read: {error.title}")
        # A step may have ended while the cluster was asked.
        if self._as_set(seen) or seen == self._told or not self._settled() or run.rollout.weight != wanted:
            return ""
        self._told = seen
        return f"route: {wanted} % was set for {run.rollout.release.version}, and somebody has changed it since: {seen[1]}"

    def _settled(self) -> bool:
        """Whether a share is set and nothing of ours is moving it."""
        rollout = self._run.rollout
        step = state.current(rollout)
        if rollout.phase is not Phase.RUNNING or not isinstance(step, Analyse | Pause):
            return False
        router = router_of(rollout)
        if router is None or state.current_state(rollout).outcome is not StepOutcome.RUNNING:
            return False
        # While pods of the new version take the places of stable's, the number of the canary's says nothing any more.
        return not (router.by_pods and state.promoting(rollout))

    def _as_set(self, seen: Seen) -> bool:
        router, wanted = router_of(self._run.rollout), self._run.rollout.weight
        if router is not None and router.by_pods:
            # Fewer users than announced is no harm that anybody has to decide on.
            return seen[0] is not None and seen[0] <= wanted
        return seen[0] == wanted

    def _share(self, document: dict[str, Json] | None, stable: dict[str, Json] | None, route: ObjectRef) -> Seen:
        router = router_of(self._run.rollout)
        if document is None or router is None:
            return None, f"{route} is gone"
        pods = Pods(_replicas(stable), _replicas(document))
        try:
            share = router.weight_of(document, self._run.rollout.release.service, pods)
        except NotRoutable as problem:
            return None, problem.title
        return share, f"{route} gives it {share} %" + (f" ({pods.canary} pods beside {pods.stable})" if router.by_pods else "")


def _replicas(workload: dict[str, Json] | None) -> int:
    replicas = value_at(workload, REPLICAS)
    return 1 if replicas is None else int(replicas)

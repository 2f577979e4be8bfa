"""A deploy on its way: from the form's words over plan and checklist to a driver that was started."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TYPE_CHECKING

from console.draft import Draft
from services.model.errors import GateUnmet
from services.model.gates import Checklist, GateName, GateResult
from services.model.release import DeployRequest, Release

if TYPE_CHECKING:
    import subprocess

    from console.context import Context
    from console.watching import Watching
    from services.rollout.foresight import Foresight
    from services.settings import Settings
    from services.strategies import ServiceState


class Deploys:
    """``started`` is told of every driver."""

    def __init__(self, context: Context, watching: Watching, started: Callable[[subprocess.Popen[bytes]], None]) -> None:
        self._context = context
        self._watching = watching
        self._started = started

    async def draft(self, request: DeployRequest) -> Draft:
        """Validate the request and compile its plan from the objects as they are now. Raises ``Rejected``, ``Unavailable``."""
        from services.release import validate
        from services.strategies import compile_plan

        context = self._context
        release = validate(request, context.settings, context.clusters.contexts(), self._watching.service_names)
        return Draft(release=release, plan=compile_plan(release, await self._state_of(release), context.settings))

    async def checks(self, draft: Draft, confirmed: str | None = None) -> AsyncIterator[GateResult]:
        """Every gate's answer as it comes. Unconfirmed, the environment gate says what to type."""
        from services import gates
        from services.integrations.tickets import open_tickets
        from services.rollout.evidence import records_everywhere

        context = self._context
        tickets = open_tickets(context.settings, redactor=context.redactor, clock=context.clock)
        try:
            async with contextlib.aclosing(
                gates.stream(
                    draft.release,
                    draft.plan,
                    context.settings,
                    operator=context.operator,
                    confirmed=confirmed,
                    tickets=tickets,
                    find_records=lambda service: records_everywhere(context, service),
                    clock=context.clock,
                )
            ) as results:
                async for result in results:
                    yield result
        finally:
            if tickets is not None:
                await tickets.close()

    async def foresight(self, draft: Draft) -> AsyncGenerator[Foresight]:
        """What the analyses of the plan will see at the service's traffic: from memory at once, then as it is measured. Raises
        ``Unavailable`` where nothing is known of the cluster."""
        from services.cluster.watched import rollouts
        from services.rollout.alerting import beside
        from services.rollout.foresight import foreseen
        from services.rollout.outlook import measured_before

        context, target = self._context, draft.release.target
        inventory = self._watching.inventory_of(target.context)
        earlier = measured_before((watch.rollout for watch in rollouts(inventory, context.clock)), draft.release)
        connection = await context.clusters.connect(target.context)
        measuring = foreseen(context, connection, inventory, draft.release, draft.plan, earlier)
        async with contextlib.aclosing(beside(measuring, context, draft.release, draft.plan)) as looks:
            async for look in looks:
                yield look

    async def start(self, draft: Draft, typed: str) -> str:
        """Compile again, compare with what was confirmed, ask every gate again, start the driver. Returns the rollout's id.

        Raises ``GateUnmet`` where a gate does not pass any more or the plan is another one by now: the confirmation is void.
        """
        from services.rollout.start import journal_refusal, start_rollout
        from services.strategies import compile_plan

        context, release = self._context, draft.release
        plan = compile_plan(release, await self._state_of(release), context.settings)
        if plan.digest != draft.plan.digest:
            raise GateUnmet(
                "The confirmation is void",
                f"{release.service} in {release.target.environment} changed since you confirmed; nothing was started.",
                "Read the new plan and confirm it.",
            )
        results = [result async for result in self.checks(draft, typed)]
        order = list(GateName)
        checklist = Checklist(results=tuple(sorted(results, key=lambda result: order.index(result.name))), digest=plan.digest)
        if not checklist.passed:
            await journal_refusal(context, release, checklist)
            unmet = checklist.unmet[0]
            raise GateUnmet(f"{unmet.name.value}: {unmet.evidence}", "Nothing was started.", unmet.detail)
        rollout, driver = await start_rollout(context, release, plan, checklist, typed)
        self._started(driver)
        return rollout.id

    async def _state_of(self, release: Release) -> ServiceState:
        from services.rollout.service import read_state

        return await read_state(await self._context.clusters.connect(release.target.context), release.target, release.service)


def field_problem(settings: Settings, name: str, value: str) -> str:
    """What is wrong with one field's text, or nothing; syntax only, nothing is asked of a cluster."""
    from services.release import problems

    request = DeployRequest(
        service=value if name == "service" else "x",
        version=value if name == "version" else "1.0.0",
        environment=value if name == "environment" else next(iter(settings.environments)),
        strategy=value if name == "strategy" else "",
        ticket=value if name == "ticket" else "",
    )
    found = next((each for each in problems(request, settings) if each.field == name), None)
    return f"{found.rule}; accepted: {found.accepted}" if found is not None else ""

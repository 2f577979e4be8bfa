"""The one place where services meet the screen.

It opens the configured clusters, keeps their inventories in background tasks, coalesces everything that happens into pictures
(at most five a second), and carries the operator's intents out. The screens never wait for it, and it never touches a widget.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from console.draft import Answer, Draft, Preview, answer_to
from console.view import Picture, RolloutCard
from services.model.errors import GateUnmet, QuarterdeckError, Rejected, Unavailable
from services.model.fleet import FleetView, PodView
from services.model.gates import Checklist, GateName, GateResult
from services.model.release import DeployRequest, Release, Target
from services.model.rollout import Phase, Rollout

if TYPE_CHECKING:
    import subprocess

    from console.context import Context
    from services.cluster.inventory import Inventory
    from services.rollout.immediate import Immediate
    from services.strategies import ServiceState

SHORTEST_INTERVAL = 0.2
"""Wall seconds between pictures while things change; once a second otherwise, for the ages."""
JOURNAL_INTERVAL = 1.0
CONNECT_INTERVAL = 3.0  # wall seconds between tries to open a context, e.g. one that the kubeconfig does not have yet
KEPT_ENTRIES = 500
ROLLBACK_WINDOW = 3600.0
"""Wall seconds after a rollout's end in which one key rolls it back at once."""
SETTLING = 30.0
"""Wall seconds after a rollback to the revision before in which a service has no revision before."""

_BY_KEY = "asked for with the rollback key"

log = logging.getLogger(__name__)


class Session:
    """``show`` receives each new picture, on the event loop that :meth:`run` runs on."""

    def __init__(self, arguments: argparse.Namespace, show: Callable[[Picture], None]) -> None:
        self._arguments = arguments
        self._show = show
        self._context: Context | None = None
        self._inventories: dict[str, Inventory] = {}
        self._problems: dict[str, str] = {}
        self._tasks: list[asyncio.Task[Any]] = []
        self._drivers: list[subprocess.Popen[bytes]] = []
        self._dirty = asyncio.Event()
        self._entries: tuple[dict[str, Any], ...] = ()
        self._picture = Picture()
        self._shown: dict[tuple[str, str], Rollout] = {}  # by environment and service: shown, not carried out yet
        self._restored: dict[tuple[str, str], float] = {}
        """When a service without a rollout was rolled back from here (monotonic)."""

    @property
    def context(self) -> Context:
        if self._context is None:
            raise Unavailable("The console is still connecting", "", "Try again in a moment.")
        return self._context

    # ---- life

    async def run(self) -> None:
        """Open everything and draw pictures until cancelled. Raises ``Rejected``/``ConfigurationError`` for bad configuration."""
        self._context = await asyncio.to_thread(_open, self._arguments)
        await asyncio.to_thread(_warm_up)
        self._tasks.append(asyncio.create_task(self._keep_entries(), name="journal tail"))
        for name in dict.fromkeys(environment.context for environment in self.context.settings.environments.values()):
            self._tasks.append(asyncio.create_task(self._keep_inventory(name), name=f"inventory of {name}"))
        await self._draw()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._context is not None:
            await self._context.close()

    async def _keep_inventory(self, name: str) -> None:
        from services.cluster.inventory import Inventory

        environments = [each for each in self.context.settings.environments.values() if each.context == name]
        namespaces = tuple(dict.fromkeys(namespace for each in environments for namespace in each.namespaces))
        while True:
            try:
                connection = await self.context.clusters.connect(name)
                break
            except QuarterdeckError as error:
                self._problems[name] = str(error)
                self._dirty.set()
            await self.context.clock.sleep(CONNECT_INTERVAL)
        self._problems.pop(name, None)
        self._inventories[name] = Inventory(connection, namespaces, self.context.clock, on_change=self._dirty.set)
        await self._inventories[name].run()

    async def _keep_entries(self) -> None:
        """The journal's tail, read off the loop; the journal belongs to several processes, so it is looked at, not told."""
        journal = await asyncio.to_thread(lambda: self.context.journal)
        newest = -1
        while True:
            entries = await asyncio.to_thread(lambda: journal.entries(limit=KEPT_ENTRIES))
            if entries and entries[-1]["seq"] != newest:
                newest = entries[-1]["seq"]
                self._entries = tuple(entries)
                self._dirty.set()
            await self.context.clock.sleep(JOURNAL_INTERVAL)

    async def _draw(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._dirty.wait(), 1.0)
            self._dirty.clear()
            # reaps drivers of ours that ended; the others are none of this process's business
            self._drivers = [driver for driver in self._drivers if driver.poll() is None]
            self._picture = self._compose()
            self._show(self._picture)
            await self.context.clock.sleep(SHORTEST_INTERVAL)

    def _compose(self) -> Picture:
        from services.cluster.fleet import fleet_view

        context = self.context
        health = context.journal.health
        fleet = fleet_view(context.settings.environments, self._inventories, context.clock)
        return Picture(
            fleet=self._with_problems(fleet),
            rollouts=self._cards(),
            entries=self._entries,
            journal_ok=health.ok,
            journal_detail=health.detail,
            operator=context.operator.name if context.operator else context.user,
            read_only=context.read_only,
            now=context.clock.now(),
            pace=context.clock.pace(),
            speed=context.clock.speed,
            connecting=not self._inventories and not self._problems,
        )

    def _with_problems(self, fleet: FleetView) -> FleetView:
        import msgspec

        return FleetView(
            environments=tuple(
                msgspec.structs.replace(view, problem=self._problems[view.context]) if view.context in self._problems else view
                for view in fleet.environments
            )
        )

    def _cards(self) -> tuple[RolloutCard, ...]:
        from services.cluster.fleet import rollouts
        from services.rollout.home import alive, home_id

        context, now = self.context, self.context.clock.now()
        mine = home_id(context.home)
        found: list[RolloutCard] = []
        for inventory in self._inventories.values():
            for watch in rollouts(inventory, context.clock, local_alive=lambda rollout: alive(context.home, rollout)):
                rollout: Rollout = watch.rollout
                ended = (now - rollout.written).total_seconds() if rollout.phase.final and rollout.written else 0.0
                window = ROLLBACK_WINDOW - ended if rollout.phase is Phase.SUCCEEDED else 0.0
                found.append(
                    RolloutCard(
                        rollout=rollout,
                        environment=rollout.release.target.environment,
                        watched=not watch.orphaned,
                        driver=watch.who,
                        own=rollout.driver is not None and rollout.driver.home == mine,
                        window_left=max(0.0, window),
                    )
                )
        return tuple(sorted(found, key=lambda card: (not card.live, -card.rollout.created.timestamp())))

    # ---- what the screens ask

    def field_problem(self, name: str, value: str) -> str:
        """What is wrong with one field's text, or nothing; syntax only, nothing is asked of a cluster."""
        from services.release import problems

        if self._context is None:
            return ""
        request = DeployRequest(
            service=value if name == "service" else "x",
            version=value if name == "version" else "1.0.0",
            environment=value if name == "environment" else next(iter(self.context.settings.environments)),
            strategy=value if name == "strategy" else "",
            ticket=value if name == "ticket" else "",
        )
        return next(
            (
                f"{found.rule}; accepted: {found.accepted}"
                for found in problems(request, self.context.settings)
                if found.field == name
            ),
            "",
        )

    def canonical_environment(self, text: str) -> str:
        """The environment's own name for a name or an alias; the text itself where it is neither."""
        if self._context is None or not text:
            return text
        try:
            return self.context.settings.resolve_environment(text)[0]
        except QuarterdeckError:
            return text

    def pods(self, environment: str, service: str) -> tuple[PodView, ...]:
        from services.cluster.fleet import pod_views

        view = self._picture.environment(environment)
        found = self._picture.service(environment, service)
        if view is None or found is None or view.context not in self._inventories:
            return ()
        return pod_views(self._inventories[view.context], found.namespace, service)

    # ---- a deploy on its way

    async def draft(self, request: DeployRequest) -> Draft:
        """Validate the request and compile its plan from the objects as they are now. Raises ``Rejected``, ``Unavailable``."""
        from services.release import validate
        from services.strategies import compile_plan

        context = self.context
        release = validate(request, context.settings, context.clusters.contexts(), self._known_services)
        return Draft(release=release, plan=compile_plan(release, await self._state_of(release), context.settings))

    def _known_services(self, context: str, namespace: str) -> list[str]:
        from services.cluster.fleet import service_names

        inventory = self._inventories.get(context)
        if inventory is None or not inventory.synced:
            raise Unavailable(
                f"{context} has not answered yet", self._problems.get(context, ""), "Wait for it, or look into its problem."
            )
        return list(service_names(inventory, namespace))

    async def checks(self, draft: Draft, confirmed: str | None = None) -> AsyncIterator[GateResult]:
        """Every gate's answer as it comes. Unconfirmed, the environment gate says what to type."""
        from services import gates
        from services.integrations.tickets import open_tickets
        from services.rollout.evidence import records_everywhere

        context = self.context
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

    async def start(self, draft: Draft, typed: str) -> str:
        """Compile again, compare with what was confirmed, ask every gate again, start the driver. Returns the rollout's id.

        Raises ``GateUnmet`` where a gate does not pass any more or the plan is another one by now: the confirmation is void.
        """
        from services.rollout.start import journal_refusal, start_rollout
        from services.strategies import compile_plan

        context, release = self.context, draft.release
        state = await self._state_of(release)
        plan = compile_plan(release, state, context.settings)
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
        self._drivers.append(driver)
        return rollout.id

    async def _state_of(self, release: Release) -> ServiceState:
        from services.rollout.service import read_state

        return await read_state(await self.context.clusters.connect(release.target.context), release.target, release.service)

    # ---- intents

    async def intend(self, card: RolloutCard, verb: str) -> Answer:
        from services.rollout.intents import Ask, Intent, send

        answer = await send(self.context.home, card.key, Ask(intent=Intent(verb), operator=self.context.user))
        return Answer(answer.detail if answer.ok else f"not done: {answer.detail}", card.key)

    async def take_over(self, card: RolloutCard) -> Answer:
        """A driver of this home for the rollout, from its checkpoint; whoever drove before is refused by the API server."""
        from services.rollout.start import start_driver

        self._drivers.append(start_driver(self.context, card.key, take_over=True))
        return Answer("a driver was started: it takes over from the checkpoint", card.key)

    async def roll_back(self, card: RolloutCard) -> Answer:
        """At once: the first restoring patch leaves from here, a driver does and verifies the rest."""
        from services.rollout.immediate import rollback_now

        inventory = self._inventory_of(card.rollout.release.target.context)
        return self._told(await rollback_now(self.context, inventory, card.rollout, reason=_BY_KEY))

    async def roll_back_service(self, environment: str, service: str) -> Answer:
        """The same for a service whose rollback window is over, or that has no rollout: exactly what :meth:`preview_rollback`
        showed, once. Raises ``Rejected`` where it was not shown, or is something else by now."""
        from services.rollout.immediate import rollback_now, rollback_service_now

        target = self._target(environment, service)
        inventory = self._inventory_of(target.context)
        shown = self._shown.pop((environment, service), None)
        if shown is None:
            raise Rejected("service", service, "is rolled back by one press only", "R again shows what it would restore now")
        card = self._last_change(environment, service)
        if card is not None and card.key == shown.id:
            return self._told(await rollback_now(self.context, inventory, card.rollout, reason=_BY_KEY))
        self._restored[environment, service] = self.context.clock.monotonic()
        return self._told(await rollback_service_now(self.context, inventory, target, service, shown=shown, reason=_BY_KEY))

    async def preview_rollback(self, environment: str, service: str) -> Preview:
        """What a rollback would restore. Raises ``Rejected`` where there is nothing to go back to."""
        from services.rollout.preview import restored_values, restoring_revision, revision_lines

        target = self._target(environment, service)
        inventory = self._inventory_of(target.context)
        card = self._last_change(environment, service)
        if card is not None:
            shown, lines = card.rollout, restored_values(card.rollout)
        else:
            ago = self.context.clock.monotonic() - self._restored.get((environment, service), -SETTLING)
            if ago < SETTLING:
                # Its checkpoint may not have come yet, and what ran before it now is the release that was taken back.
                raise Rejected("service", service, "was rolled back a moment ago", "a look at its rollout, then R again")
            shown = await restoring_revision(self.context, inventory, target, service)
            lines = revision_lines(shown)
        self._shown[environment, service] = shown
        return Preview(f"roll back {service} in {environment}", lines)

    def _last_change(self, environment: str, service: str) -> RolloutCard | None:
        """The newest rollout of a service that left something to undo."""
        cards = self._picture.rollouts_of(environment, service)
        return next((card for card in cards if card.rollout.undo and card.rollout.phase is not Phase.ROLLED_BACK), None)

    def _told(self, done: Immediate) -> Answer:
        if done.process is not None:
            self._drivers.append(done.process)
        return answer_to(done)

    def _inventory_of(self, context: str) -> Inventory:
        try:
            return self._inventories[context]
        except KeyError:
            raise Unavailable(f"{context} has not answered yet", self._problems.get(context, "")) from None

    def _target(self, environment: str, service: str) -> Target:
        found = self._picture.service(environment, service)
        if found is None:
            raise Rejected("service", service, f"is not in {environment}", "a service that the fleet shows")
        name, settings = self.context.settings.resolve_environment(environment)
        return Target(environment=name, tier=settings.tier, context=settings.context, namespace=found.namespace)


def _open(arguments: argparse.Namespace) -> Context:
    from console.context import Context

    return Context.open(arguments)


def _warm_up() -> None:
    """Import what the first connection and the first deploy need, off the loop: it costs a quarter of a second."""
    import services.cluster.fleet
    import services.gates
    import services.release
    import services.strategies  # noqa: F401

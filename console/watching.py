"""The contexts that the console watches: the inventory of each that could be opened, and what is wrong with the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from services.model.errors import QuarterdeckError, Unavailable
from services.model.fleet import PodView, ServiceView

if TYPE_CHECKING:
    from console.context import Context
    from services.cluster.connection import Connection
    from services.cluster.inventory import Inventory

CONNECT_INTERVAL = 3.0  # wall seconds between tries to open a context, e.g. one that the kubeconfig does not have yet

log = logging.getLogger(__name__)


class Watching:
    """``on_change`` is called, on the event loop, whenever anything in here became different."""

    def __init__(self, context: Context, on_change: Callable[[], None]) -> None:
        self._context = context
        self._on_change = on_change
        self.inventories: dict[str, Inventory] = {}
        """By context."""
        self.problems: dict[str, str] = {}
        """Of the contexts that can't be opened."""

    @property
    def contexts(self) -> Sequence[str]:
        """The contexts of all environments, each once."""
        return tuple(dict.fromkeys(each.context for each in self._context.settings.environments.values()))

    @property
    def begun(self) -> bool:
        """Whether anything at all is known of any context."""
        return bool(self.inventories or self.problems)

    async def keep(self, name: str) -> None:
        """Open the context ``name``, again and again until it can be, and keep its inventory until cancelled."""
        while True:
            try:
                await self._watch(name)
            except QuarterdeckError as error:
                self.problems[name] = str(error)
            except Exception as error:
                # nothing waits for this task: without a word here the context would only grow old
                log.exception("the watch of %s ended", name)
                self.problems[name] = f"unexpected error ({type(error).__name__}: {error}); tried again"
            self._on_change()
            await self._context.clock.sleep(CONNECT_INTERVAL)

    async def _watch(self, name: str) -> None:
        from services.cluster.inventory import Inventory

        environments = [each for each in self._context.settings.environments.values() if each.context == name]
        namespaces = tuple(dict.fromkeys(namespace for each in environments for namespace in each.namespaces))
        connection = await self._context.clusters.connect(name)
        self.problems.pop(name, None)
        self.inventories[name] = Inventory(connection, namespaces, self._context.clock, on_change=self._on_change)
        await self.inventories[name].run()

    def picture(self, context: str) -> Inventory | None:
        """What is known of a context that answers; ``None`` where it does not."""
        from services.cluster.fleet import STALE_SECONDS

        inventory = self.inventories.get(context)
        age = inventory.age() if inventory is not None else None
        return inventory if age is not None and age <= STALE_SECONDS else None

    async def connect(self, context: str) -> Connection:
        """Raises ``Rejected`` for a context that the kubeconfig has not."""
        return await self._context.clusters.connect(context)

    def inventory_of(self, context: str) -> Inventory:
        """Raises ``Unavailable`` where the context could not be opened yet."""
        if context not in self.inventories:
            raise self._not_yet(context)
        return self.inventories[context]

    def service_names(self, context: str, namespace: str) -> list[str]:
        """Raises ``Unavailable`` until the context has answered."""
        from services.cluster.fleet import service_names

        inventory = self.inventory_of(context)
        if not inventory.synced:
            raise self._not_yet(context)
        return list(service_names(inventory, namespace))

    def pods(self, context: str, service: ServiceView) -> tuple[PodView, ...]:
        """The pods of a service; none where nothing is known of its context."""
        from services.cluster.fleet import pod_views

        inventory = self.inventories.get(context)
        return pod_views(inventory, service.namespace, service.name) if inventory is not None else ()

    def _not_yet(self, context: str) -> Unavailable:
        problem = self.problems.get(context, "")
        return Unavailable(f"{context} has not answered yet", problem, "Wait for it, or look into its problem.")

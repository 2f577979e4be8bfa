"""The one place where services meet the screen.

It opens the configured clusters, keeps what watches them in background tasks, coalesces everything that happens into pictures
(at most five a second), and carries the operator's intents out. The screens never wait for it, and it never touches a widget.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from console.deploys import Deploys, field_problem
from console.draft import Answer
from console.ended import Ended
from console.pages import JournalPages
from console.picturing import picture_of
from console.rollbacks import Rollbacks
from console.shipping import ShippingWatch
from console.takeovers import Takeovers, must_be_live, take_over
from console.view import Picture, RolloutCard
from console.watching import Watching
from services.model.errors import QuarterdeckError, Unavailable
from services.model.fleet import PodView, ServiceView

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from console.context import Context
    from console.inspecting import Inspecting
    from console.tailing import LogsOf, Tail
    from console.verifying import Verified
    from services.analysis.glances import Glances
    from services.audit.exporting import Form
    from services.cluster.calls import Call, CallLog

SHORTEST_INTERVAL = 0.2
"""Wall seconds between pictures while things change; once a second otherwise, for the ages."""
JOURNAL_INTERVAL = 1.0
KEPT_ENTRIES = 500
_Part = TypeVar("_Part")

log = logging.getLogger(__name__)


class Session:
    """``show`` receives each new picture, on the event loop that :meth:`run` runs on. What it is asked before the configuration
    is read raises ``Unavailable``."""

    def __init__(self, arguments: argparse.Namespace, show: Callable[[Picture], None]) -> None:
        self._arguments = arguments
        self._show = show
        self._context: Context | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._drivers: list[subprocess.Popen[bytes]] = []
        self._dirty = asyncio.Event()
        self._entries: tuple[dict[str, Any], ...] = ()
        self._unreadable = ""
        """What is wrong with the journal's tail, if anything."""
        self._picture = Picture()
        self._watching: Watching | None = None
        self._calls: CallLog | None = None
        self._glances: Glances | None = None
        self._deploys: Deploys | None = None
        self._rollbacks: Rollbacks | None = None

    @property
    def context(self) -> Context:
        return _there(self._context)

    @property
    def deploys(self) -> Deploys:
        return _there(self._deploys)

    @property
    def rollbacks(self) -> Rollbacks:
        return _there(self._rollbacks)

    @property
    def pages(self) -> JournalPages:
        """The journal beyond its newest entries."""
        return JournalPages(self.context.journal.directory)

    # ---- life

    async def run(self) -> None:
        """Open everything and draw pictures until cancelled. Raises ``Rejected``/``ConfigurationError`` for bad configuration."""
        context = self._context = await asyncio.to_thread(_open, self._arguments)
        self._calls = context.keep_calls()
        watching = self._watching = Watching(context, self._dirty.set)
        takeovers = Takeovers(context.home)
        self._deploys = Deploys(context, watching, self._drivers.append)
        self._rollbacks = Rollbacks(context, watching, lambda: self._picture, self._drivers.append)
        await asyncio.to_thread(_warm_up)
        self._glances = _glances(context, watching)
        self._tasks.append(asyncio.create_task(self._keep_entries(), name="journal tail"))
        ended = Ended(context, self._dirty.set)
        self._tasks.append(asyncio.create_task(ended.run(), name="ends of drivers"))
        shipping = ShippingWatch(context, self._dirty.set)
        self._tasks.append(asyncio.create_task(shipping.run(), name="shipping"))
        self._tasks.append(asyncio.create_task(self._glances.run(), name="glances at services"))
        for name in watching.contexts:
            self._tasks.append(asyncio.create_task(watching.keep(name), name=f"inventory of {name}"))
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._dirty.wait(), 1.0)
            self._dirty.clear()
            # reaps drivers of ours that ended; the others are none of this process's business
            self._drivers[:] = [driver for driver in self._drivers if driver.poll() is None]
            figures = self._glances.figures
            self._picture = picture_of(
                context, watching, takeovers, self._rollbacks, ended, self._entries, self._unreadable, figures, shipping.found
            )
            self._show(self._picture)
            await context.clock.sleep(SHORTEST_INTERVAL)

    async def close(self, patience: float) -> None:
        """Let go of everything. What is under way, and connections, are each waited for up to ``patience`` wall seconds: whoever
        quits does not wait for a cluster, and the journal is closed in order all the same."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        if self._context is None:
            return
        try:
            async with asyncio.timeout(patience):
                await self._context.close()
        except TimeoutError:
            log.warning("connections were still closing when the console was left")

    async def _keep_entries(self) -> None:
        """The journal's tail, read off the loop; the journal belongs to several processes, so it is looked at, not told."""
        newest = -1
        while True:
            try:
                entries = await asyncio.to_thread(lambda: self.context.journal.entries(limit=KEPT_ENTRIES))
            except (OSError, ValueError, QuarterdeckError) as error:
                if not self._unreadable:
                    log.exception("the journal can't be read")
                self._unreadable = f"can't be read ({error})"
            else:
                self._unreadable = ""
                if entries and entries[-1]["seq"] != newest:
                    newest = entries[-1]["seq"]
                    self._entries = tuple(entries)
                    self._dirty.set()
            await self.context.clock.sleep(JOURNAL_INTERVAL)

    @property
    def home(self) -> Path | None:
        """Where what is remembered is kept; ``None`` until the configuration is read."""
        return self._context.home if self._context is not None else None

    def redacted(self, text: str) -> str:
        """``text`` without secrets."""
        return self._context.redactor.text(text) if self._context is not None else text

    @property
    def sandboxed(self) -> bool:
        """Whether the configuration is the sandbox's: nothing behind it is real."""
        return self._context is not None and self._context.settings.sandbox is not None

    @property
    def read_only(self) -> bool:
        """Whether nothing can be changed from here."""
        return self._context is not None and self._context.read_only

    @property
    def calls(self) -> Sequence[Call]:
        """What this console asked of clusters, oldest first."""
        return self._calls.calls if self._calls is not None else ()

    # ---- what the screens ask

    def field_problem(self, name: str, value: str) -> str:
        """What is wrong with one field's text, or nothing; nothing before the configuration is read either."""
        return field_problem(self._context.settings, name, value) if self._context is not None else ""

    def canonical_environment(self, text: str) -> str:
        """The environment's own name for a name or an alias; the text itself where it is neither."""
        if self._context is None or not text:
            return text
        try:
            return self._context.settings.resolve_environment(text)[0]
        except QuarterdeckError:
            return text

    def pods(self, environment: str, service: str) -> tuple[PodView, ...]:
        """The pods of a service that the picture shows."""
        view = self._picture.environment(environment)
        found = self._picture.service(environment, service)
        if view is None or found is None or self._watching is None:
            return ()
        return self._watching.pods(view.context, found)

    def logs(self, wanted: LogsOf, previous: bool, since: int | None, container: str) -> Tail:
        """The logs of ``wanted``, followed once they are asked for batches."""
        from console.tailing import Tail
        from services.cluster.podlogs import Span

        return Tail(self.context, _there(self._watching), wanted, Span(previous, since), container)

    def look_at(self, services: Sequence[ServiceView]) -> None:
        """These are on the screen: figures are wanted of them, and of no others."""
        if self._glances is not None:
            from services.analysis.glances import Glanced

            self._glances.want(
                [
                    Glanced(context=each.context, environment=each.environment, namespace=each.namespace, service=each.name)
                    for each in services
                ]
            )

    @property
    def inspecting(self) -> Inspecting:
        from console.inspecting import Inspecting

        return Inspecting(self.context, _there(self._watching))

    def driver_process(self, card: RolloutCard) -> int | None:
        """The id of the process that drives a rollout from this home; ``None`` where none does."""
        from services.rollout.home import driver_process

        return driver_process(self.context.home, card.rollout)

    async def verified(self) -> Verified:
        """The journal's whole chain, checked beside this process."""
        from console.verifying import verified

        return await verified(self.context.home, self.context.clock)

    async def saved_entries(self, name: str, form: Form, chunks: AsyncIterator[Sequence[Mapping[str, Any]]]) -> tuple[Path, int]:
        """Write ``chunks`` of entries to a file of the home directory; its path, and how many. Raises ``QuarterdeckError``."""
        from console.exports import save_entries

        return await save_entries(self.context.home, name, form, chunks, self.context.clock.now())

    # ---- intents

    async def intend(self, card: RolloutCard, verb: str) -> Answer:
        from services.rollout.intents import Ask, Intent, send

        must_be_live(card, self._picture.rollout(card.key))
        ask = Ask(intent=Intent(verb), operator=self.context.user)
        answer = await send(self.context.home, card.key, ask, begun=card.rollout.driver is not None)
        return Answer(answer.detail if answer.ok else f"not done: {answer.detail}", card.key, failed=not answer.ok)

    async def take_over(self, card: RolloutCard) -> Answer:
        """A driver of this home for the rollout, from its checkpoint, once it has it."""
        must_be_live(card, self._picture.rollout(card.key))
        return await take_over(self.context, _there(self._watching), card, self._drivers.append)


def _there(part: _Part | None) -> _Part:
    if part is None:
        raise Unavailable("The console is still connecting", "", "Try again in a moment.")
    return part


def _open(arguments: argparse.Namespace) -> Context:
    from console.context import Context

    # A shipper is started once the screen is there, should anything wait: see ShippingWatch.
    return Context.open(arguments, ships=False, undoes=True)


def _glances(context: Context, watching: Watching) -> Glances:
    from services.analysis.glances import Glances

    return Glances(context.settings.metrics, watching, context.clock, context.redactor)


def _warm_up() -> None:
    """Import what the first connection and the first deploy need, off the loop: it costs a quarter of a second."""
    import services.analysis.glances
    import services.cluster.fleet
    import services.gates
    import services.release
    import services.strategies  # noqa: F401

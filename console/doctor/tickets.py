"""The ticket system: does it answer, does it take our token, what time is it there, and does it know the operator."""

from console.doctor import skew
from console.doctor.examination import NotReached
from console.doctor.finding import Check, Finding, Group, Topic
from services.clock import Clock
from services.integrations import TicketUnavailable, open_tickets
from services.integrations.base import Account, TicketSystem
from services.model.errors import QuarterdeckError
from services.model.gates import Person
from services.model.release import Tier
from services.redaction import Redactor
from services.settings import Binding, Settings


class Desk:
    """The configured ticket system. ``close`` it when the checks are done."""

    def __init__(self, settings: Settings, operator: Person | None, *, redactor: Redactor, clock: Clock) -> None:
        self._settings = settings
        self._operator = operator
        self._clock = clock
        self._system = open_tickets(settings, redactor=redactor, clock=clock)

    def checks(self) -> list[Check]:
        where = self._settings.tickets.url if self._settings.tickets else ""
        token, time, person = (Topic(Group.TICKETS, name, where) for name in ("token", "clock", "operator's account"))
        if self._system is None:
            return [Check(Topic(Group.TICKETS, "configured"), self._none)]
        system = self._system
        return [
            Check(token, lambda: self._token(token, system)),
            Check(time, lambda: self._time(time, system)),
            Check(person, lambda: self._person(person, system)),
        ]

    async def close(self) -> None:
        if self._system is not None:
            await self._system.close()

    async def _none(self) -> list[Finding]:
        topic = Topic(Group.TICKETS, "configured")
        bound = {
            name: environment.tier
            for name, environment in self._settings.environments.items()
            if self._settings.policy[environment.tier].ticket is Binding.REQUIRED
        }
        if not bound:
            return [topic.skipped("no ticket system is configured, and no environment needs one")]
        needed = f"'tickets': without it no deploy to {', '.join(bound)} passes its gate"
        action = "Add 'tickets' to the configuration."
        found = "no ticket system is configured"
        return [
            topic.problem(found, needed, action) if Tier.PRODUCTION in bound.values() else topic.warning(found, needed, action)
        ]

    async def _token(self, topic: Topic, system: TicketSystem) -> list[Finding]:
        try:
            found = await system.account()
        except TicketUnavailable as error:
            return [topic.problem(error.detail or error.title, "without it no ticket or approval can be read", error.hint)]
        if found is None or not found.active:
            return [topic.problem("the account it belongs to is closed", "an active account", "Make a token of another account.")]
        return [topic.ok(f"accepted; it belongs to {found.display_name} ({found.id})")]

    async def _time(self, topic: Topic, system: TicketSystem) -> list[Finding]:
        asked = self._clock.unix()
        found = await _reached(system)
        return [skew.judge(topic, found.server_time if found else None, asked, self._clock.unix(), leases=False)]

    async def _person(self, topic: Topic, system: TicketSystem) -> list[Finding]:
        action = "Set 'ticket_account' of the operator under 'people' of the configuration."
        if self._operator is None:
            return [topic.skipped("the operator is not one of 'people' (see operator)")]
        if not self._operator.ticket_account:
            needed = "the operator's account, so that nobody's own approval counts"
            return [topic.warning(f"none is written for {self._operator.name}", needed, action)]
        await _reached(system)
        account = self._operator.ticket_account
        found = await system.account(account)
        if found is None:
            return [topic.problem(f"{account} is not there, or not shown to our token", "the operator's account", action)]
        if not found.active:
            return [topic.warning(f"{account} ({found.display_name}) is closed", "the operator's active account", action)]
        return [topic.ok(f"{account} is {found.display_name}")]


async def _reached(system: TicketSystem) -> Account | None:
    try:
        return await system.account()
    except QuarterdeckError:
        raise NotReached("the ticket system does not answer us (see token)") from None

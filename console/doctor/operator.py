"""Who is at work, as the gates and the journal will name them."""

import os
from collections.abc import Mapping

from console.doctor.finding import Check, Finding, Group, Topic
from services.model.release import Tier
from services.settings import Settings

_PEOPLE = "Add {name, login, ticket_account} under 'people' of the configuration."


def checks(login: str, settings: Settings | None, env: Mapping[str, str], *, read_only: bool) -> list[Check]:
    person, account = Topic(Group.OPERATOR, "person"), Topic(Group.OPERATOR, "login")

    async def known() -> list[Finding]:
        return [_known(person, login, settings, read_only=read_only)]

    async def shared() -> list[Finding]:
        return [_shared(account, login, env)]

    return [Check(account, shared), Check(person, known)]


def _known(topic: Topic, login: str, settings: Settings | None, *, read_only: bool) -> Finding:
    if settings is None:
        return topic.skipped("there is no usable configuration (see configuration)")
    found = settings.operator(login)
    if found is not None:
        return topic.ok(f"{found.name}, ticket account {found.ticket_account or 'not written'}")
    needed = "a person of that login: else approvals by others can't be told from one's own"
    guarded = any(environment.tier is Tier.PRODUCTION for environment in settings.environments.values())
    if guarded and not read_only:
        return topic.problem(f"{login} is nobody in 'people'; no deploy to production passes", needed, _PEOPLE)
    return topic.warning(f"{login} is nobody in 'people'", needed, _PEOPLE)


def _shared(topic: Topic, login: str, env: Mapping[str, str]) -> Finding:
    if os.geteuid() == 0:
        behind = f" (started by {env['SUDO_USER']})" if env.get("SUDO_USER") else ""
        found = f"{login}{behind}: the journal names an account that several people may use"
        return topic.warning(found, "a login of one's own, so that the journal says who it was", "Work under your own login.")
    return topic.ok(login)

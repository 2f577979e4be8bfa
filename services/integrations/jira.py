"""Change tickets in Jira: Cloud (REST v3, e-mail and API token) and Data Center (REST v2, personal access token).

Only the fields that decide are read; a missing one makes the answer unusable, never an approval. Approvals are those of
Jira Service Management; a project without it answers 404 there and has none. The service-management part follows
Atlassian's published documentation and has not been run against a live site.
"""

import asyncio
import base64
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.clock import Clock
from services.integrations.base import TICKET_KEY, Account, TicketNotThere, TicketUnavailable, is_ticket_key
from services.integrations.http import Answer, NoAnswer, get_json
from services.model.errors import Rejected
from services.model.gates import Approval, Ticket
from services.settings import SecretUnavailable, Tickets
from services.settings.secrets import SecretRegister
from services.settings.section import is_loopback

_MAX_PAGES = 20
_PAGE = 50


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Status(_Part):
    name: str = Field(min_length=1)


class _Fields(_Part):
    status: _Status
    summary: str | None = None


class _Issue(_Part):
    key: str
    fields: _Fields


class _User(_Part):
    accountId: str | None = None
    name: str | None = None
    key: str | None = None
    displayName: str | None = None
    active: bool = True

    def account(self, flavour: str) -> str:
        """The name by which the site knows this user; empty where it is not said."""
        names = (self.accountId, self.name, self.key) if flavour == "cloud" else (self.name, self.accountId, self.key)
        return next((name for name in names if name), "")


class _Decision(_Part):
    approver: _User
    approverDecision: str


class _ApprovalRound(_Part):
    finalDecision: str
    approvers: tuple[_Decision, ...] = ()


class _Approvals(_Part):
    values: tuple[_ApprovalRound, ...]
    isLastPage: bool


_Read = TypeVar("_Read", bound=_Part)


class Jira:
    """One Jira site as a :class:`services.integrations.base.TicketSystem`.

    ``transport`` replaces the network in tests. The token is looked up for each question, so it may be rotated meanwhile.
    """

    def __init__(
        self, config: Tickets, *, redactor: SecretRegister, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._config = config
        self._redactor = redactor
        self._clock = clock
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._site = config.url.rstrip("/")
        self._host = urlsplit(config.url).netloc
        self._statuses = {status.strip().casefold() for status in config.approved_statuses}

    async def ticket(self, key: str) -> Ticket:
        """The ticket now. It is approved where its status is one of the configured ones and, if there are any approvals,
        each of them has been decided and approved."""
        if not is_ticket_key(key):
            raise Rejected("ticket", key[:80], "is not a ticket key", TICKET_KEY)
        headers = await self._headers()
        try:
            async with asyncio.timeout(self._config.timeout):
                # Side by side: an operator waits for this.
                answers = await asyncio.gather(self._issue(key, headers), self._rounds(key, headers), return_exceptions=True)
        except TimeoutError:
            raise self._unavailable(f"gave no answer within {self._config.timeout:g} s") from None
        issue, rounds = answers
        if isinstance(issue, BaseException):
            raise issue
        if isinstance(rounds, BaseException):
            raise rounds
        status = issue.fields.status.name
        return Ticket(
            key=key,
            status=status,
            title=issue.fields.summary or "",
            url=f"{self._site}/browse/{key}",
            approved=status.strip().casefold() in self._statuses and all(found.finalDecision == "approved" for found in rounds),
            approvals=tuple(self._approval(decision) for found in rounds for decision in found.approvers),
        )

    async def account(self, id: str = "") -> Account | None:
        """Ours, or that of an accountId (Cloud) or user name (Data Center)."""
        cloud = self._config.flavour == "cloud"
        params = {"accountId" if cloud else "username": id} if id else {}
        answer = await self._get(f"/rest/api/{'3' if cloud else '2'}/{'user' if id else 'myself'}", params, await self._headers())
        if id and answer.status == 404:
            return None
        user = self._read(_User, answer)
        account = user.account(self._config.flavour)
        return Account(id=account, display_name=user.displayName or account, active=user.active, server_time=answer.server_time)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _issue(self, key: str, headers: Mapping[str, str]) -> _Issue:
        version = "3" if self._config.flavour == "cloud" else "2"
        answer = await self._get(f"/rest/api/{version}/issue/{key}", {"fields": "summary,status"}, headers)
        if answer.status == 404:
            raise TicketNotThere(
                f"{key} is not there",
                f"{self._host} shows no such ticket to our account.",
                "Check the key, or ask for permission to see it.",
            )
        issue = self._read(_Issue, answer)
        if issue.key != key:
            raise self._unavailable(f"answered {key} with another ticket, {issue.key[:80]!r}; it may have been moved")
        return issue

    async def _rounds(self, key: str, headers: Mapping[str, str]) -> list[_ApprovalRound]:
        """Every approval of the request, page by page; none where it is not a request of Jira Service Management (404)."""
        rounds: list[_ApprovalRound] = []
        for _ in range(_MAX_PAGES):
            params = {"start": str(len(rounds)), "limit": str(_PAGE)}
            answer = await self._get(f"/rest/servicedeskapi/request/{key}/approval", params, headers)
            if answer.status == 404 and not rounds:
                return []
            page = self._read(_Approvals, answer)
            rounds += page.values
            if page.isLastPage:
                return rounds
            if not page.values:
                break
        raise self._unavailable("lists approvals without end")

    async def _get(self, path: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        if self._client is None:
            # Environment proxies are for the world outside; a loopback address behind one would never be found.
            self._client = httpx.AsyncClient(
                transport=self._transport, timeout=self._config.timeout, trust_env=not is_loopback(self._site)
            )
        try:
            return await get_json(
                self._client, self._site + path, params=params, headers=headers, seconds=self._config.timeout, clock=self._clock
            )
        except NoAnswer as error:
            raise self._unavailable(str(error)) from None

    async def _headers(self) -> dict[str, str]:
        try:
            # A file may be on a disk that takes its time.
            token = await asyncio.to_thread(self._config.token.reveal, self._redactor)
        except SecretUnavailable as error:
            raise TicketUnavailable(error.title, error.detail, error.hint) from error
        if self._config.flavour == "data-center":
            # Older Data Center versions hide the approvals of a request behind this header.
            return {"Accept": "application/json", "Authorization": f"Bearer {token}", "X-ExperimentalApi": "opt-in"}
        credentials = base64.b64encode(f"{self._config.user}:{token}".encode()).decode()
        self._redactor.register(credentials)
        return {"Accept": "application/json", "Authorization": f"Basic {credentials}"}

    def _read(self, kind: type[_Read], answer: Answer) -> _Read:
        if answer.status in (401, 403):
            place = self._config.token
            raise self._unavailable(f"refused our account ({answer.status})", f"Check the token at {place} and what it may see.")
        if answer.status != 200:
            raise self._unavailable(f"answered {answer.status}")
        try:
            return kind.model_validate(answer.document)
        except ValidationError as error:
            missing = ", ".join(sorted({".".join(map(str, detail["loc"])) or "all" for detail in error.errors()})[:3])
            raise self._unavailable(f"left out or changed what decides ({missing})") from None

    def _approval(self, decision: _Decision) -> Approval:
        user = decision.approver
        account = user.account(self._config.flavour)
        return Approval(account=account, display_name=user.displayName or account, decision=decision.approverDecision)

    def _unavailable(self, reason: str, hint: str = "Try again, or ask whoever runs Jira.") -> TicketUnavailable:
        return TicketUnavailable("The ticket's state is unknown", f"Jira at {self._host} {reason}.", hint)

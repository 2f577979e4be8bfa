"""Change tickets as Jira Data Center and its Service Management serve them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from services.clock import Clock
from services.sandbox.access import Tokens
from services.sandbox.api import answer
from services.sandbox.errors import ApiError
from services.sandbox.fleet import OFFERS
from services.sandbox.people import APPROVERS, Somebody, operator


@dataclass(frozen=True, slots=True)
class Change:
    key: str
    summary: str
    status: str
    decision: str
    """``approved``, ``declined`` or ``pending``: the decision on the whole."""
    decisions: tuple[tuple[Somebody, str], ...]


_STATUS_IDS = {"Approved": ("10003", "indeterminate"), "In Review": ("10002", "indeterminate"), "Declined": ("10005", "done")}
_CATEGORIES = {"new": (2, "blue-gray", "To Do"), "indeterminate": (4, "yellow", "In Progress"), "done": (3, "green", "Done")}


def changes(me: Somebody) -> dict[str, Change]:
    """The tickets there are: one for each release on offer that may go, and three that may not."""
    title = f"Deploy {OFFERS[0].service} {OFFERS[0].version}"
    first, second = APPROVERS
    both = ((first, "approved"), (second, "approved"))
    found = (
        *(
            Change(offer.ticket, f"Deploy {offer.service} {offer.version} to production", "Approved", "approved", both)
            for offer in OFFERS
        ),
        Change("CHG-4822", f"{title}: second window", "In Review", "pending", ((first, "approved"), (second, "pending"))),
        Change("CHG-4823", f"{title}: approved by its own operator", "Approved", "approved", ((me, "approved"),)),
        Change("CHG-4824", f"{title} on a Friday", "Declined", "declined", ((first, "declined"), (second, "pending"))),
    )
    return {change.key: change for change in found}


class Tickets:
    """``/rest/api/2`` and ``/rest/servicedeskapi`` below the base URL ``…/jira``. A personal access token is needed."""

    def __init__(self, base: str, tokens: Tokens, clock: Clock) -> None:
        self._base = base
        self._tokens = tokens
        self._clock = clock
        self._me = operator()
        self._changes = changes(self._me)
        self._created = clock.now() - timedelta(days=3)

    def handle(self, request: web.Request) -> web.Response:
        try:
            if not self._tokens.user(request.headers.get("Authorization", "")).writes:
                raise ApiError(401, "Unauthorized", "Unauthorized")
        except ApiError:
            return _refusal(401, "You are not authenticated. Authentication required to perform this operation.")
        if request.method != "GET":
            return _refusal(405, "This ticket system is read-only.")
        parts = request.path.split("/jira/", 1)[-1].strip("/").split("/")
        match parts:
            case ["rest", "api", "2", "myself"]:
                return answer(self._user(self._me) | {"timeZone": "Etc/UTC", "locale": "en_US"})
            case ["rest", "api", "2", "user"]:
                wanted = request.query.get("username", "")
                found = next((person for person in (self._me, *APPROVERS) if person.account == wanted), None)
                return answer(self._user(found)) if found else _refusal(404, "The user does not exist.")
            case ["rest", "api", "2", "serverInfo"]:
                return answer(
                    {"baseUrl": self._base, "version": "9.12.0", "versionNumbers": [9, 12, 0], "deploymentType": "Server"}
                )
            case ["rest", "api", "2", "issue", key]:
                return self._issue(key, request)
            case ["rest", "servicedeskapi", "request", key, "approval"]:
                return self._approvals(key)
        return _refusal(404, "Nothing is served at this path.")

    def _issue(self, key: str, request: web.Request) -> web.Response:
        change = self._changes.get(key.upper())
        if change is None:
            return _refusal(404, "Issue Does Not Exist")
        fields: dict[str, Any] = {
            "summary": change.summary,
            "status": self._status(change.status),
            "issuetype": {"self": f"{self._base}/rest/api/2/issuetype/10004", "id": "10004", "name": "Change", "subtask": False},
            "assignee": self._user(self._me),
            "reporter": self._user(self._me),
            "created": _jira_time(self._created),
            "updated": _jira_time(self._created + timedelta(days=1)),
        }
        wanted = {name for name in request.query.get("fields", "").split(",") if name}
        if wanted and not wanted & {"*all", "*navigable"}:
            fields = {name: value for name, value in fields.items() if name in wanted}
        number = str(10_000 + int(change.key.partition("-")[2]))
        issue = {
            "expand": "renderedFields,names,schema,operations,changelog",
            "id": number,
            "self": f"{self._base}/rest/api/2/issue/{number}",
            "key": change.key,
            "fields": fields,
        }
        if "changelog" in request.query.get("expand", "").split(","):
            histories = self._histories(change)
            issue["changelog"] = {"startAt": 0, "maxResults": len(histories), "total": len(histories), "histories": histories}
        return answer(issue)

    def _histories(self, change: Change) -> list[dict[str, Any]]:
        decided = [person for person, decision in change.decisions if decision == change.decision]
        if change.decision == "pending" or not decided:
            return []
        item = {"field": "status", "fieldtype": "jira", "from": "10002", "fromString": "In Review"}
        item |= {"to": _STATUS_IDS[change.status][0], "toString": change.status}
        created = _jira_time(self._created + timedelta(days=1))
        return [{"id": "20001", "author": self._user(decided[-1]), "created": created, "items": [item]}]

    def _approvals(self, key: str) -> web.Response:
        change = self._changes.get(key.upper())
        if change is None:
            return _refusal(404, "The request does not exist, or you have no permission to see it.")
        approval: dict[str, Any] = {
            "id": change.key.partition("-")[2],
            "name": "Change approval",
            "finalDecision": change.decision,
            "canAnswerApproval": False,
            "approvers": [
                {"approver": self._user(person), "approverDecision": decision} for person, decision in change.decisions
            ],
            "createdDate": _date(self._created),
        }
        if change.decision != "pending":
            approval["completedDate"] = _date(self._created + timedelta(days=1))
        return answer({"size": 1, "start": 0, "limit": 50, "isLastPage": True, "values": [approval]})

    def _status(self, name: str) -> dict[str, Any]:
        number, category = _STATUS_IDS[name]
        category_id, colour, category_name = _CATEGORIES[category]
        place = {"self": f"{self._base}/rest/api/2/statuscategory/{category_id}", "id": category_id, "key": category}
        return {
            "self": f"{self._base}/rest/api/2/status/{number}",
            "id": number,
            "name": name,
            "description": "",
            "iconUrl": f"{self._base}/images/icons/statuses/generic.png",
            "statusCategory": place | {"colorName": colour, "name": category_name},
        }

    def _user(self, person: Somebody) -> dict[str, Any]:
        """A user as Data Center shows one, with the ``accountId`` of Cloud beside it: the same account under each name."""
        return {
            "self": f"{self._base}/rest/api/2/user?username={person.account}",
            "name": person.account,
            "key": person.account,
            "accountId": person.account,
            "displayName": person.name,
            "active": True,
        }


def _jira_time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def _date(at: datetime) -> dict[str, Any]:
    return {"iso8601": at.strftime("%Y-%m-%dT%H:%M:%S+0000"), "jira": _jira_time(at), "epochMillis": int(at.timestamp() * 1000)}


def _refusal(code: int, message: str) -> web.Response:
    return answer({"errorMessages": [message], "errors": {}}, code)

"""What an API server's refusals mean, in the operator's words."""

import contextlib
import email.utils
import http
from collections.abc import Mapping

import msgspec

from services.cluster.objects import Status
from services.model.errors import Conflict, Forbidden, Invalid, NotFound, QuarterdeckError, Throttled, Unavailable

JSON_PATCH = "application/json-patch+json"

_MOST = 300
_status = msgspec.json.Decoder(Status)


class Silent(Unavailable):
    """A connection that was there gave no answer: what else is open to this server may be as dead."""


class CredentialsRefused(Forbidden):
    """401: the server does not know who we are, even with fresh credentials."""


class Expired(Unavailable):
    """410: the asked-for resource version is no longer there; list again."""


class Garbled(Unavailable):
    """What came is not what an API server sends: what followed from it is not to be trusted either."""


def status_of(body: bytes) -> Status | None:
    """The Status document in ``body``, if it is one."""
    with contextlib.suppress(msgspec.DecodeError):
        status = _status.decode(body)
        return status if status.kind == "Status" else None
    return None


def retry_after(headers: Mapping[str, str], status: Status | None, now: float, default: float = 1.0) -> float:
    """Seconds to wait before asking again: the header Retry-After (RFC 9110), else the Status, else ``default``."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():  # "²" is a digit too, and no number
        return float(text)
    if text:
        with contextlib.suppress(ValueError, OverflowError):
            return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    if status is not None and status.details is not None and status.details.retry_after_seconds > 0:
        return float(status.details.retry_after_seconds)
    return default


def refusal(
    code: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    context: str,
    server: str,
    what: str,
    content_type: str = "",
    now: float = 0.0,
) -> QuarterdeckError:
    """The error that an answer with status ``code`` (>= 400) means. ``what`` names the request for people."""
    status = status_of(body)
    message = _short(status.message if status is not None else body[:400].decode("utf-8", "replace").strip().partition("\n")[0])
    title = f"{context} answered {code} {_phrase(code)}" + (f": {message}" if message else "")
    detail = f"{what} at {server}."
    if code == 401:
        return CredentialsRefused(
            f"the credentials for {context} expired or are not accepted (401)", detail, "Sign in to the cluster again."
        )
    if code == 403:
        return Forbidden(title, detail, "Ask for this permission, or use a context that has it.")
    if code == 404:
        return NotFound(title, detail)
    if code == 409:
        return Conflict(title, detail, "The object changed meanwhile: look at it again.")
    if code == 410:
        return Expired(title, detail)
    if code == 429:
        return Throttled(
            title, detail, "The API server is busy: it will be asked again.", retry_after=retry_after(headers, status, now)
        )
    if code == 422 and content_type == JSON_PATCH and not (status and status.details and status.details.causes):
        # An API server says that a `test` failed, or that a path is not there, without naming a field; what breaks a
        # rule of the object comes with causes that do.
        return Conflict(title, detail, "The object is no longer what it was: look at it again.")
    if code in (400, 405, 406, 413, 415, 422):
        return Invalid(title, detail, "Nothing was changed. The request is at fault: sending it again will not help.")
    return Unavailable(title, detail)


def _phrase(code: int) -> str:
    try:
        return http.HTTPStatus(code).phrase
    except ValueError:
        return ""


def _short(text: str) -> str:
    """A server's message fit for one line of a screen."""
    clean = "".join(character if character.isprintable() else " " for character in text[: _MOST + 1]).strip()
    return clean if len(clean) <= _MOST else clean[: _MOST - 1] + "…"

"""One JSON document from a system that may be down, slow, redirecting, throttling or talking nonsense."""

import asyncio
import json
import logging
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import httpx
import stamina

from services.clock import Clock
from services.model.objects import Json

MAX_BYTES = 4 * 1024 * 1024
_AGAIN = frozenset({429, 500, 502, 503, 504})
_ATTEMPTS = 4

# Retries are logged; a logger without any handler would write to standard error, into the screen.
logging.getLogger("stamina").addHandler(logging.NullHandler())


class NoAnswer(Exception):
    """No usable answer; the text says why, for people, and holds nothing of the request's headers."""


class _Again(Exception):
    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Answer:
    """A status below 500 other than 429, the JSON document of a 200 (``None`` of all else), and the server's own time: its
    ``Date`` header, in Unix seconds (``None`` where it sent none)."""

    def __init__(self, status: int, document: Json, server_time: float | None = None) -> None:
        self.status = status
        self.document = document
        self.server_time = server_time


async def get_json(
    client: httpx.AsyncClient,
    url: str,
    *,
    params: Mapping[str, str],
    headers: Mapping[str, str],
    seconds: float,
    clock: Clock,
) -> Answer:
    """GET ``url``, again after 429 (as ``Retry-After`` asks), 5xx and broken connections, all within ``seconds`` of wall time.

    Redirects are not followed: an answer from elsewhere is not an answer, and the credentials are for this host alone.
    Raises :class:`NoAnswer`.
    """
    deadline = clock.monotonic() + seconds
    last = ""

    def again(error: Exception) -> bool | float:
        nonlocal last
        if not isinstance(error, _Again):
            return False
        last = str(error)
        if error.after is None:
            return True
        return error.after if clock.monotonic() + error.after < deadline else False

    try:
        async with asyncio.timeout(seconds):
            async for attempt in stamina.retry_context(
                on=again, attempts=_ATTEMPTS, timeout=seconds, wait_initial=0.1, wait_max=1.0, wait_jitter=0.1
            ):
                with attempt:
                    return await _once(client, url, params, headers, clock)
    except TimeoutError:
        raise NoAnswer(f"no answer within {seconds:g} s" + (f" ({last})" if last else "")) from None
    except _Again as error:
        raise NoAnswer(str(error)) from None
    raise NoAnswer(last or "not asked")


async def _once(
    client: httpx.AsyncClient, url: str, params: Mapping[str, str], headers: Mapping[str, str], clock: Clock
) -> Answer:
    try:
        async with client.stream("GET", url, params=params, headers=headers, follow_redirects=False) as response:
            if response.status_code in _AGAIN:
                raise _Again(f"answered {response.status_code}", _retry_after(response.headers.get("Retry-After", ""), clock))
            if response.is_redirect:
                raise NoAnswer(f"answered with a redirect ({response.status_code}) instead of the document")
            server_time = _date(response.headers.get("Date", ""))
            if response.status_code != 200:
                return Answer(response.status_code, None, server_time)
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise NoAnswer(f"answered with more than {MAX_BYTES // 2**20} MiB")
    except httpx.TimeoutException:
        raise _Again("timed out") from None
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise _Again(f"can't be reached ({type(error).__name__})") from None
    try:
        return Answer(200, json.loads(body), server_time)
    except (ValueError, RecursionError):
        raise NoAnswer("answered with something that is not JSON") from None


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _retry_after(text: str, clock: Clock) -> float | None:
    """Seconds to wait, from a number of seconds or an HTTP date; ``None`` where the header says nothing usable."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - clock.unix())
    except (ValueError, TypeError, OverflowError):
        return None

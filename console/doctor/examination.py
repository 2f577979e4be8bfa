"""Runs checks side by side, each within its own time, so that none can hide or hold up another."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from typing import Any, TypeVar

from console.doctor.finding import Check, Finding
from services.model.errors import QuarterdeckError, Unavailable

T = TypeVar("T")

SECONDS = 10.0
"""Wall seconds for each check, unless asked otherwise."""
SHARE = 0.8
"""Of a check's time, what one request of it may take: the rest is for saying what came of it."""


class NotReached(Exception):
    """What a check depends on did not answer, which another check says: there is nothing to add."""


Report = Callable[[Exception], str]
"""Keeps the traceback of a check that is broken itself, and says where, for people."""


async def examine(checks: Sequence[Check], seconds: float, report: Report) -> list[Finding]:
    """The findings of every check, in the order of the checks. Ends within ``seconds`` (wall) and never raises for a check."""
    asyncio.get_running_loop().set_default_executor(_Abandonable())
    answers = await asyncio.gather(*(_answer(check, seconds, report) for check in checks))
    return [finding for answer in answers for finding in answer]


async def _answer(check: Check, seconds: float, report: Report) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(seconds):
            return await check.run()
    # what does not answer here does not answer at 3 a.m. either: that is not unknown, and must not end with all being well
    except TimeoutError:
        more = f"Try again with --timeout {3 * seconds:g}."
        return [check.topic.problem(f"no answer within {seconds:g} s", "an answer in that time", more)]
    except NotReached as missing:
        return [check.topic.skipped(str(missing))]
    except Unavailable as error:
        return [check.topic.problem(_told(error), "an answer", error.hint or "Try again.")]
    except QuarterdeckError as error:
        return [check.topic.unknown(_told(error), "an answer", error.hint or "Try again.")]
    except Exception as error:
        # One check that is broken itself must not take the others' findings along.
        found = f"the check itself failed ({type(error).__name__}: {error})"
        return [check.topic.problem(found, "an answer", f"{report(error)} The other checks stand.")]


def _told(error: QuarterdeckError) -> str:
    return " ".join(part for part in (f"{error.title}.", error.detail) if part)


class _Abandonable(ThreadPoolExecutor):
    """A thread for each call, which nobody waits for at the end: a name server or a disk that hangs must not keep us."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        Thread(target=call, name="doctor", daemon=True).start()
        return future

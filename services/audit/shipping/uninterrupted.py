"""Files that are written from the event loop: whoever is cancelled meanwhile ends once the file is whole."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def uninterrupted(write: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``write`` returns, which runs in a thread. A thread can't be stopped: one that was left would go on writing while the
    next write of the same file begins."""
    writing = asyncio.ensure_future(asyncio.to_thread(write, *args, **kwargs))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait({writing})
        raise

"""The whole console on a sandbox, in this process and without a terminal: its pictures and its screens can be looked into."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from console import logs
from console.app import ConsoleApp
from console.cli import parser
from support.consoles import words_on
from support.world import World


@contextlib.asynccontextmanager
async def headless(
    sandbox: World, home: Path, *, config: Path | None = None, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[ConsoleApp, Pilot[Any]]]:
    """A console that has heard of every environment, until the block ends."""
    app = ConsoleApp(parser().understood(["--config", str(config or sandbox.config), "--home", str(home)]))
    try:
        async with app.run_test(size=size) as pilot:
            await soon(app, lambda: _heard_of_all(app))
            yield app, pilot
    finally:
        logs.tear_down()


def _heard_of_all(app: ConsoleApp) -> bool:
    views = app.picture.fleet.environments
    return bool(views) and all(view.age_seconds is not None for view in views)


async def soon(app: ConsoleApp, there: Callable[[], Any], seconds: float = 30.0) -> None:
    """Let the console live until ``there`` holds; fails with its screen after ``seconds``."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not there():
        if loop.time() > end:
            raise AssertionError(f"not within {seconds:g} s:\n{words_on(app)}")
        await asyncio.sleep(0.02)

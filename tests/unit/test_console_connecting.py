"""A cluster that the console can't open at its start: the problem is shown, and it is tried again."""

import argparse
import asyncio
import contextlib
from pathlib import Path

import pytest

from console import watching
from console.session import Session
from console.view import Picture
from services.audit.event import Event, JournalUnavailable

PATIENCE = 20.0
"""Wall seconds: far more than it takes."""


def kubeconfig(*contexts: str) -> str:
    named = ", ".join(f"{{name: {name}, context: {{cluster: c, user: u}}}}" for name in contexts)
    return (
        f"apiVersion: v1\nkind: Config\ncontexts: [{named}]\n"
        'clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]\nusers: [{name: u, user: {}}]\n'
    )


def arguments(home: Path) -> argparse.Namespace:
    (home / "kubeconfig").write_text(kubeconfig("elsewhere"))
    (home / "config.yaml").write_text(
        f"version: 1\nhome: {home}/home\nkubeconfig: {home}/kubeconfig\n"
        "environments:\n  production: {tier: production, context: production, namespaces: [production]}\n"
    )
    return argparse.Namespace(config=str(home / "config.yaml"), home="", read_only=False, output="text")


async def test_leaving_waits_neither_for_what_goes_on_nor_for_connections_that_hang_and_closes_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()

    class Stubborn(watching.Watching):
        async def keep(self, name: str) -> None:
            while not release.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await release.wait()

    class Hanging:
        async def close(self) -> None:
            await release.wait()

    monkeypatch.setattr("console.session.Watching", Stubborn)
    shown = asyncio.Event()
    session = Session(arguments(tmp_path), lambda picture: shown.set())
    running = asyncio.create_task(session.run())
    try:
        await asyncio.wait_for(shown.wait(), PATIENCE)
        session.context.__dict__["clusters"] = Hanging()
        entry = Event(event="deployment.rolled_back", user="jane")
        waiting = asyncio.create_task(session.context.journal.append(entry))
        await asyncio.sleep(0)
        await asyncio.wait_for(session.close(0.02), PATIENCE)
        await waiting
        with pytest.raises(JournalUnavailable, match="closed"):
            await session.context.journal.append(entry)
        assert [found["event"] for found in session.context.journal.entries()][-1] == entry.event
    finally:
        release.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_context_that_comes_later_is_opened_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "CONNECT_INTERVAL", 0.02)
    shown: asyncio.Queue[str] = asyncio.Queue()

    def show(picture: Picture) -> None:
        view = picture.environment("production")
        shown.put_nowait(view.problem if view is not None else "")

    session = Session(arguments(tmp_path), show)
    running = asyncio.create_task(session.run())

    async def problem(*, has: bool) -> None:
        while ("not in the kubeconfig" in await shown.get()) is not has:
            assert not running.done()

    try:
        await asyncio.wait_for(problem(has=True), PATIENCE)
        (tmp_path / "kubeconfig").write_text(kubeconfig("elsewhere", "production"))
        await asyncio.wait_for(problem(has=False), PATIENCE)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await session.close(PATIENCE)

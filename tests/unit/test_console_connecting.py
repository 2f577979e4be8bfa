"""A cluster that the console can't open at its start: the problem is shown, and it is tried again."""

import argparse
import asyncio
from pathlib import Path

import pytest

from console import watching
from console.session import Session
from console.view import Picture

PATIENCE = 20.0
"""Wall seconds: far more than it takes."""


def kubeconfig(*contexts: str) -> str:
    named = ", ".join(f"{{name: {name}, context: {{cluster: c, user: u}}}}" for name in contexts)
    return (
        f"apiVersion: v1\nkind: Config\ncontexts: [{named}]\n"
        'clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]\nusers: [{name: u, user: {}}]\n'
    )


async def test_a_context_that_comes_later_is_opened_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "CONNECT_INTERVAL", 0.02)
    (tmp_path / "kubeconfig").write_text(kubeconfig("elsewhere"))
    (tmp_path / "config.yaml").write_text(
        f"version: 1\nhome: {tmp_path}/home\nkubeconfig: {tmp_path}/kubeconfig\n"
        "environments:\n  production: {tier: production, context: production, namespaces: [production]}\n"
    )
    arguments = argparse.Namespace(config=str(tmp_path / "config.yaml"), home="", read_only=False, output="text")
    shown: asyncio.Queue[str] = asyncio.Queue()

    def show(picture: Picture) -> None:
        view = picture.environment("production")
        shown.put_nowait(view.problem if view is not None else "")

    session = Session(arguments, show)
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
        await session.close()

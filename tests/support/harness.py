"""The program as a person or a pipeline runs it: sandbox, command line and drivers, each a process of its own."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from services.clock import SystemClock
from services.cluster.connection import Clusters, Connection
from services.model.objects import Json, ObjectRef
from services.model.rollout import Rollout
from support.processes import eventually, matching, signalled

ROOT = Path(__file__).parents[2]
QUARTERDECK = (sys.executable, "-m", "console.cli")
NEW, OLD = "v2.15.0", "v2.14.1"
STABLE = ObjectRef("Deployment", "production", "payment-service")
CANARY = ObjectRef("Deployment", "production", "payment-service-canary")
ROUTE = ObjectRef("VirtualService", "production", "payment-service")
DEPLOY = ("deploy", "payment-service", NEW, "-e", "production", "--strategy", "canary", "--ticket", "CHG-4821")
CONFIRMED = (*DEPLOY, "--confirm", "production")


class Ended:
    """A command that has ended: exit code, the JSON document it printed, its standard error, and the wall seconds it took."""

    def __init__(self, process: subprocess.Popen[str], began: float, timeout: float) -> None:
        self.out, self.err = process.communicate(timeout=timeout)
        self.code = process.returncode
        self.seconds = time.monotonic() - began

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


class Running:
    """A command under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._began = time.monotonic()

    def ended(self, timeout: float = 150.0) -> Ended:
        return Ended(self.process, self._began, timeout)


class Sandbox:
    """One sandbox process with its own home. ``stop`` ends it and every process that was started through it.

    Without ``shipping`` its configuration names no sink: a test that is about something else starts no shipper for each home.
    """

    def __init__(self, home: Path, scenario: str, speed: float, *, cluster: Path | None = None, shipping: bool = True) -> None:
        self.home = home
        self._commands: list[Running] = []
        ready = home / "ready.json"
        command = [
            *QUARTERDECK,
            "sandbox",
            "--scenario",
            scenario,
            "--speed",
            str(speed),
            "--home",
            str(home),
            "--ready-file",
            str(ready),
        ]
        if cluster is not None:
            command += ["--cluster", str(cluster)]
        home.mkdir(parents=True, exist_ok=True)
        with (home / "sandbox.out").open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT, env=environment()
            )
        eventually("the sandbox is ready", lambda: ready.exists() or self.process.poll() is not None, 60.0)
        if not ready.exists():
            raise AssertionError(f"the sandbox ended: {(home / 'sandbox.out').read_text()}")
        self.ready: dict[str, Any] = json.loads(ready.read_text())
        self.config = Path(self.ready["config"])
        if not shipping:
            document = yaml.safe_load(self.config.read_text())
            del document["journal"]["sinks"]
            self.config = home / "without-sinks.yaml"
            self.config.write_text(yaml.safe_dump(document))
        self.kubeconfig = Path(self.ready["kubeconfig"])

    @property
    def state(self) -> Path:
        """The home directory of the commands that are run with the sandbox's configuration."""
        return next(Path(line.split(": ", 1)[1]) for line in self.config.read_text().splitlines() if line.startswith("home: "))

    def start(self, *arguments: str, home: Path | None = None) -> Running:
        own = ["--home", str(home)] if home is not None else []
        process = subprocess.Popen(
            [*QUARTERDECK, "--config", str(self.config), *own, "-o", "json", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=environment(),
        )
        self._commands.append(Running(process))
        return self._commands[-1]

    def run(self, *arguments: str, home: Path | None = None, timeout: float = 150.0) -> Ended:
        return self.start(*arguments, home=home).ended(timeout)

    def get(self, ref: ObjectRef, context: str = "production") -> dict[str, Json]:
        async def read() -> dict[str, Json]:
            async with self._connected(context) as connection:
                return await connection.get(ref)

        return asyncio.run(read())

    def listed(self, kind: str, labels: str, context: str = "production") -> list[dict[str, Json]]:
        async def read() -> list[dict[str, Json]]:
            async with self._connected(context) as connection:
                return await connection.list(kind, context, labels=labels, type=dict)

        return asyncio.run(read())

    def rollouts(self) -> list[Rollout]:
        """Every rollout of production as its checkpoint shows it, oldest first."""

        async def read() -> list[Rollout]:
            async with self._connected("production") as connection:
                return await _rollouts(connection)

        return asyncio.run(read())

    def wait_for_rollout(self, ready: Callable[[Rollout], bool], what: str, timeout: float = 60.0) -> Rollout:
        """The newest rollout once ``ready`` says so of it. Looks over one connection: to open one costs more than a look."""

        async def waited() -> Rollout:
            until = time.monotonic() + timeout
            async with self._connected("production") as connection:
                while not ((newest := (await _rollouts(connection))[-1:]) and ready(newest[0])):
                    if time.monotonic() > until:
                        raise AssertionError(f"waited {timeout:.0f} s in vain for {what}")
                    await asyncio.sleep(0.1)
            return newest[0]

        return asyncio.run(waited())

    @contextlib.asynccontextmanager
    async def _connected(self, context: str) -> AsyncIterator[Connection]:
        clusters = Clusters(self.kubeconfig, SystemClock())
        try:
            yield await clusters.connect(context)
        finally:
            await clusters.close()

    def driver(self, rollout: Rollout, home: Path | None = None) -> int:
        """The pid of the process that drives it."""
        assert rollout.driver is not None
        return int((((home or self.state) / "rollouts" / rollout.id) / f"{rollout.driver.token}.alive").read_text())

    def written(self, event: str) -> bool:
        """Whether the journal on the disk has such an entry."""
        sign = f'"event":"{event}"'.encode()
        return any(sign in segment.read_bytes() for segment in (self.state / "journal" / "seg").glob("*.jsonl"))

    def journal(self, *arguments: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.run("journal", "list", *arguments).document["entries"]
        return entries

    def misbehave(self, **faults: str) -> None:
        """Tell the sandbox's systems (``api``, ``tickets``, ``metrics``) how to fail; empty: work again."""
        url = self.ready["tickets"].rpartition("/")[0] + "/sandbox/faults"
        token = next(user["user"]["token"] for user in self.kubeconfig_document["users"] if user["name"] == "admin")
        request = urllib.request.Request(url, json.dumps(faults).encode(), {"Authorization": f"Bearer {token}"}, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200

    @property
    def kubeconfig_document(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.kubeconfig.read_text())
        return found

    def stop(self) -> None:
        # drivers and shippers are nobody's children: a shipper would look for this sandbox's log store for a minute
        for pid in matching("console.cli", self.home):
            if pid != self.process.pid:
                signalled(pid, signal.SIGKILL)
        for command in self._commands:
            if command.process.poll() is None:
                command.process.kill()
            command.process.communicate()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


async def _rollouts(connection: Connection) -> list[Rollout]:
    found = await connection.list("ConfigMap", "production", labels="quarterdeck/kind=checkpoint", type=dict)
    decoded = [msgspec.json.decode(item["data"]["rollout"], type=Rollout) for item in found]
    return sorted(decoded, key=lambda rollout: rollout.created)


def environment() -> dict[str, str]:
    """This process's environment without what would choose another configuration, home, or ticket."""
    chosen = ("QUARTERDECK_CONFIG", "QUARTERDECK_HOME", "CHANGE_TICKET", "KUBECONFIG")
    return {name: value for name, value in os.environ.items() if name not in chosen}

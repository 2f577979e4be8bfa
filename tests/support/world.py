"""A sandbox in a process of its own, the command line as processes, and what is in the cluster, read past Quarterdeck."""

import base64
import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from console.remembered import Remembered, write
from services.audit.verify import Verification, verify
from support.processes import eventually, matching, signalled

ROOT = Path(__file__).resolve().parents[2]
NAMESPACES = ("dev", "staging", "canary", "production")
PLURALS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Service": "/api/v1/namespaces/{}/services",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "VirtualService": "/apis/networking.istio.io/v1/namespaces/{}/virtualservices",
    "DestinationRule": "/apis/networking.istio.io/v1/namespaces/{}/destinationrules",
}
NO_SINKS: dict[str, Any] = {"sinks": []}
"""A journal that is shipped nowhere: a test that is about something else starts no shipper for each home."""
SHORT = {"steps": [{"weight": 10, "seconds": 60}, {"weight": 25, "seconds": 120}], "baseline_seconds": 30}
"""A canary with everything the default one has, in less time."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output, which has to be one JSON document and nothing else."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


class Running:
    """A command under way. Its output goes to files, so that nothing waits for a reader."""

    def __init__(self, command: list[str], environment: dict[str, str], place: Path, name: str) -> None:
        self._out, self._err = place / f"{name}.out", place / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=place, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def ended(self, seconds: float = 60.0) -> Said:
        """Its answer, once it has ended by itself."""
        code = self.process.wait(seconds)
        return Said(code, self._out.read_text(), self._err.read_text())


@dataclass
class World:
    """One running sandbox. ``home`` is its own directory; the state of Quarterdeck goes to homes made by :meth:`new_home`."""

    place: Path
    process: "subprocess.Popen[bytes]"
    ready: dict[str, Any]
    config: Path
    _started: list[Running] = field(default_factory=list)
    _histories: "list[History]" = field(default_factory=list)
    _connection: tuple[str, str, ssl.SSLContext] | None = None

    # Quarterdeck ------------------------------------------------------------------------------------------------------

    def new_home(self, name: str) -> Path:
        """A home directory for one operator's state, apart from all others. They have seen the tour."""
        home = self.place / f"home-{name}"
        home.mkdir(mode=0o700)
        write(home, Remembered(tour_seen=True))
        return home

    def command(self, home: Path, *words: str, config: Path | None = None) -> list[str]:
        program = [sys.executable, "-P", "-m", "console.cli"]
        return [*program, "--config", str(config or self.config), "--home", str(home), *words]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("QUARTERDECK_", "CHANGE_TICKET"))}
        # a working tree that is not the installed one is tested as itself
        return {**kept, "PYTHONPATH": str(ROOT), "KUBECONFIG": "/dev/null"}

    def start(self, home: Path, *words: str, config: Path | None = None) -> Running:
        self._started.append(
            Running(self.command(home, *words, config=config), self.environment(), self.place, f"command-{len(self._started)}")
        )
        return self._started[-1]

    def run(
        self,
        home: Path,
        *words: str,
        config: Path | None = None,
        seconds: float = 90.0,
        environment: dict[str, str] | None = None,
    ) -> Said:
        done = subprocess.run(
            self.command(home, *words, config=config),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            env={**self.environment(), **(environment or {})},
            cwd=self.place,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def deploy(self, home: Path, service: str, version: str, *words: str, **options: Any) -> Said:
        return self.run(home, "-o", "json", "deploy", service, version, *words, **options)

    def variant(self, name: str, **changes: Any) -> Path:
        """The sandbox's configuration with other values at its top level."""
        document = yaml.safe_load(self.config.read_text())
        document.update(changes)
        path = self.place / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    def entries(self, home: Path, **wanted: str) -> list[dict[str, Any]]:
        """The journal's entries as they lie on disk, whole lines only, whose fields are as ``wanted``."""
        found = []
        for segment in sorted((home / "journal" / "seg").glob("*.jsonl")):
            lines = segment.read_bytes().split(b"\n")[:-1]
            stored = [json.loads(line.partition(b"\t")[2]) for line in lines]
            found += [entry for entry in stored if all(entry.get(name) == value for name, value in wanted.items())]
        return sorted(found, key=lambda entry: int(entry.get("seq", 0)))

    def verified(self, home: Path) -> Verification:
        return verify(home / "journal")

    # The cluster ------------------------------------------------------------------------------------------------------

    def control(self, what: str, **body: str) -> None:
        """Tell the sandbox something: ``faults`` (api, tickets, metrics) or ``scenario``."""
        from services.sandbox.launch import control

        control(self.ready, self.place / "sandbox", what, body)

    @contextlib.contextmanager
    def fault(self, **systems: str) -> Iterator[None]:
        self.control("faults", **systems)
        try:
            yield
        finally:
            self.control("faults", **dict.fromkeys(systems, ""))

    def get(self, path: str) -> dict[str, Any] | None:
        """One object or list of the API server; None for a 404."""
        server, token, tls = self._api()
        request = urllib.request.Request(server + path, headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=10, context=tls) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        assert isinstance(found, dict)
        return found

    def patch(self, kind: str, namespace: str, name: str, change: dict[str, Any]) -> None:
        """A merge patch past Quarterdeck, as somebody else with kubectl would do it."""
        self._send("PATCH", f"{PLURALS[kind].format(namespace)}/{name}", json.dumps(change).encode())

    def delete(self, kind: str, namespace: str, name: str) -> None:
        self._send("DELETE", f"{PLURALS[kind].format(namespace)}/{name}", None)

    def _send(self, method: str, path: str, body: bytes | None) -> None:
        server, token, tls = self._api()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}
        request = urllib.request.Request(server + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=10, context=tls):
            return

    def items(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        found = self.get(PLURALS[kind].format(namespace))
        return list(found["items"]) if found else []

    def object(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        found = self.get(f"{PLURALS[kind].format(namespace)}/{name}")
        assert found is not None, f"{kind} {namespace}/{name} is not there"
        return found

    def versions(self, *namespaces: str) -> dict[str, str]:
        """The resourceVersion of every object, of every kind there is, in ``namespaces`` (all without)."""
        return {
            f"{namespace}/{kind}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
            for namespace in namespaces or NAMESPACES
            for kind in PLURALS
            for item in self.items(kind, namespace)
        }

    def rollout(self, namespace: str, rollout: str) -> dict[str, Any] | None:
        """A rollout's checkpoint as it is in the cluster."""
        found = self.get(f"{PLURALS['ConfigMap'].format(namespace)}/quarterdeck-rollout-{rollout}")
        return json.loads(found["data"]["rollout"]) if found else None

    def rollouts(self, namespace: str, service: str) -> list[dict[str, Any]]:
        """The checkpoints of a service, oldest first."""
        found = [
            json.loads(item["data"]["rollout"])
            for item in self.items("ConfigMap", namespace)
            if item["metadata"]["name"].startswith("quarterdeck-rollout-")
            and item["metadata"]["labels"].get("quarterdeck/service") == service
        ]
        return sorted(found, key=lambda rollout: str(rollout["created"]))

    def facts(self, namespace: str, service: str) -> dict[str, Any]:
        """What people mean by the state of a service: images, replicas, readiness and the route's weights."""
        found: dict[str, Any] = {}
        for name in (service, f"{service}-canary"):
            seen = self.get(f"{PLURALS['Deployment'].format(namespace)}/{name}")
            if seen is not None:
                spec, status = seen["spec"], seen.get("status", {})
                images = [container["image"] for container in spec["template"]["spec"]["containers"]]
                found[name] = {"images": images, "replicas": spec["replicas"], "ready": status.get("readyReplicas", 0)}
        route = self.get(f"{PLURALS['VirtualService'].format(namespace)}/{service}")
        if route is not None:
            shares = route["spec"]["http"][-1]["route"]
            found["weights"] = {share["destination"]["subset"]: share.get("weight", 0) for share in shares}
        return found

    def _api(self) -> tuple[str, str, ssl.SSLContext]:
        if self._connection is None:
            document = yaml.safe_load(Path(self.ready["kubeconfig"]).read_text())
            cluster = document["clusters"][0]["cluster"]
            token = next(user["user"]["token"] for user in document["users"] if user["name"] == "admin")
            authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
            self._connection = cluster["server"], token, ssl.create_default_context(cadata=authority)
        return self._connection

    def watch(self, namespace: str) -> "History":
        """Follow the workloads and routes of a namespace from now on, by the API server's own watch."""
        self._histories.append(History(self, namespace))
        return self._histories[-1]

    def open(self, path: str, seconds: float) -> Any:
        """A GET whose answer is read as it comes."""
        server, token, tls = self._api()
        request = urllib.request.Request(server + path, headers={"Authorization": f"Bearer {token}"})
        return urllib.request.urlopen(request, timeout=seconds, context=tls)

    # Drivers ----------------------------------------------------------------------------------------------------------

    def drivers(self, rollout: str, home: Path | None = None) -> list[int]:
        """The living driver processes of a rollout, of one home or of all."""
        return matching("console.cli", f"drive {rollout}", *([f"--home {home}"] if home is not None else []))

    def driver(self, rollout: str, home: Path | None = None) -> int:
        return eventually(f"a driver of {rollout}", lambda: self.drivers(rollout, home), 60.0)[-1]

    # Its end ----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End everything that was started on this sandbox, itself last."""
        for pid in matching("console.cli", self.place):
            signalled(pid, signal.SIGCONT)
            signalled(pid, signal.SIGKILL)
        for running in self._started:
            running.process.wait()
        for history in self._histories:
            history.close()
        signalled(self.process.pid, signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class History:
    """Every value that the Deployments (images, replicas) and VirtualServices (weights) of a namespace have had: what took
    effect in the cluster, whoever asked for it and whatever became of the answer."""

    KINDS = ("Deployment", "VirtualService")

    def __init__(self, world: World, namespace: str) -> None:
        self.values: dict[tuple[str, str], list[Any]] = {}
        self._world = world
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        for kind in self.KINDS:
            listed = world.get(PLURALS[kind].format(namespace))
            assert listed is not None
            for item in listed["items"]:
                self._see(kind, item)
            since = listed["metadata"]["resourceVersion"]
            work = threading.Thread(target=self._follow, args=(kind, PLURALS[kind].format(namespace), since), daemon=True)
            self._threads.append(work)
            work.start()

    def changes(self, kind: str, name: str) -> int:
        """How often its values changed; its creation is none."""
        return len(self.values.get((kind, name), [None])) - 1

    def close(self) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _follow(self, kind: str, path: str, since: str) -> None:
        """Watch for a second at a time, each from where the one before ended, so that nothing is missed and it can be ended."""
        while not self._closed.is_set():
            with (
                contextlib.suppress(OSError, http.client.HTTPException),
                self._world.open(f"{path}?watch=1&resourceVersion={since}&timeoutSeconds=1", 10.0) as answer,
            ):
                for line in answer:
                    found = json.loads(line)
                    if found["type"] == "ERROR":
                        raise AssertionError(f"the watch of {path} has a gap: {found}")
                    since = found["object"]["metadata"]["resourceVersion"]
                    self._see(kind, found["object"])

    def _see(self, kind: str, item: dict[str, Any]) -> None:
        spec = item.get("spec", {})
        if kind == "Deployment":
            value: Any = ([found["image"] for found in spec["template"]["spec"]["containers"]], spec["replicas"])
        else:
            value = [[share.get("weight") for share in route["route"]] for route in spec["http"]]
        seen = self.values.setdefault((kind, item["metadata"]["name"]), [])
        if not seen or seen[-1] != value:
            seen.append(value)


@contextlib.contextmanager
def world(place: Path, *, speed: float, scenario: str = "good", **changes: Any) -> Iterator[World]:
    """A sandbox below ``place`` until the block ends; ``changes`` replace top-level parts of its configuration."""
    ready_file = place / "ready.json"
    command = [sys.executable, "-P", "-m", "console.cli", "sandbox", "--home", str(place / "sandbox")]
    command += ["--speed", f"{speed:g}", "--scenario", scenario, "--ready-file", str(ready_file)]
    with (place / "sandbox.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        eventually("the sandbox is ready", lambda: ready_file.exists() or process.poll() is not None, 60.0)
        assert process.poll() is None, (place / "sandbox.log").read_text()
        ready = json.loads(ready_file.read_text())
        made = World(place, process, ready, Path(ready["config"]))
        if changes:
            made.config = made.variant("config", **changes)
    except BaseException:
        process.kill()
        process.wait()
        raise
    try:
        yield made
    finally:
        made.close()

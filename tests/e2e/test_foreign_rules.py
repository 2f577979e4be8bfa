"""A canary through routes that are mostly other people's: every version of them that the API server ever had is looked at, and
what is not ours is the same in all."""

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import jsonschema
import pytest
from support import foreign
from support.control_plane import ABSENT, CLUSTER, of_its_own
from support.foreign import Foreign
from support.harness import Sandbox
from support.processes import eventually

from services.sandbox import fleet

SPEED = {"embedded": 60.0, "real": 20.0}
OFFERS = {offer.service: offer for offer in fleet.OFFERS}
RISING = [0, 5, 10, 25, 50]
SCHEMAS = Path(__file__).parents[2] / "../shared/specs/crd-schemas"
KUBECTL = shutil.which("kubectl")

pytestmark = [pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed"), pytest.mark.long]
REAL = (pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.skipif(not CLUSTER.is_file(), reason=ABSENT))


@pytest.fixture(scope="module")
def control_plane() -> Iterator[Path]:
    if given := os.environ.get("QUARTERDECK_TEST_KUBECONFIG"):
        yield Path(given)
        return
    with of_its_own("foreign") as (_, kubeconfig):
        yield kubeconfig


@pytest.fixture(
    params=[
        ("embedded", "good"),
        ("embedded", "errors"),
        pytest.param(("real", "good"), marks=REAL),
        pytest.param(("real", "errors"), marks=REAL),
    ],
    ids="-".join,
)
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Sandbox]]:
    where, scenario = request.param
    cluster = request.getfixturevalue("control_plane") if where == "real" else None
    running = Sandbox(tmp_path / "sandbox", scenario, SPEED[where], cluster=cluster, shipping=False)
    yield scenario, running
    running.stop()


def kubectl(sandbox: Sandbox, *words: str) -> list[str]:
    at = ["--kubeconfig", str(sandbox.kubeconfig), "--context", "production", f"--cache-dir={sandbox.home / 'kube-cache'}"]
    return [str(KUBECTL), *at, "--namespace", foreign.NS, *words]


def apply(sandbox: Sandbox, *documents: dict[str, Any]) -> None:
    """As their owners would, by ``replace`` where the sandbox has one of its own under the name."""
    for document in documents:
        looked = kubectl(sandbox, "get", document["kind"], document["metadata"]["name"])
        has_it = subprocess.run(looked, capture_output=True, check=False)
        verb = "replace" if has_it.returncode == 0 else "create"
        done = subprocess.run(
            kubectl(sandbox, verb, "-f", "-"), input=json.dumps(document), text=True, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr


def read(sandbox: Sandbox, resource: str, name: str) -> dict[str, Any]:
    done = subprocess.run(kubectl(sandbox, "get", resource, name, "-o", "json"), capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class Watched:
    """One object as ``kubectl get --watch`` tells of it, in every version from now on."""

    def __init__(self, sandbox: Sandbox, route: Foreign) -> None:
        self.route = route
        self._sandbox = sandbox
        self._told = sandbox.home / f"{route.service}.watch"
        with self._told.open("wb") as told:
            self.process = self._follow(told)
        eventually(f"kubectl tells of {route.ref}", self.versions, 30.0)

    def _follow(self, told: IO[bytes]) -> subprocess.Popen[bytes]:
        command = kubectl(self._sandbox, "get", self.route.resource, self.route.ref.name, "-o", "json", "--watch")
        return subprocess.Popen([*command, "--output-watch-events"], stdout=told, stderr=subprocess.PIPE)

    def versions(self) -> list[dict[str, Any]]:
        """Oldest first, what was told completely."""
        text, found, decoder = self._told.read_text(), [], json.JSONDecoder()
        while text := text.lstrip():
            try:
                event, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                break  # still being written
            assert event["type"] in ("ADDED", "MODIFIED")
            found.append(event["object"])
            text = text[end:]
        return found

    def up_to_date(self) -> list[dict[str, Any]]:
        """All versions, the one that is there now among them."""
        now = read(self._sandbox, self.route.resource, self.route.ref.name)["metadata"]["resourceVersion"]
        eventually(f"the last of {self.route.ref}", lambda: self.versions()[-1]["metadata"]["resourceVersion"] == now, 20.0)
        assert self.process.poll() is None, "kubectl stopped telling"
        return self.versions()

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


def shares(route: Foreign, versions: list[dict[str, Any]]) -> list[int]:
    """The canary's shares one after the other, each once."""
    found: list[int] = []
    for version in versions:
        if (weight := route.weight(version)) not in found[-1:]:
            found.append(weight)
    return found


@functools.cache
def validator(kind: str) -> jsonschema.Draft202012Validator:
    """Of the schema that its project publishes; takes anything where that is not here, and of built-in kinds."""
    files = {
        "VirtualService": "networking.istio.io_virtualservice_v1.json",
        "HTTPRoute": "gateway.networking.k8s.io_httproute_v1.json",
    }
    file = SCHEMAS / files.get(kind, "none")
    return jsonschema.Draft202012Validator(json.loads(file.read_text()) if file.is_file() else {})


def faults(document: dict[str, Any]) -> list[str]:
    """What its schema says against it; the status is the controllers'."""
    told = {key: value for key, value in document.items() if key != "status"}
    return [f"{fault.json_path}: {fault.message}" for fault in validator(document["kind"]).iter_errors(told)]


def test_what_is_not_ours_is_the_same_in_every_version(sandbox: tuple[str, Sandbox]) -> None:
    scenario, running = sandbox
    routes = foreign.routes()
    apply(running, foreign.ingress(), *(route.document for route in routes))
    ingress = read(running, "ingress", "web-frontend")
    watched: list[Watched] = []
    try:
        for route in routes:
            watched.append(Watched(running, route))
            applied = watched[-1].versions()[0]
            assert faults(route.document) == []
            assert contains(applied, route.document), "the API server keeps what was applied"
        commands = {
            route.service: running.start(
                *("deploy", route.service, OFFERS[route.service].version, "-e", "production", "--strategy", "canary"),
                *("--ticket", OFFERS[route.service].ticket, "--confirm", "production"),
            )
            for route in routes
        }
        for route, watch in zip(routes, watched, strict=True):
            done = commands[route.service].ended(280.0)
            assert done.code == (0 if scenario == "good" else 4), (done.err, done.out)
            versions = watch.up_to_date()
            before, after = versions[0], versions[-1]
            for version in versions:
                assert route.without_ours(version) == route.without_ours(before)
                assert faults(version) == []
            assert foreign.kept(after) == foreign.kept(before), "what is ours is back where it was"
            seen = shares(route, versions)
            assert seen[-1] == 0
            assert seen[:-1] == (RISING if scenario == "good" else RISING[: len(seen) - 1])
            assert len(seen) > 2, "the canary had a share"
            if scenario == "errors":
                assert done.document["rollback"]["restored"] is True
                assert done.document["rollback"]["left"] == []
        assert read(running, "ingress", "web-frontend") == ingress
    finally:
        for watch in watched:
            watch.stop()


def contains(stored: Any, given: Any) -> bool:
    """Whether everything that was given is stored: an API server adds defaults, and drops nothing."""
    if isinstance(given, dict):
        return isinstance(stored, dict) and all(key in stored and contains(stored[key], given[key]) for key in given)
    if isinstance(given, list):
        return isinstance(stored, list) and len(stored) == len(given) and all(map(contains, stored, given))
    return bool(stored == given)

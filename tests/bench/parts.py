"""Parts by themselves, each beside the plain thing it stands on: a durable journal entry, a decoded list of pods."""

import asyncio
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from figures import Figure, figure

from console.jump import matching, targets
from services.audit import Event, Journal
from services.clock import SystemClock
from services.cluster.objects import Page, Pod
from services.model.fleet import EnvironmentView, FleetView, Health, ServiceView
from services.redaction import Redactor

ENTRIES = 300
PODS = 10_000
LISTS = 7
WORDS = ("payment", "checkout", "search", "account", "order", "cart", "invoice", "fraud", "ledger", "user")
TYPED = ("", "p", "pa", "pay", "payapi", "e", "a", "api9", "x", "s prod")


def measure() -> dict[str, Figure]:
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as made:
        appended = asyncio.run(_append(Path(made)))
        raw = _raw(Path(made) / "raw", _entry_size(Path(made)))
    decoded, loaded = _lists()
    jumps, searched = _jumps()
    return {
        "journal_append": figure(appended, "ms", against=("write_and_fdatasync", raw), what="one entry, durable"),
        "write_and_fdatasync": figure(raw, "ms", what="as many bytes with os.write and os.fdatasync"),
        "decode_10000_pods": figure(decoded, "ms", against=("json_loads_10000_pods", loaded), what="page → the fields in use"),
        "json_loads_10000_pods": figure(loaded, "ms"),
        "jump_5000_services": figure(
            jumps, "ms", against=("search_5000_names", searched), target=50, what="a few letters → the best services, CPU"
        ),
        "search_5000_names": figure(searched, "ms", what="the same letters searched for in the names alone, CPU"),
    }


async def _append(directory: Path) -> list[float]:
    journal = Journal.open(directory / "journal", redactor=Redactor(b"k" * 32), clock=SystemClock())
    event = Event(
        event="deployment.executed",
        user="jane",
        environment="production",
        service="payment-service",
        version="v2.15.0",
        command="kubectl patch virtualservice payment-service --type=json -p '[…]' -n production --context production",
        change_ticket="CHG-4821",
        phase="intent",
        data={"step": 7, "step_name": "25 %", "changes": [{"path": "/spec/http/0/route/0/weight", "old": 90, "new": 75}]},
    )
    taken = []
    try:
        for _ in range(ENTRIES):
            began = time.perf_counter()
            await journal.append(event)
            taken.append((time.perf_counter() - began) * 1000)
    finally:
        journal.close()
    return taken


def _entry_size(directory: Path) -> int:
    total = sum(found.stat().st_size for found in (directory / "journal").rglob("*") if found.is_file())
    return total // ENTRIES


def _raw(path: Path, size: int) -> list[float]:
    line, taken = b"x" * (size - 1) + b"\n", []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(ENTRIES):
            began = time.perf_counter()
            os.write(descriptor, line)
            os.fdatasync(descriptor)
            taken.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(descriptor)
    return taken


def _lists() -> tuple[list[float], list[float]]:
    body = json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": _pods()}).encode()
    page, one = msgspec.json.Decoder(Page), msgspec.json.Decoder(Pod)
    decoded, loaded = [], []
    for _ in range(LISTS):
        began = time.perf_counter()
        pods = [one.decode(item) for item in page.decode(body).items]
        decoded.append((time.perf_counter() - began) * 1000)
        assert len(pods) == PODS
        assert pods[-1].metadata.name == "pod-9999"
        del pods
        began = time.perf_counter()
        plain = json.loads(body)
        loaded.append((time.perf_counter() - began) * 1000)
        del plain
    return decoded, loaded


def _jumps() -> tuple[list[float], list[float]]:
    among = targets(_fleet())
    names = [target.service.name for target in among]
    found, searched = [], []
    for typed in TYPED * LISTS:
        began = time.process_time()
        matching(typed, among, here="production")
        found.append((time.process_time() - began) * 1000)
        began = time.process_time()
        pattern = re.compile(".*?".join(map(re.escape, typed.partition(" ")[0])))
        sum(pattern.search(name) is not None for name in names)
        searched.append((time.process_time() - began) * 1000)
    return found, searched


def _fleet() -> FleetView:
    """Five environments of a thousand services."""
    return FleetView(
        environments=tuple(
            EnvironmentView(
                name=place,
                tier=place,
                context=place,
                namespaces=(place,),
                reachable=True,
                age_seconds=1.0,
                services=tuple(
                    _service(place, f"{WORDS[number % 10]}-{WORDS[number // 10 % 10]}-api-{number}") for number in range(1000)
                ),
            )
            for place in ("dev", "staging", "canary", "production", "recovery")
        )
    )


def _service(place: str, name: str) -> ServiceView:
    return ServiceView(
        name=name,
        namespace="default",
        environment=place,
        context=place,
        kind="Deployment",
        version="v1.0.0",
        ready=3,
        desired=3,
        health=Health.OK,
    )


def _pods() -> list[dict[str, Any]]:
    managed = {f"f:field-{number}": {"f:value": {}} for number in range(40)}
    return [
        {
            "metadata": {
                "name": f"pod-{number}",
                "namespace": "production",
                "uid": f"00000000-0000-0000-0000-{number:012}",
                "resourceVersion": str(number),
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"app": "payment-service", "track": "stable", "pod-template-hash": "5d4f8c7b9d"},
                "ownerReferences": [
                    {"kind": "ReplicaSet", "name": "payment-service-5d4f8c7b9d", "uid": "rs-1", "controller": True}
                ],
                "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": managed}],
            },
            "spec": {
                "nodeName": f"node-{number % 50}",
                "containers": [
                    {
                        "name": "payment-service",
                        "image": "registry.example/payment-service:v2.14.1",
                        "ports": [{"containerPort": 8080, "name": "http"}],
                        "env": [{"name": f"VARIABLE_{index}", "value": "x" * 20} for index in range(12)],
                        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "250m", "memory": "256Mi"}},
                    }
                ],
            },
            "status": {
                "phase": "Running",
                "podIP": f"10.{number // 65536}.{number // 256 % 256}.{number % 256}",
                "conditions": [
                    {"type": name, "status": "True"} for name in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
                ],
                "containerStatuses": [
                    {"name": "payment-service", "ready": True, "restartCount": 0, "image": "x", "imageID": "y"}
                ],
            },
        }
        for number in range(PODS)
    ]

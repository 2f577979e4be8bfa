"""Rollouts, drivers and objects for tests of the two doors."""

from datetime import UTC, datetime

from services.model.objects import Json, ObjectRef
from services.model.release import Release, Strategy, Target, Tier
from services.model.rollout import Driver, Record, Rollout
from services.model.steps import Plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def target(namespace: str = "production") -> Target:
    return Target(environment="production", tier=Tier.PRODUCTION, context="memory", namespace=namespace)


def driver(token: str = "t1", operator: str = "jane") -> Driver:
    return Driver(operator=operator, host="laptop", home="home-1", token=token, since=NOW)


def rollout(
    id: str = "r1", *, epoch: int = 0, namespace: str = "production", service: str = "payment-service", created: datetime = NOW
) -> Rollout:
    stable = ObjectRef("Deployment", namespace, service)
    plan = Plan(
        steps=(),
        objects=(stable,),
        stable=stable,
        canary=ObjectRef("Deployment", namespace, f"{service}-canary"),
        route=ObjectRef("VirtualService", namespace, service),
        previous_version="v2.14.1",
        new_images={service: f"registry.example/{service}:v2.15.0"},
        digest="d1",
        rollback_seconds=5.0,
    )
    release = Release(service=service, version="v2.15.0", target=target(namespace), strategy=Strategy.CANARY, ticket="CHG-4821")
    return Rollout(id=id, release=release, plan=plan, operator="jane", created=created, driver=driver(), epoch=epoch)


def record(id: str = "r1", *, finished: datetime = NOW, service: str = "payment-service") -> Record:
    return Record(
        rollout=id,
        service=service,
        version="v2.15.0",
        previous_version="v2.14.1",
        environment="staging",
        tier="staging",
        strategy="canary",
        outcome="rolled_back",
        restored=True,
        operator="jane",
        finished=finished,
        journal_id="j1",
        journal_seq=7,
        journal_hash="ab" * 32,
        values_restored=4,
        highest_weight=25,
        pods=3,
        served=True,
    )


def deployment(
    ref: ObjectRef, *, image: str = "registry.example/app:v2.14.1", replicas: int = 3, epoch: int | None = None
) -> dict[str, Json]:
    annotations = {} if epoch is None else {"annotations": {"quarterdeck/epoch": str(epoch)}}
    labels = {"app": ref.name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": ref.name, "namespace": ref.namespace, "labels": labels, **annotations},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "proxy", "image": "proxy:1"}, {"name": "app", "image": image}]},
            },
        },
    }


def virtual_service(ref: ObjectRef, *, canary: int = 0, epoch: int | None = None) -> dict[str, Json]:
    annotations = {} if epoch is None else {"annotations": {"quarterdeck/epoch": str(epoch)}}
    route = [
        {"destination": {"host": ref.name, "subset": "stable"}, "weight": 100 - canary},
        {"destination": {"host": ref.name, "subset": "canary"}, "weight": canary},
    ]
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": ref.name, "namespace": ref.namespace, **annotations},
        "spec": {"hosts": [ref.name], "http": [{"route": route}]},
    }

"""A canary's way through each router, over a cluster in memory: what is made, written, cleaned up and taken back."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.clock import ManualClock
from support.configuration import configured
from support.memory_cluster import MemoryTransport, memory_connection
from support.rollouts import NOW, driver, target

from services.actuator import Actuator, Mutation, Superseded
from services.actuator.undo import Stage, fold, plan_restore
from services.audit import Journal
from services.cluster.objects import Deployment
from services.coordination import Coordination
from services.model.errors import Conflict, Rejected
from services.model.gates import Checklist
from services.model.objects import EPOCH_ANNOTATION, Json, ObjectRef, value_at
from services.model.release import Release, Strategy
from services.model.rollout import Phase
from services.model.steps import Analyse, CleanUp, EnsureObject, EnsureWorkload, Plan, Scale, SetTraffic, Undo
from services.redaction import Redactor
from services.rollout import routes, state, steps_traffic
from services.rollout.engine import DOERS
from services.rollout.revisions import to_revision
from services.rollout.run import Run
from services.rollout.service import bodies, read_state, unchanged
from services.rollout.split_watch import SplitWatch
from services.strategies import compile_plan

NS = "production"
RELEASE = Release(service="web", version="v2.0.0", target=target(), strategy=Strategy.CANARY)
STABLE, CANARY = ObjectRef("Deployment", NS, "web"), ObjectRef("Deployment", NS, "web-canary")
OWN, SECOND = ObjectRef("Service", NS, "web"), ObjectRef("Service", NS, "web-canary")
HTTP, VIRTUAL = ObjectRef("HTTPRoute", NS, "web"), ObjectRef("VirtualService", NS, "web")
MAIN, INGRESS = ObjectRef("Ingress", NS, "web"), ObjectRef("Ingress", NS, "web-canary")
WEIGHT = "/metadata/annotations/nginx.ingress.kubernetes.io~1canary-weight"
ROUTERS = ("istio", "gateway", "nginx", "replicas")


def workload(replicas: int = 4) -> dict[str, Json]:
    labels = {"app": "web", "track": "stable"}
    container = {"name": "web", "image": "registry/web:v1.0.0"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        "status": {"readyReplicas": replicas},
    }


def twelve_rules() -> list[dict[str, Json]]:
    """A VirtualService's rules of which the third and the last are ours."""
    both = [
        {"destination": {"host": "web", "subset": subset}, "weight": weight}
        for subset, weight in (("stable", 100), ("canary", 0))
    ]
    foreign: list[dict[str, Json]] = [
        {
            "name": f"rule-{index}",
            "match": [{"headers": {"x-user": {"regex": f"^[a-{index}]~1"}}, "uri": {"prefix": f"/v{index}"}}],
            "route": [{"destination": {"host": f"other-{index}.shop.svc.cluster.local", "subset": "stable"}, "weight": 100}],
            "timeout": f"{index}s",
        }
        for index in range(10)
    ]
    ours = {"match": [{"headers": {"cookie": {"exact": "beta"}}}], "route": copy.deepcopy(both), "retries": {"attempts": 3}}
    return [*foreign[:2], ours, *foreign[2:], {"route": both}]


def six_rules() -> list[dict[str, Json]]:
    """An HTTPRoute's rules of which the second and the last are ours, neither with a canary yet."""
    own = {"name": "web", "port": 80}
    header = [{"headers": [{"name": "x-beta", "value": "1"}], "path": {"type": "PathPrefix", "value": "/"}}]
    foreign: list[dict[str, Json]] = [
        {
            "matches": [{"path": {"type": "Exact", "value": f"/{index}"}}],
            "filters": [
                {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": str(index)}]}}
            ],
            "backendRefs": [
                {"name": f"other-{index}", "port": 80, "weight": 3},
                {"name": "third", "namespace": "eu", "port": 80},
            ],
        }
        for index in range(4)
    ]
    tail = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "timeouts": {"request": "9s"},
        "backendRefs": [dict(own)],
    }
    return [foreign[0], {"matches": header, "backendRefs": [dict(own)]}, *foreign[1:], tail]


def put_service(cluster: MemoryTransport, router: str, replicas: int = 4) -> None:
    cluster.put(STABLE, workload(replicas))
    selector = {"app": "web", **({"track": "stable"} if router in ("gateway", "nginx") else {})}
    cluster.put(OWN, {"kind": "Service", "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]}})
    if router == "istio":
        subsets = [{"name": track, "labels": {"track": track}} for track in ("stable", "canary")]
        cluster.put(ObjectRef("DestinationRule", NS, "web"), {"spec": {"host": "web", "subsets": subsets}})
        cluster.put(VIRTUAL, {"spec": {"hosts": ["web", "shop.example.com"], "http": twelve_rules()}})
    if router == "gateway":
        cluster.put(HTTP, {"spec": {"hostnames": ["shop.example.com"], "rules": six_rules()}})
    if router == "nginx":
        path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}
        rules = [{"host": "shop.example.com", "http": {"paths": [path]}}]
        cluster.put(MAIN, {"spec": {"ingressClassName": "nginx", "rules": rules}, "metadata": {"annotations": {"team": "shop"}}})
        nginx = {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}
        cluster.objects["/apis/networking.k8s.io/v1/ingressclasses/nginx"] = nginx


class Seen:
    """An inventory that has seen what the cluster in memory holds; all pods that are asked for are ready."""

    def __init__(self, cluster: MemoryTransport) -> None:
        self._cluster = cluster

    def age(self) -> float:
        return 0.0

    def can_read(self, kind: str, namespace: str) -> bool:
        return True

    def raw(self, ref: ObjectRef) -> dict[str, Any] | None:
        return self._cluster.at(ref) if self._cluster.has(ref) else None

    @property
    def deployments(self) -> dict[tuple[str, str], Deployment]:
        known = [ref for ref in (STABLE, CANARY) if self._cluster.has(ref)]
        return {(NS, ref.name): msgspec.convert(self._cluster.at(ref), Deployment, strict=False) for ref in known}


class Course:
    """A canary of ``web`` whose plan is walked step by step."""

    def __init__(self, run: Run, cluster: MemoryTransport, clock: ManualClock) -> None:
        self.run, self.cluster, self.clock = run, cluster, clock
        self.before = self.state()

    @property
    def plan(self) -> Plan:
        return self.run.rollout.plan

    def state(self) -> str:
        """Everything but what the canary leaves behind on purpose, byte for byte."""
        kept = {}
        for path, found in self.cluster.objects.items():
            if "/leases/" in path or "/configmaps/" in path or path.endswith("/deployments/web-canary"):
                continue
            body = copy.deepcopy(found)
            body.get("metadata", {}).pop("resourceVersion", None)
            annotations = body.get("metadata", {}).get("annotations", {})
            annotations.pop("quarterdeck/epoch", None)
            if not annotations:
                body.get("metadata", {}).pop("annotations", None)
            kept[path] = body
        return json.dumps(kept, sort_keys=True)

    async def walk(self, until: Any = None) -> None:
        """Do the steps that change something; stop before the first for which ``until`` holds."""
        for index, step in enumerate(self.plan.steps):
            if index < self.run.rollout.step:
                continue
            if until is not None and until(step):
                return
            self.run.change(state.step_started(self.run.rollout, self.clock.now()))
            if isinstance(step, EnsureObject | EnsureWorkload | Scale | SetTraffic | CleanUp):
                await DOERS[type(step)](self.run, step)
                self.check_nothing_is_lost()
            self.run.change(state.step_finished(self.run.rollout))

    def check_nothing_is_lost(self) -> None:
        """Whoever gets requests is there: its Service exists and selects pods that are asked for."""
        weight = self.share()
        if not weight or self.plan.route is None or self.plan.route.kind == "Deployment":
            return
        assert self.cluster.at(CANARY)["spec"]["replicas"] > 0
        if self.plan.route.kind != "VirtualService":
            labels = value_at(self.cluster.at(CANARY), "/spec/template/metadata/labels")
            assert self.cluster.at(SECOND)["spec"]["selector"].items() <= labels.items()
            assert not self.cluster.at(OWN)["spec"]["selector"].items() <= labels.items()

    def share(self) -> int | None:
        assert self.plan.route is not None
        return routes.weight_in(self.run.rollout, self.run.inventory.raw(self.plan.route), self.run.inventory)

    def restore(self) -> Any:
        plan = self.plan
        folded = fold(self.run.rollout.undo)
        live = {item.object: self.run.inventory.raw(item.object) for item in folded}
        return plan_restore(
            folded, live, context="memory", stable=plan.stable, canary=plan.canary, route=plan.route, step=self.run.rollout.step
        )

    async def undo(self) -> None:
        for phase in self.restore().phases:
            for mutation in phase.mutations:
                await self.run.actuator.apply(mutation, hold=self.run.hold, rollout=self.run.rollout, rollback=True)


def pin(cluster: MemoryTransport, router: str) -> None:
    """Testers get the canary whatever its share, as some team has arranged long ago."""
    if router == "istio":
        pinned = {"match": [{"headers": {"x-tester": {"exact": "1"}}}]}
        pinned["route"] = [{"destination": {"host": "web", "subset": "canary"}}]
        cluster.edit(VIRTUAL, lambda body: body["spec"]["http"].insert(0, pinned))
    if router == "gateway":
        matches = [{"headers": [{"name": "x-tester", "value": "1"}]}]
        rule = {"matches": matches, "backendRefs": [{"name": "web-canary", "port": 80}]}
        cluster.edit(HTTP, lambda body: body["spec"]["rules"].insert(0, rule))
    if router == "nginx":
        path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web-canary", "port": {"number": 80}}}}
        rules = [{"host": "shop.example.com", "http": {"paths": [path]}}]
        prefix = "nginx.ingress.kubernetes.io/canary"
        annotations = {prefix: "true", f"{prefix}-by-header": "x-tester", f"{prefix}-weight": "0", "team": "shop"}
        cluster.put(INGRESS, {"spec": {"ingressClassName": "nginx", "rules": rules}, "metadata": {"annotations": annotations}})


@asynccontextmanager
async def course(
    place: Path, router: str, monkeypatch: pytest.MonkeyPatch, replicas: int = 4, *, pinned: bool = False
) -> AsyncIterator[Course]:
    connection, cluster = memory_connection()
    clock = ManualClock()
    put_service(cluster, router, replicas)
    if pinned:
        pin(cluster, router)
    seen = Seen(cluster)

    def pods(picture: Any, ref: ObjectRef) -> list[Any]:
        count = cluster.at(ref)["spec"]["replicas"] if cluster.has(ref) else 0
        return [SimpleNamespace(ready=True, metadata=SimpleNamespace(deletion_timestamp=None)) for _ in range(count)]

    monkeypatch.setattr(routes, "pods_of_deployment", pods)
    monkeypatch.setattr(steps_traffic, "current_pods", pods)
    monkeypatch.setattr(steps_traffic, "runs_new_version", lambda *_: True)
    settings = configured()
    plan = compile_plan(RELEASE, await read_state(connection, RELEASE.target, "web"), settings)
    begun = state.begin(
        id="r1",
        release=RELEASE,
        plan=plan,
        checklist=Checklist(digest=plan.digest, results=()),
        operator="jane",
        approvers=(),
        created=NOW,
        pace=0.0,
    )
    journal = Journal.open(place, redactor=Redactor(), clock=clock)
    clock.stands_still_for(journal)
    try:
        coordination = Coordination(connection, clock)
        hold = await coordination.acquire(RELEASE.target, "web", "r1", driver("t"))
        run = Run(
            state.driven_by(begun, driver("t"), hold.epoch),
            connection=connection,
            inventory=seen,  # type: ignore[arg-type]
            routes=seen,  # type: ignore[arg-type]
            actuator=Actuator(connection, journal, clock, read_only=False, operator="jane"),
            coordination=coordination,
            hold=hold,
            journal=journal,
            settings=settings,
            clock=clock,
        )
        found = Course(run, cluster, clock)
        assert await unchanged(run)
        await run.actuator.claim(plan.objects, hold, run.rollout, await bodies(run))
        yield found
    finally:
        journal.close()


@pytest.mark.parametrize("router", ROUTERS)
async def test_a_whole_course_leaves_the_routes_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, router: str
) -> None:
    async with course(tmp_path, router, monkeypatch) as on:
        assert next(step for step in on.plan.steps if isinstance(step, SetTraffic)).router == router
        seen: list[int | None] = []
        for index, step in enumerate(on.plan.steps):
            if isinstance(step, Analyse):
                await on.walk(until=lambda _, index=index: on.run.rollout.step == index)
                seen.append(on.share())
        await on.walk()
        rising = [weight for weight in seen if weight]
        assert rising == ([20, 50] if router == "replicas" else [5, 10, 25, 50])
        assert on.share() in (0, None)  # the route that was made is gone again
        assert on.state() == on.before
        assert on.cluster.at(CANARY)["spec"]["replicas"] == 0
        assert not any(mutation for phase in on.restore().phases for mutation in phase.mutations)


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("share", [5, 50])
async def test_a_rollback_at_any_share_restores_the_route_exactly_and_traffic_in_one_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, router: str, share: int
) -> None:
    async with course(tmp_path, router, monkeypatch) as on:
        shares = [step for step in on.plan.steps if isinstance(step, SetTraffic)]
        last = shares[0] if share == 5 else shares[-2]
        await on.walk(until=lambda step: on.run.rollout.step > on.plan.steps.index(last))
        assert on.share()
        first = on.restore().phases[0]
        assert first.stage is Stage.TRAFFIC
        (mutation,) = first.mutations
        requests = len(on.cluster.log)
        base = on.run.inventory.raw(mutation.object)
        assert base is not None
        await on.run.actuator.force(mutation, epoch=on.run.hold.epoch + 1, rollout=on.run.rollout, base=base)
        assert len(on.cluster.log) == requests + 1
        assert on.share() == 0
        on.run.hold.epoch += 2
        await on.undo()
        assert on.state() == on.before
        assert on.cluster.at(CANARY)["spec"]["replicas"] == 0
        assert not on.cluster.has(INGRESS)
        assert not on.cluster.has(SECOND)


@pytest.mark.parametrize("router", ["istio", "gateway", "nginx"])
async def test_users_who_are_pinned_to_the_canary_hold_up_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, router: str
) -> None:
    async with course(tmp_path, router, monkeypatch, pinned=True) as on:
        assert on.plan.pinned
        assert "whatever the weight finds no pods there" in " ".join(on.plan.notes)
        await on.walk()
        assert on.state() == on.before
        assert on.cluster.at(CANARY)["spec"]["replicas"] == 0
    async with course(tmp_path / "unpinned", router, monkeypatch) as on:
        assert not on.plan.pinned


async def test_what_somebody_else_has_made_under_that_name_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with course(tmp_path, "gateway", monkeypatch) as on:
        on.cluster.put(SECOND, {"kind": "Service", "spec": {"selector": {"app": "other"}}})
        step = next(step for step in on.plan.steps if isinstance(step, EnsureObject))
        assert step.undo is Undo.DELETE
        mutation = Mutation(object=step.object, writes=(), create=step.body, owned=True, command=step.command)
        with pytest.raises(Conflict, match="made by somebody else meanwhile"):
            await on.run.actuator.apply(mutation, hold=on.run.hold, rollout=on.run.rollout)


async def test_what_was_made_anew_by_somebody_else_is_kept_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with course(tmp_path, "gateway", monkeypatch) as on:
        await on.walk(until=lambda step: isinstance(step, SetTraffic))
        on.cluster.put(SECOND, {"kind": "Service", "spec": {"selector": {"app": "other"}}})
        (kept,) = on.restore().kept
        assert "made it anew" in str(kept)
        await on.undo()
        assert on.cluster.has(SECOND)


@pytest.mark.parametrize("fate", ["lose", "drop"])
@pytest.mark.parametrize("kind", [EnsureObject, CleanUp])
async def test_an_answer_that_is_lost_loses_no_undo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fate: str, kind: type[Any]
) -> None:
    async with course(tmp_path, "nginx", monkeypatch) as on:
        await on.walk(until=lambda step: isinstance(step, kind))
        faults = iter((fate,))
        # The checkpoint is written before each change leaves: only the change itself is lost.
        on.cluster.faults = [lambda request: "" if "configmaps" in request.path else next(faults, "")] * 12
        walking = asyncio.create_task(on.walk())
        while not walking.done():
            await on.clock.advance(0.2)
        await walking
        assert on.state() == on.before
        assert not any(mutation for phase in on.restore().phases for mutation in phase.mutations)


async def test_a_superseded_driver_makes_and_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with course(tmp_path, "nginx", monkeypatch) as on:
        await on.walk(until=lambda step: isinstance(step, CleanUp))
        on.cluster.edit(INGRESS, lambda body: body["metadata"]["annotations"].update({"quarterdeck/epoch": "99"}))
        with pytest.raises(Exception, match="taken over"):
            await on.walk()
        assert on.cluster.has(INGRESS)


@pytest.mark.parametrize("router", ["istio", "gateway", "nginx"])
async def test_a_share_that_somebody_else_moves_is_held_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, router: str
) -> None:
    async with course(tmp_path, router, monkeypatch) as on:
        await on.walk(until=lambda step: isinstance(step, Analyse))
        on.run.change(state.step_started(on.run.rollout, on.clock.now()))
        watch = SplitWatch(on.run)
        assert await watch.look() == ""

        def to_sixty(body: dict[str, Json]) -> None:
            if router == "istio":
                for rule in (2, 11):
                    for place, weight in enumerate((40, 60)):
                        body["spec"]["http"][rule]["route"][place]["weight"] = weight
            elif router == "gateway":
                body["spec"]["rules"][5]["backendRefs"][0]["weight"] = 40
                body["spec"]["rules"][5]["backendRefs"][1]["weight"] = 60
            else:
                body["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"] = "60"

        assert on.plan.route is not None
        on.cluster.edit(on.plan.route, to_sixty)
        reason = await watch.look()
        assert "5 % was set" in reason
        assert "60 %" in reason
        assert await watch.look() == ""  # told once; who resumes has accepted it
        on.run.change(state.paused(on.run.rollout, reason))
        assert on.run.rollout.phase is Phase.PAUSED


async def test_a_share_that_a_newer_driver_has_taken_back_is_nobodys_interference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with course(tmp_path, "istio", monkeypatch) as on:
        await on.walk(until=lambda step: isinstance(step, Analyse))
        on.run.change(state.step_started(on.run.rollout, on.clock.now()))

        def taken_back(body: dict[str, Json]) -> None:
            body["metadata"].setdefault("annotations", {})[EPOCH_ANNOTATION] = str(on.run.hold.epoch + 1)
            for rule in (2, 11):
                for place, weight in enumerate((100, 0)):
                    body["spec"]["http"][rule]["route"][place]["weight"] = weight

        assert on.plan.route is not None
        on.cluster.edit(on.plan.route, taken_back)
        with pytest.raises(Superseded):
            await SplitWatch(on.run).look()


async def test_a_canary_that_somebody_scales_up_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with course(tmp_path, "replicas", monkeypatch) as on:
        await on.walk(until=lambda step: isinstance(step, Analyse))
        on.run.change(state.step_started(on.run.rollout, on.clock.now()))
        watch = SplitWatch(on.run)
        assert await watch.look() == ""
        on.cluster.edit(CANARY, lambda body: body["spec"].update(replicas=4))
        assert "50 % (4 pods beside 4)" in await watch.look()


@pytest.mark.parametrize("replicas", [1, 3, 40])
async def test_the_plan_says_which_shares_pods_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replicas: int) -> None:
    async with course(tmp_path, "replicas", monkeypatch, replicas) as on:
        notes = " ".join(on.plan.notes)
        names = [step.name for step in on.plan.steps if isinstance(step, SetTraffic) and step.weight]
        if replicas == 3:
            assert names == ["25 % (5, 10, 25 % wanted)", "50 %"]
            assert "5, 10, 25 % can't be had: 25 % is what the new version will really get (1 of 4 pods). That is more" in notes
        if replicas == 1:
            assert names == ["50 % (5, 10, 25, 50 % wanted)"]
        if replicas == 40:
            assert names == ["5 %", "10 %", "25 %", "50 %"]
            assert "can't be had" not in notes


async def test_a_share_that_stable_has_become_too_small_for_waits_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with course(tmp_path, "replicas", monkeypatch) as on:
        await on.walk(until=lambda step: isinstance(step, SetTraffic))
        on.cluster.edit(STABLE, lambda body: body["spec"].update(replicas=1))
        with pytest.raises(Exception, match="20 % can't be had with 1 pods"):
            await on.walk()
        assert on.cluster.at(CANARY)["spec"]["replicas"] == 0


@pytest.mark.parametrize("router", ROUTERS)
async def test_a_rollback_to_a_revision_takes_the_share_back_whoever_routes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, router: str
) -> None:
    async with course(tmp_path, router, monkeypatch) as on:
        await on.walk(until=lambda step: isinstance(step, Analyse) and on.share() and on.share() >= 20)  # type: ignore[operator]
        on.cluster.edit(CANARY, lambda body: body.update(status={"readyReplicas": body["spec"]["replicas"]}))
        on.cluster.edit(STABLE, lambda body: body["metadata"].update(uid="u1"))
        template = copy.deepcopy(on.cluster.at(STABLE)["spec"]["template"])
        template["spec"]["containers"][0]["image"] = "registry/web:v0.9.0"
        owners = [{"kind": "Deployment", "name": "web", "uid": "u1", "controller": True}]
        meta = {"ownerReferences": owners, "annotations": {"deployment.kubernetes.io/revision": "3"}}
        on.cluster.put(ObjectRef("ReplicaSet", NS, "web-1"), {"metadata": meta, "spec": {"template": template}})
        found = await to_revision(
            on.run.connection, RELEASE.target, "web", "3", id="r2", operator="jane", reason="", created=NOW, pace=0.0
        )
        plan = found.plan
        folded = fold(found.undo)
        live = {item.object: on.run.inventory.raw(item.object) for item in folded}
        restore = plan_restore(folded, live, context="memory", stable=plan.stable, canary=plan.canary, route=plan.route)
        for phase in restore.phases:
            for mutation in phase.mutations:
                await on.run.actuator.apply(mutation, hold=on.run.hold, rollout=on.run.rollout, rollback=True)
        assert on.share() == 0
        assert on.cluster.at(CANARY)["spec"]["replicas"] == 0
        assert on.cluster.at(STABLE)["spec"]["template"] == template


@pytest.mark.parametrize("router", ["gateway", "nginx", "replicas"])
async def test_a_share_left_over_by_somebody_is_refused_with_the_way_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, router: str
) -> None:
    async with course(tmp_path, router, monkeypatch) as on:
        await on.walk(until=lambda step: isinstance(step, Analyse) and on.share() and on.share() >= 20)  # type: ignore[operator]
        on.cluster.edit(CANARY, lambda body: body.update(status={"readyReplicas": body["spec"]["replicas"]}))
        with pytest.raises(Rejected) as refused:
            compile_plan(RELEASE, await read_state(on.run.connection, RELEASE.target, "web"), configured())
        assert "% of" in refused.value.rule
        assert "kubectl" in refused.value.accepted


@pytest.mark.parametrize("router", ROUTERS)
async def test_a_console_reads_the_share_back_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, router: str) -> None:
    """A checkpoint that nobody writes any more says what its driver saw last."""
    async with course(tmp_path, router, monkeypatch) as on:
        await on.walk(until=lambda step: isinstance(step, Analyse))
        left = msgspec.structs.replace(on.run.rollout, actual_weight=77)
        assert routes.read_back(left, on.run.inventory).actual_weight == left.weight
        over = msgspec.structs.replace(left, phase=Phase.SUCCEEDED)
        assert routes.read_back(over, on.run.inventory).actual_weight == 77
        monkeypatch.setattr(on.run.inventory, "age", lambda: 60.0)
        assert routes.read_back(left, on.run.inventory).actual_weight == 77

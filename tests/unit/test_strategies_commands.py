"""The command lines of a plan: what a person pastes makes exactly what the plan makes, in the cluster that was meant, and
neither they nor anything else that is told of a plan holds a value of an environment."""

import copy
import json
import shlex
import shutil
import subprocess

import msgspec
import pytest
from support.memory_cluster import PatchRefused, apply_patch

from services.actuator.shown import shown_plan
from services.model.release import Release, Strategy, Target, Tier
from services.model.steps import EnsureWorkload, PatchImage, Plan
from services.rollout.report import dry_run_document
from services.settings import CanaryPlan, CanaryStep, Environment, Settings
from services.strategies import ServiceState, clone, commands, compile_plan
from widgets.diff import draw_plan

LABELS = {"app": "pay", "track": "stable"}
SECRETS = ("hunter2-Prod", "0ld-hunter", "Server=db;Pwd0=S3cr3tValue")
RELEASE = Release(
    service="pay",
    version="v2.0.0",
    target=Target(environment="production", tier=Tier.PRODUCTION, context="prod eu", namespace="production"),
    strategy=Strategy.CANARY,
)
SETTINGS = Settings(
    environments={"production": Environment(tier=Tier.PRODUCTION, context="prod eu", namespaces=("production",))},
    canary=CanaryPlan(steps=(CanaryStep(weight=50, seconds=60),)),
)


def stable():
    env = [
        {"name": "DB_URL", "value": SECRETS[2]},
        {"name": "QUOTED", "value": "a \"b\" | 'c' $HOME"},
        {"name": "P", "value": SECRETS[0]},
    ]
    containers = [{"name": "proxy", "image": "envoy:1"}, {"name": "app", "image": "r:5000/shop/pay:v1", "env": env}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "pay",
            "namespace": "production",
            "uid": "u-1",
            "resourceVersion": "7",
            "labels": {"app": "pay", "helm.sh/chart": "pay-1"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
        "spec": {
            "replicas": 4,
            "selector": {
                "matchLabels": LABELS,
                "matchExpressions": [{"key": "track", "operator": "NotIn", "values": ["canary"]}],
            },
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": containers}},
        },
        "status": {"readyReplicas": 4},
    }


def leftover(**env):
    body = clone(stable(), "pay-canary", images={}, labels={"track": "canary"}, replicas=2)
    for entry in body["spec"]["template"]["spec"]["containers"][1]["env"]:
        entry["value"] = env.get(entry["name"], entry["value"])
    return body


def planned(canary=None) -> Plan:
    both = [
        {"destination": {"host": "pay", "subset": each}, "weight": weight} for each, weight in (("stable", 100), ("canary", 0))
    ]
    subsets = [{"name": each, "labels": {"track": each}} for each in ("stable", "canary")]
    where = {"name": "pay", "namespace": "production"}
    state = ServiceState(
        stable=stable(),
        canary=canary,
        virtual_services=({"metadata": where, "spec": {"hosts": ["pay"], "http": [{"route": both}]}},),
        destination_rules=({"metadata": where, "spec": {"host": "pay", "subsets": subsets}},),
    )
    return compile_plan(RELEASE, state, SETTINGS)


def ensured(plan: Plan) -> EnsureWorkload:
    return next(step for step in plan.steps if isinstance(step, EnsureWorkload))


def parts(command: str) -> list[list[str]]:
    """The commands of a pipeline, as a shell takes it apart."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for token in lexer:
        if token == "|":
            found.append([])
        else:
            found[-1].append(token)
    return found


@pytest.mark.parametrize(("canary", "verb"), [(None, "create"), (leftover(P=SECRETS[1]), "replace")])
def test_the_pipeline_that_clones_stable_makes_the_very_body_that_the_plan_means(canary, verb):
    plan = planned(canary)
    step = ensured(plan)
    read, turned, write = parts(step.command)
    where = ["-n", "production", "--context", "prod eu"]
    assert read == ["kubectl", "get", "deployment/pay", "-o", "json", *where]
    assert write == ["kubectl", verb, "-f", "-", *where]
    operations = json.loads(turned[turned.index("-p") + 1])
    made = apply_patch(stable(), operations)
    wanted = clone(stable(), "pay-canary", images=plan.new_images, labels={"track": "canary"}, replicas=step.replicas)
    assert {**made, "status": None} == {**wanted, "status": None}


def test_the_pipeline_says_how_many_pods_even_where_stable_has_as_many():
    few = copy.deepcopy(stable())
    few["spec"]["replicas"] = 2
    body = clone(few, "pay-canary", images={}, labels={"track": "canary"}, replicas=2)
    _, turned, _ = parts(commands.clone(RELEASE.target, few, body, exists=False))
    operations = json.loads(turned[turned.index("-p") + 1])
    assert apply_patch(stable(), operations)["spec"]["replicas"] == 2


def test_the_pipeline_refuses_a_stable_that_is_no_longer_what_the_plan_saw():
    _, turned, _ = parts(ensured(planned()).command)
    operations = json.loads(turned[turned.index("-p") + 1])
    for change in (
        lambda found: found["spec"]["template"]["spec"]["containers"].insert(0, {"name": "new", "image": "new:1"}),
        lambda found: found["spec"]["template"]["spec"]["containers"][1].update(image="r:5000/shop/pay:v9"),
    ):
        moved = copy.deepcopy(stable())
        change(moved)
        with pytest.raises(PatchRefused):
            apply_patch(moved, operations)
    grown = stable()
    grown["spec"]["replicas"] = 9
    assert apply_patch(grown, operations)["spec"]["replicas"] == 2, "how many pods stable has is nobody's business here"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kubectl_itself_makes_the_clone_of_it_without_a_cluster(tmp_path):
    step = ensured(planned())
    _, turned, _ = parts(step.command)
    done = subprocess.run(
        turned,
        input=json.dumps(stable()),
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin:/usr/local/bin"},
    )
    made = json.loads(done.stdout)
    assert made["metadata"] == {"name": "pay-canary", "namespace": "production", "labels": {"app": "pay", "track": "canary"}}
    assert made["spec"]["replicas"] == step.replicas
    assert made["spec"]["template"]["spec"]["containers"][1]["env"][2]["value"] == SECRETS[0]


def test_a_leftover_canary_that_differs_in_no_secret_is_patched_or_only_scaled():
    assert ensured(planned(leftover())).command.startswith("kubectl patch deployment pay-canary --type=json")
    same = leftover()
    same["spec"]["template"]["spec"]["containers"][1]["image"] = "r:5000/shop/pay:v2.0.0"
    assert ensured(planned(same)).changes == ()
    assert ensured(planned(same)).command == "kubectl scale deployment/pay-canary --replicas=2 -n production --context 'prod eu'"


@pytest.mark.parametrize("canary", [None, leftover(), leftover(P=SECRETS[1], DB_URL="other")])
def test_no_value_of_an_environment_is_told_of_a_plan(canary):
    plan = planned(canary)
    told = [step.command for step in plan.steps]
    told += [json.dumps(dry_run_document(plan, ())), msgspec.json.encode(shown_plan(plan)).decode(), *plan.notes]
    assert not [secret for secret in SECRETS if any(secret in text for text in told)]


def test_a_shown_plan_is_the_plan_but_for_what_it_hides():
    plan = planned(leftover(P=SECRETS[1]))
    shown = shown_plan(plan)
    assert shown.digest == plan.digest
    changes = {change.path: (change.old, change.new) for change in ensured(shown).changes}
    hidden = "/spec/template/spec/containers/1/env/2/value"
    assert changes[hidden][0] == changes[hidden][1] == "[hidden: an environment value]"
    assert changes["/spec/template/spec/containers/1/image"] == ("r:5000/shop/pay:v1", "r:5000/shop/pay:v2.0.0")
    assert shown_plan(planned()) == planned()


def test_every_command_of_a_plan_names_its_cluster():
    for canary in (None, leftover(P="x")):
        for step in planned(canary).steps:
            for words in parts(step.command) if step.command else ():
                assert "--local" in words or words[words.index("--context") + 1] == "prod eu"
    assert any(isinstance(step, PatchImage) for step in planned().steps)


def test_no_value_of_an_environment_is_drawn():
    drawn = draw_plan(shown_plan(planned(leftover(P=SECRETS[1], DB_URL="other"))), (), 100)
    text = "".join(part for line in drawn.lines for part, *_ in line)
    assert "pay-canary" in text
    assert "env[2].value" in text
    assert not [secret for secret in SECRETS if secret in text]

"""Secrets of a pod template stay in the cluster: neither commands nor the journal tell them."""

import logging
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.memory_cluster import memory_connection
from support.rollouts import deployment, driver, rollout

from services.actuator import Actuator, Mutation, Write
from services.actuator.commands import kubectl_for
from services.actuator.shown import shown
from services.actuator.undo import fold, plan_restore
from services.audit.journal import Journal
from services.clock import SystemClock
from services.coordination import Coordination
from services.model.objects import Change, Json, ObjectRef, value_at
from services.model.rollout import Guard, UndoRecord
from services.model.steps import PatchImage
from services.redaction import Redactor
from services.rollout.report import dry_run_document

STABLE = ObjectRef("Deployment", "production", "payment-service")
PLANTED = ("hunter2-Prod", "S3cr3tValue", "9F8A-77QQ", "cafe-key-77")
ENV = [
    {"name": "DB_PASSWORD", "value": "hunter2-Prod"},
    {"name": "CONN", "value": "Server=db;Uid=app;Pwd0=S3cr3tValue"},
    {"name": "LICENSE", "value": "9F8A-77QQ"},
    {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
]
TEMPLATE: dict[str, Json] = {
    "metadata": {"labels": {"app": "payment-service"}, "annotations": {"example.com/api-key": "cafe-key-77"}},
    "spec": {"containers": [{"name": "proxy", "image": "proxy:1"}, {"name": "app", "image": "r/app:v2.14.1", "env": ENV}]},
}
ENTRY = "/spec/template/spec/containers/1/env/0"


def written_in(place: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in place.rglob("*") if path.is_file())


def tells(text: str) -> list[str]:
    return [secret for secret in PLANTED if secret in text]


@pytest.mark.parametrize(
    "write",
    [
        Write("/spec/template", TEMPLATE),
        Write("/spec/template/spec/containers", TEMPLATE["spec"]["containers"]),
        Write("/spec/template/spec/containers/1/env", ENV),
        Write(ENTRY, ENV[0]),
        Write(f"{ENTRY}/value", "hunter2-Prod"),
        Write("/spec/template/metadata/annotations", TEMPLATE["metadata"]["annotations"]),
    ],
)
def test_a_template_with_secrets_is_restored_from_the_deployments_own_history(write: Write) -> None:
    command = kubectl_for(STABLE, [write], context="prod", revision=7)
    assert command == "kubectl rollout undo deployment/payment-service --to-revision=7 -n production --context prod"
    assert kubectl_for(STABLE, [write], context="dev").endswith("undo deployment/payment-service -n production --context dev")


def test_a_secret_elsewhere_is_left_to_the_persons_editor() -> None:
    command = kubectl_for(STABLE, [Write("/metadata/annotations/example.com~1api-key", "cafe-key-77")], context="prod")
    assert command.startswith("kubectl edit deployment/payment-service -n production --context prod  # ")
    assert not tells(command)


def test_what_holds_no_secret_is_still_the_exact_patch() -> None:
    command = kubectl_for(STABLE, [Write("/spec/template/spec/containers/1/image", "r/app:v2.14.1")], context="prod")
    assert command.startswith("kubectl patch deployment payment-service")
    assert "r/app:v2.14.1" in command


@pytest.mark.parametrize("path", ["/spec/template", "/spec/template/spec/containers", "/spec/template/spec/containers/1/env"])
def test_names_are_told_and_values_are_not(path: str) -> None:
    told = str(shown(path, value_at({"spec": {"template": TEMPLATE}}, path)))
    assert not tells(told)
    assert "DB_PASSWORD" in told
    assert "secretKeyRef" in told


def test_the_name_that_stands_beside_a_value_says_that_it_is_secret() -> None:
    guard = Guard("/spec/things/0/name", "API_TOKEN")
    assert "cafe" not in str(shown("/spec/things/0/value", "cafe-key-77", [guard]))
    assert shown("/spec/things/0/value", "on", [Guard("/spec/things/0/name", "MODE")]) == "on"


def test_what_is_kept_for_a_person_tells_no_secret() -> None:
    record = UndoRecord(object=STABLE, path="/spec/template", old=TEMPLATE, new={}, step=-1)
    live: dict[str, Any] = deployment(STABLE)
    live["spec"]["template"]["spec"]["containers"][1]["env"] = ENV
    restore = plan_restore(fold([record]), {STABLE: live}, context="memory", stable=STABLE)
    assert restore.kept
    assert not tells(f"{restore.kept[0]} {restore.kept[0].command}")


async def test_no_planted_secret_reaches_the_journals_files_or_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    connection, memory = memory_connection()
    clock = SystemClock()
    live = deployment(STABLE)
    memory.put(STABLE, live)
    journal = Journal.open(tmp_path, redactor=Redactor(), clock=clock)
    found = rollout()
    hold = await Coordination(connection, clock).acquire(found.release.target, "payment-service", found.id, driver("t"))
    actuator = Actuator(connection, journal, clock, read_only=False, operator="jane")
    done = await actuator.apply(Mutation(object=STABLE, writes=(Write("/spec/template", TEMPLATE),)), hold=hold, rollout=found)
    back = plan_restore(fold(done.undo), {STABLE: memory.at(STABLE)}, context="memory", stable=STABLE).phases[0].mutations[0]
    assert not tells(back.command)
    await actuator.apply(back, hold=hold, rollout=found, rollback=True)
    await actuator.apply(Mutation(object=STABLE, writes=(Write("/spec/template", TEMPLATE),)), hold=hold, rollout=found)
    await actuator.apply(
        Mutation(object=STABLE, writes=(Write(f"{ENTRY}/value", "other"),)), hold=hold, rollout=found, rollback=True
    )
    journal.close()
    text = written_in(tmp_path)
    assert "payment-service" in text
    assert not tells(text)
    assert not tells(caplog.text)
    assert memory.at(STABLE)["spec"]["template"]["spec"]["containers"][1]["env"][0]["value"] == "other", "hidden, not lost"


def test_a_dry_run_names_what_changes_in_an_environment_without_its_values() -> None:
    found = rollout()
    change = Change(STABLE, ENTRY, ENV[0], {"name": "DB_PASSWORD", "value": "S3cr3tValue"})
    plan = replace(found.plan, steps=(PatchImage(name="sync", changes=(change,), workload=STABLE),))
    document = str(dry_run_document(plan, ()))
    assert "DB_PASSWORD" in document
    assert not tells(document)

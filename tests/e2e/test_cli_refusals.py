"""What a refused deploy or rollback leaves: an exit code, one document of the shape of every result, one entry in the journal."""

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.processes import catches, eventually
from support.world import NO_SINKS, Said, World, world

SERVICE, NEW = "payment-service", "v2.15.0"
DOCUMENT = {
    "rollout", "service", "environment", "version", "previous_version", "strategy", "outcome", "reason", "gates", "steps",
    "rollback", "duration_seconds", "journal",
}  # fmt: skip
STAGING = ("-e", "staging", "--ticket", "CHG-4821")
LONG = {"steps": [{"weight": 25, "seconds": 3000}], "baseline_seconds": 30}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("refusals"), speed=30, canary=LONG, journal=NO_SINKS) as running:
        yield running


@pytest.fixture(scope="module")
def home(sandbox: World) -> Path:
    return sandbox.new_home("operator")


def refused(sandbox: World, home: Path, said: Said, *, code: int, outcome: str) -> dict[str, Any]:
    """The entry that the command left, which its document names."""
    assert said.code == code, said
    document = said.document
    assert set(document) == DOCUMENT
    assert document["outcome"] == "rejected"
    assert set(document["reason"]) == {"kind", "name", "value", "limit", "detail"}
    first, last = document["journal"]["first"], document["journal"]["last"]
    entry = next(entry for entry in sandbox.entries(home) if entry["seq"] == last)
    assert first is not None
    assert entry["event"] == "rollout.refused"
    assert entry["outcome"] == outcome
    assert entry["data"]["exit_code"] == code
    assert entry["data"]["reason"]["name"] == document["reason"]["name"]
    return entry


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("deploy", SERVICE, NEW, "-e", "prod; rm -rf /"), "environment"),
        (("deploy", SERVICE, NEW, "-e", ""), "environment"),
        (("deploy", SERVICE, "v1.2.3 && id", *STAGING), "version"),
        (("deploy", SERVICE, "1.2.3\n", *STAGING), "version"),
        (("deploy", SERVICE, NEW, *STAGING, "-n", "n" * 64), "namespace"),
        (("deploy", "no-such-service", NEW, *STAGING), "service"),
        (("rollback", SERVICE, "-e", "../staging"), "environment"),
        (("rollback", "Payment_Service", "-e", "staging"), "service"),
        (("rollback", "no-such-service", "-e", "staging"), "service"),
        (("rollback", SERVICE, "-e", "staging", "-n", "Kube_System"), "namespace"),
        (("rollback", SERVICE, "-e", "staging", "--to", "99"), "to"),
        (("rollback", SERVICE, "-e", "staging", "--to", "1; id"), "to"),
    ],
)
def test_rejected_input_is_journalled(sandbox: World, home: Path, words: tuple[str, ...], name: str) -> None:
    entry = refused(sandbox, home, sandbox.run(home, "-o", "json", *words), code=2, outcome="rejected")
    assert entry["data"]["reason"]["name"] == name
    assert entry["command"] == f"quarterdeck {words[0]}"
    assert entry["user"]
    assert entry["environment"] in ("staging", "")
    assert sandbox.rollouts("staging", SERVICE) == []


def test_an_observer_is_refused_and_that_is_journalled(sandbox: World, home: Path) -> None:
    for words in (("deploy", SERVICE, NEW, *STAGING), ("rollback", SERVICE, "-e", "staging")):
        entry = refused(sandbox, home, sandbox.run(home, "--read-only", "-o", "json", *words), code=2, outcome="read_only")
        assert (entry["environment"], entry["service"]) == ("staging", SERVICE)


def test_what_was_typed_is_kept_short_and_inert_and_without_secrets(sandbox: World, home: Path) -> None:
    hostile = "x\x1b[2J\n[/red]" + "y" * 100_000
    words = ("rollback", SERVICE, "-e", hostile, "--reason", "token=hunter2hunter2 " + "z" * 100_000)
    entry = refused(sandbox, home, sandbox.run(home, "-o", "json", *words), code=2, outcome="rejected")
    raw = json.dumps(entry)
    assert len(raw) < 4096
    assert "\\u001b" not in raw
    assert "hunter2" not in raw
    assert entry["environment"] == ""
    assert entry["data"]["asked"]["environment"].startswith("x\\x1b[2J\\n[/red]y")


def test_a_dry_run_attempts_nothing(sandbox: World, home: Path) -> None:
    before = len(sandbox.entries(home))
    said = sandbox.deploy(home, SERVICE, "latest", *STAGING, "--dry-run")
    assert said.code == 2
    assert said.document["journal"] == {"first": None, "last": None}
    assert len(sandbox.entries(home)) == before


@pytest.mark.parametrize("broken", ["a file in its place", "held by a stopped process", "garbage"])
def test_a_broken_journal_changes_no_refusal(sandbox: World, broken: str) -> None:
    home = sandbox.new_home(f"broken-{len(broken)}")
    if broken == "a file in its place":
        (home / "journal").write_text("")
    elif broken == "garbage":
        (home / "journal" / "seg").mkdir(parents=True, mode=0o700)
        (home / "journal" / "seg" / "000000000001.jsonl").write_bytes(b"\x00\xffnot a line\n{}\n" * 20)
    else:
        (home / "journal").mkdir(mode=0o700)
        held = os.open(home / "journal" / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
    said = sandbox.deploy(home, SERVICE, "latest", *STAGING)
    assert said.code == 2, said
    assert said.document["outcome"] == "rejected"
    assert said.document["reason"]["name"] == "version"
    assert "Traceback" not in said.err
    written = broken == "garbage"  # damage is noted, and what has to be recorded goes on behind it
    assert ("this refusal is not in the journal" in said.err) is not written, said


def test_a_driver_that_is_forbidden_leaves_an_end_in_the_journal(sandbox: World) -> None:
    """The viewer may read everything, so the gates pass; the lease is the first thing that it may not write."""
    home = sandbox.new_home("viewer")
    environments = yaml.safe_load(sandbox.config.read_text())["environments"]
    environments["production"]["context"] = "production-viewer"
    config = sandbox.variant("viewer", environments=environments)
    words = ("-e", "production", "--strategy", "canary", "--ticket", "CHG-4821", "--confirm", "production")
    said = sandbox.deploy(home, SERVICE, NEW, *words, config=config)
    assert said.code == 1, said
    document = said.document
    assert set(document) == DOCUMENT
    assert document["outcome"] == "rejected"
    events = [entry["event"] for entry in sandbox.entries(home) if entry["rollout"] == document["rollout"]]
    assert events == ["deployment.started", "deployment.approval_checked", "rollout.refused"]
    last = sandbox.entries(home)[-1]
    assert (last["outcome"], last["seq"]) == ("forbidden", document["journal"]["last"])
    assert sandbox.rollouts("production", SERVICE) == []


def test_what_a_rollback_could_not_restore_is_told_as_commands(sandbox: World) -> None:
    """After the start somebody took the permissions away: no driver can begin, so a person gets the commands, in their order."""
    home = sandbox.new_home("powerless")
    sandbox.start(home, "deploy", SERVICE, NEW, "-e", "canary", "--ticket", "CHG-4821")
    going = eventually("25 %", lambda: [seen for seen in sandbox.rollouts("canary", SERVICE) if seen["weight"] == 25], 60.0)
    rollout = str(going[-1]["id"])
    os.kill(sandbox.driver(rollout, home), signal.SIGKILL)
    document = yaml.safe_load(Path(sandbox.ready["kubeconfig"]).read_text())
    users = {context["name"]: context["context"]["user"] for context in document["contexts"]}
    for context in document["contexts"]:
        context["context"]["user"] = users["production-viewer"]
    kubeconfig = sandbox.place / "kubeconfig-viewer"
    kubeconfig.write_text(yaml.safe_dump(document))
    kubeconfig.chmod(0o600)
    config = sandbox.variant("powerless", kubeconfig=str(kubeconfig))
    said = sandbox.run(home, "-o", "json", "rollback", SERVICE, "-e", "canary", config=config)
    assert said.code == 5, said
    assert set(said.document) == DOCUMENT
    assert said.document["outcome"] == "needs_attention"
    assert said.document["rollback"]["restored"] is False
    left = said.document["rollback"]["left"]
    assert left
    assert all("--context canary" in command and command.startswith("kubectl ") for command in left)
    assert "virtualservice" in left[0], "requests first"
    assert sandbox.run(home, "rollback", SERVICE, "-e", "canary").code == 0


def test_held_by_another_is_journalled(sandbox: World, home: Path) -> None:
    holder = sandbox.new_home("holder")
    sandbox.start(holder, "deploy", SERVICE, NEW, *STAGING, "--strategy", "canary")
    eventually("it is driven", lambda: (sandbox.rollouts("staging", SERVICE) or [{"epoch": 0}])[-1]["epoch"] > 0)
    said = sandbox.deploy(home, SERVICE, NEW, *STAGING)
    entry = refused(sandbox, home, said, code=6, outcome="held")
    assert said.document["reason"]["kind"] == "operator"
    rollout = sandbox.rollouts("staging", SERVICE)[-1]["id"]
    assert rollout in entry["data"]["reason"]["detail"]
    assert (entry["service"], entry["version"], entry["environment"]) == (SERVICE, NEW, "staging")
    assert entry["change_ticket"] == "CHG-4821"


def test_a_rollback_that_is_left_says_so_in_its_document(sandbox: World, home: Path) -> None:
    """After the one before: its canary is under way."""
    holder = sandbox.place / "home-holder"
    rollout = sandbox.rollouts("staging", SERVICE)[-1]["id"]
    sandbox.control("faults", api="conflict")
    going = sandbox.start(holder, "-o", "json", "rollback", SERVICE, "-e", "staging")
    # it says so just before it begins to listen to signals
    eventually("it follows", lambda: "Rolling back" in going._err.read_text() and catches(going.pid, signal.SIGTERM))
    going.process.send_signal(signal.SIGTERM)
    said = going.ended()
    sandbox.control("faults", api="")
    assert said.code == 7, said
    document = said.document
    assert set(document) == DOCUMENT
    assert (document["rollout"], document["outcome"]) == (rollout, "interrupted")
    assert document["reason"]["name"] == "interrupted"


def test_the_journal_holds_and_every_refusal_is_one_entry(sandbox: World, home: Path) -> None:
    assert sandbox.verified(home).ok
    assert {entry["event"] for entry in sandbox.entries(home)} == {"journal.segment", "rollout.refused"}

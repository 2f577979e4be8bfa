"""The journal's own disk is full, or the whole home's, or it can't be written: a deploy is refused with the reason, a rollback
takes its usual time and is recorded, or it is said that it is not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.harness import CONFIRMED, OLD, STABLE, Sandbox
from support.mounts import mounted, remount, why_not

from services.audit.verify import verify
from services.model.objects import ObjectRef

pytestmark = [pytest.mark.long, pytest.mark.alone]

USUAL = 30.0
"""Seconds within which a rollback restores what was there."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    running = Sandbox(tmp_path_factory.mktemp("full") / "sandbox", "good", 20.0, shipping=False)
    yield running
    running.stop()


def fill(place: Path) -> Path:
    path = place / "filling"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return path


@pytest.mark.skipif(bool(why_not("tmpfs")), reason=why_not("tmpfs"))
def test_a_full_disk_stops_a_deploy_and_no_rollback(sandbox: Sandbox) -> None:
    journal = sandbox.state / "journal"
    journal.parent.mkdir(parents=True, exist_ok=True)
    with mounted(journal, "-t", "tmpfs", "-o", "size=100m,mode=700", "tmpfs"):
        filling = fill(journal)
        refused = sandbox.run(*CONFIRMED)
        assert refused.code == 1, refused.err
        assert "MiB free" in refused.err or "No space" in refused.err
        assert sandbox.rollouts() == []
        filling.unlink()

        deploy = sandbox.start(*CONFIRMED)
        sandbox.wait_for_rollout(lambda rollout: rollout.weight == 10, "10 %")
        filling = fill(journal)
        back = sandbox.run("rollback", "payment-service", "-e", "production", "--reason", "disk full")
        assert back.code in (0, 4), back.err
        assert back.document["rollback"]["restored"] is True
        assert back.document["rollback"]["seconds"] < USUAL
        deploy.ended(60)
        image = sandbox.get(STABLE)["spec"]["template"]["spec"]["containers"][0]["image"]  # type: ignore[index, call-overload]
        assert str(image).endswith(OLD)
        filling.unlink()
        # Whoever has the journal open next writes what waited.
        sandbox.run("deploy", "payment-service", "v2.15.0", "-e", "production", "--dry-run")
        recorded = sandbox.journal("--event", "deployment.rollback")
        assert recorded
        assert recorded[-1]["rollback_triggered"] is True
        assert verify(journal).ok


@pytest.mark.skipif(bool(why_not("tmpfs")), reason=why_not("tmpfs"))
@pytest.mark.parametrize(("service", "used"), [("accounts", True), ("cart", False)], ids=["in use", "new"])
def test_a_full_home_stops_no_rollback_of_a_service(sandbox: Sandbox, tmp_path: Path, service: str, used: bool) -> None:
    home = tmp_path / "home"
    with mounted(home, "-t", "tmpfs", "-o", "size=100m,mode=700", "tmpfs"):
        if used:
            assert sandbox.run("deploy", service, "v9.9.9", "-e", "dev", "--strategy", "shadow", home=home).code == 2
        filling = fill(home)
        deployment = ObjectRef("Deployment", "dev", service)
        before = image_of(sandbox.get(deployment, "dev"))
        back = sandbox.run("rollback", service, "-e", "dev", "--to", "1", home=home)
        assert back.code == 0, back.err
        assert back.document["rollback"]["restored"] is True
        assert image_of(sandbox.get(deployment, "dev")) != before
        assert not [*home.rglob("*.draft"), *home.glob(".redaction.key.*")], "half of a file"
        again = sandbox.run("deploy", service, "v9.9.9", "-e", "dev", home=home)
        assert again.code != 0, "nothing starts on a full disk"

        filling.unlink()
        sandbox.run("deploy", service, "v9.9.9", "-e", "dev", "--dry-run", home=home)
        recorded = sandbox.run("journal", "list", "--event", "deployment.rollback", home=home).document["entries"]
        if used:
            assert [entry["rollback_triggered"] for entry in recorded] == [True]
            assert verify(home / "journal").ok
        else:
            # There never was room for a journal, so none for what waits for it: it is said that nothing is recorded.
            assert "NOT IN THE JOURNAL" in back.err
            assert back.document["journal"]["problem"]


def image_of(deployment: dict[str, Any]) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.mark.skipif(bool(why_not("tmpfs")), reason=why_not("tmpfs"))
def test_a_home_that_can_not_be_written_stops_no_rollback(sandbox: Sandbox, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with mounted(home, "-t", "tmpfs", "-o", "size=20m,mode=755", "tmpfs"):
        # As it was mounted, then with a journal, and of this operator alone: nothing of it can be changed either time.
        for service, used in (("catalog", False), ("ledger", True)):
            if used:
                remount(home, "rw")
                assert sandbox.run("deploy", service, "v9.9.9", "-e", "dev", "--strategy", "shadow", home=home).code == 2
            remount(home, "ro")
            refused = sandbox.run("deploy", service, "v9.9.9", "-e", "dev", home=home)
            assert (refused.code, refused.document["outcome"]) == (2, "rejected")
            assert refused.document["reason"]["name"] == "home"
            deployment = ObjectRef("Deployment", "dev", service)
            before = image_of(sandbox.get(deployment, "dev"))
            back = sandbox.run("rollback", service, "-e", "dev", "--to", "1", home=home)
            assert back.code == 0, back.err
            assert back.document["rollback"]["restored"] is True
            assert image_of(sandbox.get(deployment, "dev")) != before
            assert "NOT IN THE JOURNAL" in back.err
            assert "Read-only file system" in back.document["journal"]["problem"]
            assert "Traceback" not in back.err

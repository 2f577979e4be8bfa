"""The journal's own disk is full: a deploy is refused with the reason, a rollback takes its usual time and is recorded."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.harness import CONFIRMED, OLD, STABLE, Sandbox
from support.mounts import mounted, why_not

from services.audit import verify

USUAL = 30.0
"""Seconds within which a rollback restores what was there."""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    running = Sandbox(tmp_path / "sandbox", "good", 20.0)
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

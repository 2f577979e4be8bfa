"""What counts as a rehearsed rollback: one that took something back, and the evidence says how far it had come."""

from pathlib import Path
from typing import Any

import pytest
from support.processes import eventually
from support.world import NO_SINKS, World, world

pytestmark = pytest.mark.long

SERVICE = "payment-service"
VERSION = "v2.16.0"
SHARES = {"steps": [{"weight": 10, "seconds": 3000}], "baseline_seconds": 120}


def gate(at: World, home: Path) -> dict[str, Any]:
    asked = ("deploy", SERVICE, VERSION, "-e", "production", "--strategy", "canary", "--ticket", "CHG-4821", "--dry-run")
    gates: list[dict[str, Any]] = at.run(home, "-o", "json", *asked).document["gates"]
    return next(gate for gate in gates if gate["name"] == "rollback-tested")


def rehearse(at: World, home: Path, *, step: int) -> None:
    """Deploy to dev, and roll back once the plan's ``step`` runs."""
    before = {rollout["id"] for rollout in at.rollouts("dev", SERVICE)}
    deploy = at.start(home, "-o", "json", "deploy", SERVICE, VERSION, "-e", "dev", "--strategy", "canary")

    def reached() -> bool:
        new = [rollout for rollout in at.rollouts("dev", SERVICE) if rollout["id"] not in before]
        return bool(new) and new[0]["steps"][step]["outcome"] == "running"

    eventually(f"step {step}", reached, 60)
    rolled = at.run(home, "-o", "json", "rollback", SERVICE, "-e", "dev")
    assert rolled.document["rollback"]["restored"], rolled.err
    assert deploy.ended().code == 4


def test_a_rollback_counts_as_rehearsed_only_where_something_ran_and_was_taken_back(tmp_path: Path) -> None:
    # the baseline is still measured when the command to roll back has begun, on a busy machine too
    with world(tmp_path, speed=12.0, canary=SHARES, journal=NO_SINKS) as at:
        home = at.new_home("a")
        rehearse(at, home, step=0)
        found = gate(at, home)
        assert found["outcome"] == "fail", "nothing had been changed while the baseline was measured"
        assert "has no record of anything that ran and was taken back" in found["evidence"]
        rehearse(at, home, step=4)
        found = gate(at, home)
        assert found["outcome"] == "pass"
        assert found["evidence"].startswith("rolled back from 10 % in dev by ")

"""A rollback to a revision while a canary nobody has on record still gets a share of the requests: all of it is taken back."""

import os
import signal
from pathlib import Path

from support.processes import eventually
from support.world import NO_SINKS, world

SERVICE = "payment-service"
CANARY = f"{SERVICE}-canary"
SHARES = {"steps": [{"weight": 10, "seconds": 30000}], "baseline_seconds": 10}


def test_restored_means_that_the_canary_serves_nobody_any_more(tmp_path: Path) -> None:
    with world(tmp_path, speed=40.0, canary=SHARES, journal=NO_SINKS) as at:
        home = at.new_home("a")
        before = at.facts("dev", SERVICE)[SERVICE]["images"]
        deploy = at.start(home, "-o", "json", "deploy", SERVICE, "v2.15.0", "-e", "dev", "--strategy", "canary")
        rollout = eventually("a checkpoint", lambda: at.rollouts("dev", SERVICE), 30)[0]["id"]
        eventually("a share", lambda: at.rollout("dev", rollout)["steps"][4]["outcome"] == "running", 60)
        os.kill(at.driver(rollout), signal.SIGKILL)
        deploy.ended()
        at.delete("ConfigMap", "dev", f"quarterdeck-rollout-{rollout}")
        at.delete("Lease", "dev", f"quarterdeck-{SERVICE}")
        container = {"name": SERVICE, "image": before[0].rpartition(":")[0] + ":v2.15.0"}
        stable = at.object("Deployment", "dev", SERVICE)["spec"]["template"]["spec"]["containers"][0]
        at.patch("Deployment", "dev", SERVICE, {"spec": {"template": {"spec": {"containers": [{**stable, **container}]}}}})
        eventually("its pods", lambda: at.facts("dev", SERVICE)[SERVICE]["images"] != before, 30)
        done = at.run(home, "-o", "json", "rollback", SERVICE, "-e", "dev")
        assert done.document["rollback"]["restored"], done.err
        found = at.facts("dev", SERVICE)
        assert found[SERVICE]["images"] == before
        assert found["weights"] == {"stable": 100, "canary": 0}
        assert found[CANARY]["replicas"] == 0

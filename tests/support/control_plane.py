"""The real control plane beside this repository, where there is one, up and settled."""

import subprocess
from pathlib import Path

from support.processes import eventually

CLUSTER = (Path(__file__).parents[2] / "../shared/cluster/cluster").resolve()
ABSENT = "no real control plane beside this repository (../shared/cluster)"

_SETTLED_SECONDS = 60.0


def up(*words: str) -> Path:
    """The kubeconfig of a control plane, ``NAME PORT`` or the shared one, started where it does not run yet."""
    started = subprocess.run([CLUSTER, "up", *words], check=True, capture_output=True, text=True)
    kubeconfig = Path(started.stdout.split()[-1])
    settled(kubeconfig)
    return kubeconfig


def settled(kubeconfig: Path) -> None:
    """Wait until the viewer may look. A control plane answers before its controllers have gathered the rules of the role
    ``view`` from the roles that make it up; until then that role, whoever has it, may do nothing at all."""
    asked = ["kubectl", "--kubeconfig", str(kubeconfig), "--context", "production-viewer", "auth", "can-i", "--quiet"]
    may_list = [*asked, "list", "deployments.apps", "--namespace", "production"]
    eventually(
        "the role view is gathered", lambda: subprocess.run(may_list, check=False).returncode == 0, _SETTLED_SECONDS, every=0.2
    )

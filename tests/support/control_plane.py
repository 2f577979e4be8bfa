"""The real control plane beside this repository, where there is one, up and settled."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
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


def tell(verb: str, name: str) -> None:
    """``down``, ``pause`` or ``resume`` the control plane of this name."""
    subprocess.run([CLUSTER, verb, name], check=True, capture_output=True)


@contextlib.contextmanager
def of_its_own(purpose: str) -> Iterator[tuple[str, Path]]:
    """A control plane that nobody else uses, by its name and kubeconfig: only one sandbox at a time may be on one."""
    name = f"{purpose}-{os.getpid()}"
    try:
        yield name, up(name, str(_free_ports()))
    finally:
        tell("down", name)


def _free_ports() -> int:
    """The first of three free ports in a row (API server, and the two of its store)."""
    for port in range(21443, 25443, 10):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for number in range(port, port + 3):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port
    raise AssertionError("no three free ports in a row")


def settled(kubeconfig: Path) -> None:
    """Wait until the viewer may look. A control plane answers before its controllers have gathered the rules of the role
    ``view`` from the roles that make it up; until then that role, whoever has it, may do nothing at all."""
    asked = ["kubectl", "--kubeconfig", str(kubeconfig), "--context", "production-viewer", "auth", "can-i", "--quiet"]
    may_list = [*asked, "list", "deployments.apps", "--namespace", "production"]
    eventually(
        "the role view is gathered", lambda: subprocess.run(may_list, check=False).returncode == 0, _SETTLED_SECONDS, every=0.2
    )

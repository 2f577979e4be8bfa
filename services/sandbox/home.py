"""The files by which consoles find the sandbox: configuration, kubeconfig, token, ready file. And who runs on a home."""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import yaml

from services.sandbox import fleet
from services.sandbox.people import APPROVERS, operator

CONTEXTS = (*fleet.NAMESPACES, "production-viewer")


def default_home(env: Mapping[str, str]) -> Path:
    """``$QUARTERDECK_HOME/sandbox``, else ``quarterdeck/sandbox`` in the XDG state directory."""
    if given := env.get("QUARTERDECK_HOME"):
        return Path(given) / "sandbox"
    state = env.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "quarterdeck" / "sandbox"


class HomeTaken(Exception):
    """Another sandbox runs on this home; ``pid`` is its process."""

    def __init__(self, home: Path, pid: str) -> None:
        super().__init__(
            f"A sandbox already runs on {home} (process {pid or 'unknown'}). Stop it, or give this one another --home."
        )
        self.home = home
        self.pid = pid


def lock(home: Path) -> IO[str]:
    """Take the home for this process; the lock goes with the file, at the latest with the process. Raises HomeTaken."""
    home.mkdir(parents=True, exist_ok=True)
    file = (home / "sandbox.pid").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        pid = file.read().strip()
        file.close()
        raise HomeTaken(home, pid) from None
    file.seek(0)
    file.truncate()
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def held(home: Path) -> bool:
    """Whether a live process has the home."""
    try:
        with (home / "sandbox.pid").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def place(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file so that readers see the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    partial.replace(path)


def kubeconfig(server: str, authority: str, tokens: Mapping[str, str]) -> dict[str, Any]:
    """One cluster, a context for each environment, and one that may only read. ``authority`` is base64 of PEM."""

    def context(name: str) -> dict[str, Any]:
        viewer = name.endswith("-viewer")
        namespace = name.removesuffix("-viewer")
        return {"name": name, "context": {"cluster": "sandbox", "user": "viewer" if viewer else "admin", "namespace": namespace}}

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "production",
        "clusters": [{"name": "sandbox", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": name, "user": {"token": token}} for name, token in tokens.items()],
        "contexts": [context(name) for name in CONTEXTS],
    }


def configuration(
    *, home: Path, kubeconfig: Path, token_file: Path, web: str, speed: float, epoch: float, through_proxy: bool
) -> dict[str, Any]:
    """The console's configuration for this sandbox. Without ``through_proxy`` pods are reached at the sandbox by URL, because
    nothing runs behind the addresses of the pods of a control plane without nodes."""
    me = operator()
    found: dict[str, Any] = {
        "version": 1,
        "home": str(home),
        "kubeconfig": str(kubeconfig),
        "sandbox": {"speed": float(speed), "epoch": epoch, "real_cluster": not through_proxy},
        "environments": {
            name: {"tier": name, "context": name, "namespaces": [name]} | ({"aliases": ["prod"]} if name == "production" else {})
            for name in fleet.NAMESPACES
        },
        "policy": {
            "dev": {
                "ticket": "waived",
                "approvals": 0,
                "smoke_tests": "required",
                "gradual_rollout": "waived",
                "rollback_tested": "waived",
            }
        },
        "people": [{"name": person.name, "login": person.login, "ticket_account": person.account} for person in (me, *APPROVERS)],
        "tickets": {
            "kind": "jira",
            "flavour": "data-center",
            "url": f"{web}/jira",
            "token": f"file:{token_file}",
            "approved_statuses": ["Approved"],
            "timeout": 5,
        },
        "alerts": {"kind": "alertmanager", "url": f"{web}/alerts", "timeout": 5},
        "metrics": {"interval": 10, "warm_up": 30, "port": fleet.PORT, "path": "/metrics"},
        "probes": {"interval": 10, "failures": 3, "port": fleet.PORT, "path": "/healthz"},
        "journal": {"sinks": [{"kind": "elasticsearch", "name": "log-store", "url": f"{web}/logs"}]},
        "smoke": {"port": 80},
        "smoke_tests": {
            workload.name: [
                {"name": "health", "path": "/healthz", "status": 200},
                {"name": "ping", "path": workload.smoke, "status": 200},
            ]
            for workload in fleet.WORKLOADS
        },
    }
    if not through_proxy:
        found["metrics"]["scrape_url"] = f"{web}/pods/{{namespace}}/{{pod}}/metrics"
        found["probes"]["url"] = f"{web}/pods/{{namespace}}/{{pod}}/healthz"
        found["smoke"]["url"] = f"{web}/services/{{namespace}}/{{service}}"
    return found


def write_yaml(path: Path, document: dict[str, Any], mode: int = 0o644) -> None:
    heading = "# Written by the sandbox at its start; changes here are lost.\n"
    place(path, heading + yaml.safe_dump(document, sort_keys=False, allow_unicode=True), mode)


def ready_document(
    home: Path, kubeconfig_path: Path, *, tickets: str, alerts: str, prometheus: str, log_store: str
) -> dict[str, Any]:
    """What the ready file says (paths and URLs; null where there is no such thing). ``prometheus``: the page with all pods'
    metrics, for a Prometheus to scrape. ``alerts`` speaks Alertmanager's protocol, ``log_store`` Elasticsearch's protocol."""
    return {
        "config": str(home / "config.yaml"),
        "kubeconfig": str(kubeconfig_path),
        "contexts": list(CONTEXTS),
        "prometheus": prometheus,
        "tickets": tickets,
        "alerts": alerts,
        "log_store": log_store,
        "pid": os.getpid(),
    }


def place_ready(paths: list[Path], document: dict[str, Any]) -> None:
    for path in paths:
        place(path, json.dumps(document, indent=2) + "\n")

"""Where a context's API server is and how to sign in to it: kubeconfig files or the pod's own service account.

The formats are read by ``kubernetes.aio``. Its exec plugin runner is not used: it lends the plugin our terminal, waits for ever
and swallows the plugin's failure.
"""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import threading
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from services.clock import Clock
from services.model.errors import Rejected, Unavailable
from services.settings.section import is_loopback

IN_CLUSTER = "in-cluster"
"""Name of the one context there is when there is no kubeconfig and we run inside a pod."""

_PLUGIN_SECONDS = 60.0
_TOKEN_FILE_SECONDS = 60.0
"""How long a token read from a file is used before the file is read again; kubelets rotate them."""
_EARLY_SECONDS = 10.0
"""How long before a plugin's credential expires a new one is asked for."""
_loading = threading.Lock()
"""The library keeps decoded keys in shared temporary files until they are removed: one loads and removes at a time."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach and sign in to one API server. ``refresh_after`` is in Unix seconds; ``None`` means they last."""

    server: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None = None
    server_hostname: str | None = None
    proxy: str | None = None
    refresh_after: float | None = None


class CredentialSource(Protocol):
    async def load(self) -> Credentials:
        """Read everything anew. Raises Unavailable with what is wrong."""


def kubeconfig_paths(explicit: Path | None, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The kubeconfig files there are: the explicit one, else those of KUBECONFIG, else ``~/.kube/config``."""
    if explicit is not None:
        paths = [explicit.expanduser()]
        if not paths[0].is_file():
            raise Rejected("kubeconfig", str(explicit), "there is no such file", "the path of a kubeconfig file")
    else:
        listed = [part for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
        paths = [Path(part).expanduser() for part in listed] or [Path("~/.kube/config").expanduser()]
    return tuple(path for path in paths if path.is_file())


def context_names(paths: tuple[Path, ...]) -> tuple[str, ...]:
    """The contexts of these files, first definition first. Raises Rejected where one is not a kubeconfig."""
    import yaml

    names: dict[str, None] = {}
    for path in paths:
        try:
            document = yaml.safe_load(path.read_bytes())
            names.update((str(entry["name"]), None) for entry in document.get("contexts") or ())
        except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            raise Rejected("kubeconfig", str(path), f"the file can't be read ({error})", "a kubeconfig file") from error
    return tuple(names)


class InCluster:
    """The service account of the pod we run in."""

    def __init__(self, clock: Clock, on_secret: Callable[[str], None] | None = None) -> None:
        self._clock = clock
        self._on_secret = on_secret

    async def load(self) -> Credentials:
        return await asyncio.to_thread(self._load)

    def _load(self) -> Credentials:
        from kubernetes.aio.client import Configuration
        from kubernetes.aio.config import ConfigException, load_incluster_config

        configuration = Configuration()
        try:
            load_incluster_config(configuration, try_refresh_token=False)
            return _finished(configuration, {}, self._clock.unix() + _TOKEN_FILE_SECONDS, self._on_secret)
        except (ConfigException, OSError, ValueError) as error:
            raise _unusable(IN_CLUSTER, error) from error


class Kubeconfig:
    """One context of kubeconfig files."""

    def __init__(
        self, paths: tuple[Path, ...], context: str, clock: Clock, on_secret: Callable[[str], None] | None = None
    ) -> None:
        self._paths = paths
        self._context = context
        self._clock = clock
        self._on_secret = on_secret

    async def load(self) -> Credentials:
        try:
            loader = await asyncio.to_thread(self._open)
            user: dict[str, Any] = loader._user.value
            expires: float | None = None
            if "exec" in user:
                status = await self._run_plugin(user["exec"], loader)
                expires = _expiry(status)
            elif loader.provider is not None:
                await loader._load_authentication()
            elif "tokenFile" in user and "token" not in user:
                expires = self._clock.unix() + _TOKEN_FILE_SECONDS
            return await asyncio.to_thread(self._finish, loader, user, expires)
        except Unavailable:
            raise
        except Exception as error:  # the library raises anything on a malformed file; the context is unusable, no more
            raise _unusable(self._context, error) from error

    def _open(self) -> Any:
        from kubernetes.aio.config import kube_config

        merger = kube_config.KubeConfigMerger(os.pathsep.join(map(str, self._paths)))
        loader = kube_config.KubeConfigLoader(
            config_dict=merger.config,
            active_context=self._context,
            config_base_path=None,
            config_persister=lambda _config: merger.save_changes(),  # a rotated OIDC refresh token is lost unless kept
        )
        if loader._user is None:
            loader._user = kube_config.ConfigNode("user", {}, loader._cluster.path)
        return loader

    def _finish(self, loader: Any, user: dict[str, Any], expires: float | None) -> Credentials:
        from kubernetes.aio.client import Configuration
        from kubernetes.aio.config import kube_config

        with _loading:
            try:
                if loader.provider is None and "exec" not in user and not loader._load_user_token():
                    loader._load_user_pass_token()
                loader._load_cluster_info()
                configuration = Configuration()
                loader._set_config(configuration)
                if not hasattr(loader, "host"):
                    raise ValueError("its cluster has no server")
                return _finished(configuration, _impersonation(user), expires, self._on_secret)
            finally:
                kube_config._cleanup_temp_files()

    async def _run_plugin(self, plugin: Mapping[str, Any], loader: Any) -> dict[str, Any]:
        """The status of the ExecCredential that the plugin prints (client.authentication.k8s.io), put into ``loader``."""
        from kubernetes.aio.config import kube_config

        if plugin.get("interactiveMode") == "Always":
            raise ValueError(f"the plugin {plugin['command']} needs a terminal; sign in with it first")
        spec: dict[str, Any] = {"interactive": False}
        if plugin.get("provideClusterInfo"):
            spec["cluster"] = dict(loader._cluster.value)
        wanted = {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": spec}
        command = str(plugin["command"])
        if os.sep in command:  # as kubectl does: relative to the kubeconfig that names it
            command = str(Path(loader._user.path).parent / command)
        environment = dict(os.environ)
        environment.update({entry["name"]: entry["value"] for entry in plugin.get("env") or ()})
        environment["KUBERNETES_EXEC_INFO"] = json.dumps(wanted)
        output = await _output_of([command, *map(str, plugin.get("args") or ())], environment)
        document = json.loads(output)
        status = document.get("status") or {} if isinstance(document, dict) else {}
        if token := status.get("token"):
            loader.token = f"Bearer {token}"
        elif status.get("clientCertificateData") and status.get("clientKeyData"):
            loader.cert_file, loader.key_file = (
                kube_config.FileOrData(status, None, data_key_name=key, base64_file_content=False).as_file()
                for key in ("clientCertificateData", "clientKeyData")
            )
        else:
            raise ValueError(f"the plugin {command} gave neither a token nor a client certificate")
        return dict(status)


class OnLoopback:
    """Refuses every API server that is not on this machine: a hurried clock must never meet a real cluster."""

    def __init__(self, source: CredentialSource) -> None:
        self._source = source

    async def load(self) -> Credentials:
        """Raises :class:`Unavailable` for a server elsewhere, before anything is sent to it."""
        found = await self._source.load()
        if not is_loopback(found.server):
            raise Unavailable(
                f"{found.server} is not on loopback",
                "The configuration hurries time (sandbox.speed), which is for the sandbox alone; nothing was sent.",
                "Take the 'sandbox' section out of the configuration, or name the sandbox's kubeconfig.",
            )
        return found


async def _output_of(command: list[str], environment: Mapping[str, str]) -> bytes:
    """Standard output of a program that has neither our terminal nor more than a minute."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_PLUGIN_SECONDS):
            output, complaint = await process.communicate()
    except TimeoutError as error:
        raise ValueError(f"the plugin {command[0]} did not end within {_PLUGIN_SECONDS:g} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it leads a session: what it started ends with it
            await process.wait()
    if process.returncode != 0:
        last = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        raise ValueError(f"the plugin {command[0]} ended with code {process.returncode}: {last}")
    return output


def _finished(
    configuration: Any, headers: dict[str, str], expires: float | None, on_secret: Callable[[str], None] | None
) -> Credentials:
    from kubernetes.aio.client.rest import RESTClientObject

    authorization = str(configuration.api_key.get("BearerToken") or "").strip()
    if authorization:
        headers["Authorization"] = authorization
        if on_secret is not None:
            on_secret(authorization.partition(" ")[2])
    server = configuration.host.rstrip("/")
    tls = None
    if server.startswith("https"):
        # As kubectl does: clusters sign their own certificates, often without the extensions the strict profile asks for.
        configuration.disable_strict_ssl_verification = True
        tls = RESTClientObject(configuration).ssl_context
    return Credentials(
        server=server,
        headers=headers,
        tls=tls,
        server_hostname=configuration.tls_server_name or None,
        proxy=configuration.proxy or _proxy_of(server),
        refresh_after=expires,
    )


def _proxy_of(server: str) -> str | None:
    """The proxy the environment names for this server; never one for this very machine."""
    address = urlsplit(server)
    host = address.hostname or ""
    if host == "localhost" or host == "::1" or host.startswith("127.") or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(address.scheme)


def _impersonation(user: Mapping[str, Any]) -> dict[str, str]:
    """Headers for a user entry that acts as somebody else. One group at most: a header name can be sent once only here."""
    groups = user.get("as-groups") or []
    if len(groups) > 1:
        raise ValueError("as-groups names more than one group, which is not supported")
    headers = {"Impersonate-User": user.get("as"), "Impersonate-Uid": user.get("as-uid"), "Impersonate-Group": "".join(groups)}
    return {name: str(value) for name, value in headers.items() if value}


def _expiry(status: Mapping[str, Any]) -> float | None:
    text = status.get("expirationTimestamp")
    return datetime.fromisoformat(str(text)).timestamp() - _EARLY_SECONDS if text else None


def _unusable(context: str, error: Exception) -> Unavailable:
    return Unavailable(
        f"the credentials of context {context} can't be loaded: {error or type(error).__name__}",
        "Nothing was sent to the cluster.",
        "Check the context in the kubeconfig: kubectl --context " + context + " get pods",
    )

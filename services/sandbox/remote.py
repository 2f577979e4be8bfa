"""A plain client of a real API server, for setting up and watching the fleet there."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from services.model.errors import Unavailable
from services.sandbox.errors import ApiError
from services.sandbox.resources import Object, Resource

_TIMEOUT = aiohttp.ClientTimeout(total=30)


class Remote:
    """One context of a kubeconfig."""

    def __init__(self, host: str, headers: dict[str, str], tls: ssl.SSLContext | None, context: str) -> None:
        self._host = host
        self._headers = headers
        self._connector = aiohttp.TCPConnector(ssl=tls if tls is not None else True, limit=0)
        self._session = aiohttp.ClientSession(connector=self._connector, headers=headers)
        self.context = context

    @classmethod
    async def open(cls, kubeconfig: Path, context: str) -> "Remote":
        """Raises Unavailable where the file or the context in it can't be used."""
        from kubernetes.aio.client import Configuration
        from kubernetes.aio.config import ConfigException, load_kube_config

        configuration = Configuration()
        try:
            await load_kube_config(str(kubeconfig), context, configuration, persist_config=False)
            tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert) if configuration.host.startswith("https") else None
            if tls is not None:
                # The certificate of a test control plane need not keep every rule of RFC 5280.
                tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
                if not configuration.verify_ssl:
                    tls.check_hostname = False
                    tls.verify_mode = ssl.CERT_NONE
                if configuration.cert_file:
                    tls.load_cert_chain(configuration.cert_file, configuration.key_file)
        except (ConfigException, OSError) as error:
            hint = "The sandbox needs the contexts dev, staging, canary and production."
            raise Unavailable(f"{kubeconfig} can't be used with context {context}", str(error), hint) from error
        token = configuration.api_key.get("BearerToken", "")
        return cls(configuration.host.rstrip("/"), {"Authorization": token} if token else {}, tls, context)

    async def close(self) -> None:
        await self._session.close()

    async def call(self, method: str, path: str, body: Object | None = None, content_type: str = "application/json") -> Object:
        """The answer's document. Raises ApiError for a refusal, Unavailable where there is no answer."""
        data = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": content_type} if body is not None else None
        for attempt in (1, 2):
            try:
                async with self._session.request(
                    method, self._host + path, data=data, headers=headers, timeout=_TIMEOUT
                ) as response:
                    text = await response.read()
                    break
            except (aiohttp.ClientError, TimeoutError) as error:
                # A server may close an idle connection just as it is used again; what is sent here may be sent twice.
                if attempt == 2 or not isinstance(error, aiohttp.ServerDisconnectedError):
                    title = f"The API server of context {self.context} does not answer"
                    raise Unavailable(title, f"{method} {path}: {error!r}") from error
        document = _decode(text)
        if response.status >= 400:
            message = document.get("message") or text.decode(errors="replace")[:300]
            raise ApiError(response.status, document.get("reason", ""), message)
        return document

    async def find(self, path: str) -> Object | None:
        """The object at a path, or None where there is none."""
        try:
            return await self.call("GET", path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def watch(self, path: str, revision: str) -> AsyncIterator[Object]:
        """Changes of a list from a revision on, as long as the server sends them; lines may be of any length."""
        query = {"watch": "1", "resourceVersion": revision, "allowWatchBookmarks": "true", "timeoutSeconds": "300"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=310)
        rest = b""
        async with self._session.get(self._host + path, params=query, timeout=timeout) as response:
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield _decode(line)


def _decode(text: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def path_of(resource: Resource, namespace: str = "", name: str = "", version: str = "") -> str:
    """The API path of a resource's list or of one object."""
    version = version or resource.versions[0]
    root = f"/apis/{resource.group}/{version}" if resource.group else f"/api/{version}"
    space = f"/namespaces/{namespace}" if resource.namespaced and namespace else ""
    return f"{root}{space}/{resource.plural}" + (f"/{name}" if name else "")

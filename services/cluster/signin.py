"""How long the ways into a cluster last: the credentials of a kubeconfig's user, and the API server's certificate.

Looks only: nothing is sent but a TLS handshake, no plugin is run, and no secret leaves this module.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import os
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from services.model.errors import Rejected, Unavailable

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_MOST_BYTES = 1024 * 1024


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """``kind`` is how a context signs in, for people. ``expires`` is in Unix seconds: ``None`` where that can't be told.
    ``renewed`` where whoever issues it replaces it before it expires, without us."""

    kind: str
    expires: float | None = None
    renewed: bool = False


class ServerCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """What a server shows of itself. Times are Unix seconds."""

    subject: str
    begins: float
    expires: float


def sign_in(paths: Iterable[Path], context: str) -> SignIn:
    """How ``context`` of these kubeconfig files signs in; without files, how a pod does. Reads files.

    Raises :class:`Rejected` where what the kubeconfig names can't be read.
    """
    import yaml

    users: dict[str, tuple[Mapping[str, Any], Path]] = {}
    chosen: str | None = None
    files = tuple(paths)
    for path in files:
        try:
            document = yaml.safe_load(_read(path))
            for entry in document.get("users") or ():
                users.setdefault(str(entry["name"]), (entry.get("user") or {}, path.parent))
            for entry in document.get("contexts") or ():
                if chosen is None and str(entry["name"]) == context:
                    chosen = str((entry.get("context") or {}).get("user", ""))
        except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            raise Rejected("kubeconfig", str(path), f"can't be read ({type(error).__name__})", "a kubeconfig file") from error
    if not files:
        return SignIn(kind="the pod's service account", expires=_token_expiry(_content(_SERVICE_ACCOUNT)), renewed=True)
    return _of_user(*users.get(chosen or "", ({}, Path())))


async def server_certificate(server: str, hostname: str | None = None) -> ServerCertificate:
    """The certificate of the server at an https URL, whatever it is worth: an expired one is read too.

    Raises :class:`Unavailable` where the server can't be reached or shows none that can be read.
    """
    from cryptography import x509

    parts = urlsplit(server)
    host = parts.hostname or ""
    # Nothing is trusted here and nothing is sent: whether the certificate is trusted is for the real connection to say.
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    try:
        _, writer = await asyncio.open_connection(host, parts.port or 443, ssl=anyone, server_hostname=hostname or host)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"no TLS connection to {server}", f"{error.strerror or error}.") from error
    try:
        session = writer.get_extra_info("ssl_object")
        encoded = session.getpeercert(binary_form=True)
        certificate = x509.load_der_x509_certificate(encoded or b"")
        return ServerCertificate(
            subject=certificate.subject.rfc4514_string()[:100],
            begins=certificate.not_valid_before_utc.timestamp(),
            expires=certificate.not_valid_after_utc.timestamp(),
        )
    except ValueError as error:
        raise Unavailable(f"the certificate of {server} can't be read", f"{error}.") from error
    finally:
        # A server that wants a client certificate may have broken the connection already.
        writer.transport.abort()


def _of_user(user: Mapping[str, Any], base: Path) -> SignIn:
    """In the order in which a client takes them: a plugin's answer beats a token, a token a password; a client certificate is
    shown beside any of them, so where both expire the earlier one counts."""
    certificate = _certificate_expiry(user, base)
    if isinstance(plugin := user.get("exec"), dict):
        return SignIn(kind=f"the plugin {os.path.basename(str(plugin.get('command', '')))}", renewed=True)
    if isinstance(provider := user.get("auth-provider"), dict):
        return SignIn(kind=f"the provider {provider.get('name', '')}", renewed=True)
    if token := user.get("token"):
        expires = _token_expiry(str(token))
        return SignIn(kind="a token", expires=min((at for at in (expires, certificate) if at is not None), default=None))
    if file := user.get("tokenFile"):
        return SignIn(kind="a token file", expires=_token_expiry(_content(base / str(file))))
    if "client-certificate" in user or "client-certificate-data" in user:
        return SignIn(kind="a client certificate", expires=certificate)
    return SignIn(kind="a password" if user.get("username") else "no credentials")


def _certificate_expiry(user: Mapping[str, Any], base: Path) -> float | None:
    from cryptography import x509

    if data := user.get("client-certificate-data"):
        try:
            pem = base64.b64decode(str(data), validate=False)
        except (binascii.Error, ValueError):
            return None
    elif file := user.get("client-certificate"):
        pem = _content(base / str(file)).encode()
    else:
        return None
    with contextlib.suppress(ValueError):
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
    return None


def _token_expiry(token: str) -> float | None:
    """The ``exp`` claim of a JSON Web Token (RFC 7519), read and not believed: only the server can tell whether it is genuine."""
    parts = token.strip().split(".")
    if len(parts) != 3:
        return None
    with contextlib.suppress(ValueError, binascii.Error):
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        expires = claims.get("exp") if isinstance(claims, dict) else None
        return float(expires) if isinstance(expires, int | float) and not isinstance(expires, bool) else None
    return None


def _content(path: Path) -> str:
    try:
        return _read(path).decode("utf-8", "replace")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Rejected("kubeconfig", str(path), f"can't be read ({reason})", "a file you may read") from error


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES)

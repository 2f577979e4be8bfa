"""The installation's own key: markers of the same secret agree in every process of one home, and tell nobody else anything."""

import os
import secrets
from pathlib import Path

KEY_BYTES = 32


def passing_key() -> bytes:
    """A key for this process only, where there is no home to keep one in."""
    return secrets.token_bytes(KEY_BYTES)


def installation_key(home: Path) -> bytes:
    """The key kept in ``HOME/redaction.key`` (mode 0600), made on first use. ``OSError`` where it can't be read or made."""
    path = home / "redaction.key"
    draft = home / f".redaction.key.{os.getpid()}.{secrets.token_hex(4)}"
    if not path.exists():
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                os.write(descriptor, passing_key())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            # A link fails where another process was first; then its key is the one.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(draft)
    key = path.read_bytes()
    if len(key) < KEY_BYTES:
        raise OSError(f"{path} holds {len(key)} bytes instead of {KEY_BYTES}: delete it, a new one is made")
    return key

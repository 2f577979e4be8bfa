"""Checkpoints: every so often the journal's length and last hash are signed, so that rewriting what was signed needs the key.

The text is that of C2SP ``tlog-checkpoint`` in a C2SP ``signed-note``: origin, size, root, one more line with the time, an empty
line, the Ed25519 signature. The size is the number of the last entry, the root the chain's hash up to it. They stand in
``checkpoints``, one JSON object ``{"note": TEXT}`` a line; ``checkpoint.pub`` is the key to check them by, to be kept elsewhere
too. One at the end of a segment (in its seal), and one an hour in which nothing else is written (``journal.checkpoint``), are
entries as well, so they are shipped, and whoever receives the journal has them.

A key that is there has signed: it gets its name, and the public key is put down, only when the first checkpoint is on the disk.
So either of the two without a checkpoint means that those were taken away.

The key is a file of the home (``checkpoint.key``, mode 0600), not in a keyring: headless runs have none that is unlocked, and
whoever has this login can ask a keyring as well as read the file. It protects from who can write the files and not read the key:
a restored backup, another program's damage, an edit in a copy. From who has the login only what is elsewhere protects: what the
sinks were sent, the public key and hashes that were kept. So the key is not changed step by step with its old self forgotten
either: that would protect what was signed before a break-in, which the sinks hold by then.
"""

import base64
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from services.audit.line import encode
from services.audit.place import Disk, write_all, write_whole

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NOTES = "checkpoints"
KEY = "checkpoint.key"
PUBLIC = "checkpoint.pub"
_DRAFT = ".checkpoint.key"
"""The key until its first checkpoint is on the disk."""
_WINDOW = 4096
"""Bytes, more than a checkpoint has."""
_SEED = 32
_ED25519 = b"\x01"


class _Noted(msgspec.Struct):
    note: str


_noted = msgspec.json.Decoder(_Noted)


class KeyUnusable(Exception):
    """The key can't be used to sign; entries are taken all the same."""


def origin(journal_id: str) -> str:
    """Names the journal in its checkpoints, and the key that signs them."""
    return f"quarterdeck.journal/{journal_id}"


class Signer:
    """Signs for the journal in ``directory``. Call it with the journal's lock held; it blocks."""

    def __init__(self, directory: Path, *, disk: Disk) -> None:
        self._directory = directory
        self._disk = disk
        self._key: Ed25519PrivateKey | None = None

    def sign(self, journal_id: str, seq: int, hash_: str, stamp: str) -> str:
        """Add a checkpoint; its note. Raises :class:`KeyUnusable`, or ``OSError`` where it can't be written."""
        # Only who writes needs to sign: listing a journal does not wait for this.
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        name = origin(journal_id)
        key = self._key = self._key or self._read()
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        identity = hashlib.sha256(name.encode("ascii") + b"\n" + _ED25519 + public).digest()[:4]
        text = f"{name}\n{seq}\n{base64.b64encode(bytes.fromhex(hash_)).decode()}\nat {stamp}\n"
        signature = base64.b64encode(identity + key.sign(text.encode("ascii"))).decode()
        note = f"{text}\n— {name} {signature}\n"
        self._add(encode({"note": note}) + b"\n")
        known = self._directory / PUBLIC
        if not known.exists():
            shown = f"{name}+{identity.hex()}+{base64.b64encode(_ED25519 + public).decode()}\n"
            write_whole(known, shown.encode("ascii"), disk=self._disk)
        draft = self._directory / _DRAFT
        if draft.exists():
            os.rename(draft, self._directory / KEY)
            self._disk.sync_directory(self._directory)
        return note

    def covered(self) -> int:
        """How many entries the newest checkpoint covers; 0 where none can be read. ``OSError``."""
        try:
            descriptor = os.open(self._directory / NOTES, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            size = os.fstat(descriptor).st_size
            lines = os.pread(descriptor, _WINDOW, max(0, size - _WINDOW)).split(b"\n")
        finally:
            os.close(descriptor)
        return next((found for line in reversed(lines) if (found := _size(line)) is not None), 0)

    def _add(self, line: bytes) -> None:
        path = self._directory / NOTES
        new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            *_, rest = os.pread(descriptor, _WINDOW, max(0, size - _WINDOW)).split(b"\n")
            if rest and _size(rest) is not None:
                line = b"\n" + line  # whole, but for its end
            elif rest:
                # An interrupted write left part of one, which says nothing: every line that has an end is a checkpoint.
                self._disk.truncate(descriptor, size - len(rest))
            write_all(descriptor, line, self._disk)
            self._disk.sync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            self._disk.sync_directory(self._directory)

    def _read(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        path = self._directory / KEY
        if not path.exists():
            path = self._directory / _DRAFT
        if not path.exists():
            write_whole(path, secrets.token_bytes(_SEED), disk=self._disk)
        found = path.stat()
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise KeyUnusable(f"{path} is open to others (owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}), not 600")
        seed = path.read_bytes()
        if len(seed) != _SEED:
            raise KeyUnusable(f"{path} holds {len(seed)} bytes instead of {_SEED}")
        return Ed25519PrivateKey.from_private_bytes(seed)


def _size(line: bytes) -> int | None:
    """What a line of ``checkpoints`` covers; ``None`` where it is none, or only part of one."""
    try:
        return int(_noted.decode(line).note.split("\n", 2)[1])
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError, ValueError):
        return None

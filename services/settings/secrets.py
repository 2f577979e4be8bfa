"""Secrets by reference: the configuration says where a secret is, never what it is."""

import os
import re
import stat
from pathlib import Path
from typing import Any, Protocol

import msgspec
from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

from services.model.errors import Unavailable
from services.settings.section import broken

ACCEPTED = "env:NAME (an environment variable) or file:PATH (a file that only you can read)"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_BYTES = 64 * 1024


class SecretRegister(Protocol):
    """Who must know every secret in use, so that it never gets into a log, a screen or the journal."""

    def register(self, secret: str) -> None: ...


class SecretUnavailable(Unavailable):
    """The place a reference names does not hold a usable secret. Names the reference, never a value."""


class SecretRef(msgspec.Struct, frozen=True):
    """``env:NAME`` or ``file:PATH``. Looked up when it is needed, so that a secret may be rotated while we run."""

    kind: str
    place: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}"

    def reveal(self, register: SecretRegister) -> str:
        """The secret itself, registered with ``register`` before it is returned.

        Raises :class:`SecretUnavailable` where the variable is unset or empty, or the file is missing, empty, not a regular
        file, or open to other users: a token that others could read is one that others may use.
        """
        secret = self._from_environment() if self.kind == "env" else self._from_file()
        register.register(secret)
        return secret

    def problem(self) -> str:
        """What is wrong with the place by itself (not with the secret), without reading it; empty where nothing is known."""
        if self.kind != "file":
            return ""
        try:
            return _file_problem(os.stat(self.place))
        except OSError:
            return ""

    def _from_environment(self) -> str:
        value = os.environ.get(self.place, "")
        if not value.strip():
            raise SecretUnavailable(
                f"Secret {self} is not there",
                f"The environment variable {self.place} is not set or empty.",
                f"Export {self.place}.",
            )
        return value.strip()

    def _from_file(self) -> str:
        path = Path(self.place)
        try:
            # Opened first and then looked at, so that the file that is checked is the file that is read.
            with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
                if problem := _file_problem(os.fstat(file.fileno())):
                    raise SecretUnavailable(f"Secret {self} is refused", f"The file {problem}.", f"Run: chmod 600 {path}")
                content = file.read(_MAX_BYTES + 1)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise SecretUnavailable(f"Secret {self} can't be read", f"{reason}.", "Create the file with mode 600.") from error
        try:
            secret = content.decode().strip() if len(content) <= _MAX_BYTES else ""
        except UnicodeDecodeError:
            secret = ""
        if not secret or any(ord(char) < 32 or ord(char) == 127 for char in secret):
            raise SecretUnavailable(f"Secret {self} is not usable", "The file is empty, too large or not one line of text.")
        return secret

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_after_validator_function(
            _parse,
            core_schema.str_schema(max_length=4096),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )


def _parse(text: str, info: core_schema.ValidationInfo) -> SecretRef:
    kind, colon, place = text.partition(":")
    if kind == "env" and colon and _NAME.fullmatch(place):
        return SecretRef("env", place)
    if kind == "file" and colon and place and "\0" not in place:
        base = (info.context or {}).get("base", Path.cwd())
        return SecretRef("file", str(base / Path(place).expanduser()))
    # The text is not part of the message: it may be the secret itself.
    raise broken("is not a reference to a secret; secrets are never written here", ACCEPTED)


def _file_problem(status: os.stat_result) -> str:
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_mode & 0o077:
        return f"is open to other users (mode {stat.S_IMODE(status.st_mode):o})"
    return ""

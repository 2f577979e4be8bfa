"""What a shipper was given to work with: its configuration's sinks, and the secrets that its environment held for them.

It says so beside its status, by digests: whoever has another configuration, or other values in the environment that it was
started from, can tell that this process is not the one that serves it.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from pydantic import BaseModel

from services.settings.secrets import SecretRef
from services.settings.sinks import SinkSection

_DIGITS = 16
_TRIED = 20
"""Sets of secrets that are remembered to have been tried, the latest."""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """``config``: the file, empty where there was none. ``sinks``: by name, a digest of the section. ``secrets``: by name, a
    keyed digest of what the environment held for it; empty where something was missing. ``tried``: what the processes whose place
    it took had for the same sinks, each as its :attr:`held`."""

    config: str = ""
    sinks: dict[str, str] = {}
    secrets: dict[str, str] = {}
    tried: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the environment held everything that the sinks refer to."""
        return all(self.secrets.values())

    @property
    def held(self) -> str:
        """A digest of all its secrets."""
        return _digest(repr(sorted(self.secrets.items())))

    def following(self, before: "Given | None") -> "Given":
        """The same in the place of a process that had what is given ``before``: two environments that both don't hold the right
        secrets would else take turns for ever. What was tried for other sinks says nothing."""
        if before is None or before.sinks != self.sinks:
            return self
        replaced = () if before.secrets == self.secrets else (before.held,)
        return msgspec.structs.replace(self, tried=tuple(dict.fromkeys((*before.tried, *replaced)))[-_TRIED:])


def given(config: Path | None, sections: Sequence[SinkSection], digest: Callable[[str], str]) -> Given:
    """What this process has. ``digest`` is the installation's own: it tells who reads a digest nothing about the secret."""
    return Given(
        config=str(config or ""),
        sinks={section.label: told(section) for section in sections},
        secrets={section.label: _secrets(section, digest) for section in sections},
    )


def told(section: SinkSection) -> str:
    """A digest of everything that a section says beside the defaults: a release that adds a field has the same of it. It has
    references to secrets, never one."""
    return _digest(section.model_dump_json(exclude_defaults=True))


def _digest(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()[:_DIGITS]


def _secrets(section: SinkSection, digest: Callable[[str], str]) -> str:
    names = sorted({reference.place for reference in _references(section) if reference.kind == "env"})
    held = [os.environ.get(name, "").strip() for name in names]
    return digest("\0".join([section.label, *held])) if all(held) else ""


def _references(section: BaseModel) -> Iterator[SecretRef]:
    for name in type(section).model_fields:
        yield from _found(getattr(section, name))


def _found(value: object) -> Iterator[SecretRef]:
    if isinstance(value, SecretRef):
        yield value
    elif isinstance(value, Mapping):
        yield from _of_all(value.values())
    elif isinstance(value, list | tuple):
        yield from _of_all(value)


def _of_all(values: Iterable[object]) -> Iterator[SecretRef]:
    for value in values:
        yield from _found(value)

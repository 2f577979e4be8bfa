"""What every section of the configuration has in common, and the small types they are made of."""

import ipaddress
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo
from pydantic_core import PydanticCustomError

from services.redaction.keys import names_a_secret

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
"""R2.3: names of namespaces, and of services and aliases too. To be used with ``fullmatch``; at most 63 characters."""


class Section(BaseModel):
    """Frozen, and strict: unknown keys, infinite numbers and numbers in quotes are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)


def broken(rule: str, accepted: str) -> PydanticCustomError:
    """The error of a validator: the rule that does not hold, and what would be accepted."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule, "accepted": accepted})


class BrokenRule(NamedTuple):
    """One rule of several values together: the key it is about, from the section that holds them."""

    key: tuple[str | int, ...]
    rule: str
    accepted: str


def broken_together(rules: Sequence[BrokenRule]) -> PydanticCustomError:
    """The error of a validator that found several rules broken at once."""
    text = "; ".join(f"{'.'.join(map(str, rule.key))} {rule.rule}" for rule in rules)
    return PydanticCustomError("rules", "{text}", {"text": text, "rules": list(rules)})


def is_name(text: str) -> bool:
    return len(text) <= 63 and NAME.fullmatch(text) is not None


def _name(text: str) -> str:
    if not is_name(text):
        raise broken("is not a legal name", "a-z, 0-9 and '-', a letter or digit first and last, at most 63 characters")
    return text


def _one_line(text: str) -> str:
    if not text.strip() or any(not char.isprintable() for char in text):
        raise broken("is empty or holds control characters", "one line of text")
    return text


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(text: str) -> str:
    """``text`` where it is an http(s) URL that names a host and carries no user information."""
    accepted = "http://HOST[:PORT][/PATH] or https://…"
    if any(not char.isprintable() or char.isspace() for char in text):
        raise broken("holds white space or control characters", accepted)
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise broken("is not a URL", accepted) from None
    if parts.username is not None or parts.password is not None:
        raise broken("holds a user name or password; secrets are never written here", f"{accepted}, the secret by reference")
    if parts.scheme not in ("http", "https") or not host:
        raise broken("is not a URL", accepted)
    if parts.query or parts.fragment:
        raise broken("has a query or fragment", accepted)
    return text


def template(*places: str) -> Callable[[str], str]:
    """A check that a URL holds each of ``places`` as ``{place}`` and no other brace."""

    accepted = "a URL with " + " and ".join(f"{{{place}}}" for place in places)

    def check(text: str) -> str:
        rest = text
        for place in places:
            if f"{{{place}}}" not in text:
                raise broken(f"lacks {{{place}}}", accepted)
            rest = rest.replace(f"{{{place}}}", "x")
        if "{" in rest or "}" in rest:
            raise broken("holds a placeholder that is not known", accepted)
        check_url(rest)
        return text

    return check


def _path(path: Path, info: ValidationInfo) -> Path:
    """Absolute: ``~`` is the user's home, everything else counts from the directory of the file."""
    if "\0" in str(path) or not str(path).strip():
        raise broken("is not a path", "a path, absolute or from the directory of this file")
    base: Path = (info.context or {}).get("base", Path.cwd())
    return base / path.expanduser()


def _url_path(text: str) -> str:
    if not text.startswith("/") or any(not char.isprintable() or char.isspace() for char in text) or ".." in text.split("/"):
        raise broken("is not the path of a URL", "a path that begins with '/', without white space and '..'")
    if any(names_a_secret(name) for name, _ in parse_qsl(urlsplit(text).query, keep_blank_values=True)):
        raise broken("holds a secret in its query; secrets are never written here", "a path that needs none")
    return text


Name = Annotated[str, AfterValidator(_name)]
Line = Annotated[str, StringConstraints(max_length=200), AfterValidator(_one_line)]
Url = Annotated[str, StringConstraints(max_length=2000), AfterValidator(check_url)]
UrlPath = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_url_path)]
FilePath = Annotated[Path, AfterValidator(_path)]
Port = Annotated[int, Field(ge=1, le=65535, description="a port, 1 to 65535")]


def ranged(low: float, high: float, unit: str, **extra: Any) -> Any:
    """A field between ``low`` and ``high`` inclusive, whose accepted values are said in its description."""
    text = f"{low:g} to {high:g}{' ' + unit if unit else ''}"
    return Field(ge=low, le=high, description=text, **extra)

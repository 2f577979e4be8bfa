"""Where the configuration and the state of an operator live, and who the operator is. No dependency but the standard library."""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class HasHome(Protocol):
    @property
    def home(self) -> Path | None: ...


def find(explicit: str | None, env: Mapping[str, str]) -> Path:
    """The configuration file: ``--config``, else ``QUARTERDECK_CONFIG``, else ``config.yaml`` in the XDG configuration directory.

    The file need not exist; :func:`services.settings.load` says so where it doesn't.
    """
    if explicit or (explicit := env.get("QUARTERDECK_CONFIG")):
        return _absolute(explicit, env)
    return _base("XDG_CONFIG_HOME", ".config", env) / "quarterdeck" / "config.yaml"


def home(explicit: str | None, env: Mapping[str, str], settings: HasHome | None) -> Path:
    """The directory of this operator's state: ``--home``, else ``QUARTERDECK_HOME``, else ``home:`` of the configuration,
    else the XDG state directory."""
    if explicit or (explicit := env.get("QUARTERDECK_HOME")):
        return _absolute(explicit, env)
    if settings is not None and settings.home is not None:
        return settings.home
    return _base("XDG_STATE_HOME", ".local/state", env) / "quarterdeck"


def current_login() -> str:
    """The login of this process's user, by the account database.

    Not by ``$USER`` or ``$LOGNAME``: the approval gate excludes the operator, so the name must not be the operator's to choose.
    """
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def _base(variable: str, default: str, env: Mapping[str, str]) -> Path:
    # The XDG base directory specification: a relative value is invalid and ignored.
    value = env.get(variable, "")
    if value.startswith("/"):
        return Path(value)
    return _user_home(env) / default


def _absolute(text: str, env: Mapping[str, str]) -> Path:
    if text == "~" or text.startswith("~/"):
        return _user_home(env) / text[2:]
    return Path(text).absolute()


def _user_home(env: Mapping[str, str]) -> Path:
    return Path(env["HOME"]) if env.get("HOME") else Path.home()

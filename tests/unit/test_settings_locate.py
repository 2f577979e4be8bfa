"""Where configuration and state are looked for, and who the operator is."""

import os
import pwd
from pathlib import Path

import pytest
from support.configuration import configured

from services.settings import current_login, find, home, operator


@pytest.mark.parametrize(
    ("explicit", "env", "expected"),
    [
        ("/a/b.yaml", {"QUARTERDECK_CONFIG": "/c.yaml"}, "/a/b.yaml"),
        ("~/b.yaml", {"HOME": "/home/jane"}, "/home/jane/b.yaml"),
        (None, {"QUARTERDECK_CONFIG": "/c.yaml", "XDG_CONFIG_HOME": "/x"}, "/c.yaml"),
        (None, {"XDG_CONFIG_HOME": "/x", "HOME": "/home/jane"}, "/x/quarterdeck/config.yaml"),
        (None, {"XDG_CONFIG_HOME": "relative", "HOME": "/home/jane"}, "/home/jane/.config/quarterdeck/config.yaml"),
        (None, {"QUARTERDECK_CONFIG": "", "HOME": "/home/jane"}, "/home/jane/.config/quarterdeck/config.yaml"),
    ],
)
def test_the_configuration_is_found(explicit: str | None, env: dict[str, str], expected: str) -> None:
    assert find(explicit, env) == Path(expected)


@pytest.mark.parametrize(
    ("explicit", "env", "configuration", "expected"),
    [
        ("/h", {"QUARTERDECK_HOME": "/q"}, True, "/h"),
        (None, {"QUARTERDECK_HOME": "/q"}, True, "/q"),
        (None, {"HOME": "/home/jane"}, True, "/etc/quarterdeck/state"),
        (None, {"HOME": "/home/jane"}, False, "/home/jane/.local/state/quarterdeck"),
        (None, {"XDG_STATE_HOME": "/s"}, False, "/s/quarterdeck"),
    ],
)
def test_the_home_is_found(explicit: str | None, env: dict[str, str], configuration: bool, expected: str) -> None:
    assert home(explicit, env, configured() if configuration else None) == Path(expected)


def test_the_operator_can_not_choose_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "amira")
    assert current_login() == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "getuid", lambda: 2_000_000_123)
    assert current_login() == "uid-2000000123"


def test_the_operator_is_the_person_of_that_login() -> None:
    person = operator(configured(), "amira")
    assert person is not None
    assert person.name == "Amira Haddad"
    assert operator(configured(), "mallory") is None

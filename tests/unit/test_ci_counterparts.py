"""What brings the servers of others onto a machine of CI: whatever can't be had is said, and nothing fails for it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "counterparts"
PACKAGES = {
    *("prometheus", "prometheus-alertmanager", "strace"),
    *("rsyslog", "rsyslog-relp", "rsyslog-gnutls", "rsyslog-openssl", "rsyslog-elasticsearch"),
}


class Machine:
    """A machine of stand-ins: ``installed`` packages, those that ``apt-get`` has, and who we are."""

    def __init__(self, directory: Path) -> None:
        self.programs = directory / "bin"
        self.installed = directory / "installed"
        self.programs.mkdir()
        self.installed.mkdir()
        for name in ("bash", "env", "grep", "cat", "touch"):
            (self.programs / name).symlink_to(shutil.which(name) or name)

    def program(self, name: str, text: str) -> None:
        file = self.programs / name
        file.write_text(f"#!/usr/bin/env bash\n{text}\n")
        file.chmod(0o755)

    def debian(self, *has: str, root: bool = True) -> None:
        self.program("id", f"echo {0 if root else 1000}")
        self.program("dpkg-query", f'[ -e {self.installed}/"$4" ] && printf "install ok installed\\n"')
        known = "|".join(has) or "nothing"
        self.program(
            "apt-get", f'for last; do :; done; case "$last" in {known}) touch {self.installed}/"$last";; *) exit 100;; esac'
        )

    def run(self) -> tuple[int, str]:
        done = subprocess.run(
            [str(SCRIPT)], env={**os.environ, "PATH": str(self.programs)}, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.stdout == ""
        return done.returncode, done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_debian_gets_all_of_them_and_nothing_is_said(machine: Machine) -> None:
    machine.debian(*sorted(PACKAGES), "-q")
    assert machine.run() == (0, "")
    assert {file.name for file in machine.installed.iterdir()} >= PACKAGES
    assert machine.run() == (0, "")


def test_what_a_distribution_lacks_is_said_and_the_others_are_there(machine: Machine) -> None:
    machine.debian(*sorted(PACKAGES - {"rsyslog-openssl"}))
    code, said = machine.run()
    assert code == 0
    assert said.splitlines()[-1].endswith("are skipped: rsyslog-openssl")
    assert {file.name for file in machine.installed.iterdir()} == PACKAGES - {"rsyslog-openssl"}


def test_a_machine_that_is_not_ours_to_change_is_left_alone(machine: Machine) -> None:
    machine.debian(*sorted(PACKAGES), root=False)
    code, said = machine.run()
    assert (code, list(machine.installed.iterdir())) == (0, [])
    assert "not root" in said
    assert "prometheus" in said


def test_another_system_goes_on_without_them(machine: Machine) -> None:
    code, said = machine.run()
    assert code == 0
    assert "no apt-get" in said

"""A real rsyslogd that takes messages over TLS or by RELP and writes each as a line of JSON."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.processes import eventually
from support.sinks import Authority

PROGRAM = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin")
_MODULES = [
    Path(place) for place in ("/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog")
]


def _has(*modules: str) -> bool:
    return PROGRAM is not None and any(all((place / f"{module}.so").exists() for module in modules) for place in _MODULES)


needs_tls = pytest.mark.skipif(
    not _has("lmnsd_ossl", "mmpstrucdata"), reason="rsyslog is not installed (Debian: apt-get install rsyslog rsyslog-openssl)"
)
needs_relp = pytest.mark.skipif(
    not _has("imrelp", "mmpstrucdata"), reason="rsyslog is not installed (Debian: apt-get install rsyslog rsyslog-relp)"
)


class Daemon:
    """``port`` takes messages."""

    def __init__(self, port: int, file: Path) -> None:
        self.port = port
        self._file = file

    def lines(self) -> list[dict[str, Any]]:
        """What it wrote: the parts of each message as it parsed them."""
        if not self._file.exists():
            return []
        whole, _, _ = self._file.read_bytes().rpartition(b"\n")
        return [msgspec.json.decode(line) for line in whole.split(b"\n") if line]

    def holds(self, number: int) -> list[dict[str, Any]]:
        eventually(f"{number} messages are written", lambda: len(self.lines()) >= number, 60.0)
        return self.lines()

    def seqs(self) -> list[int]:
        return [int(self.parameters(line)["seq"]) for line in self.lines()]

    @staticmethod
    def parameters(line: dict[str, Any]) -> dict[str, str]:
        """The structured data of a message, as rsyslog's own parser read it."""
        found: dict[str, str] = msgspec.json.decode(line["sd"])["audit@32473"]
        return found


_TEMPLATE = """
template(name="parts" type="list" option.jsonf="on") {
    property(outname="pri" name="pri" format="jsonf")
    property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
    property(outname="host" name="hostname" format="jsonf")
    property(outname="app" name="app-name" format="jsonf")
    property(outname="pid" name="procid" format="jsonf")
    property(outname="id" name="msgid" format="jsonf")
    property(outname="sd" name="$!rfc5424-sd" format="jsonfr")
    property(outname="msg" name="msg" format="jsonf")
}
"""


@contextlib.contextmanager
def tls(directory: Path, authority: Authority, *, mutual: bool = False, longest: str = "64k", port: int = 0) -> Iterator[Daemon]:
    """Syslog over TLS; ``mutual``: it wants a certificate of ours."""
    global_ = (
        f'defaultNetstreamDriverCAFile="{authority.ca}" defaultNetstreamDriverCertFile="{authority.certificate}" '
        f'defaultNetstreamDriverKeyFile="{authority.key}" defaultNetstreamDriver="ossl"'
    )
    mode = "x509/certvalid" if mutual else "anon"
    module = f'module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="{mode}")'
    with _running(directory, global_, module, "imtcp", "", longest, port) as daemon:
        yield daemon


@contextlib.contextmanager
def relp(directory: Path, authority: Authority | None = None, *, longest: str = "64k", port: int = 0) -> Iterator[Daemon]:
    """RELP, over TLS where there is an ``authority``."""
    more = ""
    if authority is not None:
        more = (
            f'tls="on" tls.caCert="{authority.ca}" tls.myCert="{authority.certificate}" tls.myPrivKey="{authority.key}" '
            'tls.authMode="certvalid"'
        )
    with _running(directory, "", 'module(load="imrelp" tls.tlslib="openssl")', "imrelp", more, longest, port) as daemon:
        yield daemon


@contextlib.contextmanager
def _running(directory: Path, global_: str, module: str, kind: str, more: str, longest: str, port: int) -> Iterator[Daemon]:
    assert PROGRAM is not None
    port = port or _free_port()
    file = directory / "messages"
    config = directory / "rsyslog.conf"
    config.write_text(
        f'global(workDirectory="{directory}" maxMessageSize="{longest}" processInternalMessages="off" {global_})\n'
        f'{module}\nmodule(load="mmpstrucdata")\n{_TEMPLATE}'
        f'input(type="{kind}" port="{port}" ruleset="all" {more})\n'
        'ruleset(name="all") {\n action(type="mmpstrucdata" sd_name.lowercase="off")\n'
        f' action(type="omfile" file="{file}" template="parts")\n}}\n'
    )
    with (directory / "log").open("wb") as log:
        command = [PROGRAM, "-n", "-f", str(config), "-i", str(directory / "pid")]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
    try:
        eventually("rsyslogd listens or gives up", lambda: process.poll() is not None or _listens(port), 60.0)
        assert process.poll() is None, (directory / "log").read_text()
        yield Daemon(port, file)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port

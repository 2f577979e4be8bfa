"""The ways the console ends, in a process and on a terminal of its own, with a cluster that never answers."""

import os
import signal
import subprocess
import sys
import time

import pytest
from bench.terminal import Terminal

from services.model.errors import ExitCode

KUBECONFIG = """
apiVersion: v1
kind: Config
contexts: [{name: production, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: u, user: {}}]
"""
LONG = 60.0
"""Seconds: far more than it takes, for machines that do much else."""


UNREADABLE = """
import errno, os, sys
read = os.read
def failing(descriptor, size):
    found = read(descriptor, size)
    if not found and descriptor == sys.__stdin__.fileno():
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return found
os.read = failing
from console.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""A console that meets what is a matter of microseconds: a terminal whose other side is closed, and which has not hung up."""
UNWRITABLE = """
import sys, time
from console.app import ConsoleApp
hang_up = ConsoleApp.hang_up
def drawing(self):
    self._driver.write(" ")
    time.sleep(0.2)
    hang_up(self)
ConsoleApp.hang_up = drawing
from console.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""A console that is about to draw something as its terminal goes."""


@pytest.fixture(params=[()])
def console(tmp_path, request):
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    (tmp_path / "config.yaml").write_text(
        f"version: 1\nhome: {tmp_path}/home\nkubeconfig: {tmp_path}/kubeconfig\n"
        "environments:\n  production: {tier: production, context: production, namespaces: [production]}\n"
    )
    command = [sys.executable, *(request.param or ("-m", "console")), "--config", str(tmp_path / "config.yaml")]
    terminal = Terminal(command, columns=100, rows=30)
    terminal.wait_for("SERVICES", LONG)
    terminal.drain(1.0)
    yield terminal
    if terminal.process.poll() is None:
        terminal.process.kill()
    terminal.process.wait()


def ended(terminal: Terminal) -> int | None:
    until = time.monotonic() + LONG
    while terminal.process.poll() is None and time.monotonic() < until:
        terminal.read(0.05)
    return terminal.process.poll()


def test_ctrl_q(console):
    console.press("\x11")
    assert ended(console) == ExitCode.DONE


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.DONE)])
def test_signals(console, number, code):
    os.kill(console.process.pid, number)
    assert ended(console) == code


@pytest.mark.parametrize(
    "console",
    [(), ("-c", UNREADABLE), ("-c", UNWRITABLE)],
    ids=["", "that can't be read", "that can't be written to"],
    indirect=True,
)
def test_a_closed_terminal(console, tmp_path):
    os.close(console.master)
    try:
        assert console.process.wait(LONG) == ExitCode.INTERRUPTED
    except subprocess.TimeoutExpired:
        pytest.fail("the console lives on without a terminal")
    log = (tmp_path / "home" / "log" / "quarterdeck.log").read_text()
    assert "the terminal is gone" in log
    assert "Traceback" not in log


def test_bad_configuration_is_told_on_the_terminal(tmp_path):
    (tmp_path / "config.yaml").write_text("version: 1\nenvironment: {}\n")
    terminal = Terminal([sys.executable, "-m", "console", "--config", str(tmp_path / "config.yaml")])
    assert ended(terminal) == ExitCode.REJECTED
    while terminal.read(LONG):  # until there is no more of it
        pass
    assert b"is not a known key" in terminal.output
    assert b"Traceback" not in terminal.output
    terminal.close()

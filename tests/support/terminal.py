"""The console on a real terminal: a tmux server of its own, keys pressed into it, the screen read back as text."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from support.processes import alive, busy_seconds, eventually, signalled

COLUMNS, ROWS = 100, 30
IDLE_FOR, IDLE_SHARE = 0.5, 0.3
"""So much of a processor, for so many seconds, is next to nothing."""
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: no terminal to drive the console in")


class Screen:
    """One pane on a private tmux server; ``pid`` is the process that runs in it."""

    def __init__(self, socket: Path, command: Sequence[str], environment: Mapping[str, str], columns: int, rows: int) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", os.devnull]
        kept = {name: value for name, value in environment.items() if not name.startswith("TMUX")}
        # exec: the pane's process is the console itself, not a shell around it
        words = [*self._tmux, "new-session", "-d", "-s", "console", "-x", str(columns), "-y", str(rows)]
        options = ["set-option", "-g", "remain-on-exit", "on", ";", "set-option", "-g", "escape-time", "0", ";"]
        line = "exec " + shlex.join(command)
        subprocess.run([*self._tmux, "start-server", ";", *options, *words[len(self._tmux) :], line], env=kept, check=True)
        self.pid = int(self._told("display-message", "-p", "-t", "console", "#{pane_pid}"))

    def _told(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], capture_output=True, text=True, check=True).stdout.rstrip("\n")

    def press(self, *keys: str) -> None:
        """Press keys by their tmux names: ``d``, ``Enter``, ``Escape``, ``C-q``, ``M-R``, ``Tab``."""
        self._told("send-keys", "-t", "console", *keys)

    def type(self, text: str) -> None:
        self._told("send-keys", "-t", "console", "-l", "--", text)

    @property
    def cursor(self) -> tuple[int, int]:
        """Column and row of the cursor: the console keeps it where one types."""
        column, row = self._told("display-message", "-p", "-t", "console", "#{cursor_x} #{cursor_y}").split()
        return int(column), int(row)

    def fill(self, text: str) -> None:
        """Type into the field that has the focus, and go on with Enter, as a person who looks at the screen does."""
        before = self.cursor
        self.type(text)
        eventually(f"{text} is typed", lambda: self.cursor != before and text[-8:] in self.text(), 30.0)
        typed = self.cursor
        self.press("Enter")
        eventually(f"the focus leaves the field with {text}", lambda: self.cursor != typed, 30.0)

    def resize(self, columns: int, rows: int) -> None:
        self._told("resize-window", "-t", "console", "-x", str(columns), "-y", str(rows))

    def text(self) -> str:
        """What is on the screen now, one line a row."""
        return self._told("capture-pane", "-p", "-t", "console")

    def wait(self, *texts: str, seconds: float = 40.0) -> str:
        """The screen as soon as it shows every one of ``texts`` (regular expressions, over line ends too)."""
        shown = ""

        def look() -> bool:
            nonlocal shown
            shown = self.text()
            return all(re.search(text, shown) for text in texts)

        try:
            eventually(f"the screen shows {texts}", look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows:\n{shown}") from None
        return shown

    def steady(self, *texts: str, seconds: float) -> None:
        """Fails as soon as the screen does not show every one of ``texts``, within ``seconds``."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            shown = self.text()
            for text in texts:
                assert re.search(text, shown), f"{text} is no longer on the screen:\n{shown}"
            time.sleep(0.1)

    def rested(self) -> None:
        """Return once the console has read all that was pressed: it has next to nothing to do."""

        def idle() -> bool:
            used = busy_seconds(self.pid)
            time.sleep(IDLE_FOR)
            return busy_seconds(self.pid) - used < IDLE_SHARE * IDLE_FOR

        eventually("the console rests", idle, 60.0)

    @property
    def alive(self) -> bool:
        return alive(self.pid)

    def ending(self) -> str:
        """How the console ended, once it has: ``exit 0`` or another code, or ``signal`` with its number.

        The terminal's own answer; where it has not collected its child yet, the kernel's.
        """

        def told() -> str:
            dead, _, status = self._told("display-message", "-p", "-t", "console", "#{pane_dead} #{pane_dead_status}").partition(
                " "
            )
            if dead == "1" and status:
                return f"exit {status}"
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
                if fields[0] == "Z":
                    code = int(fields[49])
                    return f"signal {code & 0x7F}" if code & 0x7F else f"exit {code >> 8}"
            return ""

        return eventually("the console's exit code", told, 30.0)

    def gone(self, seconds: float = 30.0) -> None:
        """Wait until the console's process has ended."""
        eventually(f"the console (process {self.pid}) ends", lambda: not alive(self.pid), seconds)

    def hang_up(self) -> None:
        """Close the terminal under the console, as a lost connection does: it gets SIGHUP and its streams are dead."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._told("kill-server")

    def close(self) -> None:
        pid = self.pid
        self.hang_up()
        with contextlib.suppress(AssertionError):
            eventually("the console is gone", lambda: not alive(pid), 3.0)
            return
        signalled(pid, 9)


@contextlib.contextmanager
def console(
    place: Path, command: Sequence[str], environment: Mapping[str, str], *, columns: int = COLUMNS, rows: int = ROWS
) -> Iterator[Screen]:
    """A console in a terminal until the block ends. ``place`` is a new directory for the server's socket."""
    place.mkdir(parents=True, exist_ok=True)
    # a Unix socket's path is short; the test's own directory often is not
    socket = Path("/tmp") / f"qd-tmux-{os.getpid()}-{abs(hash(str(place))) % 10**8}"
    # a size left over in the environment must not be taken for the terminal's
    told = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "COLUMNS": "80", "LINES": "24"}
    screen = Screen(socket, command, {**environment, **told}, columns, rows)
    try:
        yield screen
    finally:
        screen.close()
        socket.unlink(missing_ok=True)

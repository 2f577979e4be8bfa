"""A real pseudo-terminal around the console: start it, press keys, and see when text arrives on the screen."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

_STYLE = rb"(?:\x1b\[[0-9;]*m)*"


class Terminal:
    """A child process on a pseudo-terminal of ``columns`` × ``rows``; everything it wrote is in ``output``."""

    def __init__(
        self, command: list[str], *, columns: int = 120, rows: int = 40, environment: dict[str, str] | None = None
    ) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            close_fds=True,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(environment or {})},
        )
        os.close(slave)
        self.output = b""

    def read(self, seconds: float) -> bytes:
        """What arrives within ``seconds``, at the first moment anything does; empty if nothing did."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return b""
        with contextlib.suppress(OSError):
            chunk = os.read(self.master, 1 << 16)
            self.output += chunk
            return chunk
        return b""

    def wait_for(self, text: str, seconds: float = 30.0) -> float:
        """Seconds from now until ``text`` has been written, in whatever styles. Raises ``TimeoutError`` with the tail of the
        output."""
        began, start = time.perf_counter(), len(self.output)
        wanted = re.compile(_STYLE.join(re.escape(character.encode()) for character in text))
        while not wanted.search(self.output, start):
            left = seconds - (time.perf_counter() - began)
            if left <= 0 or self.process.poll() is not None:
                raise TimeoutError(f"{text!r} did not appear; the last output was {self.output[-600:]!r}")
            self.read(min(left, 0.5))
        return time.perf_counter() - began

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def drain(self, seconds: float) -> None:
        """Read and keep everything for ``seconds``."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self.read(left)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)

"""Processes that write to a journal until they are done or killed, started fast: one process has imported everything and forks.

Every receipt is told in a file, outside of the journal's disk, after the entry was promised to be on it.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from services.audit import Event, Journal
from services.audit.place import Disk
from services.clock import SystemClock
from services.redaction import Redactor

FULL = bool(os.environ.get("QUARTERDECK_FULL"))
"""Whether fault tests run at the size that figures are told of, instead of one that fits the suite."""


class Forgetful(Disk):
    """A mutant: it says that all is on the disk without having asked for it."""

    def sync(self, descriptor: int) -> None:
        return None

    def sync_directory(self, path: Path) -> None:
        return None


class Skewed(SystemClock):
    """The real clock, some hours on."""

    hours = 0.0

    def unix(self) -> float:
        return super().unix() + self.hours * 3600


async def _write(told: int, facts: dict[str, Any]) -> None:
    clock = Skewed()
    disk = Forgetful() if facts["forgetful"] else None
    journal = Journal.open(Path(facts["directory"]), redactor=Redactor(b"k" * 32), clock=clock, disk=disk)
    for n in range(facts["entries"]):
        if n == facts["rotate"]:
            clock.hours += 25
        data = {"n": n, "pad": "x" * (n * 37 % 900)}
        if facts["rollback"]:
            receipt = await journal.append_within(Event(event="deployment.rollback", user=facts["name"], data=data), 5)
            os.write(told, f"{n} kept\n".encode() if receipt is None else f"{n} {receipt.seq} {receipt.hash}\n".encode())
            continue
        try:
            receipt = await journal.append(Event(event="deployment.executed", user=facts["name"], data=data))
        except Exception as error:
            os.write(told, f"{n} refused {type(error).__name__}\n".encode())
        else:
            os.write(told, f"{n} {receipt.seq} {receipt.hash}\n".encode())
    journal.close()


def _child(facts: dict[str, Any]) -> None:
    told = os.open(facts["told"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    if facts["stopped"]:
        os.kill(os.getpid(), signal.SIGSTOP)
    status = 1
    try:
        asyncio.run(_write(told, facts))
        status = 0
    finally:
        os._exit(status)


def main() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    import services.audit.index

    Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    assert services.audit.index
    for line in sys.stdin:
        facts = json.loads(line)
        if "wait" in facts:
            sys.stdout.write(f"{os.waitpid(facts['wait'], 0)[1]}\n")
        elif (child := os.fork()) == 0:
            _child(facts)
        else:
            sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


class Writers:
    """Starts writers. ``told`` is where each tells its receipts."""

    def __init__(self) -> None:
        self._zygote = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            stderr=subprocess.DEVNULL,
        )

    def start(
        self,
        directory: Path,
        told: Path,
        *,
        name: str = "jane",
        entries: int = 10**9,
        rotate: int = -1,
        forgetful: bool = False,
        stopped: bool = False,
        rollback: bool = False,
    ) -> int:
        """The process id."""
        facts = {"directory": str(directory), "told": str(told), "name": name, "entries": entries, "rotate": rotate}
        return int(self._ask({**facts, "forgetful": forgetful, "stopped": stopped, "rollback": rollback}))

    def wait(self, process: int) -> int:
        """The status it ended with."""
        return int(self._ask({"wait": process}))

    def _ask(self, facts: dict[str, Any]) -> str:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(json.dumps(facts) + "\n")
        self._zygote.stdin.flush()
        return self._zygote.stdout.readline()

    def close(self) -> None:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.wait()
        self._zygote.stdout.close()


def receipts(told: Path) -> dict[int, str]:
    """The hashes that were promised, by number. A last line without its end is left out."""
    if not told.exists():
        return {}
    lines = [line.split() for line in told.read_bytes().split(b"\n")[:-1]]
    return {int(words[1]): words[2].decode() for words in lines if len(words) == 3 and words[1].isdigit()}


def stored(directory: Path) -> dict[int, str]:
    """What the files hold, read by nothing of ours: number and hash of every line."""
    found = {}
    for path in sorted((directory / "seg").glob("*.jsonl")):
        for line in path.read_bytes().split(b"\n"):
            if len(line) > 65 and line.endswith(b"}"):
                try:
                    found[int(json.loads(line[65:])["seq"])] = line[:64].decode("ascii")
                except ValueError:
                    continue
    return found


if __name__ == "__main__":
    main()

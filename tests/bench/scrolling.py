"""Key → frame on the journal screen, with a hundred entries and with a million: both consoles side by side, keys in turn.

Run it with ``python tests/bench/scrolling.py [ENTRIES]`` (1,000,000 without); prints one JSON document. Nothing is asserted.
"""

import contextlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml
from figures import Figure, figure
from journal import MILLION, fill
from place import QUARTERDECK, Sandbox, sandbox
from terminal import Terminal

from services.audit.paging import NEWEST, older

FEW = 100
MOVES = 80
PAGES = 40
COLUMNS, ROWS = 120, 40
_MARK = re.compile(r"▸ *(\d+)")
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Journal:
    """A console that shows its journal, and the entry that its cursor is on."""

    def __init__(self, place: Sandbox, home: Path, config: Path) -> None:
        command = [QUARTERDECK, "--config", str(config), "--home", str(home), "--read-only"]
        self.terminal = Terminal(command, columns=COLUMNS, rows=ROWS)
        self.at = 0

    def begin(self, newest: int) -> None:
        self.terminal.wait_for("ENVIRONMENTS", 60)
        self.terminal.drain(3)
        self.terminal.press("\x1b")
        self.terminal.drain(1)
        self.terminal.press("J")
        self.terminal.wait_for("TIME (UTC)")
        self.terminal.drain(1.5)
        self.at = newest

    def key(self, keys: str, moves: int | None = None) -> float:
        """Milliseconds from the key to the frame with the cursor on another entry (on that ``moves`` away, where it is told)."""
        start, began = len(self.terminal.output), time.perf_counter()
        self.terminal.press(keys)
        while time.perf_counter() - began < 30:
            self.terminal.read(0.5)
            seen = _STYLE.sub("", self.terminal.output[start:].decode("utf-8", "replace"))
            for mark in _MARK.finditer(seen):
                number = int(mark[1])
                if number == (self.at + moves if moves is not None else number) and number != self.at:
                    self.at = number
                    return (time.perf_counter() - began) * 1000
        raise TimeoutError(f"{keys!r} moved nothing: {self.terminal.output[-300:]!r}")


@contextlib.contextmanager
def consoles(many: int) -> Iterator[tuple[Journal, Journal, float]]:
    """One with few entries, one with ``many``, and how many seconds it took to write those."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as made, sandbox() as place:
        directory = Path(made)
        document = yaml.safe_load(Path(place.config).read_text())
        document.pop("journal", None)  # with sinks the millions would be sent meanwhile
        config = Path(place.config).with_name("bench-without-sinks.yaml")
        config.write_text(yaml.safe_dump(document))
        homes = [(directory / "few", FEW), (directory / "many", many)]
        filled = 0.0
        for home, entries in homes:
            home.mkdir(mode=0o700)
            filled = fill(home / "journal", entries)
        opened = [Journal(place, home, config) for home, _ in homes]
        try:
            for console, (home, _) in zip(opened, homes, strict=True):
                console.begin(older(home / "journal", NEWEST, limit=1).last)
            yield opened[0], opened[1], filled
        finally:
            for console in opened:
                console.terminal.close()


def main() -> None:
    many = int(sys.argv[1]) if len(sys.argv) > 1 else MILLION
    print(json.dumps(measured(many), indent=2))


def measured(many: int) -> dict[str, Figure]:
    with consoles(many) as (few, lot, filled):
        moves: dict[Journal, list[float]] = {few: [], lot: []}
        pages: dict[Journal, list[float]] = {few: [], lot: []}
        for turn in range(MOVES):
            for console in (few, lot):
                moves[console].append(console.key("k" if turn % 2 == 0 else "j", -1 if turn % 2 == 0 else 1))
                console.terminal.drain(0.02 + turn % 5 * 0.01)  # not in step with the console's own pictures
        for turn in range(PAGES):
            for console in (few, lot):
                # up as far as there is anything, then down again
                pages[console].append(console.key("\x1b[5~" if turn % 4 < 2 else "\x1b[6~"))
                console.terminal.drain(0.05 + turn % 5 * 0.01)
        far = []
        for turn in range(PAGES):
            far.append(lot.key("\x1b[5~"))
            lot.terminal.drain(0.05 + turn % 5 * 0.01)
        first = lot.key("g")
        lot.terminal.drain(0.5)
        last = lot.key("G")
    against = f"{FEW} entries"
    return {
        "fill": {"entries": many, "seconds": round(filled, 1)},
        "move": figure(moves[lot], "ms", against=(against, moves[few]), ratio_target=1.1, target=50, what=f"k/j, {many} entries"),
        "page": figure(
            pages[lot], "ms", against=(against, pages[few]), ratio_target=1.1, target=50, what=f"page, {many} entries"
        ),
        "page_on": figure(far, "ms", against=("pages near the end", pages[lot]), what="page after page, into what was not read"),
        "first": figure([first], "ms", what="g: the first entry of all"),
        "last": figure([last], "ms", what="G: back to the newest"),
    }


if __name__ == "__main__":
    main()

"""The files that the journal is made of, whatever form each has by now.

``seg/FIRST.jsonl`` is a segment as it was written, ``seg/FIRST.jsonl.gz`` the same packed, ``seg/FIRST.gone`` what is kept of one
whose time was over: its first and last line (see ``retention.py``). FIRST is the number of its first entry in twelve digits.
"""

import io
import os
import re
from pathlib import Path
from typing import BinaryIO, NamedTuple

from services.audit.line import SEGMENT_DIGITS
from services.audit.packed import Unpacked

PLAIN, PACKED, GONE = ".jsonl", ".jsonl.gz", ".gone"
_NAME = re.compile(rf"([0-9]{{{SEGMENT_DIGITS}}})(\.jsonl|\.jsonl\.gz|\.gone)")


class Segment(NamedTuple):
    """One segment that can be read."""

    first: int
    path: Path
    packed: bool

    @property
    def name(self) -> str:
        """What it was called when it was written: so it is named in entries."""
        return f"{self.first:0{SEGMENT_DIGITS}d}{PLAIN}"


def segments(directory: Path) -> list[Segment]:
    """In their order. One that is being packed, or whose removal was interrupted, is there in its first form."""
    found: dict[int, Segment] = {}
    try:
        names = os.listdir(directory / "seg")
    except FileNotFoundError:
        return []
    for name in names:
        if (made := _NAME.fullmatch(name)) is None or made[2] == GONE:
            continue
        first, packed = int(made[1]), made[2] == PACKED
        if not packed or first not in found:
            found[first] = Segment(first, directory / "seg" / name, packed)
    return [found[first] for first in sorted(found)]


def opened(segment: Segment) -> BinaryIO:
    """The lines of ``segment``. ``FileNotFoundError`` where it is gone."""
    if segment.packed:
        return io.BufferedReader(Unpacked(segment.path))
    try:
        return segment.path.open("rb")
    except FileNotFoundError:
        # Packed since the directory was listed.
        return io.BufferedReader(Unpacked(segment.path.with_name(segment.name + ".gz")))


def at(directory: Path, name: str) -> Segment:
    """The segment that was written as ``name``, in the form that it has now; plain where there is none."""
    path = directory / "seg" / name
    packed = path.with_name(f"{name}.gz")
    is_packed = not path.exists() and packed.exists()
    return Segment(int(path.stem), packed if is_packed else path, is_packed)

"""What is left of segments whose time was over: ``FIRST.gone``, three lines.

The segment's header as it stood, the hash that its last line continues, and that last line (the seal). So the chain is followed
across the hole. That nobody else made the hole is said by an entry ``journal.removed`` with the segment's digest, which the
header of the segment behind it states as well. Removal goes from the oldest on: an entry about the last one removed stands for
those before it, whose own entries may be gone with their time.
"""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from services.audit.verifying.beside import decoded
from services.audit.verifying.lines import DOMAIN
from services.audit.verifying.walk import Hole, Walk

_GONE = re.compile(rb"([0-9a-f]{64})\t(\{[^\n]*\})\n(?:([0-9a-f]{64})\n([0-9a-f]{64})\t(\{[^\n]*\})\n)?")


def removal(walk: Walk, name: str, content: bytes, begin: Callable[[Any], None]) -> None:
    """Follow the chain across the hole that the segment ``name`` left."""
    first = int(name[:12])
    made = _GONE.fullmatch(content)
    header = decoded(made[2]) if made else None
    begin(header)
    if made is None:
        walk.problem("removal", name, first, "what is left of the segment is not of the form")
        return
    hash_ = sha256(DOMAIN + walk.previous_hash.encode() + made[2]).hexdigest()
    before, last = walk.previous_hash, first
    if hash_ != made[1].decode():
        walk.problem("removal", name, first, "the hash of the header that was kept is not that of its bytes")
    if made[3]:
        before, hash_ = made[3].decode(), made[4].decode()
        seal = decoded(made[5])
        stated = seal.get("seq") if isinstance(seal, dict) else None
        if sha256(DOMAIN + made[3] + made[5]).hexdigest() != hash_:
            walk.problem("removal", name, first, "the hash of the last line that was kept is not that of its bytes")
        if type(stated) is not int or stated <= first:
            walk.problem("removal", name, first, f"the last line that was kept says it is number {stated!r}")
        else:
            last = stated
    while walk.pins and walk.pins[0].seq <= last:
        pin = walk.pins.popleft()
        if pin.seq >= last - 1 > first:
            walk.hold_against(pin, name, hash_ if pin.seq == last else before)
    walk.holes.append(Hole(name, first, last))
    walk.previous_hash = walk.good_hash = hash_
    walk.next_seq, walk.last = last + 1, last
    walk.previous_name, walk.previous_sha256 = name, None


def holes(walk: Walk) -> int:
    """Check that the journal itself says what was removed. How many entries that is."""
    for hole in walk.holes:
        facts = walk.removals.get(hole.name)
        if facts is None:
            if hole is walk.holes[-1]:
                walk.problem("removal", hole.name, hole.first, "the segment is gone, and no entry says that it was removed")
            continue
        if (facts.get("first"), facts.get("last")) != (hole.first, hole.last):
            said = f"entries {facts.get('first')} to {facts.get('last')}"
            walk.problem(
                "removal", hole.name, hole.first, f"{hole.first} to {hole.last} are gone; what was to be removed is {said}"
            )
        elif facts.get("sha256") != walk.digests.get(hole.name):
            walk.problem("removal", hole.name, hole.first, "the entry about the removal has another digest than the next segment")
    return sum(hole.last - hole.first + 1 for hole in walk.holes)

"""Redaction's figures: secrets planted wherever text goes, ordinary entries left alone, and what an entry costs.

Run it with ``python tests/bench/redaction.py [SECRETS]`` (200 without); prints one JSON document, exit 1 where a secret came out
or ordinary entries were changed. The plantings take some minutes.
"""

import asyncio
import base64
import json
import os
import random
import string
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parents[1]))

import msgspec
from figures import Figure, figure
from journal import event
from support.planted import ENCODINGS, found_in, ordinary, registered, shaped
from support.planting import plant

from services.audit.entry import Moment, draft
from services.clock import SystemClock
from services.model.objects import Json
from services.redaction import Redactor
from services.redaction.redactor import MAX_TEXT

ROUNDS = 7
KNOWN = 5
"""Secrets that a console has in use: tokens of clusters, of the ticket system, of sinks."""
_MIXED = 100


def _mixed() -> list[list[str]]:
    """The same put together at random: what is slow together, and not alone."""
    chance = random.Random(20260101)
    return [[chance.choice(PARTS) for _ in range(chance.randint(2, 4))] for _ in range(_MIXED)]


PARTS = (
    "a", "password", "eyJ", "://a", "://a:", "a://a:b", "token=", "key aB3", "\\\"'", "--a-", "cookie: a=", "cookie: a=b\"",
    "bearer ", "pass_pass", "a-pass: ", "token=[REDACTED:a", "authorization: Basic a", "key aB3dE5gH7jK9mN1pQ3sT5", "=a@", "sig=",
    "api_key: a b c", "key /-/-/", "secret='", "passw\u017f=é", "://1234567890123456", "-----BEGIN ", "AKIA", "token=\"a\\",
    "--password ",
)  # fmt: skip
ESCAPES = ("%2541", "%25", "\\u0041%41", "\\", "\\xc3\\\\\\", "&#97;", "%26%2397;", "%2525255Cu0041", "'\"'\"", "\\ud83d\\")
HOSTILE = (*PARTS, *ESCAPES, *("".join(some) for some in _mixed()))
MOST_CHANGED = 0.001
LENGTHS = (40, 1200, 4000)
"""Characters of a password, of a token that is signed, of a key."""


def main(words: list[str]) -> int:
    os.environ["QUARTERDECK_THEME"] = "dark"
    secrets = registered(int(words[0]) if words else 200)
    came_out = {"registered": _planted(secrets, known=True), "by shape": _planted(shaped(), known=False)}
    changed, rules = _changed()
    share = changed / sum(1 for _ in ordinary())
    document = {
        "planted": {"secrets": len(secrets), "encodings": list(ENCODINGS), "by shape only": len(shaped())},
        "came_out": came_out,
        "ordinary_entries_changed": {"share": share, "target": MOST_CHANGED, "met": share < MOST_CHANGED, "rules": rules},
        "figures": _costs(),
    }
    print(json.dumps(document, indent=2))
    return int(share >= MOST_CHANGED or any(count for places in came_out.values() for count in places.values()))


def _planted(secrets: list[str], *, known: bool) -> dict[str, int]:
    """How many came out, by place."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-planted-") as home:
        written = asyncio.run(plant(Path(home), secrets, known=known, screens=24))
    return {
        place: sum(known or encoding == "raw" for _, encoding in found_in(content, secrets)) for place, content in written.items()
    }


def _changed() -> tuple[int, dict[str, int]]:
    redactor, moment = _redactor(), Moment.of(SystemClock())
    rules: Counter[str] = Counter()
    changed = 0
    for each in ordinary():
        found = draft(each, moment, redactor=redactor, program="bench").fields["redacted"]
        changed += bool(found)
        rules.update(found)
    return changed, dict(rules)


def _redactor() -> Redactor:
    made = Redactor(b"k" * 32)
    for secret in registered(KNOWN):
        made.register(secret)
    return made


def _costs() -> dict[str, Figure]:
    usual: list[Json] = [msgspec.to_builtins(event(n)) for n in range(2000)]
    varied: list[Json] = [msgspec.to_builtins(each) for each in ordinary(2000)]
    encoded = [_each(msgspec.json.encode, varied) for _ in range(ROUNDS)]
    against = ("the same entries as JSON", encoded)
    redactor = _redactor()
    worst = []
    for text in HOSTILE:
        hostile = (text * (MAX_TEXT // len(text) + 1))[:MAX_TEXT]
        taken = []
        for _ in range(3):
            began = time.process_time()
            redactor.text(hostile)
            taken.append((time.process_time() - began) * 1000)
        worst.append(min(taken))
    return {
        **{f"register {length}": _registering(length) for length in LENGTHS},
        "backslashes": figure(
            [max(_each(_backslashed().text, ["x" + "\\" * count + "e"]) / 1000 for count in (32, 1000, MAX_TEXT - 2))],
            "ms",
            target=20,
            what="a secret of backslashes against the worst of three runs of them",
        ),
        "usual": figure([_each(_redactor().value, usual) for _ in range(ROUNDS)], "µs", target=50, what="an entry of a rollout"),
        "varied": figure(
            [_each(_redactor().value, varied) for _ in range(ROUNDS)],
            "µs",
            target=50,
            against=against,
            what="an entry in which nothing repeats: other digests, ids and queries each time",
        ),
        "hostile": figure(
            [max(worst)], "ms", target=20, what=f"the slowest of {len(HOSTILE)} texts of {MAX_TEXT // 1024} KiB made to be slow"
        ),
    }


def _registering(length: int) -> Figure:
    """Each secret another: nothing is remembered of the one before."""
    chance = random.Random(length)
    secrets: list[Json] = ["".join(chance.choices(string.ascii_letters + string.digits, k=length)) for _ in range(ROUNDS)]
    return figure(
        [_each(Redactor(b"k" * 32).register, [secret]) for secret in secrets],
        "µs",
        target=1000,
        against=("the secret's base64, its JSON and its URL encoding", [_each(_encoded, [secret]) for secret in secrets]),
        what=f"a secret of {length} characters becomes known",
    )


def _encoded(secret: str) -> tuple[object, ...]:
    return base64.b64encode(secret.encode()), json.dumps(secret), quote(secret)


def _backslashed() -> Redactor:
    made = Redactor(b"k" * 32)
    made.register("x" + "\\" * 40 + "d")
    return made


def _each(do: Any, values: list[Json]) -> float:
    """Microseconds of CPU."""
    began = time.process_time()
    for value in values:
        do(value)
    return (time.process_time() - began) / len(values) * 1e6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

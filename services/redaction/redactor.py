"""Takes secrets out of text and of JSON values before they are hashed, written, logged or shown (R6.5)."""

import hmac
import math
import re
from bisect import bisect_left, insort
from collections.abc import Callable
from functools import lru_cache, partial
from threading import Lock
from typing import NamedTuple

from services.model.objects import Json, pointer_parts
from services.redaction.disguised import Known, found, known, may_be_escaped, runs, within
from services.redaction.encodings import MIN_PART, encodings
from services.redaction.installation import passing_key
from services.redaction.keys import is_reference, names_a_secret
from services.redaction.patterns import BESIDE_WORDS, KEY_BEGINS, PATTERNS, Replace, hinted

MAX_TEXT = 64 * 1024
"""Characters of one text that are looked at; what follows is cut off, never passed on unread."""
MAX_FOUND = 1000
"""Secrets that are taken out of one text one by one, by their shapes; one with more is taken out whole: it is made of them."""
MAX_DEPTH = 64
_REMEMBERED = 200
_MAX_REMEMBERED = 4096
_KEY_ENDS = "-----END"
_MARKER = re.compile(r"\[REDACTED:[a-z-]+:[0-9a-f]{8}\]")
_MARKERS = re.compile(f"({_MARKER.pattern})")
_NEAR_KEY_WORD = re.compile(
    r"(?:key|token|secret|credential|passw(?:or)?d)(?:"
    r"(?:[^\w/-]|[/-][^\w/-]){1,4}(?P<candidate>[A-Za-z0-9+/=_-]{20,200})"
    # a hyphen also joins the words of a name: what follows "token-" is as likely a service's
    r"|[/-](?P<joined>[A-Za-z0-9]{24,200}))(?![A-Za-z0-9+/=_-])",
    re.IGNORECASE,
)
_SHORTEST_NEAR = 23
_PLAIN_SHAPE = re.compile(
    r"[0-9a-f]{40}|[0-9a-f]{64}"  # git SHA-1, SHA-256
    r"|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"  # UUID
    r"|[0-9A-HJKMNP-TV-Z]{26}"  # ULID
    r"|v?\d+\.\d+\.\d+[0-9A-Za-z.-]*"  # version
    r"|\d{4}-\d\d-\d\dT[0-9:.]+Z?"  # time stamp
    r"|[a-z]+(?:[-_/][a-z]+)*"  # words
)
_ENTROPY_BITS = 3.5


class _Full(Exception):
    """There is no end of secrets in a text."""


class _Room:
    """How many secrets may still be found in a text."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _Full


class _Needle(NamedTuple):
    text: str
    secret: str


def _by_length(needle: _Needle) -> int:
    return -len(needle.text)


class Redactor:
    """Replaces secrets by ``[REDACTED:<rule>:<8 hex>]``: the same secret has the same digits within one installation.

    Registered values are the strongest rule: they are found raw, in hexadecimal, with any of their characters escaped as in
    URLs, JSON, Python, HTML or a shell's quotes, and in base64 at any alignment, within which all of that is found again.
    Beside them: values of fields whose name says secret, shapes of known credentials, and random looking words beside a
    key-like word. ``key`` is the installation's HMAC key (see ``installation_key``); without one the markers agree within
    this process only.

    Safe to use from several threads. Time is bounded by the length of the text (``MAX_TEXT``, linear patterns), not by a
    clock: a busy machine must not change what is redacted.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or passing_key()
        self._needles: tuple[_Needle, ...] = ()
        self._listed: set[str] = set()
        """The texts of the needles."""
        self._known: tuple[Known, ...] = ()
        """The longest first."""
        self._whole: frozenset[str] = frozenset()
        self._registering = Lock()
        self._clean: set[str] = set()
        """Short texts that were searched without a find: most of what is recorded repeats."""

    def use_key(self, key: bytes) -> None:
        """Make markers with ``key`` from now on."""
        self._key = key

    def register(self, *secrets: str) -> None:
        """From now on none of ``secrets`` gets out. One shorter than 4 characters is only taken out where it stands alone."""
        stripped = {secret.strip("\r\n") for secret in secrets} - {""}
        if not stripped:
            return
        with self._registering:
            needles, listed = list(self._needles), list(self._known)
            there = {each.secret for each in listed}
            for secret in stripped:
                if len(secret) < MIN_PART:
                    self._whole = self._whole | {secret}
                    continue
                for text in encodings(secret) - self._listed:
                    insort(needles, _Needle(text, secret), key=_by_length)
                    self._listed.add(text)
                if secret not in there:
                    insort(listed, known(secret), key=lambda each: -len(each.secret))
            self._needles, self._known = tuple(needles), tuple(listed)
            self._clean = set()

    def text(self, s: str) -> str:
        """``s`` without secrets. Redacting twice changes nothing more."""
        return self._text(s, set())

    def shapes(self, s: str) -> str:
        """``s`` without registered secrets and known shapes of credentials, assignments (``token=…``) too. What merely stands
        behind a word such as ``token:`` stays: that is how messages about a secret's place read."""
        return self._searched(s, set(), beside_words=False)

    def value(self, v: Json) -> tuple[Json, tuple[str, ...]]:
        """A redacted copy of a JSON value, and the names of the rules that matched, sorted."""
        rules: set[str] = set()
        return self._value(v, rules, 0), tuple(sorted(rules))

    def digest(self, text: str) -> str:
        """Tells whether two texts are the same within one installation, and nothing else to whoever has not its key."""
        return hmac.digest(self._key, b"digest\0" + text.encode("utf-8", "surrogatepass"), "sha256").hex()[:16]

    def _marker(self, rule: str, secret: str, rules: set[str]) -> str:
        rules.add(rule)
        digest = hmac.digest(self._key, secret.encode("utf-8", "surrogatepass"), "sha256").hex()
        return f"[REDACTED:{rule}:{digest[:8]}]"

    def _text(self, s: str, rules: set[str]) -> str:
        # Taken before the search: what is found clean with the secrets of this moment is remembered with them only.
        clean = self._clean
        if s in clean:
            return s
        searched = self._searched(s, rules)
        if searched == s and len(s) <= _REMEMBERED:
            if len(clean) >= _MAX_REMEMBERED:
                self._clean = set()
            clean.add(s)
        return searched

    def _searched(self, s: str, rules: set[str], *, beside_words: bool = True) -> str:
        if s in self._whole:
            return self._marker("registered", s, rules)
        for needle in self._registered_in(s):
            if needle.text in s:  # not taken out with a longer one
                s = s.replace(needle.text, self._marker("registered", needle.secret, rules))
        if len(s) > MAX_TEXT:
            s = s[:MAX_TEXT] + f"[cut: {len(s) - MAX_TEXT} characters]"
        if self._known:
            s = self._disguised(s, rules)
        wanted = hinted(s)
        try:
            return self._shaped(s, wanted, _Room(MAX_FOUND), rules, beside_words=beside_words) if wanted else s
        except _Full:
            return self._marker("too-many", s, rules)

    def _shaped(self, s: str, wanted: list[int], room: "_Room", rules: set[str], *, beside_words: bool) -> str:
        """``s`` without what has the shape of a secret."""
        for index in wanted:
            pattern = PATTERNS[index]
            if pattern.needs not in s or (pattern.prose and not beside_words):
                continue
            s = _outside_markers(pattern.sub, partial(self._replaced, pattern.rule, rules, room), s)
        if beside_words and len(s) > _SHORTEST_NEAR and BESIDE_WORDS in wanted:
            s = _outside_markers(_NEAR_KEY_WORD.sub, partial(self._random, rules, room), s)
        return s

    def _disguised(self, s: str, rules: set[str]) -> str:
        """``s`` without registered secrets whose characters are escaped, or that are somewhere within base64."""
        secrets = self._known
        if may_be_escaped(s):
            s = "".join(part if at % 2 else self._unescaped(part, rules) for at, part in enumerate(_MARKERS.split(s)))
        for run in set(runs(s)):
            if (secret := within(run, secrets)) is not None:
                s = s.replace(run, self._marker("registered", secret, rules))
        return s

    def _unescaped(self, s: str, rules: set[str]) -> str:
        """``s``, which has no markers, without registered secrets whose characters are escaped."""
        parts: list[str] = []
        done = 0
        for start, end, secret in found(s, self._known):
            parts += [s[done:start], self._marker("registered", secret, rules)]
            done = end
        return "".join([*parts, s[done:]])

    def _registered_in(self, s: str) -> list[_Needle]:
        """The needles that occur in ``s``, the longest first. What is longer than ``s`` is not even looked for."""
        needles = self._needles
        start = bisect_left(needles, -len(s), key=_by_length) if needles and len(needles[0].text) > len(s) else 0
        return [needle for needle in (needles[start:] if start else needles) if needle.text in s]

    def _replaced(self, rule: str, rules: set[str], room: "_Room", match: re.Match[str]) -> str:
        room.take()
        groups = {name: part for name, part in match.groupdict().items() if part is not None}
        if not groups:
            return self._marker(rule, match.group(), rules)
        name, secret = next(iter(groups.items()))
        start, end = match.start(name) - match.start(), match.end(name) - match.start()
        whole = match.group()
        return whole[:start] + self._marker(rule, secret, rules) + whole[end:]

    def _random(self, rules: set[str], room: "_Room", match: re.Match[str]) -> str:
        name = "joined" if match.group("candidate") is None else "candidate"
        candidate = match.group(name)
        if _PLAIN_SHAPE.fullmatch(candidate) or _bits_per_character(candidate) <= _ENTROPY_BITS:
            return match.group()
        room.take()
        return match.group()[: match.start(name) - match.start()] + self._marker("entropy", candidate, rules)

    def _value(self, v: Json, rules: set[str], depth: int) -> Json:
        kind = type(v)  # most of an entry is text that was seen before, and numbers
        if kind is str:
            return v if v in self._clean else self._text(v, rules)
        if v is None or kind is int or kind is bool or kind is float:
            return v
        if isinstance(v, str):
            return self._text(v, rules)
        if depth > MAX_DEPTH:
            return "[cut: nested too deep]"
        if isinstance(v, dict):
            hidden, clean = _hidden_parts(v), self._clean
            return {
                (key if key in clean or not isinstance(key, str) else self._text(key, rules)): (
                    self._secret(part, rules, depth + 1)
                    if key in hidden or (isinstance(key, str) and names_a_secret(key))
                    else part
                    if type(part) is str and part in clean
                    else self._value(part, rules, depth + 1)
                )
                for key, part in v.items()
            }
        if isinstance(v, list | tuple):
            inside = _parts_of_a_key(v)
            return [
                self._marker("private-key", part, rules)
                if at in inside and isinstance(part, str)
                else self._value(part, rules, depth + 1)
                for at, part in enumerate(v)
            ]
        return v

    def _secret(self, v: Json, rules: set[str], depth: int) -> Json:
        """Everything below a field whose name says secret, but what only says where a secret is kept."""
        if v is None or isinstance(v, bool) or v == "":
            return v
        if depth > MAX_DEPTH:
            return "[cut: nested too deep]"
        if isinstance(v, dict):
            return {
                key: self._value(part, rules, depth + 1)
                if isinstance(key, str) and key in ("name", "namespace", "path", "key", "kind")
                else self._secret(part, rules, depth + 1)
                for key, part in v.items()
            }
        if isinstance(v, list | tuple):
            return [self._secret(part, rules, depth + 1) for part in v]
        if isinstance(v, str) and (is_reference(v) or _MARKER.fullmatch(v)):
            return v
        text = v if isinstance(v, str) else str(v)
        if _MARKER.fullmatch(self._text(text, set())):
            return self._text(text, rules)
        return self._marker("key-name", text, rules)


def _outside_markers(sub: Callable[[Replace, str], str], replace: Replace, s: str) -> str:
    """``sub`` between the markers that are there already: the words inside one look like a key and its value."""
    if "[REDACTED:" not in s:
        return sub(replace, s)
    return "".join(part if at % 2 else sub(replace, part) for at, part in enumerate(_MARKERS.split(s)))


def _parts_of_a_key(parts: list[Json] | tuple[Json, ...]) -> set[int]:
    """The places of texts in a list that are lines of a private key which begins in an earlier one. As in a text, one that does
    not end is taken to the end; the text in which it begins hides its own part by its shape."""
    places: set[int] = set()
    begun = False
    for at, part in enumerate(parts):
        if not isinstance(part, str):
            continue
        if begun and not _MARKER.fullmatch(part):
            places.add(at)
        _, ends, after = part.rpartition(_KEY_ENDS)
        begins = KEY_BEGINS.search(after if ends else part)
        begun = begins is not None or (begun and not ends)
    return places


def _hidden_parts(v: dict[Json, Json]) -> tuple[str, ...]:
    """Fields whose secret name stands beside them, as in ``{"name": "DB_PASSWORD", "value": …}``."""
    name = v.get("name")
    if isinstance(name, str) and "value" in v and names_a_secret(name):
        return ("value",)
    if v.get("kind") == "Secret":
        return ("data", "stringData")
    path = v.get("path")
    if isinstance(path, str) and path.startswith("/") and _leads_to_a_secret(path):
        return ("old", "new", "value")
    return ()


@lru_cache(maxsize=1024)
def _leads_to_a_secret(path: str) -> bool:
    return any(names_a_secret(part) for part in pointer_parts(path)[-2:])


def _bits_per_character(text: str) -> float:
    """Shannon entropy of the characters' frequencies."""
    counts = (text.count(character) for character in set(text))
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)

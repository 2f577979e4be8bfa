"""Registered secrets in forms that are too many to list: every character escaped on its own, or the whole within base64.

Escapes are those of URLs (``%61``), JSON and Python (``\\u0061``, ``\\x61``, backslashes doubled each time that it is quoted
again), HTML (``&#97;``, ``&#x61;``, ``&quot;``), and a shell's quoting of ``'``. What is within base64 may be base64 or escaped
again.

It is the text whose escapes are taken back, in passes whose time is linear in its length, and not the secret whose escapes are
foreseen: a secret costs as much as reading it once, and nothing here goes back and forth over a run of backslashes.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}|\\[xu\"'\\/nrt0-7]|&(?:#|[a-z]{2,4};)|'\"'\"'")
_HINTS = ("%", "\\", "&", "'\"'")
_RUN = re.compile(r"[A-Za-z0-9+/_-]{12,}")
_TEXT = re.compile(r"(?:[A-Za-f][A-HQ-Xg-nw-z0-3][ABEFIJMNQRUVYZcdghkloptswx014589][A-Za-z0-9+/_-]){4}")
"""Base64 of twelve ASCII characters: the first bit of each byte is 0. Next to no digest, name or path has such a part."""
_DEEPEST = 3
"""How often base64 is within base64: a Secret that holds a Docker configuration is twice."""
_PASSES = 4
"""How often escapes are taken back: those of a text that was escaped again and again. Backslashes and ``%25`` that pile up take
one pass, however many."""
_STANDARD = str.maketrans("-_", "+/")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_ALIKE = {ord("\n"): "n", ord("\r"): "r", ord("\t"): "t", ord("\b"): "b", ord("\f"): "f", ord("+"): " "}
"""What is left of an escape without its backslash; and a form's space."""
_FOLD = str.maketrans({**_ALIKE, ord("\\"): None})
_QUOTED = frozenset("\"'/\\\n\r\t\b\f")
"""What a backslash stands before."""
_LEAST = 4
"""Characters of a folded secret that are enough to be told from ordinary text without looking at its backslashes."""

_HEX = "[0-9A-Fa-f]"
_SLASHES = r"\\{1,64}+"
"""Between the bytes of one character. There is an end to it: what was read is remembered."""
_DIGITS = str.maketrans("", "", "\\x%")


def _utf8(first: str, next_: str) -> str:
    """A character in UTF-8, or a byte alone, each byte in two digits behind ``first`` or ``next_``."""
    more = f"(?:{next_}[89ABab]{_HEX})"
    return f"{first}(?:(?:[Cc][2-9A-Fa-f]|[Dd]{_HEX}){more}|[Ee]{_HEX}{more}{{2}}|[Ff][0-4]{more}{{3}}|{_HEX}{{2}})"


_OTHERS = (
    _utf8(r"\\x", rf"{_SLASHES}x") + rf"|\\u[dD][89ABab]{_HEX}{{2}}{_SLASHES}u[dD][C-Fc-f]{_HEX}{{2}}"
    rf"|\\u{_HEX}{{4}}"
    rf"|&(?:\#[0-9]{{1,11}}|\#[xX]{_HEX}{{1,10}}|{'|'.join(_NAMED)});"
    r"|'\"'\"'|'\\''"
)
_ESCAPE = re.compile(f"%25(?:25)*+|{_utf8('%', '%')}|{_OTHERS}")
"""One character. Of a run of backslashes it begins with the last."""
_BUT_URLS = re.compile(_OTHERS)
"""For a secret that stands behind a per cent sign, or ends with one: it would be read as an escape with what is beside it."""


class Known(NamedTuple):
    """A registered secret as it is looked for in what is no longer escaped."""

    secret: str
    raw: bytes
    wide: bytes
    """In UTF-8, and in UTF-16."""
    folded: tuple[str, ...]
    """Without backslashes: as it is, and with what in it looks like an escape taken back as the text's are."""


def known(secret: str) -> Known:
    raw, wide = (secret.encode(code, "surrogatepass") for code in ("utf-8", "utf-16-le"))
    plain = secret.translate(_FOLD)
    # What is left of "%20%20" is in every text.
    others = {text for text in (each.translate(_FOLD) for each in _passes(secret)) if len(text) >= _LEAST}
    return Known(secret, raw, wide, tuple(filter(None, (plain, *sorted(others - {plain})))))


def may_be_escaped(s: str) -> bool:
    return any(hint in s for hint in _HINTS) and _ESCAPED.search(s) is not None


def found(s: str, secrets: Sequence[Known]) -> list[tuple[int, int, str]]:
    """Where secrets are escaped in ``s``: from, to, which. In their order, none in another: of those that overlap
    the first of ``secrets`` is named."""
    spans = set(_spans(s, secrets))
    if not spans:
        return []
    rank = {each.secret: at for at, each in enumerate(secrets)}
    merged: list[tuple[int, int, str]] = []
    for start, end, secret in sorted(spans):
        if merged and start < merged[-1][1]:
            before = merged[-1]
            merged[-1] = (before[0], max(before[1], end), min(before[2], secret, key=rank.__getitem__))
        else:
            # An escape that was quoted again has more backslashes than its last.
            free = merged[-1][1] if merged else 0
            while s[start] == "\\" and start > free and s[start - 1] == "\\":
                start -= 1
            merged.append((start, end, secret))
    return merged


def holds(s: str, secrets: Sequence[Known]) -> str | None:
    """The secret that is escaped in ``s``."""
    return next((secret for _, _, secret in _spans(s, secrets)), None)


def _spans(s: str, secrets: Sequence[Known]) -> Iterator[tuple[int, int, str]]:
    yield from _after(0, s, s, _ESCAPE, secrets)
    for escape in (_ESCAPE, _BUT_URLS) if "%" in s and _BUT_URLS.search(s) else (_ESCAPE,):
        for passes, text in enumerate(_passes(s, escape), 1):
            yield from _after(passes, text, s, escape, secrets)


def _after(passes: int, text: str, s: str, escape: re.Pattern[str], secrets: Sequence[Known]) -> Iterator[tuple[int, int, str]]:
    """Where secrets are in ``s``, as ``text`` shows, which is ``s`` after so many passes."""
    folded = text.translate(_FOLD)
    here = [each for each in secrets if _is_in(text, folded, each)]
    if here:
        starts = _starts(s, escape, passes)
        for each in here:
            yield from _in_text(text, folded, starts, each)


def _is_in(text: str, folded: str, sought: Known) -> bool:
    if sought.secret in text:
        return True
    for key in sought.folded:  # noqa: SIM110 — a generator for each costs more than the search
        if key in folded:
            return True
    return False


def _passes(s: str, escape: re.Pattern[str] = _ESCAPE) -> Iterator[str]:
    """``s`` with its escapes taken back once, twice, …, as long as that changes anything."""
    for _ in range(_PASSES):
        before, s = s, escape.sub(_character_of, s)
        if s == before:
            return
        yield s
        if "%" not in s and "\\" not in s and "&" not in s:
            return


def _character_of(match: re.Match[str]) -> str:
    escape = match.group()
    return "%" if escape.startswith("%25") else _unescaped(escape)


@lru_cache(maxsize=4096)
def _unescaped(escape: str) -> str:
    """The one character that ``escape`` stands for."""
    if escape.startswith("'"):
        return "'"
    if escape.startswith("&"):
        name = escape[1:-1]
        if not name.startswith("#"):
            return _NAMED[name]
        code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
        return chr(code) if code <= 0x10FFFF else "\ufffd"
    if escape.startswith("\\u"):
        units = bytes.fromhex("".join(part[:4] for part in escape.split("u")[1:]))
        return units.decode("utf-16-be", "surrogatepass")
    raw = bytes.fromhex(escape.translate(_DIGITS))
    if len(raw) == 1:
        return chr(raw[0])
    text = raw.decode("utf-8", "replace")
    return text if len(text) == 1 else "\ufffd"


def _starts(s: str, escape: re.Pattern[str], passes: int) -> list[int]:
    """Where each character begins in ``s`` that is there after so many passes, and the end."""
    starts = list(range(len(s) + 1))
    for _ in range(passes):
        text: list[str] = []
        kept: list[int] = []
        done = 0
        for match in escape.finditer(s):
            text += [s[done : match.start()], _character_of(match)]
            kept += starts[done : match.start() + 1]
            done = match.end()
        text.append(s[done:])
        kept += starts[done:]
        s, starts = "".join(text), kept
    return starts


def _in_text(text: str, folded: str, starts: Sequence[int], sought: Known) -> Iterator[tuple[int, int, str]]:
    """Where ``sought`` is in ``text``: as it is, and without regard to backslashes."""
    for at in _places(text, sought.secret):
        yield starts[at], starts[at + len(sought.secret)], sought.secret
    if not sought.folded:
        return
    kept = [at for at, character in enumerate(text) if character != "\\"]
    leads, trails = sought.secret[0] in _QUOTED, sought.secret.endswith("\\")
    least = _backslashes(sought.secret)
    for key in sought.folded:
        for place in _places(folded, key):
            first, last = place, place + len(key) - 1
            before = kept[first - 1] + 1 if first else 0
            after = kept[last + 1] if last + 1 < len(kept) else len(text)
            if len(key) < _LEAST and _backslashes(text[before:after]) < least:
                continue
            begin, end = before if leads else kept[first], after if trails else kept[last] + 1
            yield starts[begin], starts[end], sought.secret


def _backslashes(s: str) -> int:
    return s.count("\\")


def _places(text: str, key: str) -> Iterator[int]:
    at = text.find(key)
    while at >= 0:
        yield at
        at = text.find(key, at + len(key))


def runs(s: str) -> list[str]:
    """What may be base64 of text in ``s``."""
    return _RUN.findall(s) if _TEXT.search(s) is not None else []


def within(run: str, secrets: Sequence[Known], depth: int = 1) -> str | None:
    """The secret that ``run`` holds as base64, wherever in it that begins."""
    standard = run.translate(_STANDARD)
    for offset in range(4):
        part = standard[offset:]
        # A single character behind the last whole group holds no whole byte.
        part = part[: len(part) - 1] if len(part) % 4 == 1 else part
        decoded = base64.b64decode(part + "=" * (-len(part) % 4))
        for each in secrets:
            if each.raw in decoded or each.wide in decoded:
                return each.secret
        text = decoded.decode("utf-8", "replace")
        if may_be_escaped(text) and (escaped := holds(text, secrets)) is not None:
            return escaped
        if depth < _DEEPEST:
            for inner in _RUN.findall(text):
                if (found_within := within(inner, secrets, depth + 1)) is not None:
                    return found_within
    return None

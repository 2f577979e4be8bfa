"""Registered secrets in forms that are too many to list: every character escaped on its own, or the whole within base64.

Escapes are those of URLs (``%61``), JSON and Python (``\\u0061``, ``\\x61``, backslashes doubled each time that it is quoted
again), HTML (``&#97;``, ``&#x61;``, ``&quot;``), and a shell's quoting of ``'``. What is within base64 may be base64 or escaped
again.
"""

import base64
import re
from collections.abc import Sequence
from html import escape

_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}|\\[xu\"'\\/nrt0-7]|&(?:#|[a-z]{2,4};)|'\"'\"'")
_HINTS = ("%", "\\", "&", "'\"'")
_RUN = re.compile(r"[A-Za-z0-9+/_-]{12,}")
_TEXT = re.compile(r"(?:[A-Za-f][A-HQ-Xg-nw-z0-3][ABEFIJMNQRUVYZcdghkloptswx014589][A-Za-z0-9+/_-]){4}")
"""Base64 of twelve ASCII characters: the first bit of each byte is 0. Next to no digest, name or path has such a part."""
_DEEPEST = 3
"""How often base64 is within base64: a Secret that holds a Docker configuration is twice."""
_SLASHES = r"\\{1,8}+"
_NAMED = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
_STANDARD = str.maketrans("-_", "+/")


def pattern(secret: str) -> re.Pattern[str]:
    """Matches ``secret``, whichever of its characters are escaped, and how."""
    return re.compile("".join(_any(character) for character in secret))


def _any(character: str) -> str:
    code = ord(character)
    raw = character.encode("utf-8", "surrogatepass")
    units = character.encode("utf-16-be", "surrogatepass")
    unicode = [f"u(?i:{units[at]:02x}{units[at + 1]:02x})" for at in range(0, len(units), 2)]
    behind = [_SLASHES.join(unicode), _SLASHES.join(f"x(?i:{byte:02x})" for byte in raw)]
    if 128 <= code < 256:
        behind.append(f"x(?i:{code:02x})")
    behind += _NAMED.get(character, "")
    forms = [
        re.escape(character),
        f"{_SLASHES}(?:{'|'.join(behind)})",
        "".join(f"%(?:25)*(?i:{byte:02x})" for byte in raw),
        f"&#0{{0,4}}{code};",
        f"&#[xX]0{{0,4}}(?i:{code:x});",
    ]
    if (named := escape(character)) != character:
        forms.append(re.escape(named))
    if character in "\"'/\\":
        forms.append(r"\\{1,8}" + re.escape(character))
    if character == "'":
        forms += ["'\"'\"'", r"'\\'+", "&apos;"]
    if character == " ":
        forms.append(r"\+")
    # The longest first: a quote of the shell begins with the character that it stands for.
    return f"(?:{'|'.join(reversed(forms))})"


def may_be_escaped(s: str) -> bool:
    return any(hint in s for hint in _HINTS) and _ESCAPED.search(s) is not None


def runs(s: str) -> list[str]:
    """What may be base64 of text in ``s``."""
    return _RUN.findall(s) if _TEXT.search(s) is not None else []


def within(run: str, secrets: Sequence[tuple[str, bytes, bytes, re.Pattern[str]]], depth: int = 1) -> str | None:
    """The secret that ``run`` holds as base64, wherever in it that begins. ``secrets``: each with its bytes in UTF-8 and in
    UTF-16, and its pattern."""
    standard = run.translate(_STANDARD)
    for offset in range(4):
        part = standard[offset:]
        # A single character behind the last whole group holds no whole byte.
        part = part[: len(part) - 1] if len(part) % 4 == 1 else part
        decoded = base64.b64decode(part + "=" * (-len(part) % 4))
        for secret, raw, wide, _ in secrets:
            if raw in decoded or wide in decoded:
                return secret
        text = decoded.decode("utf-8", "replace")
        if may_be_escaped(text):
            for secret, _, _, escaped in secrets:
                if escaped.search(text):
                    return secret
        if depth < _DEEPEST:
            for inner in _RUN.findall(text):
                if (found := within(inner, secrets, depth + 1)) is not None:
                    return found
    return None

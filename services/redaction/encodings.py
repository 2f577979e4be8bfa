"""The forms in which programs write a secret: raw, URL-encoded, base64 at any alignment, JSON- and HTML-escaped, hexadecimal."""

import base64
import json
import re
from urllib.parse import quote, quote_plus

MIN_PART = 4
"""Characters: what is shorter is only a secret where it stands alone."""
MIN_ENCODED = 6
_HTML_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_HTML = {**_HTML_TEXT, ord('"'): "&quot;", ord("'"): "&#x27;"}
"""As the standard library's ``html.escape``, which takes a millisecond to import."""


def encodings(secret: str) -> set[str]:
    """``secret`` as it is, and as programs write it; what is too short to be told from ordinary text is left out."""
    raw = secret.encode("utf-8", "surrogatepass")
    found = {secret, quote(raw, safe=""), quote(raw), quote_plus(raw), raw.hex(), raw.hex().upper()}
    found |= {text.replace("%", "%25") for text in (quote(raw, safe=""),)}
    found.add(re.sub(r"%[0-9A-F]{2}", lambda match: match.group().lower(), quote(raw, safe="")))
    plain = json.dumps(secret, ensure_ascii=False)[1:-1]
    found |= {json.dumps(secret)[1:-1], plain, json.dumps(json.dumps(secret)[1:-1])[1:-1]}
    # An API server is a Go program: its JSON escapes what HTML would take for a tag, in both spellings of the rest.
    found |= {_escaped_for_html(text) for text in (json.dumps(secret)[1:-1], plain)}
    found |= {secret.translate(_HTML), secret.translate(_HTML_TEXT), repr(secret)[1:-1]}
    for lead in range(3):
        encoded = base64.b64encode(b"\0" * lead + raw).decode()
        # Drop the characters that also depend on the neighbours: the first (8·lead bits, rounded up) and the last partial one.
        head = -(-8 * lead // 6)
        tail = (len(raw) + lead) * 8 // 6
        core = encoded[head:tail]
        found |= {part for part in (core, core.replace("+", "-").replace("/", "_")) if len(part) >= MIN_ENCODED}
    return {text for text in found if len(text) >= MIN_PART}


def _escaped_for_html(text: str) -> str:
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")

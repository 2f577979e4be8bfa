"""Redaction of a text that comes line by line: what begins on one line and ends on another is a secret on those between, too."""

import re

from services.redaction.redactor import Redactor

LONGEST_BLOCK = 200
"""Lines of a private key at most: a block that never ends is somebody's sentence about keys."""

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END = "-----END "
_HEAD = "-----BEGIN PRIVATE KEY-----"


class LineRedactor:
    """Takes secrets out of the lines of one stream, in their order."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._left = 0
        """Lines that the block under way may still have."""

    def line(self, text: str) -> str:
        """The next line without secrets."""
        within = self._left > 0
        self._left = max(0, self._left - 1)
        if within:
            if _END in text:
                self._left = 0
            return self._redactor.text(_HEAD + text)
        if "-----BEGIN" in text and (begun := _last_begin(text)) is not None and _END not in text[begun:]:
            self._left = LONGEST_BLOCK
        return self._redactor.text(text)


def _last_begin(text: str) -> int | None:
    starts = [found.end() for found in _BEGIN.finditer(text)]
    return starts[-1] if starts else None

"""Versions: semantic versioning 2.0.0, narrowed to what can be an image tag (R2.2)."""

import re

ACCEPTED = "a semantic version such as v1.2.3 or 1.2.3-rc.1, without build metadata (+…), at most 128 characters"
MAX_LENGTH = 128
"""The longest image tag (OCI distribution specification)."""

# The expression published with the specification (semver.org), without build metadata; ASCII digits only.
_IDENTIFIER = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_NUMBER = r"(?:0|[1-9][0-9]*)"
_SEMVER = re.compile(rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_IDENTIFIER}(?:\.{_IDENTIFIER})*)?")


def problem(text: str) -> str:
    """The rule that ``text`` breaks as a version, or nothing where it is one."""
    if not text:
        return "is missing"
    if len(text) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} characters"
    if any(char.isspace() or not char.isprintable() for char in text):
        return "holds white space or control characters"
    if _SEMVER.fullmatch(text):
        return ""
    if "+" in text and _SEMVER.fullmatch(text.partition("+")[0]):
        return "has build metadata, which no image tag can hold"
    return "is not a semantic version"

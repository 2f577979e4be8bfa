"""An entry as a message of syslog (RFC 5424), and how messages stand on a connection (RFC 5425: octet counting)."""

import re
from datetime import UTC, datetime

from services.audit.sinks.base import Record
from services.audit.sinks.summary import Severity, program, severity, stamp, text

BOM = b"\xef\xbb\xbf"
"""Before a message in UTF-8 (RFC 5424, 6.4)."""
_NIL = "-"
_PLAIN = re.compile(r"[!-~]+")
_SEVERITY = {Severity.INFO: 6, Severity.WARNING: 4, Severity.ERROR: 3}


def message(record: Record, *, facility: int, enterprise: int, app_name: str) -> bytes:
    """Number, id and hash are structured data, so that a receiver finds duplicates and gaps without reading the entry."""
    known = {"journal": record.journal, "seq": str(record.seq), "id": record.id, "hash": record.hash}
    parameters = "".join(f' {name}="{escaped(value)}"' for name, value in known.items())
    header = " ".join(
        (
            f"<{facility * 8 + _SEVERITY[severity(record)]}>1",
            stamp(record) or datetime.fromtimestamp(record.timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            printable(program(record, "host"), 255),
            printable(app_name, 48),
            printable(program(record, "pid"), 128),
            printable(text(record, "event"), 32),
            f"[audit@{enterprise}{parameters}]",
        )
    )
    return header.encode("utf-8") + b" " + BOM + record.body


def counted(message_: bytes) -> bytes:
    """``MSG-LEN SP SYSLOG-MSG`` (RFC 5425, 4.3): nothing in a message can end it."""
    return b"%d %s" % (len(message_), message_)


def printable(value: str, longest: int) -> str:
    """A field of the header: printable ASCII without spaces, ``-`` where nothing is left of it."""
    if _PLAIN.fullmatch(value):
        return value[:longest]
    return "".join(char for char in value if "!" <= char <= "~")[:longest] or _NIL


def escaped(value: str) -> str:
    """The value of a parameter (RFC 5424, 6.3.3). A lone surrogate, which has no UTF-8 form, becomes ``?``."""
    safe = value.encode("utf-8", "replace").decode("utf-8")
    return safe.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")

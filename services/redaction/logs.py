"""A log formatter that lets no secret through, tracebacks included."""

import logging
import time

from services.redaction.redactor import Redactor


class RedactingFormatter(logging.Formatter):
    """Formats a record, traceback and all, and redacts the result. One record is one or more lines, UTC."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.redactor = redactor

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return f"{time.strftime(datefmt or '%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        # The standard formatter caches the traceback on the record, where another handler would find it unredacted.
        record.exc_text = None
        return self.redactor.text(text)

"""The configuration as its file has it now: read again whenever the file was changed, by processes that live for days."""

import logging
import os
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.redaction import Redactor
    from services.settings import ConfigurationError, Settings

Stamp = tuple[int, int, int]

log = logging.getLogger(__name__)


class Configured:
    """``settings`` is what ``config`` held when it was read, and ``stamp`` its stamp from before that: what is changed in between
    is read again. May be asked from several threads."""

    def __init__(self, settings: "Settings", config: Path, stamp: Stamp | None, redactor: "Redactor") -> None:
        self._settings = settings
        self._config = config
        self._redactor = redactor
        self._stamp = stamp
        self._refused: ConfigurationError | None = None
        """Why what it holds now can't be used."""
        self._looking = Lock()

    def look(self) -> "Settings":
        """What it holds now. Raises ``ConfigurationError`` where that can't be used."""
        settings, refused = self._looked()
        if refused is not None:
            # Of every asker its own: one that is raised again gathers the frames of all of them.
            raise type(refused)(refused.title, refused.problems, refused.hint)
        return settings

    def usable(self) -> "Settings":
        """The same; where it can't be used, what it held when it could be last."""
        return self._looked()[0]

    def _looked(self) -> "tuple[Settings, ConfigurationError | None]":
        from services.settings import ConfigurationError, load

        with self._looking:
            if (stamp := stamp_of(self._config)) != self._stamp:
                self._stamp = stamp
                try:
                    self._settings, self._refused = load(self._config, redactor=self._redactor), None
                except ConfigurationError as error:
                    self._refused = error.with_traceback(None)
                    log.warning("the changed configuration is not used: %s", error)
            return self._settings, self._refused


def stamp_of(config: Path) -> Stamp | None:
    """What tells that a file was changed; ``None`` where there is none."""
    try:
        found = os.stat(config)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)

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
    """``settings`` is what ``config`` held when it was read. May be asked from several threads."""

    def __init__(self, settings: "Settings", config: Path, redactor: "Redactor") -> None:
        self._settings = settings
        self._config = config
        self._redactor = redactor
        self._stamp = _stamp(config)
        self._refused: ConfigurationError | None = None
        """Why what it holds now can't be used."""
        self._looking = Lock()

    def look(self) -> "Settings":
        """What it holds now. Raises ``ConfigurationError`` where that can't be used."""
        from services.settings import ConfigurationError, load

        with self._looking:
            if (stamp := _stamp(self._config)) != self._stamp:
                self._stamp = stamp
                try:
                    self._settings, self._refused = load(self._config, redactor=self._redactor), None
                except ConfigurationError as error:
                    self._refused = error
                    log.warning("the changed configuration is not used: %s", error)
            if self._refused is not None:
                raise self._refused
            return self._settings

    def usable(self) -> "Settings":
        """The same; where it can't be used, what it held when it could be last."""
        from services.settings import ConfigurationError

        try:
            return self.look()
        except ConfigurationError:
            return self._settings


def _stamp(config: Path) -> Stamp | None:
    """What tells that a file was changed."""
    try:
        found = os.stat(config)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)

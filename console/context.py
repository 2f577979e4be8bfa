"""What a command works with, wired once: redactor → settings → home → log → clock → journal → clusters → operator."""

import argparse
import contextlib
import logging
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from console import output
from console.configured import Configured, Stamp, stamp_of
from services.clock import SystemClock
from services.model.errors import QuarterdeckError, Rejected
from services.model.gates import Person
from services.redaction import Redactor, installation_key

if TYPE_CHECKING:
    from services.audit import Journal
    from services.audit.retention import Policy
    from services.audit.shipping.given import Given
    from services.cluster.calls import CallLog
    from services.cluster.connection import Clusters
    from services.settings import Settings

SHIPPER = "quarterdeck ship"
"""The program that ships entries, as the journal names it."""


class Context:
    """Opened once a command; ``async with Context.open(args) as context`` closes what was used.

    Journal and clusters are opened when they are first asked for. Of ``services`` only the rooms that are used are imported.
    """

    def __init__(
        self,
        *,
        settings: "Settings | None",
        config: Path | None,
        stamp: Stamp | None,
        home: Path,
        redactor: Redactor,
        clock: SystemClock,
        read_only: bool,
        log: Path | None,
    ) -> None:
        self._settings = settings
        self.config = config
        """The configuration file that was read, if any."""
        self.configured = Configured(settings, config, stamp, redactor) if settings is not None and config is not None else None
        """The same as it is now; ``None`` without one."""
        self.home = home
        self.redactor = redactor
        self.clock = clock
        self.read_only = read_only
        self.log = log
        """The log file; ``None`` where the home takes none."""

    @classmethod
    def open(
        cls,
        args: argparse.Namespace,
        *,
        needs_settings: bool = True,
        program: str = "quarterdeck",
        ships: bool = True,
        undoes: bool = False,
    ) -> "Context":
        """Wire a context from the global options and the environment.

        Raises ``Rejected`` or ``ConfigurationError`` (exit 2). Without ``needs_settings`` a missing configuration is fine.
        Without ``ships`` no shipper is started before it is asked for. What ``undoes`` something is stopped by no home that
        can't be written: it says so, and logs to standard error.
        """
        import services.settings as rooms

        redactor = Redactor()
        output.redact_with(redactor)
        config = rooms.find(args.config, os.environ)
        stamp = stamp_of(config)
        settings = rooms.load(config, redactor=redactor) if needs_settings or config.exists() else None
        home = rooms.home(args.home, os.environ, settings)
        log = _furnished(home, redactor, undoes=undoes)
        clock = settings.clock() if settings is not None else SystemClock()
        context = cls(
            settings=settings,
            config=config if settings is not None else None,
            stamp=stamp,
            home=home,
            redactor=redactor,
            clock=clock,
            read_only=bool(args.read_only),
            log=log,
        )
        context._program = program
        context._ships = ships
        return context

    _program = "quarterdeck"
    _ships = True
    _attached = -1

    @property
    def settings(self) -> "Settings":
        """Raises ``Rejected`` where no configuration was needed and none was found."""
        if self._settings is None:
            raise Rejected(
                "configuration", "", "there is none", "--config FILE, QUARTERDECK_CONFIG, or `quarterdeck config init`"
            )
        return self._settings

    def retention(self) -> "Policy":
        """How long the journal is kept, and whose confirmation it takes to end that, as it is configured now. Without a
        configuration as long as by default, and everybody's that it was ever sent to. May be asked from any thread.

        Raises :class:`JournalUnavailable` where the configuration was changed and can't be used."""
        from services.audit.event import JournalUnavailable
        from services.audit.retention import Policy

        if self.configured is None:
            return Policy()
        try:
            return policy_of(self.configured.look())
        except QuarterdeckError as error:
            raise JournalUnavailable("The changed configuration can't be used", f"{error}") from error

    @cached_property
    def journal(self) -> "Journal":
        """The journal of this home. Opening it never fails; ``health`` says whether it takes entries."""
        from services.audit import Journal

        opened = Journal.open(
            self.home / "journal",
            redactor=self.redactor,
            clock=self.clock,
            program=self._program,
            policy=self.retention,
        )
        if self._settings is not None and self._settings.journal.sinks and self._program != SHIPPER:
            self._attach(opened.directory)
            if self._ships:
                self.keep_shipping()
                self.tell_of_another()
        return opened

    def tell_of_another(self) -> None:
        """Say it where the shipper of this home is at work for another configuration: nothing goes to the sinks of this one."""
        from services.audit.shipping.status import SinkState, look

        found = look(self.home / "journal", self.clock.unix(), self.settings.journal.sinks, self.config)
        for sink in found.sinks:
            if found.running and sink.state is SinkState.STOPPED:
                logging.getLogger("quarterdeck.shipping").error("nothing is sent to %s: %s", sink.name, sink.error)
                output.note(f"Nothing is sent to {sink.name}: {sink.error}")

    def _attach(self, directory: Path) -> None:
        """Have no shipper end for as long as entries may come from here."""
        from services.audit.shipping.launch import attach

        try:
            self._attached = attach(directory)
        except OSError:
            logging.getLogger("quarterdeck.shipping").warning("a shipper may end before this process", exc_info=True)

    def keep_shipping(self) -> bool:
        """Have a shipper at work for this home, where there is something to ship to; whether one was started now."""
        if self.configured is None or not self.configured.usable().journal.sinks or self._program == SHIPPER:
            return False
        from services.audit.shipping.launch import ensure

        try:
            return ensure(self.home, self.config, self.given())
        except OSError:
            # Entries are recorded all the same, and sent by the next one; until then they are late for everybody to see.
            logging.getLogger("quarterdeck.shipping").exception("no shipper could be started")
            return False

    def given(self) -> "Given":
        """What a shipper that is started from here has to work with. Only where there is a configuration."""
        from services.audit.shipping.given import given

        settings = self.configured.usable() if self.configured is not None else self.settings
        return given(self.config, settings.journal.sinks, self.redactor.digest)

    @cached_property
    def clusters(self) -> "Clusters":
        from services.cluster.connection import Clusters

        return Clusters(
            self.settings.kubeconfig,
            self.clock,
            on_secret=self.redactor.register,
            loopback_only=self.clock.speed != 1,
            calls=self._calls,
        )

    _calls: "CallLog | None" = None

    def keep_calls(self) -> "CallLog":
        """Keep every call to a cluster that is made from here on, for a person to read; to be asked for before the first."""
        from services.actuator.called import command_of
        from services.cluster.calls import CallLog

        self._calls = CallLog(self.clock, command_of, self.redactor.text)
        return self._calls

    @cached_property
    def login(self) -> str:
        """The login that this process runs under."""
        from services.settings import current_login

        return current_login()

    @cached_property
    def operator(self) -> Person | None:
        """The configured person behind the login; ``None`` where nobody is named."""
        return self.settings.operator(self.login) if self._settings is not None else None

    @property
    def user(self) -> str:
        """Who acts, as the journal names them: the login."""
        return self.operator.login if self.operator else self.login

    async def close(self) -> None:
        """Let go of what was opened; of the journal, once what waits is written, though nobody waits for the connections."""
        try:
            if "clusters" in self.__dict__:
                await self.clusters.close()
        finally:
            if "journal" in self.__dict__:
                self.journal.close()
                if self._attached >= 0:
                    os.close(self._attached)
                    self._attached = -1
                self.keep_shipping()  # what was written last too, should it have ended meanwhile

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


def policy_of(settings: "Settings") -> "Policy":
    """How long the journal is kept by a configuration, and whose confirmation it takes to end that."""
    from services.audit.retention import Policy

    required = [sink for sink in settings.journal.sinks if sink.required]
    return Policy(
        days=settings.journal.retention_days,
        required=tuple(sink.label for sink in required),
        whole=tuple(sink.label for sink in required if sink.whole),
    )


def explicit_home(args: argparse.Namespace | None, env: Mapping[str, str] | None = None) -> Path:
    """The home without a look at any configuration: ``--home``, QUARTERDECK_HOME, else the XDG state directory."""
    env = os.environ if env is None else env
    if given := getattr(args, "home", None) or env.get("QUARTERDECK_HOME"):
        # Answered here, so that reading a journal does not load the whole code for configurations.
        return Path(given).expanduser().absolute()
    import services.settings as rooms

    return rooms.home(None, env, None)


def home_of(args: argparse.Namespace) -> Path:
    """The home for commands that only read it: nothing is made, and with ``--home`` no configuration is looked at."""
    if args.home or os.environ.get("QUARTERDECK_HOME"):
        return explicit_home(args)
    import services.settings as rooms

    config = rooms.find(args.config, os.environ)
    settings = rooms.load(config, redactor=Redactor()) if args.config or config.exists() else None
    return rooms.home(None, os.environ, settings)


def _furnished(home: Path, redactor: Redactor, *, undoes: bool) -> Path | None:
    """Make the home this operator's own, take its key, and log there; the log's path. Raises ``Rejected`` where one of these
    can't be; ``None`` is for what ``undoes`` something, which goes on with what there is."""
    from console import logs

    rule = "can't be made"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = home.stat()
        if found.st_uid != os.geteuid():
            raise Rejected("home", str(home), f"belongs to uid {found.st_uid}", f"a directory of uid {os.geteuid()}")
        if found.st_mode & 0o077:
            rule = f"is open to other users (mode {found.st_mode & 0o7777:o}), and can't be made yours alone"
            home.chmod(0o700)
        rule = "can't be written"
        # Secrets were registered while loading; markers take the installation's key from here on.
        redactor.use_key(installation_key(home))
        return logs.set_up(home, redactor)
    except OSError as error:
        why = f"{rule} ({error.strerror or error})"
        if not undoes:
            raise Rejected("home", str(home), why, "a directory of your own that can be written (--home DIR)") from error
    with contextlib.suppress(OSError):  # without it markers agree within this process only
        redactor.use_key(installation_key(home))
    logs.set_up_without_file(redactor)
    output.note(f"quarterdeck: the home {home} {why}. This goes on all the same; IT IS NOT RECORDED IN THE JOURNAL.")
    return None

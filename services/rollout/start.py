"""Starting a driver: for a new rollout, for one to resume, and for a rollback."""

import contextlib
import errno
import logging
import os
import subprocess
import sys

import msgspec

from services.audit import Event
from services.model.errors import NeedsAttention
from services.model.gates import Checklist
from services.model.objects import Json
from services.model.release import Release
from services.model.rollout import Rollout
from services.model.steps import Plan
from services.rollout import home as homes
from services.rollout import state
from services.rollout.belonging import identity
from services.rollout.events import entry
from services.rollout.intents import private_directory
from services.rollout.station import Station

log = logging.getLogger(__name__)

REFUSAL_EVENTS = (("deployment.approval_checked", "fail"), ("rollout.refused", "gate_unmet"))
"""Event and outcome of the entries about a deploy that its gates held."""
REFUSAL_SECONDS = 2.0
"""Wall seconds that they may take."""
LOG_ROOM = 1024 * 1024
"""Free bytes below which a driver's log goes elsewhere: it has to take what the journal on that disk does not."""


async def start_rollout(
    station: Station, release: Release, plan: Plan, checklist: Checklist, confirmation: str
) -> tuple[Rollout, subprocess.Popen[bytes]]:
    """Journal the start, keep the rollout in the home directory, and start its driver.

    ``confirmation`` is what the operator typed or named. Raises :class:`JournalUnavailable` (nothing has started then) and
    :class:`ValueError` where the checklist is not this plan's or has not passed: both are asked of the gates before.
    """
    if checklist.digest != plan.digest or not checklist.passed:
        raise ValueError("the checklist does not belong to this plan, or has not passed")
    now = station.clock.now()
    rollout = state.begin(
        id=homes.new_id(release.service, now),
        release=release,
        plan=plan,
        checklist=checklist,
        operator=station.user,
        approvers=checklist.approvers,
        created=now,
        pace=station.clock.pace(),
    )
    connection = await station.clusters.connect(release.target.context)
    rollout = msgspec.structs.replace(rollout, cluster=await identity(connection, release.target.namespace))
    parameters: dict[str, Json] = {
        "release": msgspec.to_builtins(release),
        "previous_version": plan.previous_version,
        "images": plan.new_images,
        "digest": plan.digest,
        "confirmation": confirmation,
        "objects": [str(ref) for ref in plan.objects],
        "steps": [{"name": step.name, "command": step.command} for step in plan.steps],
        "read_only": station.read_only,
    }
    started = await station.journal.append(entry(rollout, "deployment.started", outcome="started", data=parameters))
    checked = await station.journal.append(
        entry(
            rollout,
            "deployment.approval_checked",
            outcome="pass",
            data={"gates": msgspec.to_builtins(checklist.results), "digest": checklist.digest},
        )
    )
    rollout = state.journalled(state.journalled(rollout, started.seq), checked.seq)
    homes.write_started(station.home, rollout)
    return rollout, start_driver(station, rollout.id)


def start_driver(
    station: Station,
    rollout_id: str,
    *,
    take_over: bool = False,
    rollback: bool = False,
    resume: bool = False,
    reason: str = "",
    holding: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``quarterdeck drive ID`` apart from this process: own session, own streams. The handle only tells when it ends.

    ``holding`` is a locked descriptor that the driver keeps open for as long as it lives.
    """
    with contextlib.suppress(OSError):  # a home that takes no change: the driver writes over it, or can't write either
        homes.forget_ended(station.home, rollout_id)
    # -P: the modules come from where quarterdeck is installed, never from the directory it happens to be called in.
    command = [sys.executable, "-P", "-m", "console.cli", *_options(station), "drive", rollout_id]
    command += (
        ["--take-over"] * take_over + ["--rollback"] * rollback + ["--resume"] * resume + (["--reason", reason] if reason else [])
    )
    streams = _log_of(station, rollout_id)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=streams,
            stderr=streams,
            start_new_session=True,
            close_fds=True,
            pass_fds=() if holding is None else (holding,),
            cwd="/",
            env=_environment(),
        )
    finally:
        os.close(streams)


def _log_of(station: Station, rollout_id: str) -> int:
    """Where the driver's streams go. Where the home takes no file, beside its socket, since they are the last place for what its
    journal does not take; nowhere where that takes none either: a driver without a log beats none."""
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    try:
        place = homes.directory(station.home, rollout_id)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (room := os.statvfs(place)).f_bavail * room.f_frsize < LOG_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.open(place / "driver.log", flags, 0o600)
    except OSError as error:
        beside = homes.socket_path(station.home, rollout_id).with_suffix(".log")
        try:
            private_directory(beside.parent)
            handle = os.open(beside, flags | os.O_NOFOLLOW, 0o600)
        except (OSError, NeedsAttention):
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        log.warning("the driver of %s writes to %s: %s", rollout_id, beside, error)
        return handle


def _options(station: Station) -> list[str]:
    """The global options by which the driver reads what this process reads."""
    config = ["--config", str(station.config)] if station.config is not None else []
    return [*config, "--home", str(station.home), *(["--read-only"] if station.read_only else [])]


def _environment() -> dict[str, str]:
    # A source tree that is on this process's path through PYTHONPATH has to be on the driver's too, whatever its directory.
    kept = dict(os.environ)
    if "PYTHONPATH" in kept:
        kept["PYTHONPATH"] = os.pathsep.join(os.path.abspath(part) for part in kept["PYTHONPATH"].split(os.pathsep) if part)
    return kept


async def journal_refusal(station: Station, release: Release, checklist: Checklist) -> list[int]:
    """Record that a deploy was attempted and which gates held it; the numbers of the entries that could be written. A journal
    that is away delays 2 s."""
    facts: dict[str, Json] = {
        "gates": msgspec.to_builtins(checklist.results),
        "unmet": [gate.name.value for gate in checklist.unmet],
        "digest": checklist.digest,
        "release": msgspec.to_builtins(release),
    }
    seqs: list[int] = []
    until = station.clock.monotonic() + REFUSAL_SECONDS
    for event, outcome in REFUSAL_EVENTS:
        receipt = await station.journal.append_within(
            Event(
                event=event,
                user=station.user,
                environment=release.target.environment,
                service=release.service,
                version=release.version,
                change_ticket=release.ticket,
                approvers=checklist.approvers,
                outcome=outcome,
                data=facts,
            ),
            max(0.0, until - station.clock.monotonic()),
        )
        if receipt is not None:
            seqs.append(receipt.seq)
    return seqs

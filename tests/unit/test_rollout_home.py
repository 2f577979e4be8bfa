"""What a home directory tells about a rollout: ids, liveness, last words, one rollback at a time, intents."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rollouts import rollout as a_rollout

from services.model.errors import HeldByAnother, NeedsAttention, QuarterdeckError, Rejected
from services.model.rollout import Driver, Rollout
from services.rollout import home as homes
from services.rollout.intents import Answer, Ask, Intent, IntentServer, private_directory, send

NOW = datetime(2026, 11, 22, 20, 58, 3, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


def driven(home: Path, token: str = "t1") -> Rollout:
    driver = Driver(operator="jane", host="here", home=homes.home_id(home), token=token, since=NOW)
    return msgspec.structs.replace(a_rollout(), driver=driver)


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True))
def test_an_id_is_legal_everywhere(service: str) -> None:
    made = homes.new_id(service, NOW)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", made)
    assert len(f"quarterdeck-rollout-{made}") <= 63
    assert homes.directory(Path("/h"), made) == Path("/h/rollouts") / made


def test_ids_sort_by_time_and_differ() -> None:
    first = homes.new_id("payment-service", NOW)
    later = homes.new_id("payment-service", NOW.replace(minute=59))
    assert first < later
    assert len({homes.new_id("payment-service", NOW) for _ in range(50)}) == 50


@pytest.mark.parametrize("bad", ["", "..", "../../etc", "a/b", "A", "-a", "a\n", "x" * 64])
def test_what_is_no_id_never_becomes_a_path(bad: str) -> None:
    with pytest.raises(Rejected) as caught:
        homes.directory(Path("/h"), bad)
    assert caught.value.field == "rollout"


def test_a_rollout_is_kept_for_its_operator_alone(tmp_path: Path) -> None:
    homes.write_started(tmp_path, a_rollout("payment-1"))
    assert homes.read_started(tmp_path, "payment-1") == a_rollout("payment-1")
    assert homes.read_started(tmp_path, "other") is None
    assert (tmp_path / "rollouts/payment-1").stat().st_mode & 0o077 == 0
    assert (tmp_path / "rollouts/payment-1/rollout.json").stat().st_mode & 0o077 == 0


def test_a_driver_is_alive_until_it_closes(tmp_path: Path) -> None:
    rollout = driven(tmp_path)
    assert homes.alive(tmp_path, rollout) is False
    living = homes.Living(tmp_path, rollout.id, "t1")
    assert homes.alive(tmp_path, rollout) is True
    living.close()
    assert homes.alive(tmp_path, rollout) is False


def test_a_killed_driver_is_dead_at_once(tmp_path: Path) -> None:
    rollout = driven(tmp_path)
    code = (
        "import sys, time; from pathlib import Path; from services.rollout.home import Living;"
        f"living = Living(Path({str(tmp_path)!r}), {rollout.id!r}, 't1'); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert homes.alive(tmp_path, rollout) is True
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert homes.alive(tmp_path, rollout) is False


def test_nobody_can_tell_of_another_homes_driver(tmp_path: Path) -> None:
    other = driven(tmp_path / "other")
    assert homes.alive(tmp_path, other) is None
    assert homes.alive(tmp_path, msgspec.structs.replace(other, driver=None)) is None


def test_a_rollout_is_driven_from_the_home_that_started_it_until_a_driver_says_otherwise(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    started = msgspec.structs.replace(a_rollout(), driver=None)
    homes.write_started(here, started)
    assert homes.driven_from(here, started)
    assert not homes.driven_from(there, started)
    assert homes.driven_from(there, driven(there))
    assert not homes.driven_from(here, driven(there))


def test_the_last_words_keep_their_exit_code(tmp_path: Path) -> None:
    homes.write_started(tmp_path, a_rollout("r1"))
    held = HeldByAnother("driven by amira", "Since noon.", "Wait.")
    homes.write_ended(
        tmp_path, "r1", homes.Ended(code=held.exit_code, kind="Held", title=held.title, detail=held.detail, hint=held.hint)
    )
    ended = homes.read_ended(tmp_path, "r1")
    assert ended is not None
    error = ended.error()
    assert isinstance(error, QuarterdeckError)
    assert (error.exit_code, error.title) == (6, "driven by amira")
    homes.forget_ended(tmp_path, "r1")
    assert homes.read_ended(tmp_path, "r1") is None


def test_one_rollback_at_a_time(tmp_path: Path) -> None:
    held = homes.lock_rollback(tmp_path, "r1")
    assert held is not None
    assert homes.lock_rollback(tmp_path, "r1") is None
    # A driver that inherited the lock keeps it when the console lets go.
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(held,)) as driver:
        os.close(held)
        assert homes.lock_rollback(tmp_path, "r1") is None
        driver.communicate(b"\n")
    again = homes.lock_rollback(tmp_path, "r1")
    assert again is not None
    os.close(again)


def test_the_sockets_path_is_short_whatever_the_home(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    assert len(str(homes.socket_path(deep, "r" * 43))) < 100
    assert homes.socket_path(deep, "r1") != homes.socket_path(tmp_path, "r1")


async def test_an_intent_is_answered(tmp_path: Path) -> None:
    heard: list[Ask] = []

    async def handle(ask: Ask) -> Answer:
        heard.append(ask)
        return Answer(ok=True, detail="paused")

    server = IntentServer(tmp_path, "r1", handle)
    await server.open()
    try:
        assert await send(tmp_path, "r1", Ask(intent=Intent.PAUSE, operator="jane")) == Answer(ok=True, detail="paused")
        assert [ask.intent for ask in heard] == [Intent.PAUSE]
    finally:
        await server.close()
    assert not homes.socket_path(tmp_path, "r1").exists()


async def test_a_driver_that_was_started_a_moment_ago_is_waited_for(tmp_path: Path) -> None:
    async def handle(ask: Ask) -> Answer:
        return Answer(ok=True, detail="paused")

    asked = asyncio.create_task(send(tmp_path, "r1", Ask(intent=Intent.PAUSE, operator="jane"), begun=False))
    server = IntentServer(tmp_path, "r1", handle)
    await asyncio.sleep(0)
    await server.open()
    try:
        assert (await asked).ok
    finally:
        await server.close()


async def test_what_is_no_intent_is_told_so(tmp_path: Path) -> None:
    async def handle(ask: Ask) -> Answer:
        raise NeedsAttention("can't now")

    server = IntentServer(tmp_path, "r1", handle)
    await server.open()
    try:
        reader, writer = await asyncio.open_unix_connection(str(homes.socket_path(tmp_path, "r1")))
        writer.write(b'{"intent": "explode", "operator": "x"}\nnot json\n{"intent": "abort", "operator": "x"}\n')
        answers = [msgspec.json.decode(await reader.readline(), type=Answer) for _ in range(3)]
        assert [answer.ok for answer in answers] == [False, False, False]
        assert "can't now" in answers[2].detail
        writer.close()
        await writer.wait_closed()
    finally:
        await server.close()


@pytest.mark.parametrize("begun", [True, False])
async def test_no_driver_is_said_so(tmp_path: Path, begun: bool) -> None:
    with pytest.raises(NeedsAttention) as caught:
        await send(tmp_path, "r1", Ask(intent=Intent.PAUSE, operator="jane"), timeout=0.2, begun=begun)
    assert "take-over" in caught.value.hint


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    with pytest.raises(NeedsAttention):
        private_directory(shared)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(NeedsAttention):
        private_directory(tmp_path / "link")

"""Pod logs, from the bytes to the lines, and followed on the embedded sandbox through broken connections and vanishing pods."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import stop

from services.clock import SystemClock
from services.cluster.connection import Clusters, Connection
from services.cluster.podlogs import LogLine, Resume, Source, Span, Splitter, follow, parsed
from services.redaction import Redactor
from services.redaction.lines import LineRedactor
from services.sandbox.launch import control, running, start_detached
from services.sandbox.podlog import RATE_ANNOTATION
from services.sandbox.remote import Remote

# ---- bytes to lines

BYTES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\xff\x00", b"\x1b[31m", b"x" * 11, b"\r\n", "é".encode()]), max_size=60)


def split(data: bytes, sizes: list[int], longest: int) -> list[tuple[bytes, bool]]:
    splitter, found, place = Splitter(longest), [], 0
    for size in [*sizes, len(data)]:
        found += splitter.feed(data[place : place + size])
        place += size
    return found + splitter.end()


@given(BYTES.map(b"".join), st.lists(st.integers(1, 9), max_size=40), st.integers(1, 20))
def test_lines_are_the_same_however_the_bytes_arrive(data: bytes, sizes: list[int], longest: int) -> None:
    whole = [(line[:longest], len(line) > longest) for line in data.split(b"\n")]
    if not data or data.endswith(b"\n"):
        whole.pop()
    assert split(data, sizes, longest) == whole


def test_a_line_without_an_end_is_shown_and_takes_no_more_room() -> None:
    splitter = Splitter(1000)
    found = [line for _ in range(10_000) for line in splitter.feed(b"y" * 997)]
    assert found == [(b"y" * 1000, True)]
    assert splitter.feed(b"tail\nnext\n") == [(b"next", False)]
    assert len(splitter._rest) == 0


def test_binary_colours_and_stamps() -> None:
    raw = [b"2026-01-01T00:00:00.5Z \x1b[32mINFO\x1b[0m ok\r", b"\x00\xfe\xffno stamp", b"2026-99-99T00:00:00Z bad stamp", b""]
    first, binary, bad, blank = parsed([(line, False) for line in raw], lambda text: text)
    assert (first.text, first.at) == ("INFO ok", datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC).timestamp())
    assert (binary.text, binary.at) == ("\x00��no stamp", None)
    assert (bad.text, bad.at) == ("2026-99-99T00:00:00Z bad stamp", None)
    assert blank.text == ""


def test_a_private_key_over_many_lines_is_taken_out_line_by_line() -> None:
    lines = LineRedactor(Redactor())
    body = ["MIIEowIBAAKCAQEA7", "bWFueSBieXRlcyBvZiBrZXk"]
    told = [
        lines.line(text) for text in ["-----BEGIN RSA PRIVATE KEY-----", *body, "-----END RSA PRIVATE KEY----- and on", "next"]
    ]
    assert not any(part in text for part in body for text in told)
    assert told[-2].endswith(" and on")
    assert told[-1] == "next"
    quoted = LineRedactor(Redactor())
    assert "-----BEGIN" not in quoted.line("found -----BEGIN PRIVATE KEY----- in a file")
    for _ in range(200):
        quoted.line("word")
    assert quoted.line("readable again") == "readable again"


# ---- taken up again

STAMPED = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc")), max_size=40)


@given(STAMPED, st.lists(st.integers(0, 40), min_size=1, max_size=4))
def test_a_log_taken_up_again_has_every_line_once(stamped: list[tuple[int, str]], breaks: list[int]) -> None:
    """Stamps are tenths of seconds here, and may go back a little, as those of two streams of one container do."""
    log = [
        LogLine(word, at=tenth / 10, key=hash((tenth, word))) for tenth, word in sorted(stamped, key=lambda each: each[0] // 10)
    ]
    resume, got = Resume(), []
    for number, end in enumerate([*sorted(breaks), len(log)]):
        asked = resume.params() if number else {}
        since = datetime.fromisoformat(asked["sinceTime"]).timestamp() if asked else 0.0
        served = [line for line in log[:end] if line.at is not None and line.at >= since]
        for line in served:
            got += resume.new([line])
    assert got == log


# ---- on the sandbox


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("sandbox")
    document = start_detached(place, "good", 50.0)
    yield place
    stop(document["pid"])


@pytest.fixture
async def connection(home: Path) -> AsyncIterator[Connection]:
    clusters = Clusters(home / "kubeconfig", SystemClock())
    yield await clusters.connect("dev")
    await clusters.close()


@pytest.fixture
async def remote(home: Path) -> AsyncIterator[Remote]:
    opened = await Remote.open(home / "kubeconfig", "dev")
    yield opened
    await opened.close()


async def pod_of(remote: Remote, service: str, version: str = "") -> Source:
    listed = await remote.call("GET", f"/api/v1/namespaces/dev/pods?labelSelector=app%3D{service}")
    pod = next(found for found in listed["items"] if found["spec"]["containers"][0]["image"].endswith(version))
    return Source("dev", pod["metadata"]["name"], pod["spec"]["containers"][0]["name"], pod["metadata"]["uid"])


async def faults(home: Path, wanted: dict[str, str]) -> None:
    document = running(home)
    assert document is not None
    await asyncio.to_thread(control, document, home, "faults", wanted)


NOW = Span()


class Reader:
    """Follows a log in a task; what came is in ``lines``."""

    def __init__(self, connection: Connection, source: Source, span: Span = NOW) -> None:
        self.lines: list[LogLine] = []
        self.task = asyncio.create_task(self._read(connection, source, span))

    async def _read(self, connection: Connection, source: Source, span: Span) -> None:
        redactor = LineRedactor(Redactor())
        async with aclosing(follow(connection, source, span, SystemClock(), redactor.line)) as batches:
            async for lines in batches:
                self.lines += lines

    async def until(self, there: Callable[[list[LogLine]], bool]) -> None:
        async with asyncio.timeout(20):
            while not there(self.lines):  # noqa: ASYNC110 - the lines come from a server, and nothing tells of them
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @property
    def told(self) -> str:
        return "\n".join(line.text for line in self.lines if line.told)


def written(lines: list[LogLine]) -> list[tuple[float | None, str]]:
    return [(line.at, line.text) for line in lines if not line.told]


async def test_nothing_is_lost_or_doubled_over_broken_connections(home: Path, connection: Connection, remote: Remote) -> None:
    source = await pod_of(remote, "accounts")
    note = {"metadata": {"annotations": {RATE_ANNOTATION: "200"}}}
    await remote.call("PATCH", f"/api/v1/namespaces/dev/pods/{source.pod}", note, content_type="application/merge-patch+json")
    reader = Reader(connection, source)
    try:
        for turn in range(3):
            seen = len(reader.lines)
            await reader.until(lambda lines, seen=seen: len(written(lines)) > seen + 50)
            await faults(home, {"api": "down"})
            await reader.until(lambda lines, turn=turn: reader.told.count("no log:") > turn)
            await faults(home, {"api": ""})
        await reader.until(lambda lines: reader.told.count("here again") >= 3)
        seen = len(reader.lines)
        await reader.until(lambda lines: len(lines) > seen + 50)
    finally:
        await reader.close()
    got = written(reader.lines)
    numbers = [round((at or 0.0) * 200) for at, text in got if "starting" not in text and "listening" not in text]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


async def test_a_pod_that_vanishes_is_told(connection: Connection, remote: Remote) -> None:
    source = await pod_of(remote, "catalog")
    reader = Reader(connection, source)
    try:
        await reader.until(lambda lines: len(lines) > 1)
        await remote.call("DELETE", f"/api/v1/namespaces/dev/pods/{source.pod}")
        await asyncio.wait_for(reader.task, 20)
    finally:
        await reader.close()
    assert reader.lines[-1].text == f"{source.pod} ended: the pod is gone"


async def test_a_container_that_crashes_is_told_and_asked_again(connection: Connection, remote: Remote) -> None:
    source = await pod_of(remote, "recommendations", "rc.1")
    reader = Reader(connection, source)
    try:
        await reader.until(lambda lines: "waits: CrashLoopBackOff" in reader.told)
        assert any("FATAL" in line.text for line in reader.lines)
        assert not reader.task.done()
        assert "here again" not in reader.told
    finally:
        await reader.close()


async def test_the_log_before_a_restart_ends_and_says_so(connection: Connection, remote: Remote) -> None:
    before = Reader(connection, await pod_of(remote, "recommendations", "rc.1"), Span(previous=True))
    await asyncio.wait_for(before.task, 20)
    assert "FATAL" in before.lines[-2].text
    assert "all of the log before its restart" in before.told
    none = Reader(connection, await pod_of(remote, "accounts"), Span(previous=True))
    await asyncio.wait_for(none.task, 20)
    assert none.told.endswith("has not restarted: there is no log from before")
    assert "400" not in none.told


async def test_what_may_not_be_read_is_said_once(home: Path, connection: Connection, remote: Remote) -> None:
    source = await pod_of(remote, "accounts")
    await faults(home, {"api": "forbidden"})
    try:
        reader = Reader(connection, source)
        await asyncio.wait_for(reader.task, 20)
    finally:
        await faults(home, {"api": ""})
    assert len(reader.lines) == 1
    assert "403 Forbidden" in reader.told

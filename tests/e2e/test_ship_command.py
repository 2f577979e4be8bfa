"""``journal ship``, ``journal dlq``, ``config check`` and ``doctor`` as an operator uses them; the server may refuse."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.elastic import Elastic, answered, elastic_beside
from support.processes import alive, eventually, matching, stopped
from support.shipping import entry

from console.cli import main
from services.audit import Journal
from services.clock import SystemClock
from services.redaction import Redactor
from services.sandbox.logstore import Refused

if TYPE_CHECKING:
    from services.audit.shipping.status import ShippingStatus

CONFIG = """\
version: 1
environments: {{dev: {{context: a, namespaces: [dev]}}}}
journal:
  sinks:
    - {{kind: elasticsearch, name: central, url: '{url}', timeout: 20}}
"""


@pytest.fixture
def server() -> Iterator[Elastic]:
    with elastic_beside() as running:
        yield running


@pytest.fixture
def words(tmp_path: Path, server: Elastic) -> list[str]:
    """The global options."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(url=server.url))
    return ["--config", str(config), "--home", str(tmp_path / "home")]


def write(tmp_path: Path, number: int) -> None:
    async def append() -> None:
        journal = Journal.open(tmp_path / "home" / "journal", redactor=Redactor(b"k" * 32), clock=SystemClock())
        await asyncio.gather(*(journal.append(entry(n)) for n in range(number)))
        journal.close()

    (tmp_path / "home").mkdir(exist_ok=True)
    asyncio.run(append())


def answer(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main([*command, "-o", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_once_sends_everything_and_ends_and_status_tells_it(
    tmp_path: Path, words: list[str], server: Elastic, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 30)
    code, before = answer(capsys, *words, "journal", "ship", "--status")
    assert (code, before["running"], before["sinks"][0]["backlog"]) == (0, False, 31)
    assert main([*words, "journal", "ship", "--once"]) == 0
    assert sorted(server.sequences) == list(range(1, 32))
    code, after = answer(capsys, *words, "journal", "ship", "--status")
    (sink,) = after["sinks"]
    assert (code, sink["name"], sink["backlog"], sink["confirmed_seq"], sink["late"]) == (0, "central", 0, 31, False)
    assert main([*words, "journal", "ship", "--status"]) == 0
    assert "central" in capsys.readouterr().out


def test_a_refused_entry_is_listed_exported_and_sent_again(
    tmp_path: Path, words: list[str], server: Elastic, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 5)

    def refuse(index: str, id_: str, source: Any) -> Refused | None:
        return Refused(400, "document_parsing_exception", "no") if id_.endswith(":4") else None

    server.items = refuse
    # The entry about the dead letter itself is sent too.
    assert main([*words, "journal", "ship", "--once"]) == 0
    code, listed = answer(capsys, *words, "journal", "dlq", "list")
    (letter,) = listed["dead_letters"]
    assert (code, letter["sink"], letter["seq"]) == (0, "central", 4)
    assert "document_parsing_exception" in letter["reason"]
    _, exported = answer(capsys, *words, "journal", "dlq", "export")
    assert exported["dead_letters"][0]["entry"]["seq"] == 4
    assert [source["quarterdeck"].get("payload_dropped") for source in server.sources if source["event"]["sequence"] == 4] == [
        True
    ]
    assert main([*words, "journal", "dlq", "retry"]) == 1
    server.items = lambda index, id_, source: None
    cursor = tmp_path / "home" / "journal" / "cursors" / "central.json"
    come = cursor.rename(cursor.with_suffix(".aside"))
    code, waiting = answer(capsys, *words, "journal", "dlq", "retry")
    assert (code, "still on its way" in waiting["retried"][0]["detail"]) == (1, True)
    come.rename(cursor)
    capsys.readouterr()
    assert main([*words, "journal", "dlq", "retry", "central"]) == 0
    assert capsys.readouterr().out == "central: entry 4 was taken\n"
    assert answer(capsys, *words, "journal", "dlq", "list")[1] == {"dead_letters": []}
    (there,) = [source for source in server.sources if source["event"]["sequence"] == 4]
    assert "payload_dropped" not in there["quarterdeck"], "the substitute that stood in for it is taken back"
    assert main([*words, "journal", "dlq", "retry", "nobody"]) == 2
    code, unknown = answer(capsys, *words, "journal", "dlq", "list", "nobody")
    assert (code, unknown["reason"]["name"]) == (2, "sink")
    assert main([*words, "journal", "dlq", "list", "central"]) == 0


def test_each_way_to_send_gives_one_document(
    tmp_path: Path, words: list[str], server: Elastic, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 5)
    server.always = answered(403)
    code, held = answer(capsys, *words, "journal", "ship", "--once")
    (sink,) = held["sinks"]
    assert (code, held["outcome"], sink["name"], sink["not_taken"] >= 5, sink["state"]) == (1, "failed", "central", True, "held")
    assert "403" in sink["error"]
    server.always = None
    server.items = lambda index, id_, source: Refused(400, "document_parsing_exception", "no") if id_.endswith(":4") else None
    code, sent = answer(capsys, *words, "journal", "ship", "--once")
    assert (code, sent["outcome"], sent["sinks"][0]["not_taken"]) == (0, "done", 0)
    code, refused = answer(capsys, *words, "journal", "dlq", "retry")
    (one,) = refused["retried"]
    assert (code, refused["outcome"], one["sink"], one["seq"], one["taken"]) == (1, "failed", "central", 4, False)
    assert "document_parsing_exception" in one["detail"]
    server.items = lambda index, id_, source: None
    code, taken = answer(capsys, *words, "journal", "dlq", "retry")
    assert (code, taken["outcome"], [one["taken"] for one in taken["retried"]]) == (0, "done", [True])
    assert answer(capsys, *words, "journal", "dlq", "retry") == (0, {"outcome": "done", "retried": []})
    again = answer(capsys, *words, "journal", "ship", "--again", "central")
    assert again == (0, {"outcome": "done", "sink": "central", "running": False})


def test_an_observer_sends_and_changes_nothing(
    tmp_path: Path, words: list[str], server: Elastic, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 5)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for refused in (
        ("ship",),
        ("ship", "--once"),
        ("ship", "--again", "central"),
        ("dlq", "retry"),
        ("retain",),
        ("acknowledge", "--reason", "seen"),
    ):
        code, told = answer(capsys, *words, "--read-only", "journal", *refused)
        assert (code, told["outcome"], told["reason"]["name"]) == (2, "rejected", "read_only"), refused
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert server.sequences == []
    for read in (("ship", "--status"), ("dlq", "list"), ("dlq", "export"), ("retain", "--dry-run"), ("list",), ("verify",)):
        assert answer(capsys, *words, "--read-only", "journal", *read)[0] == 0, read


class Killed(BaseException):
    """The process is no more."""


@pytest.mark.parametrize("between", ["the substitute", "the letter"])
def test_whoever_is_killed_while_an_entry_is_sent_again_loses_none_and_leaves_no_substitute(
    tmp_path: Path,
    words: list[str],
    server: Elastic,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    between: str,
) -> None:
    from services.audit.shipping import deadletters
    from services.audit.sinks.elasticsearch import ElasticsearchSink

    write(tmp_path, 5)
    server.items = lambda index, id_, source: Refused(400, "document_parsing_exception", "no") if id_.endswith(":4") else None
    assert main([*words, "journal", "ship", "--once"]) == 0
    server.items = lambda index, id_, source: None

    def killed(*args: Any, **more: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if between == "the substitute":
            patched.setattr(ElasticsearchSink, "withdraw", killed)
        else:
            patched.setattr(deadletters, "add", killed)
        with pytest.raises(Killed):
            main([*words, "journal", "dlq", "retry"])
    assert [one["seq"] for one in answer(capsys, *words, "journal", "dlq", "list")[1]["dead_letters"]] == [4]
    assert main([*words, "journal", "dlq", "retry"]) == 0
    assert answer(capsys, *words, "journal", "dlq", "list")[1] == {"dead_letters": []}
    (there,) = [source for source in server.sources if source["event"]["sequence"] == 4]
    assert "payload_dropped" not in there["quarterdeck"]


def test_a_substitute_that_cant_be_taken_back_is_told_of(
    tmp_path: Path, words: list[str], server: Elastic, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 5)
    refused = Refused(400, "document_parsing_exception", "no")
    server.items = lambda index, id_, source: refused if id_.endswith(":4") else None
    assert main([*words, "journal", "ship", "--once"]) == 0
    forbidden = Refused(403, "security_exception", "may only create")
    server.items = lambda index, id_, source: forbidden if id_.endswith(":substitute") else None
    capsys.readouterr()
    assert main([*words, "journal", "dlq", "retry"]) == 0
    said = capsys.readouterr().out
    assert "entry 4 was taken; the substitute that stood in for it stays" in said
    assert "may only create" in said
    assert server.sequences.count(4) == 2


def test_a_cursor_can_be_moved_away_to_send_everything_again(tmp_path: Path, words: list[str], server: Elastic) -> None:
    write(tmp_path, 3)
    assert main([*words, "journal", "ship", "--once"]) == 0
    server.documents.drop(server.documents.indices[0])
    assert main([*words, "journal", "ship", "--again", "nobody"]) == 2
    assert main([*words, "journal", "ship", "--again", "central"]) == 0
    assert main([*words, "journal", "ship", "--once"]) == 0
    assert sorted(server.sequences) == [1, 2, 3, 4]


def test_config_check_and_doctor_find_a_sink_that_would_take_nothing(
    tmp_path: Path, words: list[str], server: Elastic, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(capsys, *words, "config", "check") == (0, {"ok": True, "file": words[1], "problems": []})
    server.always = answered(401)
    code, refused = answer(capsys, *words, "config", "check")
    (problem,) = refused["problems"]
    assert (code, problem["key"], problem["line"]) == (2, "journal.sinks[0]", 5)
    assert "401" in problem["problem"]
    assert main([*words, "config", "check", "--offline"]) == 0
    _, examined = answer(capsys, *words, "doctor")
    (found,) = [finding for finding in examined["checks"] if finding["name"] == "sink central"]
    assert "401" in found["found"]
    server.always = None
    _, examined = answer(capsys, *words, "doctor")
    (found,) = [finding for finding in examined["checks"] if finding["name"] == "sink central"]
    assert "takes entries" in found["found"]
    assert not (tmp_path / "home").exists(), "doctor leaves a home as it found it"


def test_without_a_sink_there_is_nothing_to_ship(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("version: 1\nenvironments: {dev: {context: a, namespaces: [dev]}}\n")
    words = ["--config", str(config), "--home", str(tmp_path / "home")]
    assert main([*words, "journal", "ship"]) == 2
    assert answer(capsys, *words, "journal", "ship", "--status") == (
        0,
        {"running": False, "pid": None, "updated": None, "lag_seconds": 0.0, "note": "", "sinks": []},
    )


def shipper(words: list[str], *more: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "console.cli", *words, "journal", "ship", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_one_process_ships_a_home_follows_its_configuration_and_ends_when_told(
    tmp_path: Path, words: list[str], server: Elastic, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 2)
    first = shipper(words)
    try:
        eventually("the entries there", lambda: len(server.sequences) == 3 or None)
        second = shipper(words)
        _, said = second.communicate(timeout=30)
        assert second.returncode == 6
        assert b"ships" in said
        with elastic_beside() as other:
            Path(words[1]).write_text(CONFIG.format(url=other.url).replace("central", "moved"))
            eventually("the new sink served", lambda: len(other.sequences) == 3 or None)
        first.send_signal(signal.SIGTERM)
        assert first.wait(30) == 0
    finally:
        first.kill()
        first.communicate()


def test_once_beside_another_waits_for_what_was_written_a_moment_ago(
    tmp_path: Path, words: list[str], server: Elastic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other's word is a second old: it is held here at a word from before the entry."""
    from services.audit.shipping import status

    write(tmp_path, 2)
    first = shipper(words)
    whole = status.look

    def look(*given: Any) -> status.Shipping:
        try:
            return whole(*given)
        finally:
            first.send_signal(signal.SIGCONT)

    monkeypatch.setattr(status, "look", look)
    try:
        for number in range(2):
            eventually("all is taken", lambda n=number: taken(tmp_path, 3 + n))
            stopped(first.pid)
            said = taken(tmp_path, 3 + number)  # its last word: until it was stopped it said one every second
            assert said
            write(tmp_path, 1)
            assert said == status.read(tmp_path / "home" / "journal"), "nothing is told of the new entry"
            assert main([*words, "journal", "ship", "--once"]) == 0
            assert len(server.sequences) == 4 + number
    finally:
        first.kill()
        first.communicate()


def taken(tmp_path: Path, last: int) -> "ShippingStatus | None":
    """What the shipper says, once it says that everything was taken."""
    from services.audit.shipping.status import read

    said = read(tmp_path / "home" / "journal")
    return said if said and said.sinks and said.sinks[0].acked_seq == last and not said.sinks[0].backlog else None


def test_a_second_configuration_on_one_home_is_told_that_nothing_goes_to_its_sinks(
    tmp_path: Path, words: list[str], server: Elastic, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 2)
    first = shipper(words)
    try:
        eventually("the entries there", lambda: taken(tmp_path, 3))
        with elastic_beside() as other:
            config = tmp_path / "other.yaml"
            config.write_text(CONFIG.format(url=other.url))
            others = ["--config", str(config), *words[2:]]
            second = shipper(others)
            _, said = second.communicate(timeout=30)
            assert second.returncode == 6
            assert f"ships this home by the configuration {words[1]}, which has another sink of this name".encode() in said
            code, told = answer(capsys, *others, "journal", "ship", "--status")
            assert (code, told["sinks"][0]["state"]) == (5, "stopped")
            assert answer(capsys, *words, "journal", "ship", "--status")[0] == 0
            # Whoever writes by the other one hears of it, too.
            command = [sys.executable, "-m", "console.cli", *others, "journal", "acknowledge", "--reason", "nothing to see"]
            ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
            assert b"Nothing is sent to central: process" in ended.stderr
            assert other.sequences == []
    finally:
        first.kill()
        first.communicate()


def test_a_shipper_whose_secret_was_renewed_is_replaced_by_one_that_has_it(
    tmp_path: Path, words: list[str], server: Elastic
) -> None:
    config = Path(words[1])
    config.write_text(config.read_text().replace("timeout: 20", "timeout: 20, token: 'env:SHIP_TOKEN'"))
    server.authorization = "Bearer renewed-token"
    write(tmp_path, 2)

    def command(token: str) -> None:
        """A command that writes, in an environment with that token, and is over at once."""
        words_ = [sys.executable, "-m", "console.cli", *words, "journal", "acknowledge", "--reason", "nothing to see"]
        subprocess.run(words_, capture_output=True, timeout=60, check=False, env={**os.environ, "SHIP_TOKEN": token})

    def shippers() -> set[int]:
        return set(matching("journal", "ship", tmp_path / "home"))

    try:
        command("revoked-token")
        eventually("it is held", lambda: held(tmp_path) or None)
        before = shippers()
        command("")
        assert shippers() == before, "who has no token replaces nobody"
        command("another-revoked-token")
        eventually("the old one gone", lambda: not before & shippers() or None)
        eventually("it is held as well", lambda: held(tmp_path, *shippers()) or None)
        before = shippers()
        for token in ("revoked-token", "another-revoked-token"):
            command(token)
            assert shippers() == before, "what was tried is not tried again"
        command("renewed-token")
        eventually("the entries there", lambda: len(server.sequences) >= 3 or None)
        eventually("the old one gone", lambda: not before & shippers() or None)
        eventually("it says so", lambda: not held(tmp_path) or None)  # until then there is the last word of the one before
        command("revoked-token")
        assert not held(tmp_path), "what works is not replaced"
        assert "renewed-token" not in (tmp_path / "home" / "journal" / "shipping.json").read_text()
    finally:
        for pid in shippers():
            os.kill(pid, signal.SIGKILL)


def held(tmp_path: Path, *by: int) -> bool:
    """Whether the shipper says so, where given one of these processes."""
    from services.audit.shipping.status import SinkState, read

    said = read(tmp_path / "home" / "journal")
    return bool(said and said.sinks and said.sinks[0].state is SinkState.HELD and (not by or said.pid in by))


def test_everything_is_sent_again_while_a_shipper_is_at_work(tmp_path: Path, words: list[str], server: Elastic) -> None:
    write(tmp_path, 3)
    command = [sys.executable, "-m", "console.cli", *words, "journal", "acknowledge", "--reason", "nothing to see"]
    subprocess.run(command, capture_output=True, timeout=60, check=False)
    try:
        eventually("the entries there", lambda: len(server.sequences) >= 4 or None)
        eventually("it says so", lambda: taken(tmp_path, 4))  # who has said nothing yet can't be told to end
        before = matching("journal", "ship", tmp_path / "home")
        server.documents.drop(server.documents.indices[0])
        assert main([*words, "journal", "ship", "--again", "central"]) == 0
        eventually("all of them there again", lambda: sorted(server.sequences)[:4] == [1, 2, 3, 4] or None)
        eventually("the old one gone", lambda: not set(before) & set(matching("journal", "ship", tmp_path / "home")) or None)
    finally:
        for pid in matching("journal", "ship", tmp_path / "home"):
            os.kill(pid, signal.SIGKILL)


def test_what_is_written_while_an_idle_shipper_ends_is_sent_all_the_same(
    tmp_path: Path, words: list[str], server: Elastic, monkeypatch: pytest.MonkeyPatch
) -> None:
    from console.commands import ship
    from services.audit.shipping import launch

    monkeypatch.setattr(launch, "IDLE_SECONDS", 0.5)
    whole, ended = ship._run, []

    async def run(*given: Any) -> int | None:
        code = await whole(*given)
        if not ended:
            await asyncio.to_thread(write, tmp_path, 1)
        ended.append(code)
        return code

    monkeypatch.setattr(ship, "_run", run)
    write(tmp_path, 2)
    assert main([*words, "journal", "ship", "--until-idle"]) == 0
    assert ended == [None, None]
    assert len(server.sequences) == 4


def test_whoever_writes_starts_a_shipper_that_outlives_it(tmp_path: Path, words: list[str], server: Elastic) -> None:
    write(tmp_path, 1)
    # A command that writes an entry, and is over at once.
    command = [sys.executable, "-m", "console.cli", *words, "journal", "acknowledge", "--reason", "nothing to see"]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert b"nothing to acknowledge" in ended.stderr.lower()
    (pid,) = eventually("a shipper at work", lambda: matching("journal", "ship", tmp_path / "home") or None)
    try:
        assert os.getsid(pid) == pid, "a session of its own"
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        eventually("the entries there", lambda: len(server.sequences) >= 2 or None)
        os.kill(pid, signal.SIGKILL)
        eventually("it is gone", lambda: not alive(pid) or None)
        write(tmp_path, 1)
        subprocess.run(command, capture_output=True, timeout=60, check=False)
        eventually("the next entry there", lambda: len(server.sequences) >= 3 or None)
    finally:
        for pid in matching("journal", "ship", tmp_path / "home"):
            os.kill(pid, signal.SIGKILL)

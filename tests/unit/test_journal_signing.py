"""Checkpoints: what the chain alone can't show, they do; what they can't show either, a copy elsewhere does."""

import asyncio
import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from support.clock import ManualClock

from services.audit import Event, Journal
from services.audit.checkpoint import Signer
from services.audit.place import Disk
from services.audit.verify import verify
from services.redaction import Redactor

SEGMENT = "seg/000000000001.jsonl"


def write(directory: Path, entries: int) -> None:
    async def scenario() -> None:
        journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=ManualClock())
        for n in range(entries):
            await journal.append(Event(event="deployment.executed", user="jane", data={"n": n}))
        journal.close()

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signed at entries 5 and 9."""
    directory = tmp_path_factory.mktemp("sample") / "journal"
    write(directory, 4)
    write(directory, 4)
    return directory


def notes(directory: Path) -> list[str]:
    return [json.loads(line)["note"] for line in (directory / "checkpoints").read_bytes().splitlines()]


def lines_of(directory: Path) -> list[bytes]:
    return (directory / SEGMENT).read_bytes().splitlines(keepends=True)


def put(directory: Path, lines: list[bytes]) -> None:
    (directory / SEGMENT).write_bytes(b"".join(lines))


def chained(bodies: list[bytes]) -> list[bytes]:
    previous, made = b"0" * 64, []
    for body in bodies:
        previous = hashlib.sha256(b"audit-v1\0" + previous + body).hexdigest().encode()
        made.append(previous + b"\t" + body + b"\n")
    return made


def test_a_checkpoint_is_a_signed_note_that_reads_without_us(sample: Path) -> None:
    name, identity, public = (sample / "checkpoint.pub").read_text().strip().split("+", 2)
    raw = base64.b64decode(public)
    note = notes(sample)[-1]
    text, _, signature = note.rpartition("\n\n")
    origin, size, root, at = text.split("\n")
    assert origin == name == f"quarterdeck.journal/{(sample / 'journal.id').read_text().strip()}"
    assert (size, base64.b64decode(root).hex().encode()) == ("9", lines_of(sample)[-1][:64])
    assert at == "at 2026-01-01T00:00:00.000000Z"
    dash, signer, encoded = signature.strip("\n").split(" ")
    assert (dash, signer) == ("—", name)
    assert base64.b64decode(encoded)[:4].hex() == identity
    assert hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] == identity
    Ed25519PublicKey.from_public_bytes(raw[1:]).verify(base64.b64decode(encoded)[4:], f"{text}\n".encode())
    assert (sample / "checkpoint.key").stat().st_mode & 0o777 == 0o600


def test_what_is_signed_is_told(sample: Path) -> None:
    found = verify(sample)
    assert (found.ok, found.signed, found.last) == (True, 9, 9)
    assert found.key == (sample / "checkpoint.pub").read_text().strip()


def cut(directory: Path) -> None:
    put(directory, lines_of(directory)[:-2])


def all_cut(directory: Path) -> None:
    put(directory, lines_of(directory)[:3])


def written_anew(directory: Path) -> None:
    """An entry changed, and everything after it hashed again: the chain holds."""
    bodies = [line[65:-1] for line in lines_of(directory)]
    bodies[2] = bodies[2].replace(b'"user":"jane"', b'"user":"joan"')
    put(directory, chained(bodies))


def shortened(directory: Path) -> None:
    """The last entry but one taken out, and everything hashed again."""
    bodies = [line[65:-1] for line in lines_of(directory)]
    put(directory, chained([*bodies[:7], bodies[8].replace(b'"seq":9', b'"seq":8')]))


def another_root(directory: Path) -> None:
    path = directory / "checkpoints"
    root = base64.b64encode(bytes.fromhex(lines_of(directory)[3][:64].decode()))
    old = base64.b64encode(bytes.fromhex(lines_of(directory)[4][:64].decode()))
    path.write_bytes(path.read_bytes().replace(old, root))


def another_key(directory: Path) -> None:
    other = directory.parent / "other"
    write(other, 1)
    (other / "checkpoint.pub").replace(directory / "checkpoint.pub")


def swapped(directory: Path) -> None:
    path = directory / "checkpoints"
    path.write_bytes(b"".join(reversed(path.read_bytes().splitlines(keepends=True))))


def no_note(directory: Path) -> None:
    path = directory / "checkpoints"
    path.write_bytes(b"[]\n" + path.read_bytes())


def no_form(directory: Path) -> None:
    path = directory / "checkpoints"
    path.write_bytes(b'{"note":"hello"}\n' + path.read_bytes())


def cut_with_all_checkpoints(directory: Path) -> None:
    cut(directory)
    (directory / "checkpoints").unlink()


def anew_with_no_checkpoint(directory: Path) -> None:
    written_anew(directory)
    (directory / "checkpoints").write_bytes(b"")


def anew_without_the_last_line_feed(directory: Path) -> None:
    written_anew(directory)
    path = directory / "checkpoints"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0][:-1])


def anew_without_public_key(directory: Path) -> None:
    anew_with_no_checkpoint(directory)
    (directory / "checkpoints").unlink()
    (directory / "checkpoint.pub").unlink()


def anew_without_key(directory: Path) -> None:
    anew_with_no_checkpoint(directory)
    (directory / "checkpoints").unlink()
    (directory / "checkpoint.key").unlink()


def no_public_key(directory: Path) -> None:
    (directory / "checkpoint.pub").unlink()


def another_own_key(directory: Path) -> None:
    (directory / "checkpoint.key").write_bytes(b"k" * 32)


def torn_in_the_middle(directory: Path) -> None:
    path = directory / "checkpoints"
    path.write_bytes(path.read_bytes().replace(b'\\n"}\n', b'\\n"\n', 1))


def more_behind_the_last(directory: Path) -> None:
    path = directory / "checkpoints"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    ("tamper", "kind", "seq"),
    [
        (cut, "tail-cut", 9),
        (all_cut, "tail-cut", 5),
        (written_anew, "not-as-signed", 5),
        (shortened, "tail-cut", 9),
        (another_root, "bad-signature", 5),
        (another_key, "other-key", 5),
        (swapped, "checkpoint-order", 5),
        (no_note, "bad-checkpoint", None),
        (no_form, "bad-checkpoint", None),
        (cut_with_all_checkpoints, "unsigned", None),
        (anew_with_no_checkpoint, "unsigned", None),
        (anew_without_the_last_line_feed, "not-as-signed", 5),
        (anew_without_public_key, "unsigned", None),
        (anew_without_key, "unsigned", None),
        (no_public_key, "unsigned", None),
        (another_own_key, "other-key", None),
        (torn_in_the_middle, "bad-checkpoint", None),
        (more_behind_the_last, "bad-checkpoint", None),
    ],
)
def test_each_is_named(sample: Path, tmp_path: Path, tamper: Callable[[Path], None], kind: str, seq: int | None) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    tamper(directory)
    first = verify(directory).problems[0]
    assert (first.kind, first.seq) == (kind, seq)


def test_every_bit_of_the_checkpoints_flipped_is_detected(sample: Path, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    good = (sample / "checkpoints").read_bytes()
    good = good[: good.index(b"\n") + 1]
    (directory / "checkpoints").write_bytes(good)
    assert verify(directory).signed == 5
    for bit in range(len(good) * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        (directory / "checkpoints").write_bytes(bytes(bad))
        assert not verify(directory).ok, bit


def test_a_rewrite_with_a_new_key_shows_against_the_key_kept_elsewhere(sample: Path, tmp_path: Path) -> None:
    kept = (sample / "checkpoint.pub").read_text().strip()
    forged = tmp_path / "journal"
    write(forged, 8)
    shutil.copy(sample / "journal.id", forged / "journal.id")
    assert {problem.kind for problem in verify(forged, key=kept).problems} >= {"other-key"}


def test_what_was_cut_with_its_checkpoints_shows_against_a_witness(sample: Path, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    witnessed = [(number, line[:64].decode()) for number, line in enumerate(lines_of(directory), start=1)]
    assert verify(directory, witnessed=witnessed).ok
    put(directory, lines_of(directory)[:-2])
    (directory / "checkpoints").write_bytes((directory / "checkpoints").read_bytes().splitlines(keepends=True)[0])
    assert verify(directory).ok
    found = verify(directory, witnessed=witnessed)
    assert [(problem.kind, problem.seq) for problem in found.problems] == [("not-as-witnessed", 8), ("not-as-witnessed", 9)]


async def test_long_work_is_signed_on_the_way(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=ManualClock())
    for n in range(250):
        await journal.append(Event(event="deployment.executed", user="jane", data={"n": n}))
    journal.close()
    assert [int(note.split("\n")[1]) for note in notes(tmp_path / "journal")] == [100, 200, 251]
    assert verify(tmp_path / "journal").ok


async def test_silence_is_signed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.audit.writer.HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr("services.audit.signing.SIGN_SECONDS", 0.02)
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=ManualClock())
    await journal.append(Event(event="deployment.executed", user="jane"))
    for _ in range(2000):
        if (tmp_path / "journal" / "checkpoints").exists() and len(notes(tmp_path / "journal")) >= 3:
            break
        await asyncio.sleep(0.01)
    journal.close()
    assert len(notes(tmp_path / "journal")) >= 3
    assert {note.split("\n")[1] for note in notes(tmp_path / "journal")} == {"2"}


@pytest.mark.parametrize("content", [b"short", b"k" * 32])
async def test_a_key_that_cannot_be_used_stops_no_entry_and_is_told(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=ManualClock())
    key = tmp_path / "journal" / "checkpoint.key"
    key.write_bytes(content)
    key.chmod(0o644)
    await journal.append(Event(event="deployment.executed", user="jane"))
    journal.close()
    assert "open to others" in caplog.text
    found = verify(tmp_path / "journal")
    assert (found.signed, found.entries, [problem.kind for problem in found.problems]) == (None, 2, ["unsigned"])


def test_part_of_a_checkpoint_is_an_interrupted_write(sample: Path, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    shutil.copytree(sample, directory)
    path = directory / "checkpoints"
    path.write_bytes(path.read_bytes() + b'{"note":"quarterdeck.jour')
    assert verify(directory).ok
    write(directory, 2)
    found = verify(directory)
    assert (found.problems, found.signed) == ((), 11)


def bodies_of(directory: Path) -> list[bytes]:
    return [line[65:-1] for line in lines_of(directory)]


def without_what_signs(directory: Path) -> None:
    for name in ("checkpoints", "checkpoint.pub", "checkpoint.key"):
        (directory / name).unlink()


async def test_a_long_journal_without_any_checkpoint_is_named(tmp_path: Path) -> None:
    """All that signs taken away, and an entry written anew."""
    directory = tmp_path / "journal"
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=ManualClock())
    for n in range(250):
        await journal.append(Event(event="deployment.executed", user="jane", data={"n": n}))
    journal.close()
    without_what_signs(directory)
    written_anew(directory)
    (problem,) = verify(directory).problems
    assert (problem.kind, problem.seq) == ("unsigned", 1)
    assert "entries 1 to 251 are not signed: there is no checkpoint" in problem.detail


async def test_a_journal_of_some_time_without_any_checkpoint_is_named(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock)
    for n in range(5):
        await journal.append(Event(event="deployment.executed", user="jane", data={"n": n}))
        await clock.advance(9)
    journal.close()
    assert verify(directory).ok
    without_what_signs(directory)
    (problem,) = verify(directory).problems
    assert (problem.kind, problem.seq) == ("unsigned", 1)
    assert "written over 36 s" in problem.detail


async def test_the_newest_checkpoints_taken_away_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=ManualClock())
    for n in range(350):
        await journal.append(Event(event="deployment.executed", user="jane", data={"n": n}))
    journal.close()
    path = directory / "checkpoints"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    bodies = bodies_of(directory)
    bodies[200] = bodies[200].replace(b'"user":"jane"', b'"user":"joan"')
    put(directory, chained(bodies))
    (problem,) = verify(directory).problems
    assert (problem.kind, problem.seq) == ("unsigned", 101)
    assert "the newest checkpoint covers entry 100" in problem.detail


async def test_entries_that_keep_coming_are_signed_in_time(tmp_path: Path) -> None:
    """No quiet moment, and fewer than a hundred: the oldest waits ten seconds all the same."""
    clock = ManualClock()
    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=clock)
    for n in range(10):
        await clock.advance(4)
        await journal.append(Event(event="deployment.executed", user="jane", data={"n": n}))
    # the writer signs what is due once it has answered: with its next answer all that was due before is signed
    await journal.append(Event(event="deployment.executed", user="jane"))
    signed = [int(note.split("\n")[1]) for note in notes(tmp_path / "journal")]
    assert len(signed) >= 2
    assert max(signed) >= 8
    assert verify(tmp_path / "journal").ok
    journal.close()


def killed_before_it_signed(directory: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        with monkeypatch.context() as patched:
            patched.setattr("services.audit.writer.Writer._sign", lambda self, ending: None)
            journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock)
            await journal.append(Event(event="deployment.executed", user="jane"))
            journal.close()

    asyncio.run(scenario())


async def test_what_killed_processes_left_is_signed_before_it_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    for seconds in (0.0, 6.0, 6.0, 6.0, 3600.0, 6.0, 6.0, 6.0):
        await clock.advance(seconds)
        await asyncio.to_thread(killed_before_it_signed, directory, clock, monkeypatch)
        assert verify(directory).problems == ()
    assert verify(directory).signed is not None


@pytest.mark.parametrize("at", range(11))
async def test_a_first_signing_that_is_interrupted_leaves_no_false_alarm(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the last file operation before the end is: nothing is called unsigned, and the next start goes on."""

    class Gone(BaseException):
        pass

    class Ending(Disk):
        left = 10**9

        def _one(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise Gone

        def write(self, descriptor: int, content: memoryview) -> int:
            self._one()
            return super().write(descriptor, content)

        def sync(self, descriptor: int) -> None:
            self._one()
            super().sync(descriptor)

        def sync_directory(self, path: Path) -> None:
            self._one()
            super().sync_directory(path)

    directory, disk = tmp_path / "journal", Ending()
    await asyncio.to_thread(killed_before_it_signed, directory, ManualClock(), monkeypatch)
    disk.left = at
    signing = ((directory / "journal.id").read_text().strip(), 2, lines_of(directory)[-1][:64].decode())
    with suppress(Gone):
        Signer(directory, disk=disk).sign(*signing, "2026-01-01T00:00:00.000000Z")
    assert (disk.left < 0) == (at < 10)
    assert verify(directory).problems == ()
    await asyncio.to_thread(write, directory, 1)
    found = verify(directory)
    assert (found.problems, found.signed) == ((), 3)


def test_checkpoints_that_can_not_be_read_keep_no_entry_out_and_end_no_writer(tmp_path: Path) -> None:
    """Signing is bookkeeping: what it meets is logged, by a running journal and by one that begins."""
    directory = tmp_path / "journal"

    async def scenario() -> None:
        clock = ManualClock()
        for _ in range(2):
            journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock)
            for n in range(3 * 100):
                async with asyncio.timeout(20):
                    await journal.append(Event(event="deployment.executed", user="jane", data={"n": n}))
                if n == 10 and not (directory / "checkpoints").is_dir():
                    (directory / "checkpoints").unlink(missing_ok=True)
                    (directory / "checkpoints").mkdir()
            assert journal.health.ok
            journal.close()

    asyncio.run(scenario())
    assert sum(json.loads(line.partition(b"\t")[2])["event"] == "deployment.executed" for line in lines_of(directory)) == 600

"""Sealed segments on their way into a bucket: each whole and once, whatever happens, and nothing late that is not sealed yet."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.bucket import KEYS, Bucket, error
from support.shipping import QuickClock, shipping
from support.sinks import cut, lost, serving, status, swallowed

from services.audit import Journal, chain
from services.audit.packed import pack
from services.audit.segments import segments
from services.audit.shipping import cursor as cursors
from services.audit.shipping.status import SinkState, look
from services.audit.sinks.s3 import S3Archive
from services.clock import SystemClock
from services.redaction import Redactor
from services.settings.sinks import S3


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "MAX_SEGMENT", 30_000)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def section(fake: Bucket) -> S3:
    known = {"kind": "s3", "url": fake.url, "bucket": "trail", "access_key": "env:QD_ACCESS", "secret_key": "env:QD_SECRET"}
    return S3.model_validate_json(json.dumps({**known, "timeout": 1, "upload_timeout": 2}))


def archive(fake: Bucket) -> Any:
    return S3Archive(section(fake), secrets=Redactor(), clock=SystemClock())


def sealed(directory: Path) -> set[str]:
    """The SHA-256 of every segment but the newest."""
    files = sorted((directory / "seg").glob("*.jsonl"))
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in files[:-1]}


def stored(fake: Bucket) -> list[str]:
    return sorted(hashlib.sha256(content).hexdigest() for content, _ in fake.objects.values())


async def test_every_sealed_segment_is_in_the_bucket_once_through_all_that_can_go_wrong(tmp_path: Path) -> None:
    fake = Bucket()
    fake.faults = [
        swallowed, lost, cut, status(503), lambda request, sent, handled: error(403, "AccessDenied"), status(200, "<html>"), lost,
        lambda request, sent, handled: error(409, "ConditionalRequestConflict"), status(429, Retry_After="1"),
    ]  # fmt: skip
    async with serving(fake), shipping(tmp_path, [archive(fake)], entries=40, clock=QuickClock(200.0)) as place:
        for _ in range(7):
            await place.write(40)  # what is handed in together lies in one segment
        await place.until(lambda: len(sealed(place.directory)) >= 3)
        await place.until(lambda: set(stored(fake)) >= sealed(place.directory) and place.shipper.drained)
        state = place.status
    # the journal goes on after that: what the shipper records of the sink may seal one more, which nothing took any more
    assert set(stored(fake)) <= sealed(place.directory)
    assert len(stored(fake)) == len(set(stored(fake)))
    assert {Path(path).name.rpartition("-")[2].partition(".")[0] for path in fake.objects} == set(stored(fake))
    assert state.acked_seq == state.confirmed_seq > 0
    assert state.retries > 0


async def test_a_lost_cursor_stores_nothing_twice(tmp_path: Path) -> None:
    fake = Bucket()
    async with serving(fake):
        async with shipping(tmp_path, [archive(fake)], entries=150, clock=QuickClock(50.0)) as place:
            await place.until(lambda: stored(fake) and place.shipper.drained)
        before = stored(fake)
        cursors.path_of(place.directory, "s3").unlink()
        async with shipping(tmp_path, [archive(fake)], clock=QuickClock(50.0)) as again:
            await again.until(lambda: again.status.duplicates >= len(before) and again.shipper.drained)
    assert set(before) <= set(stored(fake))
    assert len(stored(fake)) == len(set(stored(fake)))


async def test_another_content_under_a_segments_name_stops_the_archive_and_is_kept(tmp_path: Path) -> None:
    fake = Bucket()
    async with serving(fake):
        async with shipping(tmp_path, [archive(fake)], entries=150, clock=SystemClock()) as place:
            await place.until(lambda: stored(fake) and place.shipper.drained)
        for path, (_, headers) in fake.objects.items():
            fake.objects[path] = (b"forged", headers | {"x-amz-checksum-sha256": "Zm9yZ2Vk"})
        cursors.path_of(place.directory, "s3").unlink()
        async with shipping(tmp_path, [archive(fake)], clock=QuickClock(50.0)) as again:
            await again.until(lambda: again.status.state is SinkState.HELD)
            assert "with another content" in again.status.error
    assert {content for content, _ in fake.objects.values()} == {b"forged"}


async def test_with_nobody_at_work_only_what_is_sealed_counts_as_waiting(tmp_path: Path) -> None:
    fake = Bucket()
    async with serving(fake):
        # on a clock on which nothing is late: what is recorded of that would seal one more segment
        async with shipping(tmp_path, [archive(fake)], entries=150, clock=SystemClock()) as place:
            await place.until(lambda: stored(fake) and place.shipper.drained)
        later = SystemClock().unix() + 3600
        (settled,) = look(place.directory, later, [section(fake)]).sinks
        assert (settled.backlog, settled.late) == (0, False)
        cursors.path_of(place.directory, "s3").unlink()
        (place.directory / "shipping.json").unlink(missing_ok=True)
        (waiting,) = look(place.directory, later, [section(fake)]).sinks
    assert waiting.backlog > 0
    assert waiting.late


async def archived(home: Path, fake: Bucket, entries: int = 0) -> Path:
    """Everything that is sealed in the journal of ``home`` is in the bucket, and the shipper has ended."""
    async with shipping(home, [archive(fake)], entries=entries, clock=SystemClock()) as place:
        await place.until(lambda: stored(fake) and place.shipper.drained)
        return place.directory


async def written(home: Path, entries: int) -> Path:
    """A journal with as many entries, a few of them at a time, so that there are several segments."""
    from support.shipping import entry

    journal = Journal.open(home / "journal", redactor=Redactor(b"k" * 32), clock=SystemClock())
    for n in range(entries):
        await journal.append(entry(n))
    journal.close()
    return home / "journal"


async def test_a_segment_that_was_damaged_after_it_was_sealed_is_not_archived_as_good(tmp_path: Path) -> None:
    directory = await written(tmp_path, 200)
    first = segments(directory)[0].path
    first.chmod(0o600)
    first.write_bytes(first.read_bytes().replace(b"jane", b"june", 1))
    fake = Bucket()
    async with serving(fake), shipping(tmp_path, [archive(fake)], clock=QuickClock(50.0)) as place:
        await place.until(lambda: place.status.state is SinkState.HELD)
        assert "does not have the content that it was sealed with" in place.status.error
    assert fake.objects == {}
    assert cursors.read(directory, "s3") is None


async def test_a_journal_restored_from_an_older_copy_stops_the_archive_instead_of_skipping_what_follows(tmp_path: Path) -> None:
    fake = Bucket()
    directory = await written(tmp_path / "home", 60)
    copy = shutil.copytree(directory, tmp_path / "copy")
    async with serving(fake):
        await written(tmp_path / "home", 300)
        await archived(tmp_path / "home", fake)
        before = stored(fake)
        shutil.rmtree(directory / "seg")
        shutil.copytree(copy / "seg", directory / "seg")
        await written(tmp_path / "home", 150)
        async with shipping(tmp_path / "home", [archive(fake)], clock=QuickClock(50.0)) as place:
            await place.until(lambda: place.status.state is SinkState.STOPPED)
            assert "lost entries" in place.status.error or "not the one that was sent" in place.status.error
    assert stored(fake) == before


async def test_segments_that_were_removed_before_they_were_archived_are_told_of(tmp_path: Path) -> None:
    fake = Bucket()
    async with serving(fake):
        directory = await archived(tmp_path, fake, entries=150)
        had = cursors.read(directory, "s3")
        assert had is not None
        await written(tmp_path, 300)
        gone = [segment for segment in segments(directory)[:-2] if segment.first <= had.acked_seq + 1]
        for segment in gone:
            segment.path.unlink()
        after = segments(directory)[0].first
        async with shipping(tmp_path, [archive(fake)], clock=QuickClock(50.0)) as place:
            await place.until(lambda: place.journal.entries(event="audit.shipping_gap"))
            await place.until(lambda: place.shipper.drained)
            (gap,) = place.journal.entries(event="audit.shipping_gap")
    assert (gap["data"]["first"], gap["data"]["last"]) == (had.acked_seq + 1, after - 1)


async def test_what_was_packed_since_is_known_again_in_the_bucket(tmp_path: Path) -> None:
    fake = Bucket()
    async with serving(fake):
        directory = await archived(tmp_path, fake, entries=150)
        before = stored(fake)
        for segment in segments(directory)[:-1]:
            with segment.path.open("rb") as plain, segment.path.with_name(f"{segment.name}.gz").open("wb") as packed:
                pack(plain, packed.write)
            segment.path.unlink()
        cursors.path_of(directory, "s3").unlink()
        async with shipping(tmp_path, [archive(fake)], clock=SystemClock()) as again:
            await again.until(lambda: again.status.duplicates >= len(before) and again.shipper.drained)
    assert stored(fake) == before

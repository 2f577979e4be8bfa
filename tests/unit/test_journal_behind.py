"""A required sink that is more than a day behind: nothing begins, in any process, and nothing stands in a rollback's way."""

import json
from pathlib import Path

import pytest
from support.clock import ManualClock

from services.audit import Event, Journal, JournalUnavailable, owed, reading
from services.audit.levels import Level
from services.audit.retention import Policy
from services.redaction import Redactor

DAY = 86400.0
STARTED = Event(event="deployment.started", user="jane", service="payment-service", phase="intent")
PROMOTING = Event(
    event="deployment.executed", user="jane", phase="intent", data={"step_name": "promote stable to v2"}, rollout="r-1"
)
ROLLBACK = Event(event="deployment.rollback", user="jane", rollback_triggered=True, phase="intent")


def opened(directory: Path, clock: ManualClock, policy: Policy) -> Journal:
    return Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock, policy=lambda: policy)


def taken(directory: Path, seq: int) -> None:
    """The sink has everything up to there."""
    found = reading.find(directory, seq)
    assert found is not None
    facts = {"v": 1, "journal_id": (directory / "journal.id").read_text().strip(), "sink": "es", "kind": "elasticsearch"}
    facts |= {"acked_seq": seq, "acked_hash": found.hash, "confirmed_seq": seq, "confirmed_hash": found.hash}
    (directory / "cursors").mkdir(exist_ok=True)
    (directory / "cursors" / "es.json").write_text(json.dumps(facts))


@pytest.mark.parametrize("begun", [False, True], ids=["it never took anything", "it took something once"])
async def test_nothing_begins_while_a_required_sink_is_a_day_behind(tmp_path: Path, begun: bool) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    journal = opened(directory, clock, Policy(required=("es",)))
    await journal.append(STARTED)
    if begun:
        taken(directory, 1)
    journal.close()
    await clock.advance(1.1 * DAY)
    # A process that is as young as a command: nobody has looked before it begins something.
    journal = opened(directory, clock, Policy(required=("es",)))
    for event in (STARTED, PROMOTING):
        with pytest.raises(JournalUnavailable, match="es is 26 h behind: nothing begins or is promoted"):
            await journal.append(event)
    assert (journal.health.level, journal.health.ok) == (Level.CRITICAL, False)
    assert await journal.append_within(ROLLBACK, 60) is not None
    last = await journal.append(Event(event="note", user="jane"))
    taken(directory, last.seq)
    assert (await journal.append(STARTED)).seq > last.seq
    assert journal.health.ok
    journal.close()


async def test_a_sink_that_is_configured_while_a_process_lives_counts_for_it_too(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    policies = [Policy(required=())]
    journal = Journal.open(directory, redactor=Redactor(b"k" * 32), clock=clock, policy=lambda: policies[-1])
    await journal.append(STARTED)
    await clock.advance(2 * DAY)
    await journal.append(STARTED)
    policies.append(Policy(required=("es",)))
    await journal.append(STARTED)  # it is due from today on, however old what it is to get
    await clock.advance(1.1 * DAY)
    with pytest.raises(JournalUnavailable, match="es is 26 h behind"):
        await journal.append(STARTED)
    journal.close()


async def test_an_archive_owes_what_was_sealed_and_not_what_is_still_written_to(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    journal = opened(directory, clock, Policy(required=("s3",), whole=("s3",)))
    await journal.append(STARTED)
    await clock.advance(2 * DAY)
    await journal.append(STARTED)  # which seals the first segment
    await clock.advance(1.1 * DAY)
    with pytest.raises(JournalUnavailable, match="s3 is 26 h behind"):
        await journal.append(STARTED)
    journal.close()


async def test_a_sink_that_gets_everything_again_has_a_day_for_it(tmp_path: Path) -> None:
    directory, clock = tmp_path / "journal", ManualClock()
    journal = opened(directory, clock, Policy(required=("es",)))
    await journal.append(STARTED)
    await clock.advance(2 * DAY)
    taken(directory, (await journal.append(Event(event="note", user="jane"))).seq)
    (directory / "cursors" / "es.json").unlink()
    owed.begin_anew(directory, "es", clock.unix())
    await journal.append(PROMOTING)
    await clock.advance(0.5 * DAY)
    taken(directory, 1)  # it has come so far: what follows is two days old
    await journal.append(STARTED)
    await clock.advance(0.6 * DAY)
    with pytest.raises(JournalUnavailable, match="es is 26 h behind"):
        await journal.append(STARTED)
    journal.close()


def test_since_when_a_sink_owes_is_kept_once_and_counts_from_the_first_entry_where_it_cant_be_read(tmp_path: Path) -> None:
    assert owed.since(tmp_path, "es") == owed.ALWAYS
    assert owed.first_seen(tmp_path, "es", 1000.5) == 1000.5
    assert owed.first_seen(tmp_path, "es", 2000.0) == 1000.5
    (tmp_path / "cursors" / "es.since").write_text("a day")
    assert owed.first_seen(tmp_path, "es", 2000.0) == owed.ALWAYS
    assert [path.name for path in (tmp_path / "cursors").iterdir()] == ["es.since"]


async def test_a_policy_that_cant_be_told_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Policy:
        raise JournalUnavailable("The changed configuration can't be used", "config.yaml has 1 problem")

    journal = Journal.open(tmp_path / "journal", redactor=Redactor(b"k" * 32), clock=ManualClock(), policy=broken)
    assert (await journal.append(STARTED)).seq == 2
    assert "the shipping's lag is not known" in caplog.text
    journal.close()

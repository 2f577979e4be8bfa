"""How drivers of this home ended, and rollbacks that only its files tell of."""

import os
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.clock import ManualClock
from support.consoles import card, rollout

from console.ended import Ended as Beside
from console.view import RollbackAsked
from services.model.rollout import Phase, Rollout
from services.redaction import Redactor
from services.rollout import home as homes
from services.rollout.ends import RECENT, STARTING, Ends

LATER = 100.0
CLOCK = ManualClock()
ROLLING_BACK = rollout("r-back", phase=Phase.ROLLING_BACK)
RUNNING = rollout("r-run", phase=Phase.RUNNING)


def aged(place: Path, unix: float) -> None:
    for each in (*place.iterdir(), place):
        os.utime(each, (unix, unix))


def keep(home: Path, started: Rollout, ended: homes.Ended | None = None, *, ago: float = LATER) -> None:
    homes.write_started(home, started)
    if ended is not None:
        homes.write_ended(home, started.id, ended)
    aged(home / "rollouts" / started.id, CLOCK.unix() - ago)


def beside(home: Path, *cards: Any) -> list[Any]:
    context: Any = SimpleNamespace(home=home, clock=CLOCK, redactor=Redactor())
    ended = Beside(context, lambda: None)
    ended._kept = Ends(home, CLOCK).look()
    return ended.beside(cards)


@pytest.mark.parametrize(
    ("code", "rollback", "failed", "unsafe"),
    [
        (0, True, False, False),
        (4, True, False, False),
        (6, True, False, False),
        (5, False, True, True),
        (1, True, True, True),
        (7, True, True, True),
        (1, False, True, False),
        (3, False, True, False),
        (99, True, True, True),  # another version's
    ],
)
def test_which_ends_nobody_wanted_and_which_are_unsafe(
    tmp_path: Path, code: int, rollback: bool, failed: bool, unsafe: bool
) -> None:
    keep(tmp_path, RUNNING, homes.Ended(code=code, rollback=rollback))
    (found,) = Ends(tmp_path, CLOCK).look()
    assert (found.failed, found.unsafe) == (failed, unsafe)
    assert found.words
    keep(tmp_path, RUNNING, homes.Ended(code=code, rollback=rollback, title="Why"))
    (found,) = Ends(tmp_path, CLOCK).look()
    assert found.words.startswith("Why") or not found.failed


def test_what_is_old_and_what_is_no_rollout_is_not_looked_at(tmp_path: Path) -> None:
    keep(tmp_path, RUNNING, homes.Ended(code=5), ago=RECENT + 1)
    (tmp_path / "rollouts" / "No Rollout").mkdir()
    keep(tmp_path, rollout("r-torn"), homes.Ended(code=5))
    (tmp_path / "rollouts" / "r-torn" / "ended.json").write_text("{")
    aged(tmp_path / "rollouts" / "r-torn", CLOCK.unix())
    aged(tmp_path / "rollouts" / "No Rollout", CLOCK.unix())
    assert Ends(tmp_path, CLOCK).look() == ()
    assert Ends(tmp_path / "no home yet", CLOCK).look() == ()


def test_a_rollback_that_no_cluster_shows_is_a_card_of_its_own(tmp_path: Path) -> None:
    keep(tmp_path, ROLLING_BACK)
    (dead,) = beside(tmp_path)
    assert (dead.rollout.phase, dead.gave_up, dead.unstored) == (
        Phase.NEEDS_ATTENTION,
        "its driver process ended without a word",
        True,
    )
    living = homes.Living(tmp_path, ROLLING_BACK.id, "token")
    try:
        (found,) = beside(tmp_path)
    finally:
        living.close()
    assert (found.rollout.phase, found.gave_up, found.asked) == (Phase.ROLLING_BACK, "", RollbackAsked(ROLLING_BACK.created))
    assert beside(tmp_path, card(ROLLING_BACK)) == [card(ROLLING_BACK)], "the cluster knows better"


def test_a_driver_that_was_just_started_may_live(tmp_path: Path) -> None:
    keep(tmp_path, ROLLING_BACK, ago=STARTING / 2)
    assert [found.gave_up for found in beside(tmp_path)] == [""]


def test_a_driver_that_is_killed_over_its_rollback_leaves_no_word_and_is_told_of(tmp_path: Path) -> None:
    done = rollout("r-done", phase=Phase.SUCCEEDED, written=CLOCK.now() - timedelta(hours=1))
    homes.write_started(tmp_path, done)
    lock = homes.lock_rollback(tmp_path, done.id)
    assert lock is not None
    os.close(lock)
    aged(tmp_path / "rollouts" / done.id, CLOCK.unix() - STARTING / 2)
    assert [found.gave_up for found in beside(tmp_path, card(done))] == [""]
    aged(tmp_path / "rollouts" / done.id, CLOCK.unix() - STARTING - 1)
    assert [found.gave_up for found in beside(tmp_path, card(done))] == ["its driver process ended without a word"]
    back = msgspec.structs.replace(done, phase=Phase.ROLLED_BACK)
    assert [found.gave_up for found in beside(tmp_path, card(back))] == [""]


def test_how_it_ended_is_on_its_card(tmp_path: Path) -> None:
    last = msgspec.structs.replace(ROLLING_BACK, phase=Phase.NEEDS_ATTENTION, left=("kubectl rollout undo",))
    homes.write_started(tmp_path, ROLLING_BACK)
    homes.write_last(tmp_path, last)
    keep(tmp_path, ROLLING_BACK, homes.Ended(code=5, rollback=True))
    (found,) = beside(tmp_path)
    assert (found.rollout.phase, found.rollout.left) == (Phase.NEEDS_ATTENTION, ("kubectl rollout undo",))
    assert found.gave_up == "it needs a person"


def test_a_rollback_that_was_given_up_is_said_beside_what_the_cluster_shows(tmp_path: Path) -> None:
    done = rollout("r-done", phase=Phase.SUCCEEDED, written=CLOCK.now() - timedelta(hours=1))
    keep(tmp_path, done, homes.Ended(code=1, rollback=True, title="No answer", detail="Twice.", hint="Again."))
    (found,) = beside(tmp_path, card(done))
    assert found.gave_up == "No answer. Twice. Again."
    newer = msgspec.structs.replace(done, written=CLOCK.now())
    back = msgspec.structs.replace(done, phase=Phase.ROLLED_BACK)
    assert [each.gave_up for known in (newer, back) for each in beside(tmp_path, card(known))] == ["", ""]
    later = rollout("r-later", phase=Phase.SUCCEEDED, created=CLOCK.now())
    assert [each.gave_up for each in beside(tmp_path, card(done), card(later))] == ["", ""]

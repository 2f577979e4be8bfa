"""A home is told that its driver was replaced where somebody else did it, and only then."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from support.consoles import rollout

from console.takeovers import Takeovers
from services.cluster.watched import RolloutWatch
from services.model.rollout import Driver
from services.rollout import home as homes

NOW = datetime(2026, 8, 1, tzinfo=UTC)


def test_a_driver_that_this_home_started_anew_replaces_nobody(tmp_path: Path) -> None:
    mine = homes.home_id(tmp_path)
    driver = Driver(operator="sam", host="desk", home=mine, token="first", since=NOW)
    one = msgspec.structs.replace(rollout(), driver=driver)
    takeovers = Takeovers(tmp_path)
    assert takeovers.look(RolloutWatch(rollout=one, lease_holder=driver.identity), mine, NOW) is None

    again = homes.Living(tmp_path, one.id, "second")
    held = RolloutWatch(rollout=one, lease_holder="sam@desk#second", who="sam@desk")
    assert takeovers.look(held, mine, NOW) is None
    again.close()

    elsewhere = RolloutWatch(rollout=one, lease_holder="alex@laptop#third", who="alex@laptop")
    replaced = takeovers.look(elsewhere, mine, NOW)
    assert replaced is not None
    assert replaced.by == "alex@laptop"


def test_a_holder_that_is_no_driver_of_ours_by_any_trick_is_somebody_else(tmp_path: Path) -> None:
    mine = homes.home_id(tmp_path)
    driver = Driver(operator="sam", host="desk", home=mine, token="first", since=NOW)
    one = msgspec.structs.replace(rollout(), driver=driver)
    (tmp_path / "rollouts" / one.id).mkdir(parents=True)
    (tmp_path / "lure.alive").touch()
    for holder in ("eve@x#../../lure", "eve@x#\0", "eve@x#", "eve", "eve@x#" + "a" * 5000):
        takeovers = Takeovers(tmp_path)
        assert takeovers.look(RolloutWatch(rollout=one, lease_holder=driver.identity), mine, NOW) is None
        assert takeovers.look(RolloutWatch(rollout=one, lease_holder=holder, who="eve"), mine, NOW) is not None, holder

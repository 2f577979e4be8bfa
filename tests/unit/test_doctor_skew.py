"""How far two clocks lie apart, told from a header that counts whole seconds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.doctor import skew
from console.doctor.finding import Group, Outcome, Topic

TOPIC = Topic(Group.CLUSTERS, "clock", "production")


@given(
    ahead=st.floats(-1e5, 1e5),
    asked=st.floats(1.7e9, 1.8e9),
    way=st.floats(0, 5),
    back=st.floats(0, 5),
)
def test_the_skew_is_never_overstated_and_missed_by_no_more_than_the_doubt(
    ahead: float, asked: float, way: float, back: float
) -> None:
    answered = asked + way + back
    server_time = float(math.floor(asked + way + ahead))
    told = skew.skew(server_time, asked, answered)
    assert abs(told) <= abs(ahead) + 1e-3
    assert told == 0 or (told > 0) == (ahead > 0)
    assert abs(ahead) - abs(told) <= way + back + 1 + 1e-3


@pytest.mark.parametrize(
    ("ahead", "leases", "outcome"),
    [
        (0, True, Outcome.OK),
        (-2, True, Outcome.OK),
        (5, True, Outcome.WARNING),
        (-5, False, Outcome.WARNING),
        (13, True, Outcome.PROBLEM),
        (-14, True, Outcome.PROBLEM),
        (3600, False, Outcome.WARNING),
    ],
)
def test_a_clock_that_makes_leases_lie_is_a_problem(ahead: float, leases: bool, outcome: Outcome) -> None:
    found = skew.judge(TOPIC, 1000.0 + ahead, 1000.0, 1000.0, leases=leases)
    assert found.outcome is outcome
    if outcome is Outcome.PROBLEM:
        assert "leases last 15 s" in found.needed
        assert "12 s apart" in found.needed
    if ahead:
        assert found.outcome is Outcome.OK or ("ahead of" if ahead > 0 else "behind") in found.found


def test_a_server_that_does_not_tell_the_time_is_unknown() -> None:
    assert skew.judge(TOPIC, None, 0, 0, leases=True).outcome is Outcome.UNKNOWN

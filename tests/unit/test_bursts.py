"""Which keys are a hand's: by when they came, not by what they are."""

from hypothesis import given
from hypothesis import strategies as st

from console.bursts import MANY, REST, WITHIN, Bursts


def taken(gaps: list[float], *, in_text: bool = False) -> list[bool]:
    bursts, at, said = Bursts(), 100.0, []
    for gap in gaps:
        at += gap
        said.append(bursts.takes_in(at, in_text))
    return said


@given(st.lists(st.floats(0.004, 2.0), max_size=300))
def test_what_a_hand_or_a_held_key_sends_is_always_taken(gaps):
    assert all(taken(gaps))


@given(st.integers(1, 3000), st.floats(0.0, 0.5 * WITHIN / MANY))
def test_of_a_paste_no_more_than_a_few_keys_are_taken_however_long_it_is(keys, gap):
    assert sum(taken([1.0, *[gap] * keys])) <= MANY


def test_after_a_rest_the_next_key_is_a_hand_s_again():
    burst = [0.0001] * 1000
    assert taken([*burst, REST + 0.01])[-1]
    assert not taken([*burst, REST - 0.01])[-1]
    assert sum(taken([*burst, 1.0, *burst])) == 2 * (MANY - 1)


def test_a_text_field_takes_all_of_a_paste():
    assert all(taken([0.0001] * 1000, in_text=True))


def test_a_burst_that_began_over_a_list_gives_no_text_to_the_field_that_it_opened():
    bursts = Bursts()
    said = [bursts.takes_in(100.0 + 0.0001 * number, number > 0) for number in range(1000)]
    assert sum(said) == MANY - 1


def test_what_a_slow_line_brings_at_once_is_taken():
    assert all(taken([*[0.0] * 20, 0.3, *[0.0] * 20]))

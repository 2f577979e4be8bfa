"""What an API server's refusals mean: headers, whatever somebody wrote into them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cluster.answers import retry_after


@pytest.mark.parametrize("text", ["²", "١٢", "1.5", "soon", "-3", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"])
def test_a_retry_after_that_is_no_number_is_the_default(text: str) -> None:
    assert retry_after({"Retry-After": text}, None, now=0.0, default=7.0) == 7.0


@given(st.text(max_size=40) | st.integers().map(str))
def test_no_retry_after_breaks_the_one_who_reads_it(text: str) -> None:
    found = retry_after({"Retry-After": text}, None, now=1e9)
    assert found >= 0
    assert not math.isnan(found)

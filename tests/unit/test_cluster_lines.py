"""A watch's lines come out whole however the network cuts them."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cluster.answers import Garbled
from services.cluster.lines import Lines, events_of


@given(st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line and line.strip()), max_size=20), st.data())
def test_lines_come_out_whole_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines) + b"a rest"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    splitter = Lines()
    found: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.feed(stream[start:end])
    assert found == lines


def test_a_line_may_be_long_but_not_endless() -> None:
    splitter = Lines(longest=1000)
    for _ in range(9):
        assert splitter.feed(b"x" * 100) == []
    assert splitter.feed(b"x" * 100 + b"\n") == [b"x" * 1000]
    with pytest.raises(ValueError, match="longer than"):
        splitter.feed(b"x" * 1001)


@given(st.binary().filter(lambda junk: junk.strip() and b"\n" not in junk))
async def test_junk_is_garbled_never_an_event(junk: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield junk + b"\n"

    with pytest.raises(Garbled, match="the server sent a watch that can't be read"):
        async for _ in events_of(chunks(), "the server"):
            pass

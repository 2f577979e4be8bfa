"""What one can ask of the fields of journal entries."""

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.fieldterms import FIELDS, parse
from widgets.grid.terms import BadFilter

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


def entry(**changes: object) -> dict[str, object]:
    return {
        "timestamp": "2026-11-23T14:00:00.000000Z",
        "event": "deployment.rollback",
        "service": "payment-service",
        "environment": "production",
        "user": "jane",
        "outcome": "not_restored",
        "phase": "",
        **changes,
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("service:payment user:jane event:rollback since:2h", True),
        ("service:Payment", True),
        ("service:checkout", False),
        ("!service:checkout", True),
        ("env:prod", True),
        ("environment:stag,prod", True),
        ("outcome:failed,not_restored", True),
        ("!user:jane", False),
        ('user:"jane"', True),
        ("since:59m", False),
        ("since:60m", True),
        ("since:14:00", True),
        ("since:14:01", False),
        ("until:14:00", False),
        ("since:2026-11-23 until:2026-11-24", True),
        ("since:2026-11-23T14:00:01", False),
        ("since:1w", True),
        ("phase:intent", False),
    ],
)
def test_every_term_has_to_hold(text: str, found: bool) -> None:
    query = parse(text, NOW)
    assert query.words == ""
    assert query.narrows
    assert query.wanted(entry()) is found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pay service:x v2", "pay   v2"),
        ("kubectl: patch", "kubectl: patch"),
        ("10:32", "10:32"),
        ('"service:x y"', '"service:x y"'),
        ("/service:x y/ !/user:.*/", "/service:x y/ !/user:.*/"),
        ("aservice:x", "aservice:x"),
        ("!canary", "!canary"),
    ],
)
def test_what_is_no_field_is_left_to_the_list(text: str, words: str) -> None:
    if text == "aservice:x":
        with pytest.raises(BadFilter, match="did you mean service"):
            parse(text, NOW)
        return
    assert parse(text, NOW).words.split() == words.split()


@pytest.mark.parametrize("text", ["service:", "since:", "since:2x", "since:25:00", "servce:payment", "!since:2h", "until:soon"])
def test_what_can_not_be_meant_is_said(text: str) -> None:
    with pytest.raises(BadFilter) as problem:
        parse(text, NOW)
    assert str(problem.value)


@given(st.text(max_size=60) | st.lists(st.sampled_from([*FIELDS, "since", ":", "!", '"', "/", " ", "2h", "x"])).map("".join))
def test_any_text_is_a_query_or_said_to_be_none(text: str) -> None:
    with contextlib.suppress(BadFilter):
        parse(text, NOW).wanted(entry())

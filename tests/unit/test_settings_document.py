"""The YAML reader: whatever it is given, it answers with values and problems, quickly, and never by raising."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.settings import document


@given(st.text(alphabet=st.sampled_from(list("ab:-[]{}&*!|>'\"#,?%@ \n\t<0.~\\\x00é")), max_size=120))
def test_any_text_is_answered(text: str) -> None:
    read = document.parse(text, "f")
    assert isinstance(read.data, dict)
    for problem in read.problems:
        assert str(problem).startswith("f")


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), _VALUES, max_size=5))
def test_what_was_written_is_read_with_a_line_for_every_key(data: dict[str, object]) -> None:
    import yaml

    read = document.parse(yaml.safe_dump(data, allow_unicode=True), "f")
    assert (read.data, read.problems) == (data, ())
    assert all((key,) in read.lines for key in data)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &a [*a]", "contains itself"),
        ("a: " + "[" * 5000, "nested deeper"),
        ("a: " + "{b: " * 3000, "nested deeper"),
        ("- " * 3000, "nested deeper"),
        ("a: &x {<<: *x}", "merges something"),
        ("a: !!python/object/apply:os.system [ls]", "uses a YAML tag"),
        ("a: !custom x", "uses a YAML tag"),
        ("a: !!binary aGk=", "uses a YAML tag"),
        ("1: x", "has a key that is not text"),
        ("? [a]\n: x", "has a key that is not text"),
        ("- a", "is not a mapping"),
        ("a: 1\n---\nb: 2", "is not valid YAML"),
        ("a: 'open", "is not valid YAML"),
        ("a: 1\n\ta: 2", "is not valid YAML"),
        ("a: \x07", "is not valid YAML"),
        ("a: 0310", "easily misread"),
        ("a: 1:30", "easily misread"),
        ("a: 1_000", "easily misread"),
        ("a: 0x1F", "easily misread"),
        ("a: 0b11", "easily misread"),
        ('a: "\\ud800"', "half of a character"),
        ("x" * 300_000, "is larger than"),
    ],
)
def test_what_can_not_be_used_is_said(text: str, told: str) -> None:
    started = time.process_time()
    read = document.parse(text, "f")
    assert told in read.problems[0].problem
    assert time.process_time() - started < 2


@pytest.mark.parametrize("kind", ["list", "merge"])
def test_a_bomb_of_aliases_costs_little(kind: str) -> None:
    if kind == "list":
        lines = ["a0: &a0 [" + ",".join("x" * 10) + "]"]
        lines += [f"a{i}: &a{i} [" + ",".join([f"*a{i - 1}"] * 10) + "]" for i in range(1, 12)]
    else:
        lines = ["a0: &a0 {k: v}"]
        lines += [f"a{i}: &a{i} {{<<: [" + ",".join([f"*a{i - 1}"] * 10) + "]}" for i in range(1, 12)]
    started = time.process_time()
    read = document.parse("\n".join(lines), "f")
    assert "expands to more than" in read.problems[0].problem
    assert time.process_time() - started < 2


def test_anchors_and_merges_work_and_written_keys_win() -> None:
    read = document.parse("base: &base {a: 1, b: 2}\nuse: {<<: *base, b: 3}\nlist: [&x 5, *x]\n", "f")
    assert read.problems == ()
    assert read.data == {"base": {"a": 1, "b": 2}, "use": {"a": 1, "b": 3}, "list": [5, 5]}


def test_dates_stay_text() -> None:
    assert document.parse("a: 2026-01-31", "f").data == {"a": "2026-01-31"}


def test_keys_are_written_as_people_write_them() -> None:
    assert document.dotted(("environments", "dev", "aliases", 0)) == "environments.dev.aliases[0]"


@pytest.mark.parametrize("bad", ["\x07", "\0", "\x1b[2J", "\ufffe"])
def test_a_control_character_is_told_with_its_line(bad: str) -> None:
    (problem,) = document.parse(f"a: 1\nb: 2\nc: x{bad}y\n", "f").problems
    assert problem.line == 3
    assert bad not in str(problem)


@pytest.mark.parametrize("text", ["0", "-3", "2.5", ".5", "5.", "1e3", "1.5e-3", "+7"])
def test_plain_numbers_are_read(text: str) -> None:
    read = document.parse(f"a: {text}", "f")
    assert read.problems == ()
    assert float(read.data["a"]) == float(text)

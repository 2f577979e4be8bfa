"""Versions against the official grammar, narrowed to image tags (R2.2)."""

import re

import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st

from services.release import version

# The expression that semver.org publishes, with its groups.
OFFICIAL = re.compile(
    r"^(?P<major>0|[1-9]\d*)\.(?P<minor>0|[1-9]\d*)\.(?P<patch>0|[1-9]\d*)"
    r"(?:-(?P<prerelease>(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+(?P<buildmetadata>[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?\Z",
    re.ASCII,
)
IMAGE_TAG = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)

# The examples published beside that expression.
VALID = [
    "0.0.4",
    "1.2.3",
    "10.20.30",
    "1.1.2-prerelease+meta",
    "1.1.2+meta",
    "1.1.2+meta-valid",
    "1.0.0-alpha",
    "1.0.0-beta",
    "1.0.0-alpha.beta",
    "1.0.0-alpha.beta.1",
    "1.0.0-alpha.1",
    "1.0.0-alpha0.valid",
    "1.0.0-alpha.0valid",
    "1.0.0-alpha-a.b-c-somethinglong+build.1-aef.1-its-okay",
    "1.0.0-rc.1+build.1",
    "2.0.0-rc.1+build.123",
    "1.2.3-beta",
    "10.2.3-DEV-SNAPSHOT",
    "1.2.3-SNAPSHOT-123",
    "1.0.0",
    "2.0.0",
    "1.1.7",
    "2.0.0+build.1848",
    "2.0.1-alpha.1227",
    "1.0.0-alpha+beta",
    "1.2.3----RC-SNAPSHOT.12.9.1--.12+788",
    "1.2.3----R-S.12.9.1--.12+meta",
    "1.2.3----RC-SNAPSHOT.12.9.1--.12",
    "1.0.0+0.build.1-rc.10000aaa-kk-0.1",
    "99999999999999999999999.999999999999999999.99999999999999999",
    "1.0.0-0A.is.legal",
]
INVALID = [
    "1",
    "1.2",
    "1.2.3-0123",
    "1.2.3-0123.0123",
    "1.1.2+.123",
    "+invalid",
    "-invalid",
    "-invalid+invalid",
    "-invalid.01",
    "alpha",
    "alpha.beta",
    "alpha.beta.1",
    "alpha.1",
    "alpha+beta",
    "alpha_beta",
    "alpha.",
    "alpha..",
    "beta",
    "1.0.0-alpha_beta",
    "-alpha.",
    "1.0.0-alpha..",
    "1.0.0-alpha..1",
    "1.0.0-alpha...1",
    "1.0.0-alpha....1",
    "1.0.0-alpha.....1",
    "1.0.0-alpha......1",
    "1.0.0-alpha.......1",
    "01.1.1",
    "1.01.1",
    "1.1.01",
    "1.2",
    "1.2.3.DEV",
    "1.2-SNAPSHOT",
    "1.2.31.2.3----RC-SNAPSHOT.12.09.1--..12+788",
    "1.2-RC-SNAPSHOT",
    "-1.0.3-gamma+b7718",
    "+justmeta",
    "9.8.7+meta+meta",
    "9.8.7-whatever+meta+meta",
    "99999999999999999999999.999999999999999999.99999999999999999----RC-SNAPSHOT.12.09.1--------------------------------..12",
]


def ok(text: str) -> bool:
    return version.problem(text) == ""


@pytest.mark.parametrize("text", VALID)
def test_published_valid_examples(text: str) -> None:
    assert OFFICIAL.match(text)
    assert ok(text) == ("+" not in text)
    if "+" in text:
        assert "build metadata" in version.problem(text)
    else:
        assert ok(f"v{text}")


@pytest.mark.parametrize("text", INVALID)
def test_published_invalid_examples(text: str) -> None:
    assert not OFFICIAL.match(text)
    assert not ok(text)
    assert not ok(f"v{text}")


@pytest.mark.parametrize(
    "text",
    ["", "latest", "1.2", "v1.2.3 && id", "1.2.3\n", "\n1.2.3", "1.2.3 ", "V1.2.3", "vv1.2.3", "v", "1.2.3;id", "$(id)",
     "1.2.3|x", "1.2.3`id`", "../1.2.3", "1.2.3\x00", "1.2.3​", "１.２.３", "1.2.٣", "1.2.3-é", "=1.2.3", "^1.2.3", "1.2.x",
     "1.2.3-", "1.2.3-rc..1", "1.2.3/4", "1.2.3:4", "1.2.3@sha256"],
)  # fmt: skip
def test_what_is_no_version(text: str) -> None:
    assert version.problem(text)


def test_a_version_is_no_longer_than_an_image_tag() -> None:
    longest = "1.2.3-" + "a" * 122
    assert len(longest) == 128
    assert ok(longest)
    assert "128" in version.problem(f"v{longest}")


@given(st.text(alphabet="0123456789v.-+aZ_ \n", max_size=24))
def test_the_grammar_is_the_official_one_without_build_metadata(text: str) -> None:
    bare = text.removeprefix("v")
    expected = OFFICIAL.match(bare) is not None and "+" not in bare
    assert ok(text) == expected
    assert (semver.Version.is_valid(bare) and "+" not in bare and not bare.endswith("\n")) == expected


@given(st.text(max_size=150))
def test_whatever_passes_can_be_an_image_tag(text: str) -> None:
    if ok(text):
        assert IMAGE_TAG.fullmatch(text)


_IDENTIFIER = st.from_regex(r"\A(?:0|[1-9][0-9]{0,3}|[0-9]{0,2}[a-zA-Z-][0-9a-zA-Z-]{0,5})\Z")


@given(
    st.booleans(),
    st.lists(st.integers(0, 10**12), min_size=3, max_size=3),
    st.lists(_IDENTIFIER, max_size=4),
)
def test_every_version_that_can_be_built_is_accepted(prefix: bool, numbers: list[int], identifiers: list[str]) -> None:
    text = ".".join(map(str, numbers)) + ("-" + ".".join(identifiers) if identifiers else "")
    assert semver.Version.is_valid(text)
    assert ok(("v" if prefix else "") + text)

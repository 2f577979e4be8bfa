"""The signs the screen is drawn with, in two sets: Unicode, and plain ASCII for terminals and fonts that have no more.

A sign never stands alone: each is drawn beside its word. The set is chosen once at start-up, before anything is drawn.
"""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["unicode", "ascii"]


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of signs; every one of them is one cell wide. ``levels`` go from lowest to highest."""

    ok: str
    bad: str
    running: str
    pending: str
    skipped: str
    aborted: str
    paused: str
    unknown: str
    none: str
    warning: str
    waived: str
    asking: str
    cursor: str
    folded: str
    unfolded: str
    pod_ready: str
    pod_waiting: str
    pod_failed: str
    live: str
    bullet: str
    arrow: str
    ellipsis: str
    bar_full: str
    bar_empty: str
    levels: tuple[str, ...]
    over: str
    gap: str
    limit: str
    axis: str
    corner: str
    tick: str
    line: str
    span: str
    point: str
    mark: str
    pointer: str


UNICODE = Glyphs(
    ok="✔",
    bad="✖",
    running="▶",
    pending="·",
    skipped="–",
    aborted="■",
    paused="‖",
    unknown="?",
    none="–",
    warning="!",
    waived="○",
    asking="◌",
    cursor="▸",
    folded="▸",
    unfolded="▾",
    pod_ready="●",
    pod_waiting="○",
    pod_failed="✖",
    live="●",
    bullet="·",
    arrow="→",
    ellipsis="…",
    bar_full="█",
    bar_empty="░",
    levels=("▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"),
    over="▲",
    gap="·",
    limit="┄",
    axis="│",
    corner="└",
    tick="┤",
    line="─",
    span="━",
    point="●",
    mark="┃",
    pointer="▲",
)

ASCII = Glyphs(
    ok="v",
    bad="x",
    running=">",
    pending=".",
    skipped="-",
    aborted="#",
    paused="=",
    unknown="?",
    none="-",
    warning="!",
    waived="o",
    asking="~",
    cursor=">",
    folded="+",
    unfolded="-",
    pod_ready="*",
    pod_waiting="o",
    pod_failed="x",
    live="*",
    bullet="-",
    arrow=">",
    ellipsis="~",
    bar_full="#",
    bar_empty=".",
    levels=("_", ".", ",", "-", "~", "=", "+", "#"),
    over="!",
    gap=" ",
    limit="-",
    axis="|",
    corner="+",
    tick="+",
    line="-",
    span="=",
    point="O",
    mark="T",
    pointer="^",
)

_current = UNICODE


def use(mode: Mode) -> None:
    """Draw with the Unicode or the ASCII set from now on."""
    global _current
    _current = ASCII if mode == "ascii" else UNICODE


def current() -> Glyphs:
    """The set in use."""
    return _current

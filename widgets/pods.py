"""Pods: one dot each by version at a glance, and the rows of a table for a closer look."""

from collections.abc import Sequence

from services.model.fleet import PodView
from widgets import format as figures
from widgets import glyphs, ink
from widgets.drawn import Drawn
from widgets.grid import Column, Row
from widgets.ink import Line, Lines, Span, Tone

_DEAD = ("BackOff", "Error", "Failed", "OOMKilled", "Evicted", "ImageNeverPull", "InvalidImageName")
_ENOUGH_DOTS = 12


def state_of(pod: PodView) -> tuple[str, str, Tone]:
    """A pod's sign, word and tone: ready, failed, or on its way."""
    signs = glyphs.current()
    if pod.ready:
        return signs.pod_ready, "ready", Tone.GOOD
    if pod.phase == "Failed" or pod.reason.endswith(_DEAD):
        return signs.pod_failed, "failed", Tone.BAD
    return signs.pod_waiting, "waiting", Tone.WARN


def draw_pods(pods: Sequence[PodView], width: int) -> Lines:
    """A line for each version, the canary's first: a dot for each pod, then the counts in words."""
    versions: dict[tuple[bool, str], list[PodView]] = {}
    for pod in pods:
        versions.setdefault((pod.track != "canary", pod.version), []).append(pod)
    if not versions:
        return ((("no pods", Tone.MUTED),),)
    longest = max(len(version) for _, version in versions)
    return tuple(
        _version_line(version, "stable" if stable else "canary", versions[stable, version], longest, width)
        for stable, version in sorted(versions)
    )


def _tails(words: list[str], restarts: int) -> tuple[Line, ...]:
    """The counts in words, from all there is to say to the one that matters most."""
    ready: Span = (f"  {words.count('ready')}/{len(words)} ready", Tone.TEXT)
    trouble: list[Span] = [
        (f", {words.count(word)} {word}", tone)
        for word, tone in (("failed", Tone.BAD), ("waiting", Tone.WARN))
        if words.count(word)
    ]
    restarted: Span = (f"  restarts {restarts}", Tone.WARN if restarts else Tone.MUTED)
    return (ready, *trouble, restarted), (ready, *trouble), (ready, *trouble[:1]), (ready,)


def _version_line(version: str, track: str, pods: list[PodView], longest: int, width: int) -> Line:
    states = [state_of(pod) for pod in pods]
    words = [word for _, word, _ in states]
    tails = _tails(words, sum(pod.restarts for pod in pods))
    head: list[Span] = [
        (f"{version:<{min(longest, 24)}} ", Tone.STRONG),
        (f"{track:<7}", Tone.CANARY if track == "canary" else Tone.STABLE),
    ]
    rooms = [(max(1, width - ink.cells(tuple(head)) - ink.cells(tail)), tail) for tail in tails]
    room, tail = next(((room, tail) for room, tail in rooms if room >= min(len(pods), _ENOUGH_DOTS)), rooms[-1])
    # where not every pod has room, the ones in trouble come first
    if len(states) > room:
        states.sort(key=lambda state: ("failed", "waiting", "ready").index(state[1]))
        more = f"+{len(states) - max(1, room - 5)}"
        states = states[: max(1, room - 5)]
    else:
        more = ""
    dots: list[Span] = [(sign, tone) for sign, _, tone in states]
    return ink.fit((*head, *dots, (more, Tone.MUTED), *tail), width)


class PodStrip(Drawn[tuple[PodView, ...]]):
    """Shows pods as dots, a line for each version."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__((), id=id, classes=classes)

    def show(self, pods: Sequence[PodView]) -> None:
        self.replace(tuple(pods))

    def draw(self, value: tuple[PodView, ...], width: int, height: int | None) -> Lines:
        return draw_pods(value, width)


POD_COLUMNS = (
    Column("name", "POD", width=20, flex=3),
    Column("state", "STATE", width=10, flex=1),
    Column("version", "VERSION", width=9, priority=1),
    Column("track", "TRACK", width=6, priority=2),
    Column("restarts", "RESTARTS", width=8, align="right", priority=3),
    Column("age", "AGE", width=5, align="right", priority=4),
    Column("node", "NODE", width=12, priority=5),
)


def pod_rows(pods: Sequence[PodView], now: float) -> tuple[Row, ...]:
    """The rows for a grid with ``POD_COLUMNS``; ``now`` in Unix seconds."""
    rows = []
    for pod in pods:
        sign, word, tone = state_of(pod)
        age = now - pod.created if pod.created else None
        rows.append(
            Row(
                pod.name,
                (
                    pod.name,
                    (f"{sign} {pod.reason or word}", tone),
                    pod.version,
                    (pod.track, Tone.CANARY if pod.track == "canary" else Tone.STABLE),
                    (str(pod.restarts), Tone.WARN if pod.restarts else Tone.MUTED),
                    (figures.age(age), Tone.MUTED),
                    (pod.node, Tone.MUTED),
                ),
            )
        )
    return tuple(rows)

"""The status line: what is unsafe now first, then where one is; on the right who, on what, and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from console.attention import Concern, Kind, concerns, last_seen
from console.results import Results
from console.view import Picture
from services.model.fleet import EnvironmentView
from widgets import glyphs
from widgets.format import age
from widgets.ink import Line, Tone
from widgets.statusbar import Part
from widgets.text import cut

if TYPE_CHECKING:
    from services.audit.shipping.status import Shipping

__all__ = ["attention", "freshness", "last_seen", "status_parts", "unseen"]

SLOW_SECONDS = 30.0
"""Of the minute within which an entry has to be shipped: from here on it is worth a look."""
LATE_SECONDS = 60.0
_PART, _LAST = 12, 18
"""Cells of the two parts of a title where there is no room for all of it."""
_LONGEST = 56
"""Cells of one concern: the reason in full stands on the screen that ``!`` opens."""


def status_parts(picture: Picture, title: str) -> tuple[list[Part], list[Part]]:
    """Left and right half of the line for a screen with this title."""
    signs = glyphs.current()
    left = [*attention(picture), Part(title, Tone.ACCENT, 1, _short(title))]
    right: list[Part] = []
    if picture.journal_ok and picture.journal_detail:
        right.append(Part(f"journal low: {picture.journal_detail}", Tone.WARN, 2, short="journal low"))
    elif picture.journal_ok:
        right.append(Part(f"{signs.ok} journal", Tone.MUTED, 2))
    if picture.shipping is not None and picture.shipping.sinks:
        right.append(_shipping(picture.shipping))
    if picture.read_only:
        right.append(Part("READ ONLY", Tone.WARN))
    if picture.speed != 1:
        right.append(Part(f"sandbox x{picture.speed:g}", Tone.ACCENT, 6))
    right.append(Part(picture.operator, Tone.MUTED, 7))
    if picture.now is not None:
        right.append(Part(picture.now.strftime("%H:%M:%SZ"), Tone.TEXT, 4))
    return left, right


def _short(title: str) -> str:
    """The last two parts of a title, what and where: one must be able to read it whatever else is wrong."""
    bullet = f" {glyphs.current().bullet} "
    *before, last = title.split(bullet)
    return bullet.join((*(cut(part, _PART) for part in before[-1:]), cut(last, _LAST)))


def _shipping(shipping: Shipping) -> Part:
    """How long an entry has been waiting to get to its sinks; 0 where all are there."""
    lag = shipping.lag_seconds
    tone = Tone.BAD if shipping.troubled else Tone.WARN if lag > SLOW_SECONDS else Tone.MUTED
    return Part(f"ship {lag:.1f}s" if lag < LATE_SECONDS else f"ship {age(lag)}", tone, 3)


def unseen(results: Results) -> list[Part]:
    """That errors were told which nobody has looked up yet."""
    count = results.unseen_errors
    words = f"{glyphs.current().bad} {count} error{'s' if count > 1 else ''}: ctrl+l"
    return [Part(words, Tone.BAD, 2)] if count else []


def attention(picture: Picture) -> list[Part]:
    """What is unsafe now, most urgent first, a few words each, after how many there are; or that nothing is."""
    signs = glyphs.current()
    found = concerns(picture)
    if not found and picture.connecting:
        return [Part(f"{signs.asking} connecting", Tone.ACCENT)]
    if not found and all(view.reachable for view in picture.fleet.environments):
        return [Part(f"{signs.ok} nothing unsafe", Tone.GOOD)]
    parts = [_told(kind, list(group)) for kind, group in groupby(found, key=lambda concern: concern.kind)]
    # the worst stays; the others give way from the end, before the journal's state does, but they are still counted
    rest = [replace(part, priority=3) for part in parts[1:]]
    number = Part(f"{len(found)} unsafe, ! goes there", Tone.MUTED, 2, f"{len(found)} unsafe")
    return [*parts[:1], *([number] if len(found) > 1 else []), *rest]


def _told(kind: Kind, group: Sequence[Concern]) -> Part:
    """The concerns of one kind in a few words: each by its name, from the fourth on as a number."""
    signs = glyphs.current()
    sign = {
        Kind.ROLLING_BACK: signs.aborted,
        Kind.PAUSED: signs.paused,
        Kind.UNREACHABLE: signs.unknown,
        Kind.UNREADABLE: signs.unknown,
        Kind.DEGRADED: signs.warning,
    }.get(kind, signs.bad)
    short = f"{len(group)} {kind.value}"
    if kind in (Kind.FAILED, Kind.DEGRADED):
        counts = Counter(concern.place.environment for concern in group)
        words = ", ".join(f"{name} {number}" for name, number in counts.items()) + f" {kind.value}"
    elif len(group) == 1:
        words = group[0].words
        short = words if kind in (Kind.JOURNAL, Kind.CUT_OFF, Kind.SHIPPING) else _narrow(kind, group)
    else:
        words = _narrow(kind, group)
    return Part(f"{sign} {cut(words, _LONGEST)}", group[0].tone, 0, f"{sign} {cut(min(words, short, key=len), _LONGEST)}")


def freshness(view: EnvironmentView | None) -> Line:
    """How old what is shown of an environment is, and what is wrong with it: for the title of every pane that shows figures."""
    signs = glyphs.current()
    if view is None or (view.age_seconds is None and not view.problem):
        return ()
    if not view.reachable:
        return ((f"  {signs.unknown} {last_seen(view)}: {view.problem}", Tone.BAD),)
    seen = (f"  {age(view.age_seconds)} ago", Tone.MUTED)
    return (seen, (f"  {signs.unknown} {view.problem}", Tone.WARN)) if view.problem else (seen,)


def _narrow(kind: Kind, group: Sequence[Concern]) -> str:
    if kind in (Kind.UNREACHABLE, Kind.UNREADABLE):
        return f"{', '.join(concern.place.environment for concern in group)} {kind.value}"
    services = sorted({concern.place.service for concern in group})
    names = ", ".join(services) if len(services) < 4 else f"{len(group)} rollouts"
    return f"nobody watches {names}" if kind is Kind.ORPHANED else f"{names} {kind.value}"

"""The status line: what is unsafe now first, then where one is; on the right who, on what, and when."""

from collections import Counter
from collections.abc import Callable

from console.view import Picture, RolloutCard
from services.model.fleet import EnvironmentView, Health
from services.model.rollout import Phase
from widgets import glyphs
from widgets.format import age
from widgets.ink import Tone
from widgets.statusbar import Part


def status_parts(picture: Picture, title: str) -> tuple[list[Part], list[Part]]:
    """Left and right half of the line for a screen with this title."""
    signs = glyphs.current()
    left = [*attention(picture), Part(title, Tone.ACCENT, 5)]
    right: list[Part] = []
    if picture.journal_ok:
        right.append(Part(f"{signs.ok} journal", Tone.MUTED, 2))
    if picture.read_only:
        right.append(Part("READ ONLY", Tone.WARN))
    if picture.speed != 1:
        right.append(Part(f"sandbox x{picture.speed:g}", Tone.ACCENT, 6))
    right.append(Part(picture.operator, Tone.MUTED, 7))
    if picture.now is not None:
        right.append(Part(picture.now.strftime("%H:%M:%SZ"), Tone.TEXT, 4))
    return left, right


def attention(picture: Picture) -> list[Part]:
    """What is unsafe now, most urgent first, a few words each; or that nothing is."""
    signs = glyphs.current()
    found: list[tuple[str, Tone]] = []
    # before all else: what is done while the journal can't be written leaves no trace
    if not picture.journal_ok:
        found.append((f"{signs.bad} journal: {picture.journal_detail}", Tone.ALARM))
    if picture.failure:
        found.append((f"{signs.bad} cut off: {picture.failure}", Tone.ALARM))
    if names := _services(picture, lambda card: card.orphaned):
        found.append((f"{signs.bad} nobody watches {names}", Tone.ALARM))
    if names := _services(picture, lambda card: card.rollout.phase is Phase.NEEDS_ATTENTION):
        found.append((f"{signs.bad} {names} needs a person", Tone.ALARM))
    if names := _services(picture, lambda card: card.rollout.phase is Phase.ROLLING_BACK and not card.orphaned):
        found.append((f"{signs.aborted} {names} rolls back", Tone.WARN))
    if names := _services(picture, lambda card: card.rollout.phase is Phase.PAUSED and not card.orphaned):
        found.append((f"{signs.paused} {names} paused", Tone.WARN))
    for view in picture.fleet.environments:
        if view.reachable:
            counts = Counter(service.health for service in view.services)
            failed, degraded = counts[Health.FAILED], counts[Health.DEGRADED]
            if failed:
                found.append((f"{signs.bad} {view.name} {failed} failed", Tone.BAD))
            if degraded:
                found.append((f"{signs.warning} {view.name} {degraded} degraded", Tone.WARN))
    gone = [view for view in picture.fleet.environments if not view.reachable and (view.problem or view.age_seconds is not None)]
    if gone and not picture.connecting:
        which = (
            f"{gone[0].name} {last_seen(gone[0])}" if len(gone) == 1 else f"{', '.join(view.name for view in gone)} unreachable"
        )
        found.append((f"{signs.unknown} {which}", Tone.BAD))
    if not found and picture.connecting:
        return [Part(f"{signs.asking} connecting", Tone.ACCENT)]
    if not found and all(view.reachable for view in picture.fleet.environments):
        return [Part(f"{signs.ok} nothing unsafe", Tone.GOOD)]
    # the worst stays; from the third on they give way, from the end, before the journal's state does
    return [Part(text, tone, (0, 1)[index] if index < 2 else 3) for index, (text, tone) in enumerate(found)]


def _services(picture: Picture, wanted: Callable[[RolloutCard], bool]) -> str:
    names = sorted({card.rollout.release.service for card in picture.rollouts if wanted(card)})
    return ", ".join(names) if len(names) < 4 else f"{len(names)} rollouts"


def last_seen(view: EnvironmentView) -> str:
    """How old the picture of an environment is that can't be reached."""
    return f"unreachable, seen {age(view.age_seconds)} ago" if view.age_seconds is not None else "never reached"

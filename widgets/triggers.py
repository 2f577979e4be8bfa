"""The automatic rollback triggers: each value against its limit, and how old the look is."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.model.rollout import TriggerName, TriggerReading
from widgets import format as figures
from widgets import glyphs, ink, text
from widgets.drawn import Drawn
from widgets.ink import Line, Lines, Span, Tone

_NAME = 17
_BAR = 10
_NARROW = 52
_WIDE = 64


@dataclass(frozen=True, slots=True)
class _Readings:
    readings: tuple[TriggerReading, ...]
    age: float | None
    told: float | None = None
    """Seconds since the latest answer about alerts."""


def limit_of(reading: TriggerReading | None) -> float | None:
    """A trigger's limit; ``None`` where it has none (yet). A latency of 0 is none either: so says a checkpoint whose baseline
    saw no request."""
    if reading is None or (reading.name is TriggerName.LATENCY_P99 and not reading.limit):
        return None
    return figures.known(reading.limit)


def is_over(reading: TriggerReading | None) -> bool:
    """Whether a person has to look: it fired, or its value is over its limit."""
    if reading is None:
        return False
    value, limit = figures.known(reading.value), limit_of(reading)
    return reading.fired or (value is not None and limit is not None and value > limit)


def limit_words(reading: TriggerReading | None, *, named: bool = False) -> str:
    """A trigger's limit as it is shown, ``named`` with the name of the thing counted; a dash where it has none."""
    limit = limit_of(reading)
    return glyphs.current().none if reading is None or limit is None else _figure(reading, limit, named=named)


def _verdict(reading: TriggerReading) -> tuple[str, str, Tone]:
    signs = glyphs.current()
    if reading.fired:
        return signs.bad, "FIRED", Tone.ALARM
    if figures.known(reading.value) is None:
        return signs.unknown, "unknown", Tone.WARN
    if is_over(reading):
        return signs.warning, "over", Tone.WARN
    return signs.ok, "ok", Tone.GOOD


def _bar(reading: TriggerReading, tone: Tone) -> Line:
    signs = glyphs.current()
    value, limit = figures.known(reading.value), limit_of(reading)
    if value is None or limit is None:
        return ((signs.gap * _BAR, Tone.MUTED),)
    share = min(1.0, value / limit) if limit > 0 else float(value > 0)
    full = max(0, round(share * _BAR))
    return ((signs.bar_full * full, tone), (signs.bar_empty * (_BAR - full), Tone.MUTED))


def _figure(reading: TriggerReading, value: float | None, *, named: bool = False) -> str:
    if reading.name is TriggerName.PROGRESS_DEADLINE:
        return figures.seconds(value)  # minutes of waiting, not a latency
    return figures.reading(value, reading.unit) if named else figures.bare(value, reading.unit)


def alert_words(reading: TriggerReading, told: float | None) -> str:
    """The trigger ``alert`` in short, with the seconds since its source ``told`` anything: an answer has an age of its own."""
    if reading.fired:
        return f"alert {reading.subject}"
    if figures.known(reading.value) is None:
        return f"alerts not watched{_last(told)}"
    return f"alerts {_aged(reading.detail, told)}"


def _last(told: float | None) -> str:
    return f", last answer {figures.age(told)} ago" if told is not None else ""


def _aged(detail: str, told: float | None) -> str:
    """How many fire, how old that is, and then what fires since before, which may be cut."""
    new, sign, before = detail.partition("; ")
    return new + (f" {glyphs.current().bullet} {figures.age(told)} ago" if told is not None else "") + sign + before


def _alert(reading: TriggerReading, told: float | None) -> str:
    """The trigger ``alert`` behind its name: it has no figure that a bar could show."""
    if reading.fired:
        return reading.detail
    return _aged(reading.detail, told) if figures.known(reading.value) is not None else f"{reading.detail}{_last(told)}"


def draw_trigger(reading: TriggerReading, width: int, told: float | None = None) -> Line:
    """One trigger: sign, word, name, value, bar up to the limit, limit, and what is missing; the essence where it is narrow.
    ``told``: the seconds since the latest answer, where it has an age of its own."""
    sign, word, tone = _verdict(reading)
    name_tone = Tone.STRONG if reading.fired else Tone.TEXT
    if reading.name is TriggerName.ALERT:
        words = f"{sign} {word:<8}" if width >= _NARROW else f"{sign} "
        name = text.pad(reading.name.value, _NAME + (width >= _NARROW))
        said = (_alert(reading, told), tone if reading.fired else Tone.WARN if tone is Tone.WARN else Tone.MUTED)
        return ink.fit(((words, tone), (name, name_tone), said), width)
    value = _figure(reading, reading.value)
    if width < _NARROW:
        short: Line = (
            (f"{sign} ", tone),
            (text.pad(reading.name.value, _NAME), name_tone),
            (f"{value:>6}" if reading.value is not None else "", Tone.STRONG),
            (f" / {limit_words(reading)}" if reading.value is not None else "", Tone.MUTED),
            ("" if tone is Tone.GOOD else f" {word}", tone),
        )
        return ink.fit(short, width)
    line: list[Span] = [
        (f"{sign} {word:<8}", tone),
        (text.pad(reading.name.value, _NAME + 1), name_tone),
        (f"{value:>7} ", Tone.STRONG),
    ]
    if width >= _WIDE:
        line += [*_bar(reading, tone), (" ", Tone.TEXT)]
    line.append((f"limit {limit_words(reading, named=True)}", Tone.MUTED))
    if reading.detail:
        line.append((f"  {reading.detail}", tone if reading.fired else Tone.MUTED))
    return ink.fit(tuple(line), width)


class Triggers(Drawn[_Readings]):
    """Shows every trigger on a line, and below them how long ago they were looked at."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(_Readings((), None), id=id, classes=classes)

    def show(self, readings: Sequence[TriggerReading], age: float | None = None, told: float | None = None) -> None:
        """Show ``readings``, looked at ``age`` seconds ago; of alerts anything was ``told`` so many seconds ago."""
        self.replace(_Readings(tuple(readings), age, told))

    def draw(self, value: _Readings, width: int, height: int | None) -> Lines:
        if not value.readings:
            return ((("no trigger watches yet", Tone.MUTED),),)
        looked: Line = (
            ((f"looked at {figures.age(value.age)} ago", Tone.MUTED),)
            if value.age is not None
            else (("never looked at", Tone.WARN),)
        )
        ages = {TriggerName.ALERT: value.told}
        return (*(draw_trigger(reading, width, ages.get(reading.name)) for reading in value.readings), looked)

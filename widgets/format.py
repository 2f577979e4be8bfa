"""Figures as an operator reads them: short, with their unit, and ``?`` for what is not known."""

import math

from services.model.rollout import of_hundred

UNKNOWN = "?"


def known(value: float | None) -> float | None:
    """``value``, or ``None`` where it is no number that could be shown (infinite or not a number)."""
    return None if value is None or not math.isfinite(value) else value


def age(seconds: float | None) -> str:
    """How old something is: ``2s``, ``4m``, ``3h``, ``12d``. A clock that is a little ahead counts as now."""
    number = known(seconds)
    if number is None:
        return UNKNOWN
    whole = max(0, int(number))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= size * (2 if unit == "d" else 1):
            return f"{whole // size}{unit}"
    return f"{whole}s"


def seconds(value: float | None) -> str:
    """A duration: ``0.4s``, ``4.1s``, ``48s``, ``6m 11s``, ``2h 03m``."""
    number = known(value)
    if number is None:
        return UNKNOWN
    number = max(0.0, number)
    if number < 9.95:
        return f"{number:.1f}s"
    whole = round(number)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m"


def expected(value: float | None) -> str:
    """How long something is expected to take: ``2 s``, ``6m 11s``. In whole seconds, rounded up: a fraction would pretend to
    know."""
    number = known(value)
    return f"{max(0, math.ceil(number))} s" if number is not None and number < 60 else seconds(value)


def countdown(value: float | None) -> str:
    """Time left: ``01:48``, from an hour on ``1:02:03``. Rounded up, so that ``00:00`` means it is over."""
    number = known(value)
    if number is None:
        return "--:--"
    whole = max(0, math.ceil(number))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def percent(share: float | None) -> str:
    """A share (0-1) with as many digits as it deserves: ``0%``, ``0.05%``, ``1.8%``, ``5%``, ``41%``; ``<0.01%`` is not 0."""
    value = known(None if share is None else share * 100)
    if value is None:
        return UNKNOWN
    size = abs(value)
    if abs(value - round(value)) < 1e-9:
        return f"{round(value)}%"
    if size < 0.01:
        return "<0.01%" if value > 0 else ">-0.01%"
    if size < 0.995:
        return f"{value:.2f}%"
    if size < 9.95:
        return f"{value:.1f}%"
    return f"{value:.0f}%"


def weight(value: int | None) -> str:
    """A share of the traffic in whole percent: ``25%``."""
    return UNKNOWN if value is None else f"{value}%"


def count(value: float | None) -> str:
    """A number of things: ``0``, ``812``, ``12.3k``, ``4.1M``."""
    number = known(value)
    if number is None:
        return UNKNOWN
    if abs(number) < 999.5:
        return f"{number:.0f}"
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)):
        scaled = number / size
        if abs(scaled) < 99.95:
            return f"{scaled:.1f}{unit}"
        if abs(scaled) < 999.5:
            return f"{scaled:.0f}{unit}"
    return f"{number:.1e}"


def size(value: float | None) -> str:
    """Bytes in binary units: ``512 B``, ``1.5 GiB``."""
    number = known(value)
    if number is None:
        return UNKNOWN
    if abs(number) < 1023.5:
        return f"{number:.0f} B"
    scaled = number
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        scaled /= 1024
        if abs(scaled) < 99.95:
            return f"{scaled:.1f} {unit}"
        if abs(scaled) < 1023.5:
            return f"{scaled:.0f} {unit}"
    return f"{scaled / 1024:.1f} PiB"


def milliseconds(value: float | None) -> str:
    """A latency, given in seconds: ``0.4ms``, ``48ms``, ``1.25s``."""
    number = known(value)
    if number is None:
        return UNKNOWN
    ms = number * 1000
    if abs(ms) < 0.05:
        return "0ms"
    if abs(ms) < 9.95:
        return f"{ms:.1f}ms"
    if abs(ms) < 999.5:
        return f"{ms:.0f}ms"
    return f"{number:.2f}s" if abs(number) < 9.995 else f"{number:.0f}s"


def bare(value: float | None, unit: str) -> str:
    """A reading without the name of the thing counted, for where another figure beside it has it: ``2`` of ``3 failures``."""
    return reading(value, unit if unit in _UNITS or unit in ("%", "ms") else "")


def _nats(value: float) -> str:
    return f"{value:.1f}"


_UNITS = {
    **{"share": percent, "ratio": percent, "s": milliseconds, "seconds": milliseconds, "bytes": size, "": count},
    "of 100": of_hundred,
    "nats": _nats,
}


def reading(value: float | None, unit: str) -> str:
    """A value in its unit: ``share`` (0-1), ``%``, ``s`` (a latency in seconds), ``ms``, ``bytes``, ``of 100`` (the judge's
    evidence), ``nats`` (ln E), neither of which needs its unit beside it, or things counted."""
    number = known(value)
    if number is None:
        return UNKNOWN
    if unit == "%":
        return percent(number / 100)
    if unit == "ms":
        return milliseconds(number / 1000)
    in_unit = _UNITS.get(unit)
    return in_unit(number) if in_unit is not None else f"{count(number)} {unit}"

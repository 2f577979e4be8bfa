"""A journal entry as fields for a person: those that every entry has first, then what the event needs, evidence in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from console.screens.words import outcome_tone
from widgets import glyphs
from widgets.format import age, milliseconds, percent, seconds
from widgets.ink import Tone
from widgets.record import Field

COMMON = (
    "timestamp",
    "event",
    "user",
    "environment",
    "service",
    "version",
    "command",
    "change_ticket",
    "approvers",
    "outcome",
    "rollback_triggered",
    "duration_seconds",
)
"""The fields that every entry has (R6.1), in their order."""
_OURS = frozenset({*COMMON, "v", "seq", "id", "data", "phase", "ref", "rollout", "prog", "mono", "boot", "redacted"})
_DEEPEST = 6
_SHARES = frozenset({"error_rate", "cpu", "memory"})
_LATENCIES = frozenset({"p50", "p99"})


def entry_fields(entry: Mapping[str, Any], now: datetime | None) -> tuple[Field, ...]:
    """``entry`` in fields; ages count to ``now``."""
    return tuple(_fields(entry, now))


def _fields(entry: Mapping[str, Any], now: datetime | None) -> Iterator[Field]:
    for name in COMMON:
        yield _common(name, entry, now)
    if entry.get("phase"):
        of = f" of the intent {entry['ref']}" if entry.get("ref") else ""
        yield Field("phase", f"{entry['phase']}{of}")
    if entry.get("rollout"):
        yield Field("rollout", str(entry["rollout"]))
    yield Field("entry", f"#{entry.get('seq', '?')}  {entry.get('id', '')}", Tone.MUTED)
    written = entry.get("prog")
    if isinstance(written, dict):
        words = f"{written.get('name', '?')} {written.get('version', '?')} on {written.get('host', '?')}"
        yield Field("written by", f"{words}, process {written.get('pid', '?')}", Tone.MUTED)
    if entry.get("redacted"):
        yield Field("redacted", ", ".join(str(rule) for rule in entry["redacted"]), Tone.WARN)
    for name in entry:
        if name not in _OURS:
            yield from _nested(name, entry[name], 0)
    data = entry.get("data")
    if data:
        yield Field("", " ")
        yield Field("", "EVIDENCE", Tone.STRONG)
        for name, value in data.items() if isinstance(data, dict) else [("data", data)]:
            yield from evidence(str(name), value)


def _common(name: str, entry: Mapping[str, Any], now: datetime | None) -> Field:
    value = entry.get(name)
    if name == "timestamp":
        return Field(name, f"{_time(value)}{_ago(value, now)}", Tone.STRONG)
    if name == "event":
        return Field(name, str(value or ""), Tone.STRONG)
    if name == "outcome":
        words = str(value or "") or ("not known yet" if entry.get("phase") == "intent" else "–")
        return Field(name, words, outcome_tone(dict(entry)) if value else Tone.MUTED)
    if name == "approvers":
        return Field(name, ", ".join(str(each) for each in value) if value else glyphs.current().none)
    if name == "rollback_triggered":
        return Field(name, "yes" if value else "no", Tone.WARN if value else Tone.TEXT)
    if name == "duration_seconds":
        known = isinstance(value, int | float)
        return Field(name, seconds(value) if known else glyphs.current().none, Tone.TEXT if known else Tone.MUTED)
    return Field(name, str(value or "") or glyphs.current().none, Tone.TEXT if value else Tone.MUTED)


def _time(value: Any) -> str:
    """``2026-11-23 14:31:55.123Z``: every digit that tells two entries apart, none more."""
    text = str(value or "?")
    return f"{text[:10]} {text[11:23]}Z" if len(text) >= 23 else text


def _ago(value: Any, now: datetime | None) -> str:
    try:
        then = datetime.fromisoformat(str(value))
        return f"   {age((now - then).total_seconds())} ago" if now is not None else ""
    except (ValueError, TypeError):
        return ""


def evidence(name: str, value: Any) -> Iterator[Field]:
    """One part of an entry's data, in words where it is a kind that is known."""
    if name == "gates" and _dicts(value):
        yield Field("", "gates", Tone.MUTED)
        for gate in value:
            yield _gate(gate)
    elif name == "triggers" and _dicts(value):
        yield Field("", "triggers", Tone.MUTED)
        for reading in value:
            yield _trigger(reading)
    elif name in ("sample", "last") and isinstance(value, dict) and isinstance(value.get("canary"), dict):
        yield Field("", f"{name} at pace second {value.get('at', 0):.0f}" if _number(value.get("at")) else name, Tone.MUTED)
        for arm in ("canary", "stable"):
            if isinstance(value.get(arm), dict):
                yield Field(arm, _arm(value[arm]), Tone.CANARY if arm == "canary" else Tone.STABLE, 1)
    elif name == "changes" and _dicts(value):
        yield Field("", "changes", Tone.MUTED)
        for change in value:
            old, new = (glyphs.current().none if change.get(key) is None else str(change.get(key)) for key in ("old", "new"))
            yield Field(str(change.get("path", "?")), f"{old} {glyphs.current().arrow} {new}", Tone.TEXT, 1)
    else:
        yield from _nested(name, value, 0)


def _gate(gate: Mapping[str, Any]) -> Field:
    signs = glyphs.current()
    outcome = str(gate.get("outcome", "?"))
    sign, tone = {"pass": (signs.ok, Tone.GOOD), "waived": (signs.waived, Tone.WARN), "fail": (signs.bad, Tone.BAD)}.get(
        outcome, (signs.unknown, Tone.WARN)
    )
    words = " ".join(str(gate[part]) for part in ("evidence", "detail") if gate.get(part))
    return Field(f"{sign} {gate.get('name', '?')}", f"{outcome}: {words}" if words else outcome, tone, 1)


def _trigger(reading: Mapping[str, Any]) -> Field:
    name = str(reading.get("name", "?"))
    told = [measured(name, reading.get(part)) for part in ("value", "limit")]
    fired = bool(reading.get("fired"))
    words = f"{told[0]} of {told[1]}" + (f"   {glyphs.current().bad} FIRED" if fired else "")
    return Field(name, words, Tone.BAD if fired else Tone.TEXT, 1)


def measured(name: str, value: Any) -> str:
    """A trigger's value or limit in its unit, by the trigger's name."""
    if not _number(value):
        return glyphs.current().unknown if value is None else str(value)
    if name in ("error-rate", "cpu", "memory"):
        return percent(float(value))
    if name.startswith("latency"):
        return milliseconds(float(value))
    return seconds(float(value)) if name == "progress-deadline" else f"{value:g}"


def _arm(arm: Mapping[str, Any]) -> str:
    requests, errors = arm.get("requests"), arm.get("errors")
    words = [f"{arm.get('ready', '?')}/{arm.get('pods', '?')} pods ready"]
    if _number(requests):
        words.append(f"{requests:,.0f} requests")
        if _number(errors) and requests:
            words.append(f"errors {percent(errors / requests)}")
    words += [f"P{name[1:]} {milliseconds(arm[name])}" for name in ("p50", "p99") if _number(arm.get(name))]
    words += [f"{name} {percent(arm[name])}" for name in ("cpu", "memory") if _number(arm.get(name))]
    if arm.get("restarts"):
        words.append(f"{arm['restarts']} restarts")
    return ", ".join(words)


def _nested(name: str, value: Any, depth: int) -> Iterator[Field]:
    if isinstance(value, dict) and value and depth < _DEEPEST:
        yield Field("", name, Tone.MUTED, depth)
        for key, part in value.items():
            yield from _nested(str(key), part, depth + 1)
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value) and depth < _DEEPEST:
        yield Field("", name, Tone.MUTED, depth)
        for index, part in enumerate(value, 1):
            if isinstance(part, dict) and all(not isinstance(each, dict | list) for each in part.values()):
                words = ", ".join(f"{key} {_plain(str(key), each)}" for key, each in part.items() if each not in ("", None))
                yield Field(str(index), words, Tone.TEXT, depth + 1)
            else:
                yield from _nested(str(index), part, depth + 1)
    else:
        yield Field(name, _plain(name, value), Tone.TEXT, depth)


def _plain(name: str, value: Any) -> str:
    if value is None or value in ("", [], {}):
        return glyphs.current().none
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and name in _SHARES:
        return percent(value)
    if isinstance(value, float) and name in _LATENCIES:
        return milliseconds(value)
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, list):
        return ", ".join(_plain(name, part) for part in value)
    return str(value)


def _dicts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

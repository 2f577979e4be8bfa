"""Journal entries in the words of a story: what was confirmed, which gates were met, what a request changed, why it ended."""

from collections.abc import Mapping
from typing import Any

from services.model.rollout import ENOUGH_EVIDENCE, of_hundred

Entry = Mapping[str, Any]


def data_of(entry: Entry | None) -> Mapping[str, Any]:
    return dict_of(entry.get("data")) if entry is not None else {}


def list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def dict_of(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def confirmed(entry: Entry) -> str:
    data = data_of(entry)
    release = dict_of(data.get("release"))
    versions = f"{data.get('previous_version') or '?'} → {entry.get('version') or '?'}"
    ticket = f", {entry['change_ticket']}" if entry.get("change_ticket") else ""
    typed = f", typed {data['confirmation']!r}" if data.get("confirmation") else ""
    strategy = f" by {release['strategy']}" if release.get("strategy") else ""
    return f"confirmed: {versions}{strategy}{ticket}{typed}"


def gates_met(entry: Entry) -> tuple[str, tuple[str, ...]]:
    gates = [gate for gate in list_of(data_of(entry).get("gates")) if isinstance(gate, dict)]
    met = sum(gate.get("outcome") in ("pass", "waived") for gate in gates)
    return f"{met} of {len(gates)} gates met", tuple(_gate(gate) for gate in gates)


def _gate(gate: Mapping[str, Any]) -> str:
    words = " ".join(str(gate[part]) for part in ("evidence", "detail") if gate.get(part))
    return f"{gate.get('name')} {gate.get('outcome')}: {words}"


def driver_words(entry: Entry) -> str:
    written = dict_of(entry.get("prog"))
    host = f"on {written['host']}" if written.get("host") else "on a machine that is not named"
    epoch = data_of(entry).get("epoch")
    return f"{host}{f', epoch {epoch}' if isinstance(epoch, int) else ''}"


def change_words(entry: Entry, intent: Entry) -> str:
    """What a request changed and what was answered."""
    data, asked = data_of(entry), data_of(intent)
    target = dict_of(data.get("object"))
    what = f"{str(target.get('kind', '')).lower()}/{target.get('name', '')}" if target else str(data.get("step_name") or "")
    changes = [each for each in list_of(asked.get("changes")) if isinstance(each, dict)]
    values = ", ".join(
        f"{_last(str(each.get('path')))} {_value(each.get('old'))} → {_value(each.get('new'))}" for each in changes[:3]
    )
    more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
    outcome = str(entry.get("outcome") or "")
    error = f": {data['error']}" if data.get("error") else ""
    checks = [each for each in list_of(data.get("checks")) if isinstance(each, dict)]
    passed = f"{sum(bool(each.get('passed')) for each in checks)} of {len(checks)} passed" if checks else ""
    took = f" in {data['milliseconds']:.0f} ms" if isinstance(data.get("milliseconds"), int | float) else ""
    return " ".join(part for part in (what, f"{values}{more}", passed, f"{outcome}{took}{error}") if part)


def _last(path: str) -> str:
    """The end of a path, which says what it is: ``weight``, ``replicas``, ``image``."""
    parts = [part for part in path.split("/") if part]
    return parts[-1] if parts else path


def _value(value: Any) -> str:
    text = "absent" if value is None else str(value)
    # of an image its tag
    text = text.rpartition("/")[2] if "/" in text else text
    return text if len(text) <= 40 else f"{text[:39]}…"


def reason_words(reason: Any) -> str:
    if not isinstance(reason, dict):
        return str(reason or "")
    if reason.get("kind") == "trigger":
        return trigger_words(reason, str(reason.get("detail") or ""))
    detail = f" ({reason['detail']})" if reason.get("detail") else ""
    return f"{reason.get('name') or ''}{detail}".strip()


def trigger_words(reading: Mapping[str, Any], detail: str = "") -> str:
    limit = f"limit {figure(reading, 'limit')}" if reading.get("limit") is not None else ""
    within = "; ".join(part for part in (limit, detail) if part)
    return f"{reading.get('name')} {figure(reading, 'value')}{f' ({within})' if within else ''}"


def figure(reading: Mapping[str, Any], part: str) -> str:
    """A trigger's value or limit in its unit, which its name tells."""
    value, name = reading.get(part), str(reading.get("name") or "")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "unknown" if value is None else str(value)
    if name in ("error-rate", "cpu", "memory"):
        return f"{value * 100:.3g} %"
    limit = reading.get("limit")
    if name == "judge" and isinstance(limit, int | float) and limit > 0:
        return of_hundred(ENOUGH_EVIDENCE * value / limit)
    return f"{value * 1000:.0f} ms" if name.startswith("latency") else f"{value:g}"


def evidence_words(evidence: Any) -> str:
    """What the judge had found when it said so: its two gauges (of 100) and why, as it put it then."""
    found = dict_of(evidence)
    gauges = [
        f"of {name} {of_hundred(found[name])} / 100"
        for name in ("regression", "health")
        if isinstance(found.get(name), int | float)
    ]
    detail = str(found.get("detail") or "")
    told = f"evidence {', '.join(gauges)}" if gauges else ""
    return f"{told}: {detail}" if told and detail else told or detail


def judge_words(data: Mapping[str, Any]) -> tuple[str, ...]:
    """How far the judge was from a rollback at one look; nothing where it did not look."""
    look = dict_of(data.get("judge"))
    if not all(isinstance(look.get(name), int | float) for name in ("log_e", "limit")):
        return ()
    if look["limit"] <= 0:
        return ()
    evidence = of_hundred(ENOUGH_EVIDENCE * look["log_e"] / look["limit"])
    return (f"judge {look.get('verdict') or 'looked'}: evidence {evidence} of 100",)


def end_words(entry: Entry) -> str:
    """How a rollout ended, and which version runs since where it was rolled back."""
    now = data_of(entry).get("restored_version")
    return f"{str(entry.get('outcome') or '').replace('_', ' ')}{f': {now} runs again' if now else ''}"


def final_figures(entry: Entry) -> tuple[str, ...]:
    data = data_of(entry)
    told = []
    if reason := reason_words(data.get("reason")):
        told.append(f"because of {reason}")
    told += [f"by hand: {command}" for command in list_of(data.get("left"))]
    before = dict_of(dict_of(data.get("metrics")).get("baseline"))
    if isinstance(before.get("error_rate"), int | float):
        p99 = f", P99 {before['p99'] * 1000:.0f} ms" if isinstance(before.get("p99"), int | float) else ""
        told.append(f"before: errors {before['error_rate'] * 100:.2g} %{p99}")
    return tuple(told)


def step_words(number: int, name: str) -> str:
    return f"step {number + 1}: {name}" if name else f"step {number + 1}"

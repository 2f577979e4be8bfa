"""What many health checks of one step come to: how many there were, and between which values the figures moved."""

from collections.abc import Mapping
from typing import Any

from services.audit.telling import list_of


class ChecksOf:
    """The health checks of one step."""

    def __init__(self) -> None:
        self._count = 0
        self._held = 0
        self._errors: list[float] = []
        self._p99: list[float] = []
        self._limits: dict[str, float] = {}

    def add(self, entry: Mapping[str, Any]) -> None:
        data = entry.get("data")
        if not isinstance(data, dict) or not isinstance(data.get("sample"), dict):
            return
        self._count += 1
        self._held += entry.get("outcome") == "holds"
        errors, p99 = _canary(data["sample"])
        if errors is not None:
            self._errors.append(errors)
        if p99 is not None:
            self._p99.append(p99)
        for reading in list_of(data.get("triggers")):
            if isinstance(reading, dict) and isinstance(reading.get("limit"), int | float):
                self._limits[str(reading.get("name"))] = float(reading["limit"])

    def words(self) -> tuple[str, ...]:
        """One line, or none where nothing was measured."""
        if not self._count:
            return ()
        told = [f"{self._count} health checks" if self._count > 1 else "1 health check"]
        if self._errors:
            limit = self._limits.get("error-rate")
            most = f" (limit {limit * 100:.3g} %)" if limit is not None else ""
            told.append(f"errors {_between([share * 100 for share in self._errors], '%')}{most}")
        if self._p99:
            limit = self._limits.get("latency-p99")
            most = f" (limit {limit * 1000:.0f} ms)" if limit is not None else ""
            told.append(f"P99 {_between([second * 1000 for second in self._p99], 'ms')}{most}")
        return (", ".join(told),)

    @staticmethod
    def sample(entry: Mapping[str, Any]) -> tuple[str, ...]:
        """The figures of one check."""
        data = entry.get("data")
        sample = data.get("sample") if isinstance(data, dict) else None
        errors, p99 = _canary(sample) if isinstance(sample, dict) else (None, None)
        told = [f"errors {errors * 100:.3g} %"] if errors is not None else []
        told += [f"P99 {p99 * 1000:.0f} ms"] if p99 is not None else []
        return (f"new version: {', '.join(told)}",) if told else ()


def _canary(sample: Mapping[str, Any]) -> tuple[float | None, float | None]:
    arm = sample.get("canary")
    if not isinstance(arm, dict):
        return None, None
    requests, errors, p99 = arm.get("requests"), arm.get("errors"), arm.get("p99")
    share = errors / requests if isinstance(requests, int | float) and requests and isinstance(errors, int | float) else None
    return share, float(p99) if isinstance(p99, int | float) else None


def _between(values: list[float], unit: str) -> str:
    low, high = f"{min(values):.2g}", f"{max(values):.2g}"
    if max(values) >= 100:
        low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return f"{low} {unit}" if low == high else f"{low}–{high} {unit}"

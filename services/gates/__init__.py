"""Approval gates: data with evidence, time and source. One file a gate; :mod:`services.gates.checklist` asks them all."""

from services.gates.checklist import GATE_SECONDS, check, stream
from services.gates.question import FindRecords

__all__ = ["GATE_SECONDS", "FindRecords", "check", "stream"]

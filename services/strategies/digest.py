"""A plan's identity: a person confirms what will be changed to what, and a plan that differs needs a new confirmation."""

import hashlib
import json
from collections.abc import Sequence

import msgspec

from services.model.objects import Json
from services.model.release import Release
from services.model.steps import AnyStep, Scale, WaitReady

INCIDENTAL = frozenset({"name", "command", "expected_seconds", "replicas"})
"""Fields that follow from the rest or that an autoscaler moves."""


def digest(release: Release, steps: Sequence[AnyStep], basis: Json) -> str:
    """SHA-256 (hex) over the canonical JSON of the release (target included), each step's kind and lasting fields, its changes
    that nobody else may move, and ``basis``: what the plan builds on without changing it (the workload's spec, route,
    subsets).

    Replica counts are left out, and with them the steps that only scale or wait, which come and go with the counts.
    """
    kept = [_identity(step) for step in steps if not isinstance(step, Scale | WaitReady)]
    document = {"release": msgspec.to_builtins(release), "steps": kept, "basis": basis}
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _identity(step: AnyStep) -> Json:
    fields = {name: value for name, value in msgspec.to_builtins(step).items() if name not in INCIDENTAL}
    fields["changes"] = [msgspec.to_builtins(change) for change in step.changes if not change.volatile]
    return fields

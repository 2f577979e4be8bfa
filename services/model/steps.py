"""The typed steps of a plan. A step is data: what it does is written in ``services/rollout``, what undoes it is recorded
when it is applied."""

from enum import StrEnum

import msgspec

from services.model.objects import Change, Json, ObjectRef


class Undo(StrEnum):
    """How a step is taken back."""

    NONE = "none"
    RESTORE_VALUES = "restore the values it replaced"
    SCALE_TO_ZERO = "scale to zero"
    DELETE = "delete what it created"


class OnUndecided(StrEnum):
    """What becomes of an analysis that has had its time, and once more, and is undecided."""

    PAUSE = "pause"
    ADVANCE = "advance_with_note"
    ROLLBACK = "rollback"


class Step(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag=lambda name: name):
    """What all steps have: a name, what they change, the same as a command line, and how long it should take (pace s)."""

    name: str
    expected_seconds: float = 0.0
    changes: tuple[Change, ...] = ()
    command: str = ""

    @property
    def undo(self) -> Undo:
        return Undo.NONE


class MeasureBaseline(Step, frozen=True, kw_only=True):
    """Measure the running version for ``seconds`` (pace) before anything changes."""

    seconds: float


class PatchImage(Step, frozen=True, kw_only=True):
    """Give the containers of a workload's pod template their new image, as listed in ``changes``."""

    workload: ObjectRef
    promotes: bool = False
    """From here on the stable workload changes: a rollback restores capacity first, then traffic."""

    @property
    def undo(self) -> Undo:
        return Undo.RESTORE_VALUES


class EnsureWorkload(Step, frozen=True, kw_only=True):
    """Make ``workload`` a clone of ``source``: its pod template with ``images`` (container → image) and ``labels`` on
    template and selector, ``replicas`` pods. Created at zero replicas where absent, then scaled."""

    workload: ObjectRef
    source: ObjectRef
    images: dict[str, str]
    labels: dict[str, str]
    replicas: int

    @property
    def undo(self) -> Undo:
        return Undo.SCALE_TO_ZERO


class EnsureObject(Step, frozen=True, kw_only=True):
    """Make ``object`` with this ``body``: it was absent, exists for the rollout alone, and takes no requests by itself."""

    object: ObjectRef
    body: dict[str, Json]

    @property
    def undo(self) -> Undo:
        return Undo.DELETE


class CleanUp(Step, frozen=True, kw_only=True):
    """Give ``objects`` back what the rollout changed on them, and remove those of them that it made."""

    objects: tuple[ObjectRef, ...]


class Scale(Step, frozen=True, kw_only=True):
    """Set the replicas of a workload. ``at_least`` never scales down what an autoscaler has raised."""

    workload: ObjectRef
    replicas: int
    at_least: bool = False

    @property
    def undo(self) -> Undo:
        return Undo.RESTORE_VALUES


class WaitReady(Step, frozen=True, kw_only=True):
    """Wait until every wanted pod of the workload runs its current template and is ready; ``timeout`` in pace seconds."""

    workload: ObjectRef
    timeout: float


class SetTraffic(Step, frozen=True, kw_only=True):
    """Give the canary ``weight`` percent of the requests and stable the rest, through the ``route`` of ``router``: the object
    that holds the weights, or, where pods are counted, the canary's workload."""

    router: str
    route: ObjectRef
    weight: int

    @property
    def undo(self) -> Undo:
        return Undo.RESTORE_VALUES


class Analyse(Step, frozen=True, kw_only=True):
    """Watch the new version for ``seconds`` (pace); passes when no trigger fired, it served ``min_requests``, and the judge has
    proof that it is healthy. Undecided it takes as long again, then ``on_undecided`` says what is done."""

    seconds: float
    min_requests: int
    proof: bool = True
    """Whether health has to be proven; else it is enough that nothing is wrong (all users have the new version already)."""
    promote_early: bool = False
    """Whether proven health ends the step before its time."""
    on_undecided: OnUndecided = OnUndecided.PAUSE


class Pause(Step, frozen=True, kw_only=True):
    """Wait ``seconds`` (pace), or until a person promotes where it is ``None``."""

    seconds: float | None


class SmokeCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP check: ``GET path`` of the service must answer ``status`` (and contain ``contains``) within ``timeout`` wall s."""

    name: str
    path: str
    status: int = 200
    contains: str = ""
    timeout: float = 5.0


class SmokeTest(Step, frozen=True, kw_only=True):
    """Run the service's smoke tests, all of them."""

    checks: tuple[SmokeCheck, ...]


AnyStep = (
    MeasureBaseline
    | PatchImage
    | EnsureObject
    | EnsureWorkload
    | Scale
    | WaitReady
    | SetTraffic
    | Analyse
    | Pause
    | SmokeTest
    | CleanUp
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A release compiled into steps. ``digest`` identifies what will be changed to what (see ``services/strategies``)."""

    steps: tuple[AnyStep, ...]
    objects: tuple[ObjectRef, ...]
    """Every object the plan may change, absent ones included: all of them are claimed before the first step."""
    stable: ObjectRef
    canary: ObjectRef | None
    route: ObjectRef | None
    """What says how the requests are split: a route, or the canary's workload where the number of pods does."""
    previous_version: str
    new_images: dict[str, str]
    digest: str
    rollback_seconds: float
    """Predicted pace seconds from the rollback key to the restored service."""
    notes: tuple[str, ...] = ()
    pinned: bool = False
    """Whether the route sends some users to the canary whatever the weight. Such rules were there before and are left alone:
    who is sent by them finds no pods once the canary is gone, as before the rollout."""


def object_changes(step: Step) -> dict[ObjectRef, list[Change]]:
    """A step's changes by object, in order."""
    found: dict[ObjectRef, list[Change]] = {}
    for change in step.changes:
        found.setdefault(change.object, []).append(change)
    return found

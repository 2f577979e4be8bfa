"""Taking a rollout back, from what it recorded: pure, so a plan to restore can be shown before it runs.

Records are folded: for each object and path, the value before the rollout's first change, applied once. A value that is no
longer the one the rollout wrote belongs to somebody else by now (an autoscaler, a person): it is kept and named. Two are
restored whatever they are: routes, because requests must not stay on a bad version, and the canary's replicas, because the
canary exists only for the rollout. What the rollout created was created at zero replicas, so it goes back to zero.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec

from services.actuator.commands import kubectl_delete, kubectl_for
from services.actuator.mutation import Mutation, Write
from services.actuator.patch import epoch_of, identities, same, written
from services.actuator.shown import brief, shown
from services.model.objects import Json, ObjectRef, dotted, pointer, pointer_parts, value_at
from services.model.rollout import Guard, UndoRecord

ROUTES = frozenset({"VirtualService", "DestinationRule", "HTTPRoute", "Ingress"})
REPLICAS = pointer("spec", "replicas")
TEMPLATE = pointer("spec", "template")


class Folded(msgspec.Struct, frozen=True):
    """One value of one object over a whole rollout: before its first change, and as the rollout wrote it last."""

    object: ObjectRef
    path: str
    original: Json
    last: Json
    step: int
    guards: tuple[Guard, ...] = ()
    revision: int = 0
    changed: int = 0
    """Which of the rollout's records wrote it last."""
    born: Json = None
    """Of an object that the rollout made: the object as it was made."""
    touched: tuple[str, ...] = ()
    """Of an object that the rollout made: the paths it has written since."""

    @property
    def whole(self) -> bool:
        """Whether it is about the object itself, which the rollout made."""
        return not self.path and self.original is None


class Stage(StrEnum):
    """The parts of a rollback. Between two of them the engine waits until the pods of the first can serve."""

    TRAFFIC = "traffic"
    CAPACITY = "capacity"
    OBJECTS = "objects"


class RestorePhase(msgspec.Struct, frozen=True):
    """Mutations that may go out together (none: there is only to wait). ``wait_for`` are the workloads that have to be ready
    before the next phase."""

    stage: Stage
    mutations: tuple[Mutation, ...]
    wait_for: tuple[ObjectRef, ...]


class Kept(msgspec.Struct, frozen=True):
    """A value that is not restored: what it was before, what the rollout wrote, what is there now, and why it stays.

    ``command`` restores it by hand; empty where the object itself is gone."""

    object: ObjectRef
    path: str
    original: Json
    ours: Json
    found: Json
    why: str
    command: str

    def __str__(self) -> str:
        original, ours, found = (brief(shown(self.path, value)) for value in (self.original, self.ours, self.found))
        return f"{self.object} {dotted(self.path)}: {self.why} (before {original}, ours {ours}, now {found})"


class Restore(msgspec.Struct, frozen=True):
    """``phases`` in the order they have to run, those with nothing to do left out."""

    phases: tuple[RestorePhase, ...]
    kept: tuple[Kept, ...]


Key = tuple[ObjectRef, str, bytes]
"""Object, path, and what says which item of a list is meant: with an item inserted meanwhile, one path is two values."""


def fold(records: Iterable[UndoRecord]) -> tuple[Folded, ...]:
    """Records in the order they were made → one :class:`Folded` a value, in the order of their first change; none lies inside
    another (but for parents that were made on the way to a value)."""
    found: dict[Key, Folded] = {}
    for number, record in enumerate(records):
        way = pointer_parts(record.path)
        around = [
            key for key, item in found.items() if item.object == record.object and not _made(item) and _inside(way, item.path)
        ]
        if around:
            whole = found[around[0]]
            last = _with(whole, whole.last, record.path, record.new)
            touched = (*whole.touched, record.path) if whole.whole else ()
            found[around[0]] = msgspec.structs.replace(whole, last=last, changed=number, touched=touched)
            continue
        key = (record.object, record.path, msgspec.json.encode(record.guards))
        first = found.get(key)
        folded = Folded(
            record.object,
            record.path,
            first.original if first else record.old,
            record.new,
            first.step if first else record.step,
            record.guards,
            first.revision if first else record.revision,
            number,
            first.born if first else record.new if not record.path else None,
            first.touched if first else (),
        )
        if not _made(folded):
            inner = [
                each
                for each, item in found.items()
                if item.object == record.object and _inside(pointer_parts(item.path), record.path)
            ]
            for each in inner:
                item = found.pop(each)
                if not first:
                    original = _with(folded, folded.original, item.path, item.original)
                    folded = msgspec.structs.replace(folded, original=original)
        found[key] = folded
    return tuple(found.values())


def plan_restore(
    folded: Sequence[Folded],
    live: Mapping[ObjectRef, dict[str, Json] | None],
    *,
    context: str,
    stable: ObjectRef,
    canary: ObjectRef | None = None,
    route: ObjectRef | None = None,
    step: int = -1,
) -> Restore:
    """What brings every object back. ``live`` has each object as it is now (``None``: it is gone); ``context`` is the cluster
    that the command lines name.

    Before promotion traffic goes first, then capacity; once the stable workload's template has begun to change, capacity
    goes first, since traffic may only return to pods that run the old version. Everything else comes last. Traffic is what
    routes hold, and ``route``, where requests are split by something else (the canary's own pods).

    A route that the rollout made gets back the values it was made with (it sent nobody to the canary then), and goes with
    everything else.
    """
    mutations: dict[ObjectRef, Mutation] = {}
    removals: list[Mutation] = []
    kept: list[Kept] = []
    for ref in dict.fromkeys(item.object for item in folded):
        document = live.get(ref)
        items = [item for item in folded if item.object == ref]
        if made := next((item for item in items if item.whole), None):
            if document is None or made.last is None:
                continue  # it is gone again; what may be there now is not ours
            command = kubectl_delete(ref, context=context)
            if epoch_of(document) == 0:
                kept.append(Kept(ref, "", None, made.last, document, "somebody else has made it anew", command))
                continue
            if back := _as_born(made, document):
                undoing = kubectl_for(ref, back, context=context)
                mutations[ref] = Mutation(object=ref, writes=back, command=undoing, step=step, step_name="rollback")
            removals.append(Mutation(object=ref, writes=(), delete=True, command=command, step=step, step_name="rollback"))
            continue
        if document is None:
            kept += [Kept(ref, item.path, item.original, item.last, None, "the object is gone", "") for item in items]
            continue
        writes: list[Write] = []
        expects: dict[str, Guard] = {}
        for item, place in _placed(items, document):
            verdict = _restore_value(item, place, document, canary, context)
            if isinstance(verdict, Kept):
                kept.append(verdict)
            elif verdict is not None:
                write, guards = verdict
                writes.append(write)
                expects.update({guard.path: guard for guard in guards})
        # A list that is put back as a whole takes what was written inside it along.
        writes = [write for write in writes if not any(_inside(pointer_parts(write.path), other.path) for other in writes)]
        writes = _without_empty_parents(document, writes, [item.path for item in items if _made(item)])
        if writes:
            mutations[ref] = Mutation(
                object=ref,
                writes=tuple(writes),
                command=kubectl_for(ref, writes, context=context, revision=max(item.revision for item in items)),
                step=step,
                step_name="rollback",
                expects=tuple(expects.values()),
            )
    return Restore(_phases(mutations, removals, folded, stable, route), tuple(kept))


def _as_born(made: Folded, document: dict[str, Json]) -> tuple[Write, ...]:
    """What gives a route that the rollout made the values it was made with."""
    if made.object.kind not in ROUTES:
        return ()
    born = [(path, value_at(made.born, path)) for path in dict.fromkeys(made.touched)]
    return tuple(Write(path, value) for path, value in born if not same(value_at(document, path), value))


def locate(document: dict[str, Json], path: str, guards: Sequence[Guard]) -> str | None:
    """Where the value meant by ``path`` is now: the same path while its ``guards`` hold, else the one other place where they
    do (an item was inserted before it in a list). ``None`` where there is no such place, or more than one."""
    if all(same(value_at(document, guard.path), guard.value) for guard in guards):
        return path
    if not guards:
        return None
    places = list(_places(document, pointer_parts(path), {tuple(pointer_parts(guard.path)): guard.value for guard in guards}))
    return pointer(*places[0]) if len(places) == 1 else None


def _places(
    document: Json, parts: list[str], guards: dict[tuple[str, ...], Json], at: tuple[str, ...] = (), meant: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    if not parts:
        yield at
        return
    part, rest = parts[0], parts[1:]
    if isinstance(document, list) and part.isdigit():
        own = {way[-1]: value for way, value in guards.items() if way[:-1] == (*meant, part)}
        for index, item in enumerate(document):
            if all(isinstance(item, dict) and same(item.get(key), value) for key, value in own.items()):
                yield from _places(item, rest, guards, (*at, str(index)), (*meant, part))
    elif isinstance(document, dict):
        yield from _places(document.get(part), rest, guards, (*at, part), (*meant, part))
    elif document is None and not any(way[: len(meant)] == meant for way in guards):
        yield (*at, *parts)


def _placed(items: Iterable[Folded], document: dict[str, Json]) -> list[tuple[Folded, str | None]]:
    """The values and where each is now (``None``: nowhere). Where an item was inserted into a list during the rollout, the same
    value was written at two paths: those are one, from the original of the first to the last of the last."""
    found: dict[str, Folded] = {}
    lost: list[tuple[Folded, str | None]] = []
    for item in items:
        if _made(item):
            continue
        place = locate(document, item.path, item.guards)
        if place is None:
            lost.append((item, None))
        elif place in found:
            latest = max(found[place], item, key=lambda each: each.changed)
            found[place] = msgspec.structs.replace(found[place], last=latest.last, changed=latest.changed)
        else:
            found[place] = item
    return [*((item, place) for place, item in found.items()), *lost]


def _restore_value(
    item: Folded, path: str | None, document: dict[str, Json], canary: ObjectRef | None, context: str
) -> tuple[Write, tuple[Guard, ...]] | Kept | None:
    always = item.object.kind in ROUTES or (item.object == canary and item.path == REPLICAS)
    if path is None:
        command = kubectl_for(item.object, [Write(item.path, item.original)], context=context, revision=item.revision)
        why = "its list no longer holds the item it belongs to"
        return Kept(item.object, item.path, item.original, item.last, value_at(document, item.path), why, command)
    found = value_at(document, path)
    if same(found, item.original):
        return None
    if not always and not same(found, item.last):
        command = kubectl_for(item.object, [Write(path, item.original)], context=context, revision=item.revision)
        return Kept(item.object, path, item.original, item.last, found, "somebody else has changed it since", command)
    return Write(path, item.original), identities(document, path)


def _made(item: Folded) -> bool:
    """Whether the record is of an empty parent made on the way to a value, not of a value."""
    return item.original is None and item.last == {} and isinstance(item.last, dict)


def _inside(way: list[str], outer: str) -> bool:
    around = pointer_parts(outer)
    return len(around) < len(way) and way[: len(around)] == around


def _with(whole: Folded, value: Json, path: str, new: Json) -> Json:
    """``value``, which belongs at the path of ``whole``, with ``new`` at ``path`` inside it."""
    return written({"whole": value}, [Write("/whole" + path[len(whole.path) :], new)])["whole"]


def _without_empty_parents(document: dict[str, Json], writes: list[Write], made: Sequence[str]) -> list[Write]:
    """Parents that the rollout had to make go too, where nothing of somebody else's is left in them."""
    for parent in sorted(made, key=len, reverse=True):
        if value_at(written(document, writes), parent) == {}:
            way = pointer_parts(parent)
            writes = [write for write in writes if pointer_parts(write.path)[: len(way)] != way] + [Write(parent, None)]
    return writes


def _phases(
    mutations: Mapping[ObjectRef, Mutation],
    removals: Sequence[Mutation],
    folded: Sequence[Folded],
    stable: ObjectRef,
    route: ObjectRef | None,
) -> tuple[RestorePhase, ...]:
    # By the record, not by the object: the template may be back already while its pods are not.
    promoted = any(item.object == stable and item.path.startswith(TEMPLATE) for item in folded)
    routes = {ref for ref in mutations if ref.kind in ROUTES or ref == route}
    traffic = tuple(mutation for ref, mutation in mutations.items() if ref in routes)
    capacity = tuple(mutation for ref, mutation in mutations.items() if ref == stable)
    rest = tuple(mutation for ref, mutation in mutations.items() if ref not in routes and ref != stable)
    objects = (*rest, *removals)
    first = RestorePhase(Stage.TRAFFIC, traffic, ())
    second = RestorePhase(Stage.CAPACITY, capacity, (stable,))
    last = RestorePhase(Stage.OBJECTS, objects, ())
    if promoted:
        waits = capacity or traffic or objects
        return tuple(
            phase for phase in (second if waits else None, first, last) if phase and (phase is second or phase.mutations)
        )
    return tuple(phase for phase in (first, second, last) if phase.mutations)

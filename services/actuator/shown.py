"""Values as they may be told, in the journal, in command lines and on screens: what a container's environment holds stays in
the cluster, and so does everything whose name or shape says that it is a secret.

Where the values themselves are kept, since a restore has to be exact: in the undo records and the planned changes of the
checkpoint, a ConfigMap in the Deployment's own namespace (with the roles that Kubernetes brings, who may read the one may read
the other), and in the copy of it in the operator's home, which only that user can read. Both hold no more of an environment
than the entries that differ; the rest of an old template stays in the Deployment's ReplicaSets, to which a command line refers
by revision. Everything else that leaves the process goes through here: journal (:mod:`services.actuator.accounts`), command
lines (:mod:`services.actuator.commands`), plans on screens and in documents (:func:`shown_plan`), kept values.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from services.model.errors import QuarterdeckError
from services.model.objects import Json, pointer, pointer_parts
from services.model.rollout import Guard, UndoRecord
from services.model.steps import Plan
from services.redaction import Redactor

HIDDEN = "[hidden: an environment value]"
BRIEF = 160
"""Characters of a value in a sentence."""
MOST = 600
"""Characters of each text of an error about a request."""

_redactor = Redactor()


def shown(path: str, value: Json, guards: Sequence[Guard] = ()) -> Json:
    """The value at ``path`` of an object without what must not be told. ``guards`` may name the list item it belongs to.

    Every literal value of an ``env`` list is hidden, whatever its name: connection strings carry passwords under any name.
    """
    if value is None:
        return None
    parts = pointer_parts(path)
    if len(parts) >= 3 and parts[-3] == "env" and parts[-1] == "value":
        return HIDDEN
    within = "env" if parts[-1:] == ["env"] or parts[-2:-1] == ["env"] else parts[-1] if parts else ""
    names = [guard.value for guard in guards if guard.path == pointer(*parts[:-1], "name") and parts[-1] == "value"]
    named = {"name": names[0] if names else None, "path": path, "value": _without_environment(value, within)}
    redacted = _redactor.value(named)[0]
    assert isinstance(redacted, dict)
    return redacted["value"]


def brief(value: Json) -> str:
    """A value that was found in a cluster, as it stands in a sentence: quoted, so inert, and cut."""
    text = repr(value)
    return text if len(text) <= BRIEF else f"{text[: BRIEF - 1]}…"


def without_values(error: QuarterdeckError, records: Iterable[UndoRecord]) -> QuarterdeckError:
    """``error``, which a request with the values of ``records`` met, without those that must not be told: API servers and their
    webhooks quote what they refuse. Its texts are cut and made inert too."""
    redactor = Redactor()
    hidden: set[str] = set()
    for record in records:
        for value in (record.old, record.new):
            hidden |= set(_texts(value)) - set(_texts(shown(record.path, value, record.guards)))
    redactor.register(*hidden)
    error.title, error.detail, error.hint = (_inert(redactor.text(text)) for text in (error.title, error.detail, error.hint))
    error.args = (error.title,)
    return error


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _inert(text: str) -> str:
    clean = "".join(character if character.isprintable() else " " for character in text[: MOST + 1])
    return clean if len(clean) <= MOST else f"{clean[: MOST - 1]}…"


def shown_plan(plan: Plan) -> Plan:
    """``plan`` as a person may see it: its changes without what must not be told. Not a plan to run."""
    return msgspec.structs.replace(
        plan,
        steps=tuple(
            msgspec.structs.replace(
                step,
                changes=tuple(
                    msgspec.structs.replace(change, old=shown(change.path, change.old), new=shown(change.path, change.new))
                    for change in step.changes
                ),
            )
            for step in plan.steps
        ),
    )


def _without_environment(value: Json, field: str) -> Json:
    if isinstance(value, dict):
        if field == "env" and "value" in value:
            return {**value, "value": HIDDEN}
        return {key: _without_environment(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_environment(part, field) for part in value]
    return value

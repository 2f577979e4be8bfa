"""Who brought a revision, as far as rollouts, records and the journal tell; and the rules by which requests reach a service."""

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from support.consoles import NOW, revision, rollout

from services.model.objects import ObjectRef
from services.model.rollout import Driver, Phase, Reason, Record, Rollout, UndoRecord
from services.rollout.provenance import origins, taken_back
from services.traffic.router import Surroundings
from services.traffic.rules import rules_around

PLACE = {"environment": "production", "service": "payment-service"}


def at(seconds_before_now: float) -> datetime:
    return datetime.fromtimestamp(NOW.timestamp() - seconds_before_now, UTC)


def who(made: float, version: str = "v2.15.0", *, rollouts=(), records=(), entries=(), current: bool = True):
    one = revision(7, version, 3, current=current, made=made)
    found = origins([one], **PLACE, rollouts=rollouts, records=records, entries=entries)
    return found.get(one.replica_set)


def record(operator: str, finished: float) -> Record:
    return Record(
        rollout="r-9",
        service="payment-service",
        version="v2.15.0",
        previous_version="v2.14.1",
        environment="production",
        tier="production",
        strategy="canary",
        outcome="succeeded",
        restored=False,
        operator=operator,
        finished=at(finished),
        journal_id="",
        journal_seq=1,
        journal_hash="",
    )


def started(user: str, before: float, rollout: str = "r-5", event: str = "deployment.started"):
    stamp = at(before).isoformat().replace("+00:00", "Z")
    return {**PLACE, "event": event, "rollout": rollout, "user": user, "version": "v2.15.0", "timestamp": stamp}


def test_a_revision_made_while_a_rollout_ran_is_its_own():
    running = rollout(operator="jane", version="v2.15.0", created=at(300))
    assert who(120, rollouts=[running]).operator == "jane"
    assert who(900, rollouts=[running]) is None, "made before it began"
    assert who(120, "v9", rollouts=[running]) is None, "another version"
    over = msgspec.structs.replace(running, phase=Phase.SUCCEEDED, written=at(200))
    assert who(120, rollouts=[over]) is None, "made after it was over, past us"
    refused = msgspec.structs.replace(running, phase=Phase.REFUSED)
    assert who(120, rollouts=[refused]) is None


def test_records_and_the_journal_tell_where_no_checkpoint_is_left():
    assert who(120, records=[record("lee", 60)]).operator == "lee"
    assert who(120, records=[record("lee", 600)]) is None
    assert who(120, entries=[started("ann", 200)]).source == "journal"
    assert who(120, entries=[started("ann", 300), started("ann", 200, event="deployment.completed")]) is None
    assert who(120, entries=[started("ann", 400), started("bob", 200, "r-6")]).operator == "bob", "the latest that fits"
    assert who(120, entries=[{**started("ann", 200), "timestamp": "yesterday"}]) is None


def test_a_revision_that_a_rollback_put_back_is_told_with_who_and_when():
    stable = rollout().plan.stable
    undo = (UndoRecord(object=stable, path="/spec/template/spec/containers/0/image", old="a", new="b", step=1),)
    back = rollout(operator="jane", phase=Phase.ROLLED_BACK, undo=undo, created=at(60), written=at(30))
    version = back.plan.previous_version
    found = who(90_000, version, rollouts=[back])
    assert (found.operator, found.restored) == ("jane", at(30).timestamp())
    assert who(90_000, version, rollouts=[back], current=False) is None
    only_traffic = msgspec.structs.replace(back, undo=())
    assert who(90_000, version, rollouts=[only_traffic]) is None, "stable was never another one"
    later = rollout("r-2", operator="bob", phase=Phase.SUCCEEDED, created=at(10), written=at(5))
    assert who(90_000, version, rollouts=[back, later]) is None


def test_a_canary_that_never_reached_stable_takes_nothing_of_who_put_a_revision_back():
    stable = rollout().plan.stable
    undo = (UndoRecord(object=stable, path="/spec/template/spec/containers/0/image", old="a", new="b", step=1),)
    back = rollout(operator="jane", phase=Phase.ROLLED_BACK, undo=undo, created=at(60), written=at(30))
    version = back.plan.previous_version
    for phase in (Phase.RUNNING, Phase.ROLLED_BACK):
        canary = rollout("r-2", operator="bob", phase=phase, undo=(), created=at(20), written=at(5))
        found = who(90_000, version, rollouts=[canary, back])
        assert (found.operator, found.restored) == ("jane", at(30).timestamp())
    promoting = rollout("r-3", phase=Phase.RUNNING, undo=undo, created=at(20), written=at(5))
    assert who(90_000, version, rollouts=[promoting, back]) is None, "stable is on its way to another one"


# ---- a version that was taken back


SAM = Driver(operator="sam", host="desk", home="cafe42", token="t", since=at(40))


def ended(**changes) -> Rollout:
    """A rollout of v2.15.0 that jane began and sam rolled back 30 s ago."""
    asked = Reason(kind="operator", name="rollback", detail="P99 doubled")
    facts = {"operator": "jane", "version": "v2.15.0", "driver": SAM, "reason": asked, "created": at(60), "written": at(30)}
    return rollout(**{**facts, "phase": Phase.ROLLED_BACK, **changes})


def back(version: str = "v2.15.0", *, rollouts=(), records=(), entries=()):
    return taken_back(version, **PLACE, rollouts=rollouts, records=records, entries=entries)


def completed(outcome: str, before: float, rollout: str = "r-5", **data):
    entry = started("ann", before, rollout, event="deployment.completed")
    return {**entry, "outcome": outcome, "data": {"previous_version": "v2.14.1", **data}}


def test_a_version_that_was_rolled_back_is_told_with_when_by_whom_and_what_for():
    found = back(rollouts=[ended()])
    stamp = f"{at(30):%Y-%m-%d %H:%M:%S}Z"
    words = f"v2.15.0 was rolled back to v2.14.1 at {stamp} by sam: P99 doubled (rollout r-1, begun by jane)"
    assert found.words == words
    assert back("v2.14.1", rollouts=[ended()]) is None, "that is where it went back to"
    assert back(rollouts=[ended(service="search")]) is None
    fired = Reason(kind="trigger", name="error-rate", value=0.081, limit=0.05, detail="81 of 1000 failed")
    by_itself = back(rollouts=[ended(reason=fired)])
    assert by_itself.by == ""
    assert "error-rate 8.1 %" in by_itself.words


def test_records_and_the_journal_tell_of_a_rollback_where_no_checkpoint_is_left():
    old = msgspec.structs.replace(record("lee", 30), outcome="rolled_back", restored=True)
    assert (back(records=[old]).to, back(records=[old]).operator) == ("v2.14.1", "lee")
    why = {"kind": "operator", "name": "rollback", "detail": "P99 doubled"}
    told = back(records=[old], entries=[completed("rolled_back", 30, "r-9", reason=why)])
    assert (told.rollout, told.reason) == ("r-9", "P99 doubled"), "of one rollout the source counts that tells most"


def test_a_version_that_succeeded_since_it_was_rolled_back_is_not_warned_of():
    assert back(rollouts=[ended(), ended(id="r-2", phase=Phase.SUCCEEDED, written=at(5))]) is None
    assert back(entries=[completed("rolled_back", 30), completed("succeeded", 10, "r-6")]) is None
    assert back(entries=[completed("succeeded", 30), completed("rolled_back", 10)]).rollout == "r-5"


@given(st.lists(st.tuples(st.sampled_from(list(Phase)), st.integers(0, 1000), st.integers(0, 1000)), max_size=5))
def test_nothing_is_claimed_of_rollouts_that_did_not_span_it(drawn):
    told: list[Rollout] = [
        rollout(f"r-{index}", version="v2.15.0", phase=phase, created=at(begun), written=at(begun - min(begun, length)))
        for index, (phase, begun, length) in enumerate(drawn)
    ]
    found = who(500, rollouts=told)
    fitting = [
        each
        for each in told
        if each.phase is not Phase.REFUSED
        and each.created.timestamp() - 5 <= NOW.timestamp() - 500
        and (not each.phase.final or (each.written or NOW).timestamp() + 5 >= NOW.timestamp() - 500)
    ]
    assert (found is not None) == bool(fitting)


# ---- routes

DEPLOYMENT = {"kind": "Deployment", "metadata": {"name": "pay", "namespace": "p"}, "status": {"readyReplicas": 3}}


def around(**changes) -> Surroundings:
    return Surroundings(**{"service": "pay", "namespace": "p", "stable": DEPLOYMENT, **changes})


def test_without_a_route_the_pods_share_the_requests():
    canary = {**DEPLOYMENT, "metadata": {"name": "pay-canary"}, "status": {"readyReplicas": 1}}
    own = {"kind": "Service", "metadata": {"name": "pay"}, "spec": {"selector": {"app": "pay"}}}
    (route,) = rules_around(around(canary=canary, own=own))
    assert (route.router, route.actual) == ("replicas", 25)
    assert [name for name, _ in route.rules[0].destinations] == ["3 ready pods of pay", "1 of pay-canary"]


def test_every_rule_of_a_route_is_read_whatever_it_holds():
    spec = {
        "rules": [
            {"matches": [{"path": {"type": "PathPrefix", "value": "/v2"}, "method": "GET"}], "backendRefs": [{"name": "other"}]},
            {"name": "main", "backendRefs": [{"name": "pay", "weight": 90}, {"name": "pay-canary", "weight": 10}]},
            {"filters": [{"type": "RequestRedirect"}]},
            "nonsense",
        ]
    }
    http_route = {"kind": "HTTPRoute", "metadata": {"name": "pay", "namespace": "p"}, "spec": spec}
    (route,) = rules_around(around(http_routes=(http_route,)))
    assert route.ref == ObjectRef("HTTPRoute", "p", "pay")
    assert route.actual == 10
    assert [(rule.when, rule.destinations) for rule in route.rules] == [
        ("PathPrefix /v2 GET", (("other", None),)),
        ("main: every request", (("pay", 90), ("pay-canary", 10))),
        ("every request", ()),
    ]

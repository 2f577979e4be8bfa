"""The story of a rollout, from its entries alone."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.screens.story import about
from services.audit.story import OPEN, Kind, Story, story_of
from widgets import ink
from widgets.ink import Tone
from widgets.timeline import Mark, draw_marks, draw_ribbon

T0 = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
GATES = [
    {"name": "ticket", "outcome": "pass", "evidence": "CHG-4821 is Approved"},
    {"name": "approval", "outcome": "pass", "evidence": "Alex Rivera, Sam Chen approved"},
]
STEPS = [{"name": "measure baseline 30 s"}, {"name": "5 %"}, {"name": "wait"}, {"name": "analyse 120 s"}]
TRIGGER = {"kind": "trigger", "name": "error-rate", "value": 0.081, "limit": 0.05, "detail": "81 of 1000 requests failed"}


class Book:
    """Entries one after the other."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def add(self, after: float, event: str, outcome: str = "", **changes: Any) -> dict[str, Any]:
        seq = len(self.entries) + 1
        self.entries.append(
            {
                "seq": seq,
                "id": f"id-{seq}",
                "timestamp": (T0 + timedelta(seconds=after)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "event": event,
                "user": "jane",
                "environment": "production",
                "service": "payment-service",
                "version": "v2.15.0",
                "change_ticket": "CHG-4821",
                "outcome": outcome,
                "duration_seconds": None,
                "rollout": "r-1",
                "phase": "",
                "ref": "",
                "prog": {"host": "desk", "pid": 1},
                "data": {},
                **changes,
            }
        )
        return self.entries[-1]

    def began(self) -> "Book":
        facts = {"release": {"strategy": "canary"}, "previous_version": "v2.14.1", "confirmation": "production", "steps": STEPS}
        self.add(0, "deployment.started", "started", data=facts)
        self.add(0.1, "deployment.approval_checked", "pass", data={"gates": GATES})
        self.did(1, "claim", None, epoch=1)
        return self

    def did(self, after: float, name: str, step: int | None, answered: str = "ok", **data: Any) -> "Book":
        data = {"step_name": name, **({"step": step} if step is not None else {}), **data}
        changes = [{"path": "/spec/http/0/route/1/weight", "old": 0, "new": 5}]
        target = {"kind": "VirtualService", "namespace": "production", "name": "payment-service"}
        asked = self.add(
            after,
            "deployment.executed",
            phase="intent",
            command=f"kubectl {name}",
            data={**data, "object": target, "changes": changes},
        )
        if answered:
            self.add(
                after + 0.2,
                "deployment.executed",
                answered,
                phase="outcome",
                ref=asked["id"],
                data={**data, "object": target, "milliseconds": 4.2},
            )
        return self

    def checked(self, after: float, step: int, errors: float = 0.0, outcome: str = "holds") -> "Book":
        arm = {"pods": 1, "ready": 1, "requests": 1000.0, "errors": errors * 1000, "p99": 0.045}
        readings = [{"name": "error-rate", "value": errors, "limit": 0.05, "fired": outcome == "regressed"}]
        self.add(after, "deployment.health_check", outcome, data={"step": step, "sample": {"canary": arm}, "triggers": readings})
        return self

    def told(self, **options: Any) -> Story:
        return story_of("r-1", self.entries, **options)


def rolled_back() -> Book:
    book = Book().began().checked(2, 0).did(30, "5 %", 1)
    book.checked(40, 3, 0.001).checked(50, 3, 0.002)
    book.add(55, "rollout.paused", "operator", user="sam", data={"reason": "operator: paused by sam"})
    book.add(75, "rollout.resumed", "done", user="sam")
    book.checked(80, 3, 0.081, "regressed")
    book.add(80.5, "deployment.rollback", "started", data={"reason": TRIGGER, "also": []})
    book.did(80.6, "rollback", 3)
    book.add(82.4, "deployment.rollback", "restored", duration_seconds=2.4, data={"budget": 300.0, "left": []})
    book.add(82.5, "deployment.completed", "rolled_back", duration_seconds=82.5, data={"reason": TRIGGER, "steps": []})
    return book


def words(story: Story) -> str:
    return "\n".join(f"{moment.kind} {moment.words} {' '.join(moment.details)}" for moment in story.moments)


def moments(story: Story, kind: Kind) -> list[Any]:
    return [moment for moment in story.moments if moment.kind is kind]


def test_a_rollback_is_told_from_the_confirmation_to_the_restored_service() -> None:
    story = rolled_back().told()
    assert (story.begun, story.over, story.outcome) == (True, True, "rolled_back")
    assert (story.previous, story.version, story.strategy) == ("v2.14.1", "v2.15.0", "canary")
    assert [moment.kind for moment in story.moments] == [
        *(Kind.CONFIRMED, Kind.GATES, Kind.DRIVER, Kind.STEP, Kind.STEP, Kind.STEP, Kind.STEP),
        *(Kind.PAUSED, Kind.PERSON, Kind.TRIGGER, Kind.ROLLBACK, Kind.ROLLBACK, Kind.RESTORED, Kind.ENDED),
    ]
    text = words(story)
    assert "confirmed: v2.14.1 → v2.15.0 by canary, CHG-4821, typed 'production'" in text
    assert "2 of 2 gates met" in text
    assert "approval pass: Alex Rivera, Sam Chen approved" in text
    assert "fired: error-rate 8.1 % (limit 5 %)" in text
    assert "roll back: error-rate 8.1 % (limit 5 %; 81 of 1000 requests failed), 0.5 s after it was seen" in text
    assert "restored 2.4 s after the breach, 300 s are allowed" in text
    steps = moments(story, Kind.STEP)
    assert [step.words for step in steps] == [f"step {n}: {each['name']}" for n, each in enumerate(STEPS, 1)]
    assert "weight 0 → 5 ok in 4 ms" in steps[1].details[0]
    assert "3 health checks, errors 0.1–8.1 % (limit 5 %), P99 45 ms" in steps[3].details
    assert steps[3].outcome == "aborted"
    pause = moments(story, Kind.PAUSED)[0]
    assert (pause.who, (pause.until - pause.at).total_seconds()) == ("sam", 20.0)


def test_a_step_without_an_entry_of_its_own_lies_between_its_neighbours() -> None:
    waited = moments(rolled_back().told(), Kind.STEP)[2]
    assert waited.at == T0 + timedelta(seconds=30.2)
    assert waited.until == T0 + timedelta(seconds=40)


def test_an_intent_without_an_outcome_is_unknown() -> None:
    story = Book().began().did(30, "5 %", 1, answered="").told()
    assert [moment.words for moment in moments(story, Kind.UNKNOWN)] == [
        "no outcome on record, unknown whether it was done: kubectl 5 %"
    ]
    assert not story.over


def test_what_another_home_drove_is_missing_and_said_so() -> None:
    book = Book()
    book.did(100, "claim", None, epoch=2)
    book.add(100.5, "rollout.taken_over", "done", user="sam", data={"epoch": 2, "step": 4})
    book.did(300, "claim", None, epoch=4)
    story = book.told()
    assert not story.begun
    missing = [moment.words for moment in moments(story, Kind.MISSING)]
    assert len(missing) == 2
    assert "begun from another home" in missing[0]
    assert "epoch 3" in missing[1]
    assert "taken over at step 5, on desk, epoch 2" in words(story)
    assert "nobody drove it" not in words(story)


def killed() -> Book:
    """Its driver died in the middle of step 4."""
    return Book().began().checked(2, 0).did(30, "5 %", 1).checked(40, 3, 0.001).checked(50, 3, 0.002)


def test_a_step_without_an_end_on_record_is_open_and_those_before_it_are_done() -> None:
    story = killed().told()
    steps = moments(story, Kind.STEP)
    assert [step.outcome for step in steps] == ["done", "done", "done", OPEN]
    assert steps[3].seconds is None
    assert not story.over


def test_an_open_step_that_gave_a_verdict_has_no_end_either() -> None:
    book = killed()
    book.add(60, "deployment.health_check", "undecided", duration_seconds=20.0, data={"step": 3, "requests": 900})
    step = moments(book.told(), Kind.STEP)[3]
    assert step.outcome == OPEN
    assert "undecided, 900 requests" in step.details


def test_what_another_home_took_over_in_the_middle_of_a_step_is_not_done() -> None:
    book = killed()
    book.add(55, "rollout.superseded", "superseded", data={"by": "sam@laptop", "epoch": 1, "step": 3})
    assert moments(book.told(), Kind.STEP)[3].outcome == OPEN


def test_every_duration_is_in_pace_seconds() -> None:
    book = killed()
    book.add(55, "rollout.paused", "operator", data={"reason": "operator: paused by sam"})
    book.add(75, "rollout.resumed", "done", user="sam")
    book.checked(80, 3, 0.081, "regressed")
    book.add(80.5, "deployment.rollback", "started", data={"reason": TRIGGER})
    story = book.told(speed=10.0)
    assert [step.seconds for step in moments(story, Kind.STEP)] == pytest.approx([282.0, 0.0, 98.0, 405.0])
    assert moments(story, Kind.PAUSED)[0].seconds == 200.0
    assert "5.0 s after it was seen" in words(story)


def test_the_time_without_a_driver_is_told_before_who_took_over() -> None:
    book = killed().did(196, "claim", None, epoch=2)
    book.add(196.5, "rollout.taken_over", "done", data={"epoch": 2, "step": 3})
    book.checked(200, 3, 0.001)
    story = book.told()
    told = [moment.words for moment in story.moments]
    gap = next(moment for moment in story.moments if moment.words.startswith("nobody drove it"))
    assert (gap.at, gap.until, gap.seconds) == (T0 + timedelta(seconds=50), T0 + timedelta(seconds=196), 146.0)
    assert told.index(gap.words) < told.index("taken over at step 4, on desk, epoch 2")


def test_a_driver_that_was_there_to_be_replaced_leaves_no_time_without_one() -> None:
    book = killed().did(70, "claim", None, epoch=2)
    book.add(70.5, "rollout.superseded", "superseded", data={"by": "", "epoch": 1, "step": 3})
    told = words(book.told())
    assert "nobody drove it" not in told
    assert "replaced by the next driver" in told
    assert "another home" not in told


def test_a_rollback_that_a_person_asked_for_is_counted_from_there() -> None:
    book = killed().did(60, "rollback", None, epoch=2)
    asked = {"kind": "operator", "name": "rollback", "detail": "asked for by jane"}
    book.add(61, "deployment.rollback", "started", data={"reason": asked})
    book.add(61.2, "deployment.rollback", "restored", duration_seconds=0.2, data={"budget": 300.0, "reason": asked})
    assert "restored 1.2 s after it was asked for, 300 s are allowed" in words(book.told())
    assert "restored 12.0 s after it was asked for" in words(book.told(speed=10.0))


def to_a_revision() -> Book:
    """A rollback to v2.15.0 and nothing else: what its entries bear is the version that was left."""
    book, asked = Book(), {"kind": "operator", "name": "rollback", "detail": "asked for with the rollback key"}
    goes = {"kind": "rollback", "to_version": "v2.15.0"}
    book.add(0, "deployment.rollback", "started", version="v2.14.0", data={**goes, "reason": asked})
    book.add(2, "deployment.rollback", "restored", version="v2.14.0", data={"restored_version": "v2.15.0", "reason": asked})
    facts = {"previous_version": "v2.15.0", "restored_version": "v2.15.0", "strategy": "rolling", "steps": []}
    book.add(3, "deployment.completed", "rolled_back", version="v2.14.0", data=facts)
    return book


def test_a_rollback_to_a_revision_says_which_version_was_left_and_which_runs_now() -> None:
    story = to_a_revision().told()
    text = words(story)
    assert (story.previous, story.version, story.only_restores) == ("v2.14.0", "v2.15.0", True)
    assert "roll back v2.14.0 → v2.15.0: rollback (asked for with the rollback key)" in text
    assert "restored v2.15.0" in text
    assert "rolled back: v2.15.0 runs again" in text
    head = "".join(str(span[0]) for span in about(story, None)[0])
    assert "roll back to v2.15.0" in head
    assert "v2.14.0" not in head
    under_way = story_of("r-1", to_a_revision().entries[:1])
    assert (under_way.version, under_way.only_restores) == ("v2.15.0", True)
    deployed = rolled_back().told()
    assert (deployed.previous, deployed.version, deployed.only_restores) == ("v2.14.1", "v2.15.0", False)


def test_a_story_that_is_too_long_says_that_its_beginning_is_left_out() -> None:
    assert "too much to be told here" in words(rolled_back().told(whole=False))


def test_a_refusal_is_an_end() -> None:
    book = Book()
    book.add(0, "rollout.refused", "gate_unmet", data={"unmet": ["approval"]})
    story = book.told()
    assert (story.over, story.moments[-1].words) == (True, "refused: approval")


def test_nothing_on_record_is_an_empty_story() -> None:
    assert story_of("r-1", []).moments == ()


NAMES = [
    "step",
    "steps",
    "name",
    "triggers",
    "sample",
    "canary",
    "reason",
    "epoch",
    "gates",
    "changes",
    "step_name",
    "metrics",
    "baseline",
    "left",
    "object",
    "checks",
    "release",
    "value",
    "limit",
    "requests",
    "errors",
    "p99",
    "budget",
    "also",
]
EVENTS = [
    "deployment.started",
    "deployment.approval_checked",
    "deployment.executed",
    "deployment.health_check",
    "deployment.rollback",
    "deployment.completed",
    "rollout.refused",
    "rollout.paused",
    "rollout.taken_over",
    "rollout.superseded",
    "else",
]
_plain = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5)
_json = st.recursive(
    _plain,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(NAMES), part, max_size=4),
    max_leaves=8,
)
_written = st.fixed_dictionaries(
    {
        "event": st.sampled_from(EVENTS),
        "outcome": st.sampled_from(["", "ok", "started", "restored", "regressed", "requested"]),
        "phase": st.sampled_from(["", "intent", "outcome"]),
        "data": st.dictionaries(st.sampled_from(NAMES), _json, max_size=5),
    }
)


@given(st.lists(_written, max_size=8))
def test_any_entries_make_a_story(found: list[dict[str, Any]]) -> None:
    book = Book()
    for index, each in enumerate(found):
        book.add(index, **each)
    story = book.told()
    assert list(story.moments) == sorted(story.moments, key=lambda moment: moment.at)
    json.dumps([moment.words for moment in story.moments])


# ---- the drawing


MARKS = (
    Mark(0.0, (">", Tone.ACCENT), (("confirmed", Tone.STRONG),), who="jane"),
    Mark(1.0, ("v", Tone.GOOD), (("step 1", Tone.TEXT),), 61.0, ("done  1m 00s", Tone.MUTED), ("a detail",), bar=Tone.STABLE),
    Mark(61.0, ("v", Tone.GOOD), (("step 2", Tone.TEXT),), 62.0, ("done  1.0s", Tone.MUTED), bar=Tone.STABLE),
    Mark(90_000.0, ("x", Tone.BAD), (("a long story " * 12, Tone.BAD),)),
)


@pytest.mark.parametrize("width", [20, 40, 59, 80, 120, 300])
def test_no_line_is_wider_than_its_room(width: int) -> None:
    for line in (*draw_marks(MARKS, width), *draw_ribbon(MARKS, width)):
        assert ink.cells(line) <= width


def test_times_offsets_gaps_and_days_are_on_the_lines() -> None:
    text = "\n".join(ink.plain(line) for line in draw_marks(MARKS, 80))
    assert "1970-01-01 UTC" in text
    assert "1970-01-02 UTC" in text
    assert "00:01:01  +1m 01s v step 2" in text
    assert "24h 58m nothing on record" in text
    assert "jane" in text


def test_the_ribbon_keeps_the_order_and_compresses_what_is_long() -> None:
    bar, times = (ink.plain(line) for line in draw_ribbon(MARKS, 80))
    assert bar.endswith("x")
    assert "┄" in bar
    assert bar.index("▅") < bar.index("┄")
    assert times.startswith("00:00:00")
    assert times.endswith("01:00:00")


@given(st.lists(st.tuples(st.floats(0, 1e7), st.floats(0, 1e5)), min_size=1, max_size=12), st.integers(20, 200))
def test_any_moments_can_be_drawn(spans: list[tuple[float, float]], width: int) -> None:
    marks = [
        Mark(at, ("x", Tone.TEXT), (("word", Tone.TEXT),), at + more if more > 1 else None, bar=Tone.STABLE if more > 1 else "")
        for at, more in sorted(spans)
    ]
    for line in (*draw_marks(marks, width), *draw_ribbon(marks, width)):
        assert ink.cells(line) <= width


def test_the_judge_s_verdicts_are_told_with_their_evidence() -> None:
    book = Book().began().did(2, "5 %", 1)
    evidence = {"regression": 9.4, "health": 99.97, "detail": "errors 0.21 % against 0.19 %"}
    book.add(
        100, "deployment.health_check", "healthy", data={"step": 3, "requests": 24000, "verdict": "healthy", "evidence": evidence}
    )
    look = {"log_e": 4.81, "limit": 4.61, "verdict": "regressed"}
    fired = [{"name": "judge", "value": 4.81, "limit": 4.61, "fired": True}]
    book.add(160, "deployment.health_check", "regressed", data={"step": 3, "sample": None, "triggers": fired, "judge": look})
    moments = story_of("r-1", book.entries).moments
    step = next(moment for moment in moments if "analyse" in moment.words)
    assert "healthy, 24,000 requests" in step.details
    assert "evidence of regression 9 / 100, of health 99 / 100: errors 0.21 % against 0.19 %" in step.details
    trigger = next(moment for moment in moments if moment.kind is Kind.TRIGGER)
    assert trigger.details == ("judge regressed: evidence 100 of 100",)
    assert "judge 100 (limit 100)" in trigger.words


@given(
    st.dictionaries(
        st.sampled_from(["evidence", "judge", "step", "requests", "triggers"]),
        st.recursive(
            st.none() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.sampled_from(["regression", "health", "detail", "log_e", "limit"]), inner, max_size=3)
            ),
        ),
        max_size=5,
    )
)
def test_evidence_of_any_form_is_no_reason_to_fail(data: dict[str, Any]) -> None:
    book = Book().began()
    book.add(10, "deployment.health_check", "healthy", data=data)
    book.add(20, "deployment.health_check", "regressed", data=data)
    assert story_of("r-1", book.entries).moments

"""The gates as an operator meets them: what passes, what fails and why, and what is merely unknown."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import ManualClock
from support.configuration import WHOLE, configured

from services.gates import check, checklist, stream
from services.integrations.base import TicketNotThere, TicketUnavailable
from services.model.gates import Approval, Checklist, GateName, GateOutcome, GateResult, Person, Ticket
from services.model.objects import ObjectRef
from services.model.release import Release, Strategy, Target, Tier
from services.model.rollout import Record
from services.model.steps import Plan, SetTraffic, SmokeTest
from services.settings import Settings

SETTINGS = configured()
JANE = Person(name="Jane Doe", login="jane", ticket_account="acc-jane")
ORDER = ["ticket", "approval", "smoke-tests", "gradual-rollout", "rollback-tested", "environment"]


def release(tier: Tier = Tier.PRODUCTION, *, strategy: Strategy = Strategy.CANARY, **changes: str) -> Release:
    target = Target(environment=tier.value, tier=tier, context=tier.value, namespace=tier.value)
    return Release(
        service=changes.get("service", "payment-service"),
        version=changes.get("version", "v2.15.0"),
        target=target,
        strategy=strategy,
        ticket=changes.get("ticket", "CHG-4821"),
    )


def plan(settings: Settings = SETTINGS, *, weights: Sequence[int] = (5, 25, 0), smoke: bool = True) -> Plan:
    route = ObjectRef("VirtualService", "production", "payment-service")
    steps: list[Any] = [SetTraffic(name=f"{weight} %", router="istio", route=route, weight=weight) for weight in weights]
    if smoke:
        steps.append(SmokeTest(name="smoke tests", checks=settings.checks("payment-service")))
    return Plan(
        steps=tuple(steps),
        objects=(),
        stable=ObjectRef("Deployment", "production", "payment-service"),
        canary=None,
        route=route,
        previous_version="v2.14.1",
        new_images={},
        digest="d1",
        rollback_seconds=2.0,
    )


def approved(*accounts: str, decision: str = "approved") -> tuple[Approval, ...]:
    return tuple(
        Approval(account=account, display_name=account.removeprefix("acc-").title(), decision=decision) for account in accounts
    )


def ticket(*, status: str = "Approved", approvals: tuple[Approval, ...] = approved("acc-amira", "acc-chen")) -> Ticket:
    return Ticket(
        key="CHG-4821",
        status=status,
        url="https://jira.example/browse/CHG-4821",
        approved=status == "Approved",
        approvals=approvals,
    )


def record(**changes: Any) -> Record:
    fields: dict[str, Any] = {
        "rollout": "r1",
        "service": "payment-service",
        "version": "v2.15.0",
        "previous_version": "v2.14.1",
        "environment": "staging",
        "tier": "staging",
        "strategy": "canary",
        "outcome": "rolled_back",
        "restored": True,
        "operator": "amira",
        "finished": datetime(2026, 11, 20, 14, 32, tzinfo=UTC),
        "journal_id": "j1",
        "journal_seq": 57,
        "journal_hash": "ab" * 32,
        "values_restored": 4,
        "highest_weight": 25,
        "pods": 3,
        "served": True,
    }
    return Record(**(fields | changes))


REHEARSED = (record(),)
EXERCISED = {"values_restored", "template_changed", "highest_weight", "pods", "served"}


class Tickets:
    """A ticket system that answers with ``answer``, or raises it, or waits for it."""

    def __init__(self, answer: Ticket | Exception | Callable[[], Awaitable[Ticket]]) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def ticket(self, key: str) -> Ticket:
        self.asked.append(key)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if isinstance(self.answer, Ticket) else await self.answer()

    async def close(self) -> None:
        pass


async def asked(
    of: Release | None = None,
    *,
    settings: Settings = SETTINGS,
    steps: Plan | None = None,
    operator: Person | None = JANE,
    confirmed: str | None = "production",
    tickets: Tickets | None = None,
    no_tickets: bool = False,
    records: Sequence[Record] | Exception = REHEARSED,
) -> Checklist:
    async def find(service: str) -> Sequence[Record]:
        if isinstance(records, Exception):
            raise records
        return records

    return await check(
        of or release(),
        steps or plan(settings),
        settings,
        operator=operator,
        confirmed=confirmed,
        tickets=None if no_tickets else tickets or Tickets(ticket()),
        find_records=find,
        clock=ManualClock(),
    )


def gate(found: Checklist, name: str) -> GateResult:
    return next(result for result in found.results if result.name == name)


async def test_everything_in_order_passes_in_a_fixed_order() -> None:
    system = Tickets(ticket())
    found = await asked(tickets=system)
    assert found.passed, found.unmet
    assert [result.name for result in found.results] == ORDER
    assert found.digest == "d1"
    assert system.asked == ["CHG-4821"], "two gates, one question"
    assert [result.evidence for result in found.results] == [
        "CHG-4821 is Approved (answered in 0.0 s)",
        "Amira Haddad, Chen Wei approved; 2 approvals, 2 needed",
        "2 checks run after the deploy: health, pay",
        "canary: 5 → 25 % of the requests, then all",
        "rolled back from 25 % in staging by amira on 2026-11-20 14:32Z, restored; journal entry 57, hash abababababab",
        "production (context production, namespace production) was typed",
    ]
    assert found.approvers == ("amira", "chen")
    assert all(result.at == ManualClock().now() for result in found.results)


async def test_without_a_ticket_nobody_approved_anything() -> None:
    found = await asked(release(ticket=""))
    for name in ("ticket", "approval"):
        assert gate(found, name).outcome is GateOutcome.FAIL
        assert "--ticket" in gate(found, name).detail


async def test_without_a_ticket_system_the_ticket_is_unknown() -> None:
    found = await asked(no_tickets=True)
    assert {gate(found, name).outcome for name in ("ticket", "approval")} == {GateOutcome.UNKNOWN}
    assert "tickets:" in gate(found, "ticket").detail


async def test_a_ticket_that_is_not_approved_says_who_is_waited_for() -> None:
    waiting = ticket(status="Waiting for approval", approvals=approved("acc-amira") + approved("acc-chen", decision="pending"))
    result = gate(await asked(tickets=Tickets(waiting)), "ticket")
    assert result.outcome is GateOutcome.FAIL
    assert result.evidence.startswith("CHG-4821 is Waiting for approval")
    assert result.evidence.endswith("waiting for Chen")


@pytest.mark.parametrize(
    "error",
    [
        TicketUnavailable("The ticket's state is unknown", "Jira at x answered 503.", "Try again."),
        TicketNotThere("CHG-4821 is not there", "No such ticket for our account."),
        RuntimeError("boom with details"),
    ],
)
async def test_a_ticket_system_in_trouble_is_unknown_and_the_others_still_answer(error: Exception) -> None:
    found = await asked(tickets=Tickets(error))
    assert [result.outcome for result in found.results] == [GateOutcome.UNKNOWN] * 2 + [GateOutcome.PASS] * 4
    assert not found.passed
    assert gate(found, "ticket").detail
    assert "boom" not in gate(found, "ticket").evidence
    assert not gate(found, "ticket").evidence.endswith("."), "what to do is joined to it by a full stop"


async def test_a_gate_that_takes_too_long_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> Ticket:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(checklist, "GATE_SECONDS", 0.05)
    found = await asked(tickets=Tickets(never))
    assert gate(found, "ticket").outcome is GateOutcome.UNKNOWN
    assert "0.05 s" in gate(found, "approval").evidence
    assert gate(found, "environment").outcome is GateOutcome.PASS


async def test_results_arrive_as_they_come_and_stopping_stops_the_asking() -> None:
    stopped = asyncio.Event()

    async def slow() -> Ticket:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    async def none(service: str) -> list[Record]:
        return []

    who = {"operator": JANE, "confirmed": None}
    results = stream(release(), plan(), SETTINGS, **who, tickets=Tickets(slow), find_records=none, clock=ManualClock())
    first = {(await anext(results)).name for _ in range(4)}
    assert first == {GateName.SMOKE_TESTS, GateName.GRADUAL_ROLLOUT, GateName.ROLLBACK_TESTED, GateName.ENVIRONMENT}
    await results.aclose()
    assert stopped.is_set()


async def test_the_operators_own_approval_does_not_count() -> None:
    result = gate(await asked(tickets=Tickets(ticket(approvals=approved("acc-jane", "acc-chen")))), "approval")
    assert result.outcome is GateOutcome.FAIL
    assert result.evidence == "Chen Wei approved; 1 approval, 2 needed (not counted: Jane Doe, the operator)"
    assert result.detail.startswith("1 more person must approve CHG-4821")


async def test_one_person_who_approves_twice_is_one_person() -> None:
    result = gate(await asked(tickets=Tickets(ticket(approvals=approved("acc-amira", "acc-amira")))), "approval")
    assert result.outcome is GateOutcome.FAIL
    assert result.evidence == "Amira Haddad approved; 1 approval, 2 needed"


async def test_an_account_that_nobody_knows_does_not_count_and_is_named() -> None:
    result = gate(await asked(tickets=Tickets(ticket(approvals=approved("acc-amira", "acc-zed", "")))), "approval")
    assert result.outcome is GateOutcome.FAIL
    assert "Zed, not in 'people:'" in result.evidence
    assert "an account without a name" in result.evidence


@pytest.mark.parametrize("decision", ["pending", "declined", "APPROVED", ""])
async def test_only_an_approval_is_an_approval(decision: str) -> None:
    approvals = approved("acc-amira") + approved("acc-chen", decision=decision)
    result = gate(await asked(tickets=Tickets(ticket(approvals=approvals))), "approval")
    assert result.outcome is GateOutcome.FAIL


async def test_a_decline_stands_against_any_number_of_approvals() -> None:
    approvals = approved("acc-amira", "acc-chen") + approved("acc-zed", decision="declined")
    result = gate(await asked(tickets=Tickets(ticket(approvals=approvals))), "approval")
    assert result.outcome is GateOutcome.FAIL
    assert result.evidence.startswith("declined by Zed")


async def test_an_unknown_operator_leaves_production_unknown_and_staging_to_one_approver() -> None:
    found = await asked(operator=None)
    assert gate(found, "approval").outcome is GateOutcome.UNKNOWN
    assert "people:" in gate(found, "approval").detail
    staging = await asked(
        release(Tier.STAGING), operator=None, confirmed=None, tickets=Tickets(ticket(approvals=approved("acc-chen")))
    )
    assert staging.passed, staging.unmet


async def test_smoke_tests_must_be_defined_and_planned() -> None:
    undefined = gate(await asked(release(service="search")), "smoke-tests")
    assert undefined.outcome is GateOutcome.FAIL
    assert "smoke_tests: search:" in undefined.detail
    unplanned = gate(await asked(steps=plan(smoke=False)), "smoke-tests")
    assert unplanned.outcome is GateOutcome.FAIL


@pytest.mark.parametrize(
    ("strategy", "weights", "outcome"),
    [
        (Strategy.ROLLING, (), GateOutcome.PASS),
        (Strategy.CANARY, (5, 50, 0), GateOutcome.PASS),
        (Strategy.CANARY, (100, 0), GateOutcome.FAIL),
        (Strategy.CANARY, (0,), GateOutcome.FAIL),
    ],
)
async def test_a_rollout_is_gradual(strategy: Strategy, weights: tuple[int, ...], outcome: GateOutcome) -> None:
    found = await asked(release(strategy=strategy), steps=plan(weights=weights))
    assert gate(found, "gradual-rollout").outcome is outcome


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "v2.14.9"},
        {"version": "2.15.0"},
        {"service": "search"},
        {"outcome": "succeeded"},
        {"outcome": "needs_attention"},
        {"restored": False},
        {"environment": "production", "tier": "production"},
        {"environment": "production", "tier": "staging"},
        {"environment": "staging", "tier": "production"},
        {"environment": "elsewhere"},
        {"values_restored": 0},
        {"highest_weight": 0, "pods": 0},
    ],
)
async def test_what_is_not_a_rehearsal_of_this_release(changes: dict[str, Any]) -> None:
    result = gate(await asked(records=[record(**changes)]), "rollback-tested")
    assert result.outcome is GateOutcome.FAIL
    assert "quarterdeck deploy payment-service v2.15.0 -e staging" in result.detail


async def test_a_rollback_of_nothing_is_no_rehearsal_and_says_what_to_do() -> None:
    aborted_in_the_baseline = record(values_restored=0, highest_weight=0, pods=0, served=False)
    result = gate(await asked(records=[aborted_in_the_baseline]), "rollback-tested")
    assert result.outcome is GateOutcome.FAIL
    assert result.evidence == (
        "the rollback of v2.15.0 in staging on 2026-11-20 14:32Z has no record of anything that ran and was taken back"
    )
    assert "once the new version has a share of the requests, quarterdeck rollback payment-service -e staging" in result.detail


async def test_a_record_of_an_older_form_does_not_say_how_far_it_had_come_and_is_no_evidence() -> None:
    known = msgspec.to_builtins(record())
    older = {name: value for name, value in known.items() if name not in EXERCISED}
    assert gate(await asked(records=[msgspec.convert(older, Record)]), "rollback-tested").outcome is GateOutcome.FAIL


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "rolled back from 25 % in staging by amira"),
        ({"template_changed": True}, "rolled back after promotion in staging by amira"),
        ({"highest_weight": 0}, "rolled back with 3 pods of it running without requests in staging by amira"),
    ],
)
async def test_the_evidence_says_how_far_the_release_had_come(changes: dict[str, Any], words: str) -> None:
    result = gate(await asked(records=[record(**changes)]), "rollback-tested")
    assert result.outcome is GateOutcome.PASS
    assert result.evidence.startswith(words)


async def test_a_failed_rehearsal_is_told_and_a_later_good_one_counts() -> None:
    failed = record(restored=False)
    result = gate(await asked(records=[failed]), "rollback-tested")
    assert "did not restore" in result.evidence
    later = record(rollout="r2", operator="chen", finished=failed.finished + timedelta(hours=1))
    result = gate(await asked(records=[later, failed, record(finished=failed.finished - timedelta(days=9))]), "rollback-tested")
    assert result.outcome is GateOutcome.PASS
    assert "by chen" in result.evidence


async def test_records_that_can_not_be_read_are_unknown() -> None:
    result = gate(await asked(records=OSError("no route")), "rollback-tested")
    assert result.outcome is GateOutcome.UNKNOWN


async def test_a_rehearsal_binds_production_only() -> None:
    result = gate(await asked(release(Tier.STAGING), confirmed=None, records=()), "rollback-tested")
    assert result.outcome is GateOutcome.WAIVED
    assert "production only" in result.evidence


@pytest.mark.parametrize(
    "typed", ["prod", "Production", "PRODUCTION", "production ", " production", "productiom", "productio", "", "staging"]
)
async def test_production_is_confirmed_by_its_exact_name(typed: str) -> None:
    result = gate(await asked(confirmed=typed), "environment")
    assert result.outcome is GateOutcome.FAIL
    assert result.detail.startswith("Type exactly: production")


async def test_production_that_nobody_confirmed_is_unknown() -> None:
    result = gate(await asked(confirmed=None), "environment")
    assert result.outcome is GateOutcome.UNKNOWN
    assert "Type exactly: production" in result.detail


@pytest.mark.parametrize(
    ("typed", "outcome"), [(None, GateOutcome.PASS), ("staging", GateOutcome.PASS), ("production", GateOutcome.FAIL)]
)
async def test_outside_production_naming_is_enough_and_a_contradiction_is_not(typed: str | None, outcome: GateOutcome) -> None:
    assert gate(await asked(release(Tier.STAGING), confirmed=typed), "environment").outcome is outcome


async def test_a_waiver_names_the_line_that_says_so() -> None:
    found = await asked(release(Tier.DEV, ticket=""), confirmed=None)
    assert found.passed
    assert gate(found, "ticket").outcome is GateOutcome.WAIVED
    assert gate(found, "ticket").evidence == "waived by policy: policy.dev.ticket: waived (config.yaml:12)"
    assert gate(found, "approval").evidence == "waived by policy: policy.dev.approvals: 0 (config.yaml:12)"
    assert gate(found, "smoke-tests").outcome is GateOutcome.PASS
    assert gate(found, "environment").outcome is GateOutcome.PASS, "nothing waives where it goes"


async def test_a_tier_may_ask_for_more() -> None:
    settings = configured(WHOLE.replace("policy:\n", "policy:\n  staging: {approvals: 3, rollback_tested: required}\n"))
    found = await asked(release(Tier.STAGING), settings=settings, confirmed=None, records=[record(environment="dev", tier="dev")])
    assert "2 approvals, 3 needed" in gate(found, "approval").evidence
    assert gate(found, "rollback-tested").outcome is GateOutcome.PASS


@given(
    st.lists(
        st.builds(
            Approval,
            account=st.sampled_from(["acc-jane", "acc-amira", "acc-chen", "acc-zed", ""]),
            display_name=st.sampled_from(["A", ""]),
            decision=st.sampled_from(["approved", "declined", "pending"]),
        ),
        max_size=6,
    )
)
def test_two_other_known_people_or_no_production(approvals: list[Approval]) -> None:
    found = asyncio.run(asked(tickets=Tickets(ticket(approvals=tuple(approvals)))))
    real = {approval.account for approval in approvals if approval.decision == "approved"} & {"acc-amira", "acc-chen"}
    declined = any(approval.decision == "declined" for approval in approvals)
    assert (gate(found, "approval").outcome is GateOutcome.PASS) == (len(real) == 2 and not declined)


async def test_evidence_from_others_is_one_short_inert_line() -> None:
    hostile = "\x1b[2J[/red]\n" + "x" * 100_000
    declined = (Approval(account="acc-x", display_name=hostile, decision="declined"),)
    found = await asked(
        tickets=Tickets(ticket(status=hostile, approvals=declined)), records=(record(operator=hostile, journal_id=hostile),)
    )
    for result in found.results:
        for told in (result.evidence, result.detail, result.source):
            assert len(told) <= checklist.MAX_TOLD
            assert told.isprintable()
    assert gate(found, "rollback-tested").outcome is GateOutcome.PASS


async def test_a_record_without_a_time_zone_does_not_hide_the_others() -> None:
    strange = record(finished=datetime(2026, 1, 1, 12, 0))
    found = gate(await asked(records=(strange, *REHEARSED)), "rollback-tested")
    assert found.outcome is GateOutcome.PASS
    assert "2026-11-20" in found.evidence

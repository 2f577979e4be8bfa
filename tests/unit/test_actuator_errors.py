"""What API servers and webhooks answer to a change: told without the values it held, cut, and inert."""

from pathlib import Path

import pytest
from support.clock import ManualClock
from support.memory_cluster import memory_connection, refusal_of
from support.rollouts import deployment, driver, rollout, target

from services.actuator import Actuator, Misplaced, Mutation, Write
from services.actuator.patch import decide
from services.actuator.shown import MOST, without_values
from services.audit import Journal
from services.cluster.transport import Request
from services.coordination import Coordination
from services.model.errors import Forbidden, QuarterdeckError
from services.model.rollout import Guard
from services.redaction import Redactor

BASE = rollout()
STABLE = BASE.plan.stable
ENV = "/spec/template/spec/containers/1/env"
SECRET, OLD = 'plain-"hunter"-words', "the former words"


async def test_a_refusal_that_quotes_the_environment_does_not_tell_it(tmp_path: Path) -> None:
    connection, cluster = memory_connection()
    clock = ManualClock()
    journal = Journal.open(tmp_path, redactor=Redactor(), clock=clock)
    body = deployment(STABLE)
    body["spec"]["template"]["spec"]["containers"][1]["env"] = [{"name": "GREETING", "value": OLD}]
    cluster.put(STABLE, body)
    hold = await Coordination(connection, clock).acquire(target(), "payment-service", "r1", driver())

    def refuse(request: Request) -> str:
        quoted = '"plain-\\"hunter\\"-words"'
        raise refusal_of(403, request, f"webhook: env[0].value: Invalid value: {quoted} (was {OLD})\x1b[2J")

    cluster.faults = [refuse]
    change = Mutation(object=STABLE, writes=(Write(ENV, [{"name": "GREETING", "value": SECRET}]),), command="edit")
    with pytest.raises(Forbidden) as refused:
        await Actuator(connection, journal, clock, read_only=False).apply(change, hold=hold, rollout=BASE)
    journal.close()  # what the disk holds up is written then
    written = str(journal.entries(event="deployment.executed"))
    for text in (str(refused.value), written):
        assert "webhook: env[0].value" in text
        assert not any(secret in text for secret in ("hunter", OLD, "\x1b", "\\x1b"))


def test_the_texts_of_an_error_are_cut() -> None:
    told = without_values(QuarterdeckError("x" * 9000, "line\nline" * 900), ())
    assert (len(told.title), len(told.detail)) == (MOST, MOST)
    assert "\n" not in str(told)


def test_what_was_found_in_the_cluster_is_cut_and_quoted() -> None:
    body = deployment(STABLE)
    body["spec"]["template"]["spec"]["containers"][1]["name"] = "\x1b[2J" + "n" * 5000
    change = Mutation(object=STABLE, writes=(), expects=(Guard("/spec/template/spec/containers/1/name", "app"),))
    with pytest.raises(Misplaced) as refused:
        decide(change, body, epoch=1)
    assert len(str(refused.value)) < 600
    assert "\x1b" not in str(refused.value)

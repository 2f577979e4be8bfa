"""Which rollout an id means: a cluster that is away is asked again, and is never taken to have said no."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.clock import ManualClock
from support.configuration import configured
from support.memory_cluster import memory_connection, refusal_of
from support.rollouts import rollout

from services.cluster.connection import Connection
from services.cluster.transport import Answer, Request
from services.coordination import Coordination
from services.model.errors import Forbidden, Rejected, Unavailable
from services.rollout.holding import Patience
from services.rollout.lookup import find

ENVIRONMENTS = ("dev", "staging", "canary", "production")
STORED = rollout(epoch=1)


class Clusters:
    """One in memory for each environment; ``away`` says for how many more requests it does not answer, or answers 403."""

    def __init__(self) -> None:
        self.at = {name: memory_connection() for name in ENVIRONMENTS}
        self.away: dict[str, int] = {}
        self.refuses: set[str] = set()
        for name, (_, transport) in self.at.items():
            transport.request = self._through(name, transport.request)  # type: ignore[method-assign]

    def _through(self, name: str, answer: Any) -> Any:
        async def request(asked: Request, seconds: float = 10.0) -> Answer:
            if name in self.refuses:
                raise refusal_of(403, asked)
            if self.away.get(name, 0) > 0:
                self.away[name] -= 1
                raise Unavailable(f"{name} does not answer")
            found: Answer = await answer(asked, seconds)
            return found

        return request

    async def connect(self, context: str) -> Connection:
        return self.at[context][0]


@pytest.fixture
async def clusters() -> Clusters:
    found = Clusters()
    connection = await found.connect("production")
    await Coordination(connection, ManualClock()).save(STORED)
    return found


def station(home: Path, clusters: Clusters) -> Any:
    clock = ManualClock()

    async def sleep(seconds: float) -> None:
        await clock.advance(seconds)

    clock.sleep = sleep  # type: ignore[method-assign]
    return SimpleNamespace(settings=configured(), home=home, clock=clock, clusters=clusters)


async def test_a_rollback_waits_for_the_cluster_that_has_its_rollout(tmp_path: Path, clusters: Clusters) -> None:
    clusters.away["production"] = 41
    on = station(tmp_path, clusters)
    assert (await find(on, STORED.id, Patience.of(begun=True, rollback=True))).id == STORED.id
    assert on.clock.monotonic() >= 41


async def test_what_was_not_read_is_not_said_to_be_missing(tmp_path: Path, clusters: Clusters) -> None:
    clusters.away["production"] = 10_000
    with pytest.raises(Unavailable, match="was not found") as caught:
        await find(station(tmp_path, clusters), STORED.id, Patience.of(begun=False, rollback=False))
    assert "production: production does not answer" in caught.value.detail


async def test_a_refusal_is_said_to_be_one(tmp_path: Path, clusters: Clusters) -> None:
    clusters.refuses.add("production")
    on = station(tmp_path, clusters)
    with pytest.raises(Forbidden):
        await find(on, STORED.id, Patience.of(begun=True, rollback=True))
    assert on.clock.monotonic() < 60, "a refusal is no outage: it is not waited out for as long"


async def test_an_id_that_no_cluster_knows_is_refused_at_once(tmp_path: Path, clusters: Clusters) -> None:
    on = station(tmp_path, clusters)
    with pytest.raises(Rejected, match="no checkpoint in any configured environment"):
        await find(on, "payment-service-unknown", Patience.of(begun=True, rollback=True))
    assert on.clock.monotonic() == station(tmp_path, clusters).clock.monotonic()

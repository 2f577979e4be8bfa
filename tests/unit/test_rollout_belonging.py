"""A rollout is driven in the cluster where it began, whatever its context is called by now; and rolled back once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.clock import ManualClock
from support.configuration import configured
from support.memory_cluster import MemoryTransport, memory_connection
from support.rollouts import rollout

from services.cluster.connection import Connection
from services.coordination import Coordination
from services.model.errors import ExitCode, Rejected
from services.model.objects import ObjectRef
from services.model.rollout import Phase, Rollout
from services.rollout import home as homes
from services.rollout.belonging import belonging, identity
from services.rollout.driver import run_driver
from services.rollout.rollback import _context as context_of
from services.rollout.start import start_rollout


class Clusters:
    """Clusters in memory by context; each is another one, told by the uid of its system namespace (empty: it may not be read)."""

    def __init__(self, **uids: str) -> None:
        self.at: dict[str, tuple[Connection, MemoryTransport]] = {name: memory_connection() for name in uids}
        for name, uid in uids.items():
            if uid:
                self.at[name][1].put(ObjectRef("Namespace", "", "kube-system"), {"metadata": {"uid": uid}})

    def contexts(self) -> tuple[str, ...]:
        return tuple(self.at)

    async def connect(self, context: str) -> Connection:
        return self.at[context][0]


def station(home: Path, clusters: Clusters) -> Any:
    settings, clock = configured(), ManualClock()
    return SimpleNamespace(
        settings=settings, home=home, clock=clock, clusters=clusters, read_only=False, user="jane", journal=None
    )


def begun(context: str, cluster: str = "kube-system/u1", **fields: Any) -> Rollout:
    """A rollout of production, whose configured context is ``production``, started through ``context``."""
    base = rollout()
    target = msgspec.structs.replace(base.release.target, context=context)
    return msgspec.structs.replace(base, release=msgspec.structs.replace(base.release, target=target), cluster=cluster, **fields)


@pytest.mark.parametrize(
    ("started", "uids", "cluster", "goes_to"),
    [
        ("production", {"production": "u1"}, "kube-system/u1", "production"),
        ("production", {"production": "u2"}, "kube-system/u1", None),
        ("production", {"production": ""}, "kube-system/u1", "production"),
        ("production", {"production": "u2"}, "", "production"),
        ("old-name", {"production": "u1"}, "kube-system/u1", "production"),
        ("old-name", {"production": "u2"}, "kube-system/u1", None),
        ("old-name", {"production": "u1"}, "", None),
        ("old-name", {"old-name": "u2", "production": "u1"}, "kube-system/u1", "production"),
        ("old-name", {"old-name": "u1", "production": "u2"}, "kube-system/u1", "old-name"),
        ("old-name", {"staging": "u1"}, "kube-system/u1", None),
    ],
)
async def test_the_cluster_where_it_began_is_found_or_the_rollout_refused(
    tmp_path: Path, started: str, uids: dict[str, str], cluster: str, goes_to: str | None
) -> None:
    place = station(tmp_path, Clusters(**uids))
    if goes_to is None:
        with pytest.raises(Rejected, match=r"does not lead to the cluster of rollout r1 any more"):
            await belonging(place, begun(started, cluster))
        return
    found = await belonging(place, begun(started, cluster))
    assert found.release.target.context == goes_to
    assert context_of(SimpleNamespace(rollout=found)) == goes_to  # type: ignore[arg-type]


async def test_a_renamed_context_is_known_by_the_checkpoint_where_nothing_else_can_be_read(tmp_path: Path) -> None:
    clusters = Clusters(production="")
    await Coordination(clusters.at["production"][0], ManualClock()).save(begun("old-name", "", epoch=1))
    assert (await belonging(station(tmp_path, clusters), begun("old-name", ""))).release.target.context == "production"


async def test_without_the_systems_namespace_its_own_tells_the_cluster() -> None:
    connection, cluster = memory_connection()
    assert await identity(connection, "production") == ""
    cluster.put(ObjectRef("Namespace", "", "production"), {"metadata": {"uid": "u7"}})
    assert await identity(connection, "production") == "production/u7"


@pytest.mark.parametrize("take_over", [False, True])
async def test_what_was_rolled_back_is_not_rolled_back_again(tmp_path: Path, take_over: bool) -> None:
    clusters = Clusters(production="u1")
    connection, cluster = clusters.at["production"]
    over = begun("production", epoch=3, phase=Phase.ROLLED_BACK)
    await Coordination(connection, ManualClock()).save(over)
    homes.write_started(tmp_path, msgspec.structs.replace(over, phase=Phase.RUNNING, epoch=0))
    before = dict(cluster.objects)
    place = station(tmp_path, clusters)
    place.journal = SimpleNamespace(entries=lambda **_: [{"seq": 1}])  # it acted, when it was rolled back
    code = await run_driver(place, over.id, take_over=take_over, rollback=True)
    ended = homes.read_ended(tmp_path, over.id)
    assert code is ExitCode.REJECTED
    assert ended is not None
    assert "was rolled back to v2.14.1 already" in ended.title
    assert "for a rollout that began since, else the same with `--to REVISION`" in f"{ended.detail} {ended.hint}"
    assert cluster.objects == before, "not even the lease of whoever drives the service by now was taken"


async def test_a_rollout_that_starts_notes_its_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = Clusters(memory="u1")
    place = station(tmp_path, clusters)

    async def append(event: Any) -> Any:
        return SimpleNamespace(seq=1)

    place.journal, base = SimpleNamespace(append=append), rollout()
    monkeypatch.setattr("services.rollout.start.start_driver", lambda *_: None)
    checklist: Any = SimpleNamespace(digest=base.plan.digest, passed=True, approvers=(), results=())
    started, _ = await start_rollout(place, base.release, base.plan, checklist, "production")
    kept = homes.read_started(tmp_path, started.id)
    assert kept is not None
    assert kept.cluster == "kube-system/u1"

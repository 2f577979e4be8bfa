"""A deploy on the sandbox is in its log store within a minute, by itself, with nothing missing and nothing twice (R6.3, R9)."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from support.harness import Sandbox
from support.processes import eventually

WITHIN = 60.0


def stored(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/_search?size=10000&sort=event.sequence", timeout=10) as response:
        return [hit["_source"] for hit in json.loads(response.read())["hits"]["hits"]]


def test_a_deploy_is_in_the_log_store_within_a_minute(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "sandbox", "good", 60)
    try:
        ended = sandbox.run("deploy", "payment-service", "v2.15.0", "-e", "dev", "--strategy", "rolling")
        assert ended.code == 0, ended.err
        entries = sandbox.run("journal", "list").document["entries"]
        assert len(entries) > 20
        url = sandbox.ready["log_store"]
        eventually("every entry shipped", lambda: len(stored(url)) >= len(entries) or None, WITHIN)
        there = stored(url)
        assert [source["event"]["sequence"] for source in there] == [entry["seq"] for entry in entries]
        for source, entry in zip(there, entries, strict=True):
            assert json.loads(source["event"]["original"]) == entry
            for name in (
                "timestamp",
                "event",
                "user",
                "environment",
                "service",
                "version",
                "command",
                "change_ticket",
                "outcome",
            ):
                assert source["quarterdeck"][name] == entry[name]

        def confirmed() -> dict[str, Any] | None:
            # what the store has is confirmed once its answer was read and noted
            status = sandbox.run("journal", "ship", "--status").document
            return status if status["sinks"][0]["confirmed_seq"] == entries[-1]["seq"] else None

        assert eventually("the last entry confirmed", confirmed, WITHIN)["lag_seconds"] < WITHIN
    finally:
        sandbox.stop()

"""Longer material for screens: the journal of a rollout that took itself back, and a log with everything that logs have."""

from typing import Any

from support.consoles import HOSTILE, NOW, entry
from widgets.logpane import Record


def told_entries() -> tuple[dict[str, Any], ...]:
    """A rollout that was rolled back, as the journal has it."""
    gates = [{"name": "ticket", "outcome": "pass", "evidence": "CHG-4821 is Approved"}]
    why = {"kind": "trigger", "name": "error-rate", "value": 0.081, "limit": 0.05, "detail": "81 of 1000 requests failed"}
    arm = {"pods": 1, "ready": 1, "requests": 1000.0, "errors": 81.0, "p99": 0.048}
    fired = {"step": 1, "sample": {"canary": arm}, "triggers": [{**why, "fired": True}]}
    step = {"step": 0, "step_name": "25 %", "object": {"kind": "VirtualService", "name": "payment-service"}}
    written = {"prog": {"host": "laptop"}}
    facts = {"previous_version": "v2.14.1", "release": {"strategy": "canary"}, "confirmation": "production"}
    changes = [{"path": "/spec/http/0/route/1/weight", "old": 0, "new": 25}]
    steps = {
        "reason": why,
        "steps": [{"name": "25 %", "outcome": "done", "seconds": 0.3}, {"name": "analyse 120 s", "seconds": 31.0}],
    }
    return (
        entry(1, "deployment.started", outcome="started", change_ticket="CHG-4821", data=facts),
        entry(2, "deployment.approval_checked", outcome="pass", data={"gates": gates}),
        entry(3, "deployment.executed", phase="outcome", ref="id-0", data={"step_name": "claim", "epoch": 1}, **written),
        entry(4, "deployment.executed", phase="intent", outcome="", data={**step, "changes": changes}),
        entry(5, "deployment.executed", phase="outcome", ref="id-4", data={**step, "milliseconds": 6.0}),
        entry(20, "rollout.paused", outcome="operator", user="sam", data={"reason": "operator: paused by sam"}),
        entry(28, "rollout.resumed", outcome="done", user="sam"),
        entry(36, "deployment.health_check", outcome="regressed", data=fired),
        entry(37, "deployment.rollback", outcome="started", data={"reason": why}),
        entry(
            38, "deployment.executed", phase="intent", outcome="", command="kubectl patch virtualservice", data={"step_name": "x"}
        ),
        entry(39, "deployment.rollback", outcome="restored", duration_seconds=2.4, data={"budget": 300.0}),
        entry(40, "deployment.completed", outcome="rolled_back", duration_seconds=39.0, data=steps),
    )


def records() -> list[Record]:
    """Sixty lines of three pods: errors, warnings, hostile text, one that was cut, and the end of a pod."""
    first = NOW.timestamp()
    tags = (("v2.14.1 x7k2p", 0), ("v2.15.0 9fzqd", 1), ("v2.14.1 mm4t8", 2))
    found = []
    for number in range(60):
        tag, hue = tags[number % 3]
        text = f"INFO POST /api/v1/payment 200 {7 + number % 31}ms request={number * 7919:08x}"
        if number % 13 == 5:
            text = f"ERROR POST /api/v1/payment 500 31ms request={number * 7919:08x} upstream settlement-gateway: 502 Bad Gateway"
        elif number % 17 == 3:
            text = f"WARN connection pool: 18 of 20 in use request={number * 7919:08x}"
        found.append(Record(text, tag, hue, first + number / 3))
    found[-4] = Record(HOSTILE, *tags[0], first + 19)
    found[-3] = Record("x" * 300, *tags[1], first + 19.2, cut=True)
    found[-1] = Record("payment-service-7d9f-9fzqd ended: the pod is gone", *tags[1], first + 20, told=True)
    return found

"""What a deploy without a screen says of its end: figures in the units that the screen has them in."""

import pytest
from support.consoles import rollout

from console.commands.deploy import told
from services.model.rollout import Phase, Reason, TriggerName, TriggerReading

READINGS = (
    TriggerReading(name=TriggerName.ERROR_RATE, value=0.081234567, limit=0.05, unit="share", fired=True),
    TriggerReading(name=TriggerName.LATENCY_P99, value=0.0912, limit=0.066, unit="s", fired=True),
    TriggerReading(name=TriggerName.JUDGE, value=100.0, limit=100.0, unit="of 100", fired=True),
)


@pytest.mark.parametrize(
    ("name", "value", "limit", "words"),
    [
        ("error-rate", 0.081234567, 0.05, "error-rate 8.1% (limit 5%) why"),
        ("latency-p99", 0.0912, 0.066, "latency-p99 91ms (limit 66ms) why"),
        ("judge", 100.0, 100.0, "judge 100 (limit 100) why"),
        ("judge", 8.25, 100.0, "judge 8 (limit 100) why"),  # undecided, where that rolls back
        ("ticket", None, None, "ticket why"),
        ("artifact", "sha256:1", None, "artifact sha256:1 why"),
    ],
)
def test_a_reason_has_its_figures_in_their_unit(name, value, limit, words):
    ended = rollout(phase=Phase.ROLLED_BACK, triggers=READINGS)
    said = list(told(ended, "rolled_back", Reason(kind="trigger", name=name, value=value, limit=limit, detail="why")))
    assert said[1] == f"  {words}"


def test_what_was_rolled_back_is_told_by_what_runs_now():
    ended = rollout(phase=Phase.ROLLED_BACK, breach_at=100.0, finished=112.3)
    place = f"{ended.release.service} in {ended.release.target.environment}"
    reason = Reason(kind="operator", name="rollback", detail="asked for by jane")
    assert next(told(ended, "rolled_back", reason)) == f"rolled back: {place}, {ended.plan.previous_version} is restored (12 s)"
    unmeasured = rollout(phase=Phase.ROLLED_BACK, breach_at=None)
    assert next(told(unmeasured, "rolled_back", reason)).endswith(f", {ended.plan.previous_version} is restored")
    assert next(told(rollout(phase=Phase.SUCCEEDED), "succeeded", None)).endswith(
        f"{ended.plan.previous_version} → {ended.release.version}"
    )

"""What the analyses of a plan would see, for a dry run: from what an earlier rollout of the service measured."""

import asyncio
from collections.abc import Iterator

from console.commands.following import checkpoints
from console.context import Context
from services.cluster.watched import rollouts
from services.model.errors import QuarterdeckError
from services.model.objects import Json
from services.model.release import Release
from services.model.steps import Plan
from services.rollout.alerting import Foreseen
from services.rollout.foresight import Foresight, recalled
from services.rollout.outlook import measured_before, replay_words

PATIENCE = 3.0
"""Wall seconds for the cluster's checkpoints: a dry run does not wait for what is only good to know."""


async def remembered(context: Context, release: Release, plan: Plan) -> Foresight:
    """Never raises for a cluster that does not answer: that is a reason why nothing is known."""
    try:
        async with asyncio.timeout(PATIENCE), checkpoints(context, release.target) as inventory:
            found = [watch.rollout for watch in rollouts(inventory, context.clock)]
    except TimeoutError:
        return Foresight(problem=f"{release.target.context} did not show its rollouts within {PATIENCE:.0f} s")
    except QuarterdeckError as error:
        return Foresight(problem=str(error))
    return recalled(plan, measured_before(found, release), context.settings)


def document(foresight: Foresight) -> Json:
    """The same as a document: shares 0 to 1, seconds of pace; ``null`` for what will not be seen, or not at all."""
    baseline = foresight.baseline
    replay = baseline.replay if baseline is not None else None
    return {
        "problem": foresight.problem or None,
        "measured": foresight.measured.strftime("%Y-%m-%dT%H:%M:%SZ") if foresight.measured is not None else None,
        "requests_per_second": round(baseline.requests / baseline.seconds, 3)
        if baseline is not None and baseline.seconds
        else None,
        "error_rate": baseline.error_rate if baseline is not None else None,
        "replay": None if replay is None else {"aborted": replay.aborted, "splits": replay.splits, "rows": replay.rows},
        "analyses": [
            {
                "step": one.step,
                "weight": one.weight,
                "seconds": one.seconds,
                "requests_per_second": round(one.rate, 3),
                "error_rate_seen": one.errors.surely,
                "error_rate_seen_at_even_odds": one.errors.even,
                "seconds_to_see_twice_the_errors": one.errors.doubled,
                "seconds_to_prove_health": one.health,
                "undecided_expected": one.undecided,
                "metrics": [
                    {
                        "name": sight.metric,
                        "slower_than_seconds": sight.edge,
                        "share": sight.now,
                        "share_seen": sight.surely,
                        "share_seen_at_even_odds": sight.even,
                        "seconds_to_see_twice": sight.doubled,
                        "seconds_to_prove_health": sight.health,
                    }
                    for sight in (one.errors, *one.others)
                ],
                "detail": one.words(),
            }
            for one in foresight.outlook
        ],
    }


def alerts_document(found: Foreseen | None) -> Json:
    """``null`` where no source of alerts is configured."""
    return None if found is None else {"watched": found.watched, "firing": list(found.firing), "problem": found.problem or None}


def lines(foresight: Foresight) -> Iterator[str]:
    """The same in sentences."""
    if not foresight.outlook:
        yield f"Unknown what its analyses will see: {foresight.problem}. The deploy form measures it."
        return
    for one in foresight.outlook:
        yield one.words()
    if foresight.measured is not None:
        yield f"By what a rollout measured that began at {foresight.measured:%Y-%m-%d %H:%M:%S}Z."
    if foresight.baseline is not None and (told := replay_words(foresight.baseline)):
        yield told

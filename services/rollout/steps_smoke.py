"""Doing the smoke tests: real requests to a real service, so one whose result got lost is not sent again without a person."""

from services.analysis import SmokeRunner
from services.model.errors import NeedsAttention
from services.model.objects import Json
from services.model.rollout import Reason
from services.model.steps import SmokeTest
from services.rollout import state
from services.rollout.events import entry
from services.rollout.run import Breach, Run

SENT = "sent"
"""Note of a step whose requests have left and whose results are not known yet."""


async def smoke_test(run: Run, step: SmokeTest) -> None:
    """Run every check; one that fails is a breach. Raises :class:`NeedsAttention` where results are unknown: a driver died
    between sending and hearing, or a check had no answer."""
    if state.current_state(run.rollout).note == SENT:
        run.change(state.noted(run.rollout, ""))
        raise NeedsAttention(
            "The smoke tests may have run already",
            "Their driver died before it heard the results.",
            "Promote to go on without them, resume to run them again, or roll back.",
        )
    command = "; ".join(f"GET {check.path} expects {check.status}" for check in step.checks)
    intent = await run.journal.append(
        entry(
            run.rollout,
            "deployment.executed",
            command=command,
            phase="intent",
            data={"step": run.rollout.step, "step_name": step.name},
        )
    )
    run.change(state.noted(run.rollout, SENT))
    await run.patiently("writing the checkpoint", run.save)
    runner = SmokeRunner.configured(run.settings.smoke, run.connection, run.clock)
    try:
        results = await runner.run(step.checks, run.rollout.release.service, run.rollout.release.target.namespace)
    finally:
        await runner.close()
    failed = [result for result in results if result.passed is False]
    unknown = [result for result in results if result.passed is None]
    verdict = "failed" if failed else "unknown" if unknown else "ok"
    data: dict[str, Json] = {
        "step": run.rollout.step,
        "checks": [
            {"name": result.check.name, "passed": result.passed, "detail": result.detail, "seconds": round(result.seconds, 4)}
            for result in results
        ],
    }
    await run.journal.append_within(
        entry(run.rollout, "deployment.executed", command=command, phase="outcome", ref=intent.id, outcome=verdict, data=data),
        2.0,
    )
    await run.note("deployment.health_check", outcome="passed" if verdict == "ok" else verdict, data=data)
    passed = len(results) - len(failed) - len(unknown)
    run.change(state.noted(run.rollout, f"{passed} of {len(results)} passed"))
    if failed:
        raise Breach(
            Reason(
                kind="trigger",
                name="smoke-tests",
                value=len(failed),
                limit=0,
                detail="; ".join(f"{result.check.name}: {result.detail}" for result in failed),
            )
        )
    if unknown:
        raise NeedsAttention(
            f"{len(unknown)} of {len(results)} smoke tests had no answer",
            "; ".join(f"{result.check.name}: {result.detail}" for result in unknown),
            "Resume to run them again, promote to go on without them, or roll back.",
        )

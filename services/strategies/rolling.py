"""Rolling update: the workload's own controller replaces pod by pod, watched by the triggers."""

from services.model.release import Release
from services.model.steps import AnyStep, MeasureBaseline, Plan, WaitReady
from services.settings import Settings
from services.strategies import commands, common, estimate
from services.strategies.digest import digest
from services.strategies.draft import Draft
from services.strategies.state import ServiceState


def rolling(release: Release, state: ServiceState, settings: Settings) -> Plan:
    """Measure, patch the image, wait for the pods, watch them, run the smoke tests. Raises :class:`Rejected`."""
    about = common.subject(release, state)
    course = settings.rolling
    draft = Draft({about.stable: state.stable})
    rolls = common.stable_rolls(state, about)
    steps: list[AnyStep] = [
        MeasureBaseline(
            name=f"measure baseline {course.baseline_seconds:.0f} s",
            seconds=course.baseline_seconds,
            expected_seconds=course.baseline_seconds,
        ),
        common.patch_image(release, about, draft, f"update to {release.version}, {common.plural(about.replicas, 'pod')}"),
        WaitReady(
            name=f"ready on {release.version}",
            expected_seconds=rolls,
            command=commands.wait_ready(release.target, about.stable, course.ready_timeout),
            workload=about.stable,
            timeout=course.ready_timeout,
        ),
        common.analyse(settings, f"analyse {course.analyse_seconds:.0f} s", course.analyse_seconds, course.min_requests),
        *common.smoke_tests(release, settings),
    ]
    users = (
        f"Users move from {about.previous_version} to {release.version} pod by pod ({common.plural(about.replicas, 'pod')}); "
        f"a bad version reaches them at its full share until it is rolled back."
    )
    return Plan(
        steps=tuple(steps),
        objects=(about.stable,),
        stable=about.stable,
        canary=None,
        route=None,
        previous_version=about.previous_version,
        new_images=about.new_images,
        digest=digest(release, steps, {"workload": common.lasting(state.stable)}),
        rollback_seconds=rolls + estimate.ROUTE_PROPAGATION,
        notes=(users, *about.notes),
    )

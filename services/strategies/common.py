"""What every strategy asks of a service before it plans, and the steps they share."""

from dataclasses import dataclass

from services.model.errors import Rejected
from services.model.objects import ObjectRef, value_at
from services.model.release import Release, Tier
from services.model.steps import Analyse, PatchImage, SmokeTest
from services.settings import Settings
from services.strategies import commands, estimate
from services.strategies.draft import Draft
from services.strategies.images import ImageChange, image_changes, left_alone, parse
from services.strategies.state import Document, ServiceState
from services.traffic.choose import shares

REPLICAS = "/spec/replicas"


@dataclass(frozen=True, slots=True)
class Subject:
    """The stable workload of a release, checked: it can be changed to the new version."""

    stable: ObjectRef
    replicas: int
    images: tuple[ImageChange, ...]
    notes: tuple[str, ...]

    @property
    def previous_version(self) -> str:
        return parse(self.images[0].old).tag

    @property
    def new_images(self) -> dict[str, str]:
        return {image.container: image.new for image in self.images}


def subject(release: Release, state: ServiceState) -> Subject:
    """Check what every strategy needs. Raises :class:`Rejected`: version already running, image not replaceable, no pods,
    paused, all pods replaced at once in production, requests still split by an earlier rollout."""
    stable = ObjectRef("Deployment", release.target.namespace, str(value_at(state.stable, "/metadata/name")))
    images = image_changes(state.stable, release.service, release.version)
    if all(image.old == image.new for image in images):
        raise Rejected("version", release.version, f"{stable} in {release.target.environment} runs it already", "another version")
    replicas = value_at(state.stable, REPLICAS)
    replicas = 1 if replicas is None else int(replicas)
    if replicas == 0:
        raise Rejected(
            "service",
            release.service,
            f"{stable} has 0 replicas, so there is nothing to compare with or to come back to",
            f"a service that runs: {commands.scale(release.target, stable, 1)}",
        )
    if value_at(state.stable, "/spec/paused"):
        raise Rejected(
            "service",
            release.service,
            f"{stable} is paused (spec.paused), so a new image would not roll out",
            f"a workload that is not paused: {commands.resume(release.target, stable)}",
        )
    notes: list[str] = []
    if value_at(state.stable, "/spec/strategy/type") == "Recreate":
        if release.target.tier is Tier.PRODUCTION:
            raise Rejected(
                "strategy",
                release.strategy.value,
                f"{stable} stops all its pods before it starts new ones (spec.strategy.type)",
                "spec.strategy.type RollingUpdate",
            )
        notes.append(f"{stable} stops all its pods before it starts new ones: users will see an outage.")
    _refuse_leftover_split(release, state)
    notes += [
        f"Init container {each} is another build of the same repository: its image stays."
        for each in left_alone(state.stable, images)
    ]
    if parse(images[0].old).tag == "latest":
        notes.append(f"{stable} runs the tag latest, which moves: a rollback brings back whatever latest names then.")
    if state.autoscaled:
        notes.append(f"An autoscaler owns the replica count of {stable}: the count is left to it.")
    if state.autoscaled is None:
        notes.append(f"Whether an autoscaler owns the replica count of {stable} could not be read: taken as nobody's.")
    return Subject(stable, replicas, images, tuple(notes))


def patch_image(release: Release, about: Subject, draft: Draft, name: str) -> PatchImage:
    """Give the stable workload the new images."""
    return PatchImage(
        name=name,
        expected_seconds=1.0,
        changes=tuple(change for image in about.images for change in draft.set(about.stable, image.path, image.new)),
        command=commands.set_image(release.target, about.stable, about.new_images),
        workload=about.stable,
        promotes=True,
    )


def analyse(settings: Settings, name: str, seconds: float, min_requests: int, *, proof: bool = True) -> Analyse:
    """Watch the new version; what undecided and early proof mean is the settings' word of today, which the plan keeps."""
    return Analyse(
        name=name,
        expected_seconds=seconds,
        seconds=seconds,
        min_requests=min_requests,
        proof=proof,
        promote_early=proof and settings.judge.promote_early,
        on_undecided=settings.judge.on_undecided,
    )


def smoke_tests(release: Release, settings: Settings) -> tuple[SmokeTest, ...]:
    """The service's smoke tests as one step; none where none are defined (a gate asks for them, R3.3)."""
    checks = settings.checks(release.service)
    if not checks:
        return ()
    return (SmokeTest(name=f"smoke tests ({len(checks)})", expected_seconds=float(len(checks)), checks=checks),)


def lasting(workload: Document) -> Document:
    """What a plan builds on of a workload: its spec without the replicas, which somebody else may move. The update strategy and
    the selector are part of it: they decide how many pods go at once, and the clone takes them over."""
    return {key: value for key, value in workload["spec"].items() if key != "replicas"}


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def stable_rolls(state: ServiceState, about: Subject) -> float:
    """Expected seconds of a rolling update of stable, there or back."""
    return estimate.rolling_seconds(state.stable, about.replicas)


def _refuse_leftover_split(release: Release, state: ServiceState) -> None:
    """A split left over from an earlier rollout means that stable is not what all users get."""
    around = state.around(release.service, release.target.namespace)
    for held in shares(around, state.ready):
        router, ref, weight = held.router, held.ref, held.weight
        if held.problem is not None:
            continue  # a strategy that needs the split looks at it itself and says why not
        if router.by_pods:
            way = commands.scale(release.target, ref, 0)
        else:
            draft = Draft({ref: held.body})
            changes = [
                change
                for path, value in router.writes(held.body, release.service, 0, state.ready)
                for change in draft.set(ref, path, value)
            ]
            way = commands.patch(release.target, changes, router.guards(held.body, release.service))
        raise Rejected(
            "service",
            release.service,
            f"{ref} still sends {weight} % of its requests to the canary"
            if not router.by_pods
            else f"{ref} still runs beside stable and gets {weight} % of the requests",
            f"a route with stable at 100 %; once stable is known to be good: {way}",
        )

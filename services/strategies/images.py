"""Which containers of a workload get the new version, and what their image is then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.model.errors import Rejected
from services.model.objects import pointer, value_at

POD_SPEC = ("spec", "template", "spec")


@dataclass(frozen=True, slots=True)
class Image:
    """An image reference: ``repository[:tag][@digest]``; the repository may hold a registry with a port."""

    repository: str
    tag: str
    digest: str

    @property
    def last(self) -> str:
        return self.repository.rpartition("/")[2]


def parse(reference: str) -> Image:
    """Take an image reference apart. A colon belongs to a tag only after the last slash."""
    rest, _, digest = reference.partition("@")
    head, slash, last = rest.rpartition("/")
    name, _, tag = last.partition(":")
    return Image(f"{head}{slash}{name}", tag, digest)


@dataclass(frozen=True, slots=True)
class ImageChange:
    """One container's image: where it stands in the workload, and what it is before and after."""

    container: str
    path: str
    old: str
    new: str


def image_changes(workload: Mapping[str, Any], service: str, version: str) -> tuple[ImageChange, ...]:
    """The containers of ``workload`` that run ``service``, with their image at ``version``.

    They are the containers whose image repository ends in the service's name, else the container of that name, else the single
    container there is; an init container with the very same image goes with them, since both are one build (another tag of that
    repository is another build: see :func:`left_alone`). Raises :class:`Rejected` where it is not clear which container is
    meant, or where an image carries no tag to replace.
    """
    containers = _containers(workload, "containers")
    chosen = (
        [entry for entry in containers if parse(entry[2]).last == service]
        or [entry for entry in containers if entry[1] == service]
        or containers
    )
    if len({image for _, _, image in chosen}) != 1 or (len(chosen) > 1 and parse(chosen[0][2]).last != service):
        raise Rejected(
            "service",
            service,
            f"can't tell which container of {_name(workload)} runs it",
            f"a workload with one container, or one container whose image repository ends in /{service}, or one of that name; "
            f"it has {', '.join(f'{name} ({image})' for _, name, image in containers) or 'no containers'}",
        )
    image = chosen[0][2]
    chosen += [entry for entry in _containers(workload, "initContainers") if entry[2] == image]
    return tuple(_change(workload, path, name, image, version) for path, name, image in chosen)


def left_alone(workload: Mapping[str, Any], changes: Sequence[ImageChange]) -> tuple[str, ...]:
    """Init containers that run another build of a repository that is changed: ``name (image)``. They keep their image."""
    repositories = {parse(change.old).repository for change in changes}
    changed = {change.container for change in changes}
    return tuple(
        f"{name} ({image})"
        for _, name, image in _containers(workload, "initContainers")
        if name not in changed and parse(image).repository in repositories
    )


def _change(workload: Mapping[str, Any], path: str, container: str, image: str, version: str) -> ImageChange:
    parsed = parse(image)
    where = f"container {container} of {_name(workload)}"
    if parsed.digest:
        raise Rejected(
            "version",
            version,
            f"{where} is pinned by digest ({image}), so a tag would not decide what runs",
            "an image with a tag",
        )
    if not parsed.tag:
        raise Rejected(
            "version",
            version,
            f"{where} runs {image} without a tag, so there is no version to come back to",
            "an image with a tag",
        )
    return ImageChange(container, path, image, f"{parsed.repository}:{version}")


def _containers(workload: Mapping[str, Any], kind: str) -> list[tuple[str, str, str]]:
    """(JSON pointer of the image, container name, image) of each container."""
    listed = value_at(workload, pointer(*POD_SPEC, kind)) or []
    return [
        (pointer(*POD_SPEC, kind, index, "image"), str(container.get("name", "")), str(container.get("image", "")))
        for index, container in enumerate(listed)
    ]


def _name(workload: Mapping[str, Any]) -> str:
    return f"deployment/{value_at(workload, '/metadata/name')}"

"""From a raw request to a :class:`Release` (R2.1-R2.4, R2.7). Pure: it knows what it is told and changes nothing.

Form comes first, without any cluster; then existence: the context in the kubeconfig, the service in its namespace.
"""

import difflib
from collections.abc import Callable, Collection, Iterator

import msgspec

from services.integrations.base import TICKET_KEY, is_ticket_key
from services.model.errors import Rejected
from services.model.release import DeployRequest, Release, Strategy, Target, Tier
from services.redaction import Redactor
from services.release import strategy, version
from services.settings import Settings
from services.settings.section import is_name

Redact = Callable[[str], str]
"""Takes secrets out of a text: ``Redactor.text``."""

KnownServices = Callable[[str, str], Collection[str]]
"""The names of the services in ``(context, namespace)``, as the cluster's inventory knows them."""

NAME_RULE = "a-z, 0-9 and '-', a letter or digit first and last, at most 63 characters"

_SHOWN = 80
_READ = 4096

# Known shapes of tokens are taken out of a rejected value even where nobody passed the redactor that knows ours.
_shapes = Redactor().text


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose every field has the right form. ``namespaces`` are those in which the service may be."""

    service: str
    version: str
    environment: str
    tier: Tier
    context: str
    namespaces: tuple[str, ...]
    strategy: Strategy
    ticket: str


def problems(request: DeployRequest, settings: Settings, *, redact: Redact = _shapes) -> tuple[Rejected, ...]:
    """Everything that is wrong with the form of a request, in the order of its fields; for a form checked as it is typed."""
    return tuple(_problems(request, settings, redact))


def validate_syntax(request: DeployRequest, settings: Settings, *, redact: Redact = _shapes) -> Candidate:
    """Check the form of every field. Needs no cluster.

    Raises :class:`Rejected` for the first field that breaks its rule.
    """
    for problem in _problems(request, settings, redact):
        raise problem
    name, environment = settings.resolve_environment(request.environment)
    return Candidate(
        service=request.service,
        version=request.version,
        environment=name,
        tier=environment.tier,
        context=environment.context,
        namespaces=(request.namespace,) if request.namespace else environment.namespaces,
        strategy=Strategy(request.strategy) if request.strategy else settings.default_strategy[environment.tier],
        ticket=request.ticket,
    )


def validate(
    request: DeployRequest,
    settings: Settings,
    contexts: Collection[str],
    services: KnownServices,
    *,
    redact: Redact = _shapes,
) -> Release:
    """The validated release. ``contexts`` are the kubeconfig's; ``services`` tells what runs in a namespace.

    Raises :class:`Rejected` for the first rule that is broken; nothing was attempted then. Whether the version runs already
    is the plan's to say, which knows the workload.
    """
    candidate = validate_syntax(request, settings, redact=redact)
    if candidate.context not in contexts:
        known = ", ".join(sorted(contexts)) or "none: the kubeconfig has no contexts"
        raise Rejected(
            "cluster", _shown(candidate.context, redact), f"context of {candidate.environment} is not in the kubeconfig", known
        )
    return Release(
        service=candidate.service,
        version=candidate.version,
        target=Target(
            environment=candidate.environment,
            tier=candidate.tier,
            context=candidate.context,
            namespace=_namespace_of(candidate, services, redact),
        ),
        strategy=candidate.strategy,
        ticket=candidate.ticket,
    )


def _namespace_of(candidate: Candidate, services: KnownServices, redact: Redact) -> str:
    known = {namespace: set(services(candidate.context, namespace)) for namespace in candidate.namespaces}
    found = [namespace for namespace, names in known.items() if candidate.service in names]
    places = ", ".join(candidate.namespaces)
    if not found:
        names = sorted({name for there in known.values() for name in there if _base_of(name, there) is None})
        near = difflib.get_close_matches(candidate.service, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        rule = f"does not exist in namespace {places} of {candidate.environment}{hint}"
        raise Rejected(
            "service", _shown(candidate.service, redact), rule, _listed(names) or "a service that runs there; none does"
        )
    if len(found) > 1:
        rule = f"is needed: {candidate.service} is in {len(found)} namespaces of {candidate.environment}"
        raise Rejected("namespace", "", rule, ", ".join(found))
    if base := _base_of(candidate.service, known[found[0]]):
        rule = f"is the canary of {base}, which only a rollout changes"
        raise Rejected("service", _shown(candidate.service, redact), rule, base)
    return found[0]


def _base_of(name: str, there: set[str]) -> str | None:
    """The service whose canary ``name`` is, of those that are ``there``; ``None`` where it is a service of its own."""
    base = name.removesuffix("-canary")
    return base if base != name and base in there else None


def _problems(request: DeployRequest, settings: Settings, redact: Redact) -> Iterator[Rejected]:
    def rejected(field: str, value: str, rule: str, accepted: str) -> Rejected:
        return Rejected(field, _shown(value, redact), rule, accepted)

    names = settings.names()
    known = request.environment in names
    if not request.environment:
        yield rejected("environment", "", "is missing, and there is no default", ", ".join(names))
    elif not known:
        near = difflib.get_close_matches(request.environment.lower(), names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        yield rejected("environment", request.environment, f"is not one of the configured environments{hint}", ", ".join(names))
    if not is_name(request.service):
        rule = "is not a legal name" if request.service else "is missing"
        yield rejected("service", request.service, rule, NAME_RULE)
    if rule := version.problem(request.version):
        yield rejected("version", request.version, rule, version.ACCEPTED)
    if request.namespace and not is_name(request.namespace):
        yield rejected("namespace", request.namespace, "is not a legal name", NAME_RULE)
    elif request.namespace and known:
        canonical, environment = settings.resolve_environment(request.environment)
        if request.namespace not in environment.namespaces:
            rule = f"does not belong to {canonical}"
            yield rejected("namespace", request.namespace, rule, ", ".join(environment.namespaces))
    if rule := strategy.problem(request.strategy):
        yield rejected("strategy", request.strategy, rule, strategy.ACCEPTED)
    if request.ticket and not is_ticket_key(request.ticket):
        yield rejected("ticket", request.ticket, "is not a ticket key", TICKET_KEY)


def _shown(value: str, redact: Redact) -> str:
    """``value`` as it may be shown: redacted first, so that no cut-off part of a secret remains, then shortened."""
    text = redact(value[:_READ])
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _listed(names: list[str], most: int = 12) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")

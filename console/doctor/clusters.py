"""Each context: does its API server answer, how fast, how long do its certificate and our credentials last, what time is it
there, and are the namespaces there."""

import asyncio
import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

from console.doctor import skew
from console.doctor.finding import Check, Finding, Group, Topic
from console.doctor.site import Place, Site, first_page
from services.clock import Clock
from services.cluster.answers import CredentialsRefused
from services.cluster.signin import SignIn, server_certificate, sign_in
from services.cluster.transport import Request
from services.model.errors import Forbidden, NotFound, QuarterdeckError, Rejected

SLOW = 1.0
"""Wall seconds of one small request from which on a rollback is felt to wait."""
DAY = 86_400.0
CERTIFICATE_DAYS = 14
CREDENTIAL_SECONDS = 3600.0
"""Credentials that end sooner may not outlive a rollout."""


def checks(site: Site, paths: Sequence[Path], clock: Clock) -> list[Check]:
    """``paths``: the kubeconfig files; none inside a pod."""

    def about(name: str) -> Topic:
        return Topic(Group.CLUSTERS, name, site.context)

    reach, certificate, credentials, time = (about(name) for name in ("reachable", "certificate", "credentials", "clock"))
    found = [
        Check(reach, lambda: _reach(reach, site)),
        Check(certificate, lambda: _certificate(certificate, site, clock)),
        Check(credentials, lambda: _credentials(credentials, site, paths, clock)),
        Check(time, lambda: _time(time, site)),
    ]
    for place in site.places:
        topic = about(f"namespace {place.namespace}")
        found.append(Check(topic, lambda topic=topic, place=place: _namespace(topic, site, place)))  # type: ignore[misc]
    return found


async def _reach(topic: Topic, site: Site) -> list[Finding]:
    try:
        contact = await site.contact()
    except CredentialsRefused:
        return [topic.ok(f"{(await site.connection()).server} answers")]
    except Rejected as error:
        found = f"{error.field} {error.value}: {error.rule}"
        return [topic.problem(found, error.accepted, "Correct the configuration or the kubeconfig: quarterdeck config check")]
    except QuarterdeckError as error:
        needed = "without it nothing of these environments is seen, deployed or rolled back"
        return [topic.problem(" ".join(part for part in (f"{error.title}.", error.detail) if part), needed, error.hint)]
    server = (await site.connection()).server
    found = f"{contact.version or 'a server of unknown version'} at {server}, {contact.latency * 1000:.0f} ms"
    if contact.latency >= SLOW:
        return [topic.warning(found, f"less than {SLOW:g} s: a rollback sends several", "Work from nearer to the cluster.")]
    return [topic.ok(found)]


async def _certificate(topic: Topic, site: Site, clock: Clock) -> list[Finding]:
    connection = await site.known()
    await asyncio.gather(site.contact(), return_exceptions=True)
    if connection.server.startswith("http:"):
        return [topic.skipped(f"{connection.server} has none (no TLS)")]
    if not connection.server.startswith("https:"):
        return [topic.skipped("the server is not known (see reachable)")]
    found = await server_certificate(connection.server)
    left = found.expires - clock.unix()
    action = "Have the API server's certificate renewed."
    if clock.unix() < found.begins:
        return [topic.problem(f"valid only in {_span(found.begins - clock.unix())}", "a valid certificate", action)]
    return [_lasting(topic, f"{found.subject or 'certificate'}: ", left, CERTIFICATE_DAYS * DAY, action)]


async def _credentials(topic: Topic, site: Site, paths: Sequence[Path], clock: Clock) -> list[Finding]:
    connection = await site.known()
    try:
        way = await asyncio.to_thread(sign_in, paths, site.context)
    except Rejected as error:
        return [topic.problem(f"{error.field} {error.value}: {error.rule}", error.accepted, "Correct the kubeconfig.")]
    action = f"Sign in to {site.context} again."
    try:
        # Anybody may ask for the version; who is not known may not ask what they may do.
        await site.contact()
        await connection.review("get", "apps", "deployments", site.places[0].namespace)
    except CredentialsRefused:
        why = ""
        if way.expires is not None and way.expires <= clock.unix():
            why = f" They expired {_span(clock.unix() - way.expires)} ago."
        return [topic.problem(f"{way.kind}: not accepted.{why}", "credentials that the server accepts", action)]
    except Forbidden:
        found = f"{way.kind}: nobody may ask with them what they may do"
        return [topic.problem(found, "credentials of somebody the cluster knows", action)]
    except QuarterdeckError:
        return [_unheard(topic, way, clock)]
    if way.expires is None:
        return [topic.ok(f"{way.kind}: accepted; when they end is not known")]
    if way.renewed:
        return [topic.ok(f"{way.kind}: accepted; renewed by itself")]
    soon = CERTIFICATE_DAYS * DAY if "certificate" in way.kind else CREDENTIAL_SECONDS
    return [_lasting(topic, f"{way.kind}: accepted; ", way.expires - clock.unix(), soon, action)]


def _unheard(topic: Topic, way: SignIn, clock: Clock) -> Finding:
    """What can be said of credentials that no server was there to accept or refuse."""
    if way.expires is not None and way.expires <= clock.unix():
        found = f"{way.kind}: expired {_span(clock.unix() - way.expires)} ago"
        return topic.problem(found, "credentials that are valid", f"Sign in to {topic.subject} again.")
    return topic.skipped(f"{way.kind}: the server was not there to accept or refuse (see reachable)")


async def _time(topic: Topic, site: Site) -> list[Finding]:
    await site.reached()
    contact = await site.contact()
    return [skew.judge(topic, contact.server_time, contact.asked, contact.answered, leases=True)]


async def _namespace(topic: Topic, site: Site, place: Place) -> list[Finding]:
    connection = await site.reached()
    needed = f"namespace {place.namespace} in context {site.context}"
    try:
        await connection.request(Request("GET", f"/api/v1/namespaces/{place.namespace}", f"GET {needed}"))
    except NotFound:
        return [topic.problem(f"there is no {needed}", needed, "Correct 'namespaces' of the environment, or create it.")]
    except Forbidden:
        pass
    else:
        return [topic.ok("is there")]
    # Whoever may see only what is in it can't ask for the namespace itself; what is in it proves that it is there.
    with contextlib.suppress(Forbidden):
        if (await first_page(connection, "Deployment", place.namespace, 1)).items:
            return [topic.ok("is there (seen by a Deployment in it)")]
    ask = "Ask for the permission to get this namespace, or make sure of its name."
    return [topic.unknown("we may not ask for it, and it shows no Deployment", needed, ask)]


def _lasting(topic: Topic, prefix: str, left: float, soon: float, action: str) -> Finding:
    if left <= 0:
        return topic.problem(f"{prefix}expired {_span(-left)} ago", "one that is valid", action)
    found = f"{prefix}valid for {_span(left)} more"
    return topic.warning(found, f"more than {_span(soon)}", action) if left < soon else topic.ok(found)


def _span(seconds: float) -> str:
    for unit, size in (("day", DAY), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= size:
            count = math.floor(seconds / size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{math.floor(seconds)} seconds"

"""Every screen of the console as a person meets it, well and not: by name, what there is, and how one gets there."""

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
from textual.widgets import Input

from console.screens.leaving import LeavingScreen
from console.screens.restore import RestoreScreen
from console.screens.story import StoryScreen
from console.tailing import LogsOf
from console.verifying import Verified
from console.view import Picture, RolloutCard, Selection
from services.audit.shipping.status import Shipping, ShippingStatus, SinkState, SinkStatus
from services.audit.verify import Problem
from services.cluster.calls import Call
from services.model.errors import Unavailable
from services.model.fleet import FleetView
from services.model.rollout import Arm, Driver, Freshness, Phase, Reason, Sample
from support.consoles import CHECKED, NOW, TestConsole, card, environment, picture, rollout, service
from support.gallery import READINGS
from support.judgements import judgement, regressed
from support.stories import records, told_entries
from widgets.toast import toast

PATCH = (
    "kubectl patch virtualservices.networking.istio.io payment-service --type=json "
    '-p \'[{"op":"test","path":"/metadata/annotations/quarterdeck~1epoch","value":"4"},'
    '{"op":"replace","path":"/spec/http/0/route/0/weight","value":100}]\' -n production --context production'
)
FIRED = Reason(kind="trigger", name="error-rate", value=0.081, limit=0.05, detail="81 of 1000 requests failed")


async def _stay(app: TestConsole, pilot: Any) -> None:
    """Where the console begins."""


@dataclass(frozen=True)
class Scene:
    """``shown`` is what is known, ``prepare`` what else there is, ``go`` the way to the screen."""

    shown: Callable[[], Picture] = picture
    go: Callable[[TestConsole, Any], Awaitable[None]] = _stay
    prepare: Callable[[TestConsole], None] = field(default=lambda app: None)

    def console(self) -> TestConsole:
        app = TestConsole(self.shown())
        self.prepare(app)
        return app

    async def enter(self, app: TestConsole, pilot: Any) -> None:
        await pilot.pause()
        await self.go(app, pilot)
        await pilot.pause()
        await pilot.pause()
        for text in app.screen.query(Input):
            text.cursor_blink = False
        await pilot.pause()


def pressed(*keys: str) -> Callable[[TestConsole, Any], Awaitable[None]]:
    async def go(app: TestConsole, pilot: Any) -> None:
        await pilot.press(*keys)
        await pilot.pause(0.05)

    return go


def lost() -> FleetView:
    """Production was last heard of two minutes ago; dev never answered."""
    return FleetView(
        environments=(
            environment("dev", (), reachable=False, age_seconds=None, problem="connection refused"),
            environment("staging", (service("payment-service", "staging"),)),
            environment(
                "production",
                (service("accounts"), service("payment-service", canary_version="v2.15.0", canary_ready=1, canary_weight=25)),
                reachable=False,
                age_seconds=125.0,
                problem="no answer within 3 s",
            ),
        )
    )


def bad_night() -> Picture:
    """A rollout that nobody watches, one that was rolled back, an environment that does not answer."""
    views = (
        environment("dev", (service("accounts", "dev"),), reachable=False, age_seconds=125.0, problem="connection refused"),
        environment("production", (service("payment-service", canary_version="v2.15.0", canary_ready=1, canary_weight=25),)),
    )
    back = rollout("r-0", service="checkout", phase=Phase.ROLLED_BACK, reason=FIRED, rollback_started=900.0, finished=902.0)
    return picture(fleet=FleetView(environments=views), rollouts=(card(back), card(rollout(), watched=False)))


def rolling_back() -> RolloutCard:
    return card(
        rollout(
            phase=Phase.ROLLING_BACK,
            reason=FIRED,
            triggers=READINGS,
            rollback_started=1000.0,
            next="restores v2.14.1",
            next_at=None,
        )
    )


def caught() -> RolloutCard:
    """Rolled back because the judge found a regression."""
    found = regressed()
    reason = Reason(kind="trigger", name="judge", value=100.0, limit=100.0, detail=found.detail)
    return card(rollout(phase=Phase.ROLLED_BACK, reason=reason, judgement=found, rollback_started=1000.0, finished=1002.0))


def unserved() -> RolloutCard:
    """No request has reached the new version for more than a minute."""
    return card(rollout(judgement=judgement(verdict="no_data", quiet=70.0)))


def unread() -> RolloutCard:
    """Neither version could be read for more than five minutes; the figures of before are too old to count."""
    fresh = Freshness(
        data_at=690.0, missing=("canary", "stable"), since=690.0, why="payment-service-7d9f-abcde: no answer, and 3 more"
    )
    nothing = Sample(at=1000.0, canary=Arm(pods=1, ready=1), stable=Arm(pods=3, ready=3))
    found = rollout(judgement=judgement(verdict="no_data", quiet=300.0, health=100.0, at=690.0), freshness=fresh)
    return card(msgspec.structs.replace(found, samples=(*found.samples, nothing)))


def _calls(app: TestConsole) -> None:
    at = NOW.timestamp()
    watch = "kubectl get pods --watch -n production --context production"
    app.session.calls = (
        Call(number=1, at=at - 9, context="production", command=watch, status=200, seconds=0.004),
        Call(
            number=2,
            at=at - 6,
            context="dev",
            command="kubectl get deployments -n dev --context dev",
            status=None,
            seconds=3.0,
            problem="connection refused by https://127.0.0.1:6443",
            times=12,
        ),
        Call(number=3, at=at - 2, context="production", command=PATCH, status=200, seconds=0.0061, changes=True),
    )


def _results(app: TestConsole) -> None:
    for index, (title, text, severity) in enumerate(
        [
            ("pause", "paused; its triggers go on watching", "information"),
            ("Not started", "approval: 1 of 2 people approved. Nothing was started.", "error"),
            ("rollback", "payment-service in production: a driver rolls it back", "warning"),
        ]
    ):
        app.results.add(NOW.replace(second=index), title, text, severity)


def _logged(app: TestConsole) -> None:
    app.session.log = records()


async def _service(app: TestConsole, pilot: Any) -> None:
    app.open_service("production", "payment-service")
    await pilot.pause()


async def _event(app: TestConsole, pilot: Any) -> None:
    await _service(app, pilot)
    app.screen.set_focus(app.screen.query_one("#events"))
    await pilot.press("enter")


async def _evidence(app: TestConsole, pilot: Any) -> None:
    app.open_rollout("r-1")
    await pilot.pause()
    await pilot.press("v")


async def _service_gone(app: TestConsole, pilot: Any) -> None:
    app.open_service("production", "wishlist")
    await pilot.pause()


def _silent(app: TestConsole) -> None:
    """What a service stands on can't be asked."""
    app.session.mute = Unavailable("10.0.0.1 did not answer in time", "GET deployment/payment-service was not sent.")


def _sandboxed(app: TestConsole) -> None:
    app.session.sandboxed = True


async def _tour(app: TestConsole, pilot: Any) -> None:
    app.begin_tour()
    await pilot.pause()


async def _no_story(app: TestConsole, pilot: Any) -> None:
    app.push_screen(StoryScreen("payment-service-of-long-ago"))
    await pilot.pause(0.05)


async def _logs(app: TestConsole, pilot: Any) -> None:
    app.open_logs(LogsOf("production", "payment-service"))
    await pilot.pause()


async def _deploy(app: TestConsole, pilot: Any) -> None:
    app.open_deploy(Selection("production", "payment-service"))
    await pilot.pause()
    for name, value in (("environment", "production"), ("version", "v2.15.0"), ("strategy", "canary"), ("ticket", "CHG-4821")):
        app.screen._field(name).set_value(value)
    await pilot.pause()
    app.screen.set_focus(None)


async def _deploy_empty(app: TestConsole, pilot: Any) -> None:
    app.open_deploy(Selection())


def _theirs() -> Picture:
    since = datetime(2026, 1, 1, 0, 5, 6, tzinfo=UTC)
    driver = Driver(operator="sam", host="desk", home="cafe42beef", token="t", since=since)
    return picture(rollouts=(card(rollout(driver=driver), own=False, driver="sam@desk", lease_age=2.0),))


async def _restore(app: TestConsole, pilot: Any) -> None:
    lines = ("image v2.15.0 back to v2.14.1", "route: 25 % to canary becomes 0 %")
    preview = await app.session.preview("production", "payment-service")
    app.push_screen(RestoreScreen(app.clock, replace(preview, lines=lines)))
    await pilot.pause()


async def _leaving(app: TestConsole, pilot: Any) -> None:
    app.push_screen(LeavingScreen([each for each in app.picture.rollouts if each.live], {"r-1": 4711}))


async def _told(app: TestConsole, pilot: Any) -> None:
    toast(app.screen, "approval: 1 of 2 people approved. Nothing was started.", title="Not started", severity="error")


def _story() -> Picture:
    return picture(entries=told_entries(), rollouts=())


def _sinks(*sinks: SinkStatus) -> Shipping:
    at = NOW.timestamp()
    said = ShippingStatus(journal="j", pid=4711, started=at - 600, updated=at)
    return Shipping(running=True, status=said, sinks=sinks)


def _shipping() -> Picture:
    at = NOW.timestamp()
    well = SinkStatus(
        name="audit",
        kind="elasticsearch",
        assurance="durable",
        required=True,
        acked_seq=12_345,
        confirmed_seq=12_345,
        delivery_seconds=0.8,
        delivered=412,
        last_ok=at - 2,
    )
    open_ = msgspec.structs.replace(
        well, name="datadog", kind="datadog", assurance="accepted", required=False, confirmed_seq=12_301, unconfirmed=44
    )
    return dataclasses.replace(picture(), shipping=_sinks(well, open_))


def _late() -> Picture:
    at = NOW.timestamp()
    held = SinkStatus(
        name="siem",
        kind="splunk",
        assurance="accepted",
        required=True,
        state=SinkState.HELD,
        lag_seconds=3_725.0,
        backlog=1_204,
        oldest=at - 3_725,
        acked_seq=11_141,
        confirmed_seq=11_000,
        unconfirmed=141,
        retries=31,
        dead_letters=2,
        last_ok=at - 3_730,
        error="403 invalid token: the token named by env:HEC_TOKEN is refused",
        error_since=at - 3_725,
    )
    return dataclasses.replace(picture(), shipping=_sinks(held))


def _damaged(app: TestConsole) -> None:
    problem = Problem(kind="hash", segment="000000000001.jsonl", seq=17, detail="the line does not have the hash that it says")
    found = dataclasses.replace(CHECKED, ok=False, problems=(problem,))
    app.session.checked = Verified(NOW, found)


def _empty() -> Picture:
    return picture(fleet=FleetView(environments=(environment("production"),)), rollouts=(), entries=())


def _stale() -> Picture:
    return picture(fleet=lost())


SCENES: dict[str, Scene] = {
    "fleet": Scene(),
    "fleet connecting": Scene(Picture),
    "fleet empty": Scene(_empty),
    "fleet stale": Scene(_stale),
    "fleet on a bad night": Scene(bad_night),
    "fleet filtered": Scene(lambda: picture(rollouts=()), pressed("slash", *"pay /(")),
    "service": Scene(go=_service),
    "service empty": Scene(go=_service_gone),
    "service unknown": Scene(go=_service, prepare=_silent),
    "service stale": Scene(_stale, _service),
    "event": Scene(go=_event),
    "tour": Scene(lambda: picture(rollouts=()), _tour, _sandboxed),
    "logs": Scene(go=_logs, prepare=_logged),
    "logs empty": Scene(go=_logs),
    "logs stale": Scene(_stale, _logs, _logged),
    "deploy": Scene(go=_deploy),
    "deploy empty": Scene(go=_deploy_empty),
    "rollout": Scene(go=pressed("enter")),
    "rollout rolling back": Scene(lambda: picture(rollouts=(rolling_back(),)), pressed("enter")),
    "rollout evidence": Scene(go=pressed("enter", "v")),
    "rollout caught": Scene(lambda: picture(rollouts=(caught(),)), _evidence),
    "rollout unserved": Scene(lambda: picture(rollouts=(unserved(),)), _evidence),
    "rollout unread": Scene(lambda: picture(rollouts=(unread(),)), _evidence),
    "rollout stale": Scene(_stale, pressed("enter")),
    "journal": Scene(go=pressed("J")),
    "journal empty": Scene(_empty, pressed("J")),
    "journal broken": Scene(lambda: picture(journal_ok=False, journal_detail="disk full"), pressed("J")),
    "journal filtering": Scene(go=pressed("J", "a", "slash", *"user:")),
    "health": Scene(_shipping, pressed("J", "h")),
    "health without sinks": Scene(go=pressed("J", "h")),
    "health bad": Scene(_late, pressed("J", "h"), _damaged),
    "entry": Scene(_story, pressed("J", "k", "k", "k", "k", "enter")),
    "story": Scene(_story, pressed("J", "t")),
    "story empty": Scene(_empty, _no_story),
    "calls": Scene(go=pressed("at"), prepare=_calls),
    "calls empty": Scene(go=pressed("at")),
    "results": Scene(go=pressed("ctrl+l", "j"), prepare=_results),
    "results empty": Scene(go=pressed("ctrl+l")),
    "help": Scene(go=pressed("enter", "question_mark")),
    "restore": Scene(go=_restore),
    "questions": Scene(_theirs, pressed("T")),
    "questions promote": Scene(go=pressed("P")),
    "leaving": Scene(go=_leaving),
    "jump": Scene(go=pressed("f", *"pas")),
    "prompt": Scene(go=pressed("colon", "r", "o")),
    "told": Scene(go=_told),
}
"""A name begins with the screen's; what follows says in which state."""

__all__ = ["SCENES", "Scene", "bad_night", "rolling_back"]

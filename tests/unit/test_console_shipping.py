"""What the screen says of shipping: how long entries take, and an alarm where one is late, held or stopped."""

from typing import Any

import pytest
from support.consoles import picture

from console.attention import ALARMS, Kind, concerns
from console.screens.status import status_parts
from services.audit.shipping.status import Shipping, SinkState, SinkStatus
from widgets.ink import Tone


def sink(**changes: Any) -> SinkStatus:
    known: dict[str, Any] = {"name": "central", "kind": "elasticsearch", "assurance": "durable", "required": True}
    return SinkStatus(**(known | {"delivery_seconds": 1.2} | changes))


def told(*sinks: SinkStatus) -> tuple[str, Tone, list[str]]:
    """The part of the status line about shipping with its tone, and the concerns."""
    made = picture(shipping=Shipping(running=True, sinks=sinks))
    _, right = status_parts(made, "fleet")
    (part,) = [part for part in right if part.text.startswith("ship ")]
    return part.text, part.tone, [concern.words for concern in concerns(made) if concern.kind is Kind.SHIPPING]


def test_without_sinks_nothing_is_said() -> None:
    for shipping in (None, Shipping()):
        _, right = status_parts(picture(shipping=shipping), "fleet")
        assert not [part for part in right if part.text.startswith("ship")]


@pytest.mark.parametrize(
    ("given", "text", "tone", "concern"),
    [
        (sink(), "ship 0.0s", Tone.MUTED, ""),
        # The last one took that long, and nothing waits: no lag, and no reason to look.
        (sink(delivery_seconds=48.5), "ship 0.0s", Tone.MUTED, ""),
        (sink(lag_seconds=0.4, backlog=3), "ship 0.4s", Tone.MUTED, ""),
        # The last one lay through an outage that is over: nothing waits.
        (sink(delivery_seconds=86400.0), "ship 0.0s", Tone.MUTED, ""),
        (sink(lag_seconds=42.0, backlog=3, state=SinkState.RETRYING, error="reset"), "ship 42.0s", Tone.WARN, ""),
        (
            sink(lag_seconds=125.0, backlog=30, state=SinkState.RETRYING, error="es:9200 can't be reached"),
            "ship 2m",
            Tone.BAD,
            "central is 2m behind, 30 entries wait: es:9200 can't be reached",
        ),
        (
            sink(lag_seconds=3.0, backlog=2, state=SinkState.HELD, error="401"),
            "ship 3.0s",
            Tone.BAD,
            "central takes nothing, 2 entries wait: 401",
        ),
        (
            sink(state=SinkState.STOPPED, error="The cursor of central can't be used."),
            "ship 0.0s",
            Tone.BAD,
            "central is stopped: The cursor of central can't be used.",
        ),
    ],
)
def test_the_lag_of_the_slowest_sink_and_what_is_wrong(given: SinkStatus, text: str, tone: Tone, concern: str) -> None:
    found, found_tone, words = told(sink(name="good", delivery_seconds=0.1), given)
    assert (found, found_tone) == (text, tone)
    assert words == ([concern] if concern else [])


def test_a_breach_is_an_alarm_and_the_worst_sink_is_named() -> None:
    assert Kind.SHIPPING in ALARMS
    late = sink(name="late", lag_seconds=500.0, backlog=1)
    stopped = sink(name="gone", state=SinkState.STOPPED, error="x")
    _, _, words = told(late, stopped)
    assert words == ["gone is stopped: x"]

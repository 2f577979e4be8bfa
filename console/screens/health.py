"""How well the journal is: whether its chain holds, up to where it is signed, and how it goes with each sink."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from console.screens.base import ConsoleScreen, bindings_of
from console.screens.pane import Pane
from console.verifying import Verified
from console.view import Picture
from widgets import glyphs
from widgets.format import age, seconds
from widgets.grid import Column, Grid, Row
from widgets.ink import Tone
from widgets.record import Field, Record

if TYPE_CHECKING:
    from services.audit.shipping.status import SinkStatus

SLOW_SECONDS = 30.0
"""Wall seconds behind at which a sink is on its way to being late."""
MOST_PROBLEMS = 20
_COLUMNS = (
    Column("sink", "SINK", 10, flex=1),
    Column("kind", "KIND", 9, priority=5),
    Column("state", "STATE", 11),
    Column("lag", "LAG", 7, align="right"),
    Column("backlog", "BACKLOG", 8, align="right"),
    Column("confirmed", "CONFIRMED", 9, align="right", priority=2),
    Column("unconfirmed", "OPEN", 6, align="right", priority=3),
    Column("dead", "DEAD", 5, align="right"),
    Column("assurance", "ASSURANCE", 9, priority=4),
    Column("error", "LAST ERROR", 12, flex=3, priority=1),
)
_ASSURED = {
    "durable": "a yes means that it is on the other side's disks",
    "accepted": "a yes means that it was taken; it is read back, where the sink can be asked",
    "none": "there is no answer at all: what was sent last may be lost",
    "": "not known before a shipper has spoken of it",
}


class HealthScreen(ConsoleScreen):
    """Kept and shown again, with what the last check came to."""

    BINDINGS = bindings_of("health")
    where = "health"

    DEFAULT_CSS = """
    HealthScreen #body { height: 1fr; }
    HealthScreen #chain-pane { height: auto; max-height: 40%; }
    HealthScreen #chain { padding: 0 1; height: auto; max-height: 12; scrollbar-size-vertical: 1; }
    HealthScreen #sinks-pane { height: 1fr; min-height: 4; border-top: solid $rule; }
    HealthScreen #sink-pane { height: 1fr; border-top: solid $rule; }
    HealthScreen #sink { padding: 0 1; scrollbar-size-vertical: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._verified: Verified | None = None
        self._checking = False

    def body(self) -> ComposeResult:
        with Pane("CHAIN", id="chain-pane"), VerticalScroll(id="chain", can_focus=False):
            yield Record(id="chain-fields")
        with Pane("SINKS", id="sinks-pane"):
            yield Grid(_COLUMNS, empty="no sink is configured (journal.sinks): entries are on this machine only", id="sinks")
        with Pane("SINK", id="sink-pane"), VerticalScroll(id="sink"):
            yield Record(id="sink-fields")

    def on_screen_resume(self) -> None:
        if self._verified is None:
            self.do_verify()

    def focus_body(self) -> None:
        self.set_focus(self.query_one("#sinks", Grid))

    def title_text(self) -> str:
        return "journal health"

    def draw(self, picture: Picture) -> None:
        self.query_one("#chain-fields", Record).show(*_chain_fields(picture, self._verified, self._checking))
        sinks = {sink.name: sink for sink in picture.shipping.sinks} if picture.shipping else {}
        grid = self.query_one("#sinks", Grid)
        grid.apply(_sink_row(sink) for sink in sinks.values())
        self.query_one("#sinks-pane", Pane).tell(*_shipper_words(picture))
        chosen = sinks.get(grid.selected or "")
        self.query_one("#sink-fields", Record).show(*(_sink_fields(chosen, picture.now) if chosen is not None else ()))

    @on(Grid.RowHighlighted, "#sinks")
    def show_sink(self) -> None:
        self.show(self.console.picture)

    def do_verify(self) -> None:
        if not self._checking:
            self._check()

    @work(group="the journal", exit_on_error=False)
    async def _check(self) -> None:
        self._checking = True
        self.show(self.console.picture)
        try:
            self._verified = await self.console.session.verified()
        finally:
            self._checking = False
        self.show(self.console.picture)


def _chain_fields(picture: Picture, verified: Verified | None, checking: bool) -> Iterator[Field]:
    told = picture.journal_detail
    if picture.journal_ok:
        yield Field(
            "written", f"{glyphs.current().ok} takes entries{f': {told}' if told else ''}", Tone.WARN if told else Tone.GOOD
        )
    else:
        yield Field("written", f"{glyphs.current().bad} nothing begins: {told}", Tone.ALARM)
    if picture.entries:
        newest = picture.entries[-1]
        yield Field("newest", f"#{newest['seq']}, {age(_since(picture.now, str(newest.get('timestamp', ''))))} ago")
    now = f"checking {glyphs.current().ellipsis}"
    if verified is None:
        yield Field("chain", now if checking else "not checked yet: e checks it", Tone.MUTED)
        return
    old = f"{age((picture.now - verified.at).total_seconds())} ago" if picture.now is not None else ""
    again = f"; {now}" if checking else ""
    if (found := verified.found) is None:
        yield Field("chain", f"{glyphs.current().unknown} {verified.failure} ({old}{again})", Tone.WARN)
        return
    sign, tone = (glyphs.current().ok, Tone.GOOD) if found.ok else (glyphs.current().bad, Tone.ALARM)
    what = "holds" if found.ok else f"DOES NOT HOLD: {_counted(len(found.problems), 'problem')}"
    read = f"{_counted(found.entries, 'entry', 'entries')} in {_counted(found.segments, 'segment')}"
    yield Field("chain", f"{sign} {what}; {read}, checked {old}{again}", tone)
    for problem in found.problems[:MOST_PROBLEMS]:
        where = f"{problem.segment or ''}{f' #{problem.seq}' if problem.seq is not None else ''}".strip()
        yield Field(problem.kind, f"{where}: {problem.detail}" if where else problem.detail, Tone.BAD)
    if (more := len(found.problems) - MOST_PROBLEMS) > 0:
        yield Field("", f"and {more} more: quarterdeck journal verify tells them all", Tone.BAD)
    if found.signed is None:
        yield Field("signed", "not at all: whoever can write there can write it anew unseen", Tone.WARN)
    else:
        behind = (found.last or 0) - found.signed
        later = f"; {behind} entries since could be cut off unseen here" if behind > 0 else ""
        yield Field("signed", f"up to #{found.signed} at {found.signed_at[:19]}Z{later}")
        yield Field("key", found.key)


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _since(now: datetime | None, stamp: str) -> float | None:
    try:
        return (now - datetime.fromisoformat(stamp)).total_seconds() if now is not None else None
    except (ValueError, TypeError):
        return None


def _shipper_words(picture: Picture) -> Iterator[tuple[str, Tone]]:
    shipping = picture.shipping
    if shipping is None or not shipping.sinks:
        return
    if shipping.silence:
        yield f"  {shipping.silence}", Tone.BAD
    elif shipping.running:
        pid = f" (process {shipping.status.pid})" if shipping.status else ""
        yield f"  shipped by a process of this home{pid}", Tone.MUTED
    else:
        yield "  no shipper runs: the next entry starts one", Tone.WARN if shipping.waiting else Tone.MUTED
    if shipping.running and shipping.status and shipping.status.note:
        yield f"  {shipping.status.note}", Tone.WARN
    if not any(sink.assurance == "durable" for sink in shipping.sinks):
        yield "  not assured: no sink says that an entry is on its disks", Tone.WARN


def _sink_row(sink: SinkStatus) -> Row:
    trouble = sink.error or sink.last_error
    return Row(
        sink.name,
        (
            (sink.name, Tone.STRONG),
            (sink.kind, Tone.MUTED),
            _state(sink),
            (seconds(sink.lag_seconds), _lag_tone(sink)),
            (str(sink.backlog), Tone.WARN if sink.backlog else Tone.MUTED),
            (f"#{sink.confirmed_seq}", Tone.TEXT),
            (str(sink.unconfirmed), Tone.MUTED),
            (str(sink.dead_letters), Tone.BAD if sink.dead_letters else Tone.MUTED),
            (sink.assurance or glyphs.current().unknown, Tone.MUTED),
            (trouble or "none", Tone.BAD if sink.error else Tone.MUTED),
        ),
    )


def _state(sink: SinkStatus) -> tuple[str, Tone]:
    signs = glyphs.current()
    if sink.state in ("held", "stopped"):
        return f"{signs.bad} {sink.state}", Tone.BAD
    if sink.late or sink.state == "retrying":
        return f"{signs.warning} {'late' if sink.late else sink.state}", Tone.BAD if sink.late else Tone.WARN
    return f"{signs.ok} {sink.state}", Tone.GOOD


def _lag_tone(sink: SinkStatus) -> Tone:
    return Tone.BAD if sink.late else Tone.WARN if sink.lag_seconds > SLOW_SECONDS else Tone.TEXT


def _sink_fields(sink: SinkStatus, now: datetime | None) -> Iterator[Field]:
    def ago(at: float | None) -> str:
        return "never" if at is None else f"{age(now.timestamp() - at)} ago" if now is not None else ""

    word, tone = _state(sink)
    yield Field("sink", f"{sink.name}, {sink.kind}{', required' if sink.required else ', not required'}", Tone.STRONG)
    yield Field("state", word, tone)
    if sink.error:
        yield Field("in the way", f"{sink.error} (since {ago(sink.error_since)})", Tone.BAD)
    waits = (
        f"{_counted(sink.backlog, 'entry', 'entries')}, the oldest for {seconds(sink.lag_seconds)}" if sink.backlog else "nothing"
    )
    yield Field("waits", waits, _lag_tone(sink))
    yield Field("taken", f"up to #{sink.acked_seq}; last {ago(sink.last_ok)}")
    opened = f"; {sink.unconfirmed} that were taken may still be lost there" if sink.unconfirmed else ""
    yield Field("confirmed", f"up to #{sink.confirmed_seq}{opened}")
    yield Field("assurance", f"{sink.assurance or 'unknown'}: {_ASSURED.get(sink.assurance, sink.assurance)}")
    if sink.delivery_seconds is not None:
        yield Field("delivery", f"{seconds(sink.delivery_seconds)} from the journal to the receipt, for the last one")
    yield Field("counts", f"{sink.delivered} delivered, {sink.duplicates} it had already, {sink.retries} retries")
    if sink.dead_letters:
        yield Field(
            "dead letters", f"{sink.dead_letters} refused as they are: quarterdeck journal dlq list {sink.name}", Tone.BAD
        )
    if sink.last_error and not sink.error:
        yield Field("last error", f"{sink.last_error} ({ago(sink.last_error_at)})", Tone.MUTED)

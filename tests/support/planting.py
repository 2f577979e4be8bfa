"""Plants every secret in every encoding wherever text goes, and collects what came out there."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from console import exports, logs, output
from console.cli import main
from console.pages import JournalPages
from console.remembered import Remembered, write
from console.screens.entry import EntryScreen
from console.screens.journal import JournalScreen
from console.unfinished import draft_of, keep
from services.audit import Journal, reading
from services.audit.shipping.tail import Bounds, Tail
from services.audit.sinks.elasticsearch import ElasticsearchSink
from services.model.errors import NeedsAttention, QuarterdeckError, Rejected
from services.model.release import DeployRequest
from services.redaction import Redactor
from services.redaction.lines import LineRedactor
from services.settings.sinks import Elasticsearch
from support.clock import ManualClock
from support.consoles import TestConsole, until, words_on
from support.elastic import elastic
from support.planted import events, planted
from widgets.logpane import Record
from widgets.toast import toast


class Wrong(Exception):
    """What somebody else's library raises."""


async def plant(home: Path, secrets: Sequence[str], *, known: bool = True, screens: int = 5) -> dict[str, str]:
    """What was written, by place. ``known``: they are registered; else told by their shapes only. ``screens``: entries that
    are looked at on the screen, each as fields and as it is stored."""
    redactor = Redactor(b"k" * 32)
    for secret in secrets if known else ():
        redactor.register(secret)
    texts = [text for _, name, text in planted(secrets) if known or name == "raw"]
    found = {"journal": await _journal(home, redactor, texts)}
    found["log file"] = _log(home, redactor, texts)
    found["standard output and error"] = _commands(home, redactor, texts)
    found["operator's state"] = _state(home, redactor, texts)
    found["exported log"] = _exported_log(home, redactor, texts)
    found["exported entries"] = _exported_entries(home, redactor)
    found["store of a sink"] = await _shipped(home)
    found["screen"] = await _screens(home, redactor, texts, screens)
    found["all files of the home"] = _all(home)
    return found


async def _journal(home: Path, redactor: Redactor, texts: Sequence[str]) -> str:
    journal = Journal.open(home / "journal", redactor=redactor, clock=ManualClock())
    try:
        for text in texts:
            for event in events(text):
                await journal.append(event)
    finally:
        journal.close()
    return _all(home / "journal")


def _all(directory: Path) -> str:
    return "\n".join(_content(path) for path in directory.rglob("*") if path.is_file())


def _content(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def _log(home: Path, redactor: Redactor, texts: Sequence[str]) -> str:
    before = logging.raiseExceptions
    path = logs.set_up(home, redactor)
    log = logging.getLogger("planted")
    try:
        for text in texts:
            log.warning("the cluster said %s", text)
            log.error("a call: %r", {"headers": {"X-Key": text}, "url": f"https://jane:{text}@x.example"})
            try:
                _fail(text)
            except Wrong:
                log.exception("failed with %s", text)
        logs.report_crash(None, Wrong(texts[0]))
    finally:
        logs.tear_down()
        logging.raiseExceptions = before
    return "\n".join(_content(each) for each in path.parent.iterdir())


def _fail(text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError as error:
        raise Wrong({"said": text, "args": ["--password", text]}) from error


def _errors(text: str) -> Iterator[QuarterdeckError]:
    yield Rejected("version", text, f"is not {text}", f"anything but {text}")
    yield NeedsAttention(f"could not {text}", f"kubectl said: {text}", f"run `x --token {text}`")


def _commands(home: Path, redactor: Redactor, texts: Sequence[str]) -> str:
    with _printed() as printed:
        output.redact_with(redactor)
        for text in texts:
            for error in _errors(text):
                output.problem(error)
                output.document(output.rejected(error))
            output.document({"steps": [{"command": f"kubectl --token={text}", text: text}]})
            output.table(("A", "B"), [("x", text)])
        for words in (["list"], ["list", "-o", "json"], ["show", "5"], ["show", "5", "-o", "json"]):
            main(["--home", str(home), "journal", *words])
    return printed()


@contextlib.contextmanager
def _printed() -> Iterator[Callable[[], str]]:
    out, err = io.StringIO(), io.StringIO()
    before = output._redactor
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield lambda: out.getvalue() + err.getvalue()
    finally:
        output._redactor = before


def _state(home: Path, redactor: Redactor, texts: Sequence[str]) -> str:
    clock = ManualClock()
    for text in texts[:40]:
        request = DeployRequest(service="search", version=text[:150], environment="production", ticket=text[:150])
        if (draft := draft_of(request, clock.now(), redactor.text)) is not None:
            keep(home, draft)
    app = TestConsole()
    app.session.redacted = redactor.text  # type: ignore[method-assign]
    write(home, app._clean(Remembered(commands=tuple(f"rollback {text}" for text in texts[:200]))))
    return _content(home / "state.json")


def _exported_log(home: Path, redactor: Redactor, texts: Sequence[str]) -> str:
    clean = LineRedactor(redactor)
    records = [Record(clean.line(f"level=info msg={text}"), "pod-1") for text in texts]
    return _content(exports.write_log(home, "payment-service", records, ManualClock().now()))


def _exported_entries(home: Path, redactor: Redactor) -> str:
    with _printed() as printed:
        output.redact_with(redactor)
        for form in ("jsonl", "csv"):
            main(["--home", str(home), "journal", "export", "--format", form, "--to", str(home / f"out.{form}")])
            main(["--home", str(home), "journal", "export", "--format", form])
    return "\n".join((printed(), _content(home / "out.jsonl"), _content(home / "out.csv")))


async def _shipped(home: Path) -> str:
    """What a log store holds once everything was sent to it."""
    section = Elasticsearch.model_validate({"kind": "elasticsearch", "url": "http://127.0.0.1", "timeout": 5})
    async with elastic() as server:
        sink = ElasticsearchSink(section.model_copy(update={"url": server.url}), secrets=Redactor(), clock=ManualClock())
        bounds = Bounds(home / "journal")
        bounds.look()
        tail = Tail(bounds, _content(home / "journal" / "journal.id").strip())
        while batch := tail.read(500, 1 << 20):
            await sink.send(batch)
        await sink.close()
        return msgspec.json.encode(server.sources).decode()


async def _screens(home: Path, redactor: Redactor, texts: Sequence[str], count: int) -> str:
    entries = reading.entries(home / "journal")
    app = TestConsole()
    app.session.pages = JournalPages(home / "journal")
    app.session.redacted = redactor.text  # type: ignore[method-assign]
    seen: list[str] = []
    async with app.run_test(size=(200, 60), notifications=True) as pilot:
        await pilot.press("J", "a", "g")
        await until(pilot, lambda: isinstance(app.screen, JournalScreen))
        for entry in entries[1 :: max(1, len(entries) // count)]:
            for stored in (False, True):
                app.push_screen(EntryScreen(entry, stored))
                await pilot.pause()
                seen.append(words_on(app))
                app.pop_screen()
        await pilot.pause()
        seen.append(words_on(app))
        for text in texts[:: max(1, len(texts) // count)]:
            for error in _errors(text):
                toast(app.screen, str(error), title=text, severity="error")
        await pilot.press("L")
        await pilot.pause()
        seen.append(words_on(app))
        seen += [f"{result.title} {result.text}" for result in app.results.results]
    return "\n".join(seen)

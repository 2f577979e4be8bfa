"""The log of one container, followed: no line lost or doubled over a broken connection, none longer than a screen can use.

Source of the protocol: Kubernetes API, ``GET /api/v1/namespaces/{namespace}/pods/{name}/log`` (PodLogOptions). Every line is
asked for with its time stamp, because a log is taken up again by time only, and ``sinceTime`` counts whole seconds.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec

from services.clock import Clock
from services.cluster.connection import Connection
from services.cluster.objects import ContainerStatus, Pod
from services.model.errors import Forbidden, Invalid, NotFound, QuarterdeckError
from services.model.objects import ObjectRef

LONGEST = 16 * 1024
"""Bytes of one line that are kept."""
TAIL = 1000
"""Lines of the past that are asked for where no time is."""
MOST_TAIL = 10_000
"""Lines of the past at most, whatever time is asked for."""
QUIET_SECONDS = 300.0
"""Wall seconds without a byte after which the log is asked for anew: a connection may have died silently."""

NO_LOG = "no log: "

_IN_THREAD = 8 * 1024
"""A chunk above it is taken apart beside the event loop."""
_MOST_SEEN = 100_000
_RETRY_FIRST, _RETRY_MOST = 0.5, 10.0
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_COLOURS = re.compile(r"\x1b\[[0-9;:]*[mK]")
"""Colours (SGR) and their erasing: programs that don't know that nobody's terminal reads them."""
_NONE_BEFORE = re.compile(r'previous terminated container "[^"]*" in pod "[^"]*" not found')
"""What a node answers where it has no log of before a restart (kubelet, ``validateContainerLogStatus``)."""


class Source(msgspec.Struct, frozen=True):
    """Whose log. ``uid`` tells a pod from its successor of the same name."""

    namespace: str
    pod: str
    container: str
    uid: str = ""


class Span(msgspec.Struct, frozen=True):
    """What of it: the log before the container's last restart (``previous``), or this one, from ``since`` seconds ago on
    (``None``: its last lines)."""

    previous: bool = False
    since: int | None = None


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """One line. ``at``: Unix seconds as its node stamped it, ``None`` where it did not. ``cut``: its end is missing. ``told``:
    not the container's words but ours about its log."""

    text: str
    at: float | None = None
    cut: bool = False
    told: bool = False
    key: int = 0
    """Of stamp and text as they came: the same line has the same."""


class Splitter:
    """Cuts a byte stream into lines, however it arrives: of each line its first bytes, and whether there were more. A line that
    never ends is handed on once it is too long."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._rest = b""
        self._skipping = False
        """The line under way was handed on already."""

    def feed(self, chunk: bytes) -> list[tuple[bytes, bool]]:
        """The lines that ``chunk`` completes, or makes too long."""
        *whole, last = chunk.split(b"\n")
        found: list[tuple[bytes, bool]] = []
        for part in whole:
            if self._skipping:
                self._skipping = False
                continue
            found.append(self._line(self._rest + part[: self._longest + 1]))
            self._rest = b""
        if not self._skipping:
            self._rest += last[: self._longest + 1 - len(self._rest)]
            if len(self._rest) > self._longest:
                found.append(self._line(self._rest))
                self._rest, self._skipping = b"", True
        return found

    def end(self) -> list[tuple[bytes, bool]]:
        """The last line, where the stream ended within it."""
        rest, self._rest, self._skipping = self._rest, b"", False
        return [self._line(rest)] if rest else []

    def _line(self, line: bytes) -> tuple[bytes, bool]:
        return line[: self._longest], len(line) > self._longest


def parsed(lines: Iterable[tuple[bytes, bool]], clean: Callable[[str], str]) -> list[LogLine]:
    """Lines with their stamps apart; ``clean`` takes out what must not be shown."""
    found = []
    for line, cut in lines:
        at: float | None = None
        text = line
        if _STAMP.match(line):
            stamp, _, rest = line.partition(b" ")
            try:
                at, text = datetime.fromisoformat(stamp.decode("ascii")).timestamp(), rest
            except ValueError:
                at = None
        words = text.removesuffix(b"\r").decode("utf-8", "replace")
        if "\x1b[" in words:
            words = _COLOURS.sub("", words)
        found.append(LogLine(clean(words), at, cut, key=hash(line)))
    return found


class Resume:
    """Where to take a log up again. A server counts from whole seconds: of the last one, what came already is remembered."""

    def __init__(self) -> None:
        self.second: int | None = None
        self._seen: Counter[int] = Counter()
        self._last = 0.0
        self._again: Counter[int] | None = None

    def params(self) -> dict[str, str]:
        """What to ask for so that nothing is missed; what comes twice is then dropped by :meth:`new`."""
        if self.second is None:
            return {}
        self._again = Counter(self._seen)
        return {"sinceTime": datetime.fromtimestamp(self.second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}

    def new(self, lines: list[LogLine]) -> list[LogLine]:
        """Those of ``lines`` that have not come before."""
        if self._again is not None:
            lines = [line for line in lines if not self._is_old(line)]
        for line in lines:
            if line.at is None:
                continue
            second = int(line.at)
            if self.second is None or second > self.second:
                self.second, self._again = second, None
                self._seen.clear()
            if second == self.second and self._seen.total() < _MOST_SEEN:
                self._seen[line.key] += 1
            self._last = max(self._last, line.at)
        return lines

    def _is_old(self, line: LogLine) -> bool:
        if line.at is None or self.second is None or self._again is None or int(line.at) > self.second:
            return False
        if self._again[line.key] > 0:
            self._again[line.key] -= 1
            return True
        # more in one second than is worth remembering: the stamps decide
        return self._seen.total() >= _MOST_SEEN and line.at <= self._last


async def follow(
    connection: Connection, source: Source, span: Span, clock: Clock, clean: Callable[[str], str]
) -> AsyncGenerator[list[LogLine]]:
    """Batches of lines as they come, taken up again after every break, until the container will not write any more. What happens
    to the log itself is told in lines of our own (``told``). Raises nothing of the cluster's."""
    resume = Resume()
    pause, said = _RETRY_FIRST, ""
    while True:
        begun = clock.monotonic()
        try:
            async with aclosing(_once(connection, source, span, resume, clean)) as batches:
                async for lines in batches:
                    if said.startswith(NO_LOG):
                        yield [_tell(source, "its log is here again" if resume.second is not None else "its log is here", clock)]
                        said = ""
                    if lines:
                        pause, said = _RETRY_FIRST, ""
                        yield lines
            words, again = ("", False) if span.previous else await _ending(connection, source)
        except Forbidden as error:
            words, again = error.title, False
        except Invalid as error:
            if span.previous and _NONE_BEFORE.search(error.title):
                yield [_tell(source, await _none_before(connection, source), clock)]
                return
            words, again = error.title, not span.previous  # "is waiting to start"
        except NotFound as error:
            words, again = await _missing(connection, source, error)
        except QuarterdeckError as error:
            quiet = clock.monotonic() - begun >= QUIET_SECONDS
            words, again = ("" if quiet else f"{NO_LOG}{error.title}"), True
        if not again:
            yield [_tell(source, f"ended: {words}" if words else "that is all of the log before its restart", clock)]
            return
        if words and words != said:
            said = words
            yield [_tell(source, f"{words}; asked again until there is one" if words.startswith(NO_LOG) else words, clock)]
        await clock.sleep(pause)
        pause = min(_RETRY_MOST, pause * 2)


async def _once(
    connection: Connection, source: Source, span: Span, resume: Resume, clean: Callable[[str], str]
) -> AsyncGenerator[list[LogLine]]:
    """The log until the server ends it; the first batch is empty: it has begun."""
    splitter = Splitter()
    async with aclosing(
        connection.log(source.namespace, source.pod, _params(source, span, resume), quiet_seconds=QUIET_SECONDS)
    ) as chunks:
        async for chunk in chunks:
            if len(chunk) > _IN_THREAD:
                lines = await asyncio.to_thread(_parsed_chunk, splitter, chunk, clean)
            else:
                lines = _parsed_chunk(splitter, chunk, clean)
            if lines or not chunk:
                yield resume.new(lines)
    if rest := resume.new(parsed(splitter.end(), clean)):
        yield rest


def _parsed_chunk(splitter: Splitter, chunk: bytes, clean: Callable[[str], str]) -> list[LogLine]:
    return parsed(splitter.feed(chunk), clean)


def _params(source: Source, span: Span, resume: Resume) -> dict[str, str]:
    params = {"container": source.container, "timestamps": "true"}
    if span.previous:
        return {**params, "previous": "true", "tailLines": str(MOST_TAIL)}
    params["follow"] = "true"
    if again := resume.params():
        return {**params, **again}
    if span.since is not None:
        return {**params, "sinceSeconds": str(span.since), "tailLines": str(MOST_TAIL)}
    return {**params, "tailLines": str(TAIL)}


async def _ending(connection: Connection, source: Source) -> tuple[str, bool]:
    """Why a log ended, and whether it will go on. Raises what the cluster refuses."""
    found = await connection.get(ObjectRef("Pod", source.namespace, source.pod))
    pod = msgspec.convert(found, Pod)
    if source.uid and pod.metadata.uid != source.uid:
        return "the pod is gone; another one has its name", False
    status = next((each for each in _statuses(pod) if each.name == source.container), None)
    over = pod.status.phase in ("Succeeded", "Failed") or pod.metadata.deletion_timestamp is not None
    if status is None or status.state.terminated is None:
        waits = status.state.waiting.reason if status is not None and status.state.waiting is not None else ""
        if over and waits == "" and pod.status.phase not in ("Succeeded", "Failed"):
            return "", True  # it is being deleted and still runs: its last words may be to come
        return (f"{source.container} waits: {waits}" if waits else ""), not over
    terminated = status.state.terminated
    why = f" ({terminated.reason})" if terminated.reason not in ("", "Error", "Completed") else ""
    deleted = "; the pod is being deleted" if pod.metadata.deletion_timestamp is not None else ""
    return f"{source.container} exited with {terminated.exit_code}{why}{deleted}", not over


async def _none_before(connection: Connection, source: Source) -> str:
    """Why there is no log of before a restart: there was none, or the node has it no more."""
    try:
        pod = msgspec.convert(await connection.get(ObjectRef("Pod", source.namespace, source.pod)), Pod)
    except QuarterdeckError as error:
        return f"has no log from before a restart; whether {source.container} has restarted is unknown: {error.title}"
    status = next((each for each in _statuses(pod) if each.name == source.container), None)
    if status is not None and status.restart_count == 0:
        return f"{source.container} has not restarted: there is no log from before"
    return f"the log of {source.container} before its restart is gone"


async def _missing(connection: Connection, source: Source, error: NotFound) -> tuple[str, bool]:
    """What a 404 means: the pod is gone, or the pod is there and its node is not."""
    try:
        found = await connection.get(ObjectRef("Pod", source.namespace, source.pod))
    except NotFound:
        return "the pod is gone", False
    except QuarterdeckError:
        return f"{NO_LOG}{error.title}", True
    if source.uid and msgspec.convert(found, Pod).metadata.uid != source.uid:
        return "the pod is gone; another one has its name", False
    return f"{NO_LOG}{error.title}", True


def _statuses(pod: Pod) -> tuple[ContainerStatus, ...]:
    return (*pod.status.init_container_statuses, *pod.status.container_statuses)


def _tell(source: Source, words: str, clock: Clock) -> LogLine:
    return LogLine(f"{source.pod} {words}", clock.unix(), told=True)

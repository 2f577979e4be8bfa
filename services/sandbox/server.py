"""The sandbox process: what listens where, and its life from start to end."""

import asyncio
import base64
import contextlib
import secrets
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from aiohttp import web

from services.clock import SystemClock
from services.model.errors import Unavailable
from services.sandbox import certificate, fleet, home
from services.sandbox.access import Tokens
from services.sandbox.alerts import Alerts
from services.sandbox.api import Api, answer
from services.sandbox.behaviour import Behaviours, Scenario, scenarios
from services.sandbox.cluster import EmbeddedCluster
from services.sandbox.errors import ApiError, bad_request
from services.sandbox.faults import Faults
from services.sandbox.logdocuments import Documents
from services.sandbox.logstore import LogStore
from services.sandbox.mirror import RealCluster
from services.sandbox.podweb import PodWeb
from services.sandbox.remote import Remote
from services.sandbox.tickets import Tickets
from services.sandbox.traffic import Traffic

LOOPBACK = "127.0.0.1"
READY_SECONDS = 120.0
"""Wall seconds within which the whole fleet has to be ready."""
LOG_BYTES = 16 << 20
"""Of one request to the log store."""
SHORTEST_DEADLINE = 20
"""Wall seconds: a progress deadline on a real cluster is never shorter."""


@dataclass(frozen=True, slots=True)
class Options:
    """``cluster`` is the kubeconfig of a real API server to use instead of the embedded one; ``seed`` that of everything that is
    drawn (without one, another each time)."""

    home: Path
    scenario: str = "good"
    speed: float = 1.0
    ready_file: Path | None = None
    cluster: Path | None = None
    seed: int | None = None


async def run(options: Options, started: Callable[[dict[str, object]], None] = lambda document: None) -> None:
    """Serve until SIGTERM or SIGINT; ``started`` gets the ready document. Raises HomeTaken where one runs already."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    with contextlib.closing(home.lock(options.home)):
        async with serve(options) as document:
            started(document)
            await stop.wait()


@contextlib.asynccontextmanager
async def serve(options: Options) -> AsyncIterator[dict[str, object]]:
    """The sandbox, ready to be used; yields the ready document. Raises Unavailable where the real cluster does not play along."""
    ready_paths = [path for path in (options.home / "ready.json", options.ready_file) if path is not None]
    for path in ready_paths:
        path.unlink(missing_ok=True)
    clock = SystemClock(options.speed, epoch := SystemClock().unix())
    tokens = Tokens(secrets.token_hex(20), secrets.token_hex(20))
    faults, behaviours = Faults(), Behaviours(_scenario(options.scenario))
    async with contextlib.AsyncExitStack() as stack:
        seed = options.seed if options.seed is not None else secrets.randbits(32)
        random = Random(seed)
        if options.cluster is None:
            embedded = EmbeddedCluster(clock, random, behaviours)
            cluster: EmbeddedCluster | RealCluster = embedded
        else:
            cluster = await _real_cluster(stack, options.cluster, behaviours, options.speed)
        traffic = Traffic(cluster.store, clock, random, behaviours, seed)
        pods = PodWeb(cluster.store, traffic, behaviours, faults, clock, random)
        api = None
        if isinstance(cluster, EmbeddedCluster):
            api = Api(cluster.registry, tokens, clock, faults, pods)
            kubeconfig = await _serve_api(stack, options.home, api, tokens)
            stack.callback(faults.cut_watches)
            cluster.seed()
            await _background(stack, cluster.schedule.run())
        else:
            assert options.cluster is not None
            kubeconfig = options.cluster
            await cluster.prepare(stack, options.home, clock, random)
            await cluster.reset(clock.now())
            await _background(stack, cluster.watch())
        control = Control(tokens, faults, behaviours, traffic, cluster, api, options.home / "config.yaml")
        logs = LogStore(await asyncio.to_thread(Documents, options.home / "logs.jsonl"))
        alerts = Alerts(clock, behaviours, traffic)
        url = await _serve_site(stack, tokens, clock, faults, pods, control, logs, alerts)
        await _until_ready(cluster, clock)
        if api is not None:
            api.compact()
        home.place(options.home / "token", tokens.admin, 0o600)
        settings = home.configuration(
            home=options.home,
            kubeconfig=kubeconfig,
            token_file=options.home / "token",
            web=url,
            speed=options.speed,
            epoch=epoch,
            through_proxy=options.cluster is None,
        )
        control.configure(settings)
        document = home.ready_document(
            options.home,
            kubeconfig,
            tickets=f"{url}/jira",
            alerts=f"{url}/alerts",
            prometheus=f"{url}/prometheus/metrics",
            log_store=f"{url}/logs",
        )
        home.place_ready(ready_paths, document)
        try:
            yield document
        finally:
            for path in ready_paths:
                path.unlink(missing_ok=True)


async def _real_cluster(stack: contextlib.AsyncExitStack, kubeconfig: Path, behaviours: Behaviours, speed: float) -> RealCluster:
    remotes = {}
    for namespace in fleet.NAMESPACES:
        remotes[namespace] = await Remote.open(kubeconfig, namespace)
        stack.push_async_callback(remotes[namespace].close)
    # Its controllers know no pace: the deadline is shortened as far as a slow start of real pods allows.
    return RealCluster(remotes, behaviours, max(SHORTEST_DEADLINE, round(fleet.PROGRESS_DEADLINE / speed)))


async def _serve_api(stack: contextlib.AsyncExitStack, directory: Path, api: Api, tokens: Tokens) -> Path:
    """Serve the embedded API; returns its kubeconfig."""
    authority, key = certificate.self_signed("Quarterdeck sandbox")
    app = web.Application(client_max_size=4 << 20)
    app.router.add_route("*", "/{path:.*}", api.handle)
    listener = _socket()
    await _listen(stack, app, listener, _tls(directory, authority, key))
    encoded = base64.b64encode(authority.encode()).decode()
    server = f"https://{LOOPBACK}:{listener.getsockname()[1]}"
    written = home.kubeconfig(server, encoded, {"admin": tokens.admin, "viewer": tokens.viewer})
    home.write_yaml(directory / "kubeconfig", written, 0o600)
    return directory / "kubeconfig"


async def _serve_site(
    stack: contextlib.AsyncExitStack,
    tokens: Tokens,
    clock: SystemClock,
    faults: Faults,
    pods: PodWeb,
    control: "Control",
    logs: LogStore,
    alerts: Alerts,
) -> str:
    """Serve everything that is not the Kubernetes API; returns the base URL."""
    listener = _socket()
    base = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
    jira = Tickets(f"{base}/jira", tokens, clock)

    async def tickets(request: web.Request) -> web.StreamResponse:
        return await faults.other("tickets", request) or jira.handle(request)

    async def of_pod(request: web.Request) -> web.StreamResponse:
        found = request.match_info
        return await _plain(pods.pod(request, found["namespace"], found["name"], "/" + found["path"]))

    async def of_service(request: web.Request) -> web.StreamResponse:
        found = request.match_info
        return await _plain(pods.service(request, found["namespace"], found["name"], "/" + found["path"]))

    async def of_logs(request: web.Request) -> web.StreamResponse:
        return await faults.other("logs", request) or await logs.handle(request)

    async def of_alerts(request: web.Request) -> web.StreamResponse:
        return await faults.other("alerts", request) or await alerts.handle(request)

    site = web.Application(client_max_size=LOG_BYTES)
    site.router.add_route("*", "/logs", of_logs)
    site.router.add_route("*", "/logs/{path:.*}", of_logs)
    site.router.add_route("*", "/jira/{path:.*}", tickets)
    site.router.add_route("*", "/alerts/{path:.*}", of_alerts)
    site.router.add_get("/prometheus/metrics", pods.prometheus)
    site.router.add_get("/pods/{namespace}/{name}/{path:.*}", of_pod)
    site.router.add_get("/services/{namespace}/{name}/{path:.*}", of_service)
    site.router.add_post("/sandbox/{what}", control.handle)
    await _listen(stack, site, listener, None)
    return base


async def _until_ready(cluster: EmbeddedCluster | RealCluster, clock: SystemClock) -> None:
    end = clock.monotonic() + READY_SECONDS
    while not cluster.healthy():
        if clock.monotonic() > end:
            detail = f"After {READY_SECONDS:g} s not every workload is ready."
            raise Unavailable("The fleet does not get ready", detail, "Look at its pods: kubectl get deploy,pods -A")
        await clock.sleep(0.05)


async def _background(stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` until the stack ends."""
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(end)


def _scenario(name: str) -> Scenario:
    found = scenarios()
    if name not in found:
        raise bad_request(f"no scenario {name!r}; accepted: {', '.join(found)}")
    return found[name]


class Control:
    """``POST /sandbox/faults`` and ``/sandbox/scenario``, for the holder of the admin's token."""

    def __init__(
        self,
        tokens: Tokens,
        faults: Faults,
        behaviours: Behaviours,
        traffic: Traffic,
        cluster: EmbeddedCluster | RealCluster,
        api: Api | None,
        config: Path,
    ) -> None:
        self._tokens = tokens
        self._faults = faults
        self._behaviours = behaviours
        self._traffic = traffic
        self._cluster = cluster
        self._api = api
        self._config = config
        self._settings: dict[str, Any] = {}

    def configure(self, settings: dict[str, Any]) -> None:
        """Write the configuration, and again with each scenario that has sections of its own in it."""
        self._settings = settings
        home.write_yaml(self._config, settings | self._behaviours.scenario.settings)

    async def handle(self, request: web.Request) -> web.Response:
        try:
            self._tokens.user(request.headers.get("Authorization", "")).require("update", "", "sandbox", "")
            body = msgspec.json.decode(await request.read() or b"{}", type=dict[str, str])
            match request.match_info["what"]:
                case "faults":
                    self._faults.set(body)
                    return answer(self._faults.active)
                case "scenario":
                    self._behaviours.scenario = _scenario(body.get("scenario", ""))
                    await self._cluster.play()
                    self._traffic.scenario_changed()
                    self.configure(self._settings)
                    return answer({"title": self._behaviours.scenario.title})
                case "compact" if self._api is not None:
                    self._api.compact()
                    return answer({})
            return web.Response(status=404)
        except msgspec.MsgspecError as error:
            return answer({"message": str(error)}, 400)
        except Unavailable as error:
            return answer({"message": str(error)}, 502)
        except ApiError as error:
            return answer(error.status(), error.code)


async def _plain(answering: Awaitable[web.Response]) -> web.Response:
    """Outside the Kubernetes API a refusal is a plain answer."""
    try:
        return await answering
    except ApiError as error:
        return web.Response(status=error.code, text=error.message)


def _tls(directory: Path, authority: str, key: str) -> ssl.SSLContext:
    """OpenSSL reads keys from files only."""
    home.place(directory / "server.pem", authority + key, 0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    return context


async def _listen(
    stack: contextlib.AsyncExitStack, app: web.Application, listener: socket.socket, tls: ssl.SSLContext | None
) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listener, ssl_context=tls).start()


def _socket() -> socket.socket:
    """A free port of loopback."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((LOOPBACK, 0))
    return listener

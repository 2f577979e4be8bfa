"""The sandbox process: what listens where, and its life from start to end."""

import asyncio
import base64
import contextlib
import secrets
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec
from aiohttp import web

from services.clock import SystemClock
from services.sandbox import certificate, home
from services.sandbox.access import Tokens
from services.sandbox.api import Api, answer
from services.sandbox.behaviour import Behaviours, Scenario, scenarios
from services.sandbox.cluster import EmbeddedCluster
from services.sandbox.errors import ApiError, bad_request
from services.sandbox.faults import Faults
from services.sandbox.podweb import PodWeb
from services.sandbox.tickets import Tickets
from services.sandbox.traffic import Traffic

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Options:
    """``cluster`` is the kubeconfig of a real API server to use instead of the embedded one."""

    home: Path
    scenario: str = "good"
    speed: float = 1.0
    ready_file: Path | None = None
    cluster: Path | None = None


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
    """The sandbox, ready to be used; yields the ready document."""
    ready_paths = [path for path in (options.home / "ready.json", options.ready_file) if path is not None]
    for path in ready_paths:
        path.unlink(missing_ok=True)
    clock = SystemClock(options.speed, epoch := SystemClock().unix())
    tokens = Tokens(secrets.token_hex(20), secrets.token_hex(20))
    random = Random()
    faults, behaviours = Faults(), Behaviours(_scenario(options.scenario))
    async with contextlib.AsyncExitStack() as stack:
        cluster = EmbeddedCluster(clock, random, behaviours)
        traffic = Traffic(cluster.store, clock, random, cluster.behaviour)
        pods = PodWeb(cluster.store, traffic, behaviours, faults, clock, random)
        api = Api(cluster.registry, tokens, clock, faults, pods)
        authority, key = certificate.self_signed("Quarterdeck sandbox")
        server = await _listen(stack, _api_app(api), _tls(options.home, authority, key))
        control = Control(tokens, faults, behaviours, traffic, api)
        site = web.Application(client_max_size=1 << 20)
        url = await _listen(stack, site, None, prepare=lambda base: _routes(site, base, tokens, clock, faults, pods, control))
        cluster.seed()
        task = asyncio.create_task(cluster.schedule.run())
        stack.push_async_callback(_end, task)
        while not cluster.healthy():
            await clock.sleep(0.05)
        cluster.store.forget_history()
        token_file, kubeconfig = options.home / "token", options.home / "kubeconfig"
        home.place(token_file, tokens.admin, 0o600)
        encoded = base64.b64encode(authority.encode()).decode()
        home.write_yaml(kubeconfig, home.kubeconfig(server, encoded, {"admin": tokens.admin, "viewer": tokens.viewer}), 0o600)
        settings = home.configuration(
            home=options.home,
            kubeconfig=kubeconfig,
            token_file=token_file,
            web=url,
            speed=options.speed,
            epoch=epoch,
            through_proxy=True,
        )
        home.write_yaml(options.home / "config.yaml", settings)
        document = home.ready_document(options.home, kubeconfig, f"{url}/jira")
        home.place_ready(ready_paths, document)
        try:
            yield document
        finally:
            for path in ready_paths:
                path.unlink(missing_ok=True)


def _scenario(name: str) -> Scenario:
    found = scenarios()
    if name not in found:
        raise bad_request(f"no scenario {name!r}; accepted: {', '.join(found)}")
    return found[name]


class Control:
    """``POST /sandbox/faults`` and ``/sandbox/scenario``, for the holder of the admin's token."""

    def __init__(self, tokens: Tokens, faults: Faults, behaviours: Behaviours, traffic: Traffic, api: Api) -> None:
        self._tokens = tokens
        self._faults = faults
        self._behaviours = behaviours
        self._traffic = traffic
        self._api = api

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
                    self._traffic.scenario_changed()
                    return answer({"title": self._behaviours.scenario.title})
                case "compact":
                    self._api.compact()
                    return answer({})
            return web.Response(status=404)
        except msgspec.MsgspecError as error:
            return answer({"message": str(error)}, 400)
        except ApiError as error:
            return answer(error.status(), error.code)


def _api_app(api: Api) -> web.Application:
    app = web.Application(client_max_size=4 << 20)
    app.router.add_route("*", "/{path:.*}", api.handle)
    return app


def _routes(
    site: web.Application, base: str, tokens: Tokens, clock: SystemClock, faults: Faults, pods: PodWeb, control: Control
) -> None:
    jira = Tickets(f"{base}/jira", tokens, clock)

    async def tickets(request: web.Request) -> web.StreamResponse:
        return await faults.other("tickets", request) or jira.handle(request)

    async def of_pod(request: web.Request) -> web.StreamResponse:
        return await _plain(
            pods.pod(request, request.match_info["namespace"], request.match_info["name"], "/" + request.match_info["path"])
        )

    async def of_service(request: web.Request) -> web.StreamResponse:
        found = request.match_info
        return await _plain(pods.service(request, found["namespace"], found["name"], "/" + found["path"]))

    site.router.add_route("*", "/jira/{path:.*}", tickets)
    site.router.add_get("/pods/{namespace}/{name}/{path:.*}", of_pod)
    site.router.add_get("/services/{namespace}/{name}/{path:.*}", of_service)
    site.router.add_post("/sandbox/{what}", control.handle)


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
    stack: contextlib.AsyncExitStack,
    app: web.Application,
    tls: ssl.SSLContext | None,
    prepare: Callable[[str], None] | None = None,
) -> str:
    """Serve ``app`` on a free port of loopback; returns its base URL."""
    listener = _socket()
    base = f"{'https' if tls else 'http'}://{LOOPBACK}:{listener.getsockname()[1]}"
    if prepare is not None:
        prepare(base)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listener, ssl_context=tls).start()
    return base


def _socket() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((LOOPBACK, 0))
    return listener


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

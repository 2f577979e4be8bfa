"""A service's smoke tests: HTTP checks against the service itself, after a deploy."""

import asyncio
from collections.abc import Sequence

import msgspec

from services.analysis.endpoints import Endpoint, Proxied, Proxy, Templated
from services.clock import Clock
from services.model.errors import QuarterdeckError
from services.model.steps import SmokeCheck
from services.settings import Smoke


class SmokeResult(msgspec.Struct, frozen=True, kw_only=True):
    """One check: what was asked, what was found; ``seconds`` is wall time. ``passed`` is ``None`` where there was no answer, or
    the way to the service was down: that says nothing about the service."""

    check: SmokeCheck
    passed: bool | None
    detail: str
    seconds: float


class SmokeRunner:
    """Runs checks one after the other, all of them, whatever the earlier ones say. Each is asked once: a test that passes only
    at the second try has found something."""

    def __init__(self, endpoint: Endpoint, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock

    @classmethod
    def configured(cls, smoke: Smoke, connection: Proxy, clock: Clock) -> "SmokeRunner":
        """As the settings say: at ``smoke.url`` plus the check's path, else through the API server's service proxy."""
        endpoint: Endpoint = Templated(smoke.url, appends_path=True) if smoke.url else Proxied(connection, "services", smoke.port)
        return cls(endpoint, clock)

    async def run(self, checks: Sequence[SmokeCheck], service: str, namespace: str) -> tuple[SmokeResult, ...]:
        return tuple([await self._run(check, service, namespace) for check in checks])

    async def close(self) -> None:
        await self._endpoint.close()

    async def _run(self, check: SmokeCheck, service: str, namespace: str) -> SmokeResult:
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(check.timeout):
                status, body = await self._endpoint.get(namespace, service, check.path, timeout=check.timeout)
        except TimeoutError:
            seconds = self._clock.monotonic() - began
            reachable = await self._endpoint.reachable()
            detail = f"GET {check.path} had no answer within {check.timeout:g} s"
            if not reachable:
                detail += ", and the API server in between does not answer either"
            return SmokeResult(check=check, passed=False if reachable else None, detail=detail, seconds=seconds)
        except QuarterdeckError as error:
            return SmokeResult(check=check, passed=None, detail=str(error), seconds=self._clock.monotonic() - began)
        seconds = self._clock.monotonic() - began
        if status != check.status:
            passed, detail = False, f"GET {check.path} answered {status}, expected {check.status}"
        elif check.contains and check.contains not in body.decode("utf-8", "replace"):
            passed, detail = False, f"GET {check.path} answered {status} without {check.contains!r} in its body"
        else:
            passed, detail = True, f"GET {check.path} answered {status} in {seconds * 1000:.0f} ms"
        return SmokeResult(check=check, passed=passed, detail=detail, seconds=seconds)

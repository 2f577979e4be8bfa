"""Metrics servers that are down, slow, redirecting, refusing or talking nonsense: a reading without counts, and its reason."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from support.clock import ManualClock
from support.prometheus import metrics, subject

from services.analysis.sources import MetricSource, open_source
from services.analysis.sources.asking import MOST_BYTES, NoData, Site
from services.redaction import Redactor
from services.sandbox import certificate

Answering = Callable[[httpx.Request], httpx.Response]
TOKEN = "prom-4711-secret"


def sample(arm: str, what: str, value: str, pod: str = "p") -> dict[str, object]:
    metric = {"quarterdeck_arm": arm, "quarterdeck_what": what, "instance": pod}
    return {"metric": metric, "value": [1000.0, value]}


def gives(kind: str, result: object) -> httpx.Response:
    return httpx.Response(200, json={"status": "success", "data": {"resultType": kind, "result": result}})


def vector(*samples: dict[str, object]) -> httpx.Response:
    return gives("vector", list(samples))


def counters(canary: int, stable: int, at: float, *, age: float = 0.0) -> httpx.Response:
    found = []
    for arm, total in (("canary", canary), ("stable", stable)):
        for what, value in (("total", total), ("errors", 0), ("sampled", at - age)):
            found.append(sample(arm, what, str(value)))
    for one in found:
        one["value"] = [at, one["value"][1]]  # type: ignore[index]
    return vector(*found)


class Script:
    """Answers in order; the last one again and again."""

    def __init__(self, *answers: Answering | httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)


def source(script: Script, clock: ManualClock | None = None, **prometheus: object) -> MetricSource:
    config = metrics(source="prometheus", prometheus={"url": "https://prometheus.test/prefix", **prometheus})
    return open_source(
        config,
        subject,
        clock=clock or ManualClock(),
        register=Redactor(),
        transport=httpx.MockTransport(script),
    )


def refusal(status: int, kind: str = "", error: str = "") -> httpx.Response:
    return httpx.Response(status, json={"status": "error", "errorType": kind, "error": error})


BAD = {
    "refused": (httpx.ConnectError("connection refused"), "can't be reached"),
    "reset": (httpx.RemoteProtocolError("peer closed"), "can't be reached"),
    "slow": (httpx.ReadTimeout("slow"), "no answer within 5 s"),
    "html": (httpx.Response(200, html="<html>{</html>"), "not Prometheus's"),
    "gateway": (httpx.Response(502, html="<html>Bad gateway</html>"), "answered 502"),
    "unavailable": (refusal(503, "timeout", "query timed out"), "query timed out"),
    "credentials": (httpx.Response(401, text="no"), "our credentials are not accepted"),
    "forbidden": (httpx.Response(403, text="no"), "may not ask this"),
    "wrong query": (refusal(400, "bad_data", "1:5: parse error: oh"), "1:5: parse error: oh"),
    "elsewhere": (httpx.Response(302, headers={"Location": "https://evil.test/"}), "redirect (302)"),
    "too long": (httpx.Response(200, content=b" " * (MOST_BYTES + 1)), "more than 16 MiB"),
    "deep": (httpx.Response(200, content=b"[" * 100_000), "not Prometheus's"),
    "other shape": (gives("vector", [{"value": 3}]), "makes no sense"),
    "no number": (vector(sample("canary", "total", "many")), "makes no sense"),
    "scalar": (gives("scalar", [1, "1"]), "a scalar"),
    "empty": (vector(), "no series match"),
    "one version": (vector(sample("stable", "total", "5"), sample("stable", "errors", "0")), "no data of canary"),
    "hostile words": (refusal(500, "internal", "\x1b[31m[bold]\nred\x07" + "x" * 5000), "[31m[bold] red"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_answer_is_no_data_with_its_reason(name: str) -> None:
    answer, reason = BAD[name]
    script = Script(counters(100, 900, 1000.0), answer, counters(150, 950, 1020.0))
    under_test = source(script)
    assert not (await under_test.read(0.0)).arms
    found = await under_test.read(10.0)
    assert not found.arms
    assert reason in found.problem
    assert found.problem.isprintable()
    assert len(found.problem) < 500
    assert found.age == 10.0
    # What happened meanwhile is in the next reading that has data.
    found = await under_test.read(20.0)
    interval = found.interval("errors")
    assert interval is not None
    assert (found.since, found.problem, interval.n, interval.m) == (0.0, "", 50, 50)
    await under_test.close()


async def test_a_redirect_is_not_followed_and_the_token_goes_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROM_TOKEN", TOKEN)
    script = Script(httpx.Response(307, headers={"Location": "https://evil.test/api/v1/query"}))
    under_test = source(script, token="env:PROM_TOKEN", tenant="team-a")
    found = await under_test.read(0.0)
    assert {request.url.host for request in script.requests} == {"prometheus.test"}
    assert script.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert script.requests[0].headers["X-Scope-OrgID"] == "team-a"
    assert script.requests[0].url.path == "/prefix/api/v1/query"
    assert TOKEN not in found.problem
    await under_test.close()


async def test_basic_authentication_is_by_reference_and_a_missing_secret_is_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(counters(1, 1, 1000.0))
    under_test = source(script, user="jane", password="env:PROM_PASSWORD")
    found = await under_test.read(0.0)
    assert "env:PROM_PASSWORD" in found.problem
    assert not script.requests
    monkeypatch.setenv("PROM_PASSWORD", "geheim")
    assert (await under_test.read(10.0)).problem == ""
    assert script.requests[0].headers["Authorization"] == "Basic amFuZTpnZWhlaW0="
    await under_test.close()


async def test_the_same_samples_again_are_not_due_and_then_stale() -> None:
    clock = ManualClock()
    script = Script(*(counters(100, 900, 1000.0 + step, age=float(step)) for step in (0, 10, 20, 100)))
    under_test = source(script, clock)
    readings = [await under_test.read(at) for at in (0.0, 10.0, 20.0, 100.0)]
    assert [dict(found.arms) for found in readings] == [{}] * 4
    assert [found.age for found in readings] == [0.0, 10.0, 20.0, 100.0]
    assert [found.problem for found in readings] == ["", "", "", "the newest sample is 100 s old"]
    await under_test.close()


async def test_after_a_long_silence_counting_begins_anew() -> None:
    script = Script(counters(100, 900, 1000.0), counters(9100, 99_900, 1400.0), counters(9200, 100_000, 1410.0))
    under_test = source(script)
    await under_test.read(0.0)
    found = await under_test.read(400.0)
    assert (dict(found.arms), found.problem) == ({}, "no data for 400 s: counting begins anew")
    interval = (await under_test.read(410.0)).interval("errors")
    assert interval is not None
    assert (interval.n, interval.m) == (100, 100)
    await under_test.close()


async def test_two_versions_that_nothing_tells_apart_are_not_compared() -> None:
    whom = subject(canary=("a",), stable=("a",))
    script = Script(counters(1, 1, 1000.0))
    config = metrics(source="prometheus", prometheus={"url": "https://prometheus.test"})
    under_test = open_source(
        config, lambda: whom, clock=ManualClock(), register=Redactor(), transport=httpx.MockTransport(script)
    )
    found = await under_test.read(0.0)
    assert "nothing in it tells them apart" in found.problem
    assert not script.requests
    await under_test.close()


async def test_a_version_that_is_not_known_is_not_every_version() -> None:
    whom = subject(versions=("", "v1"))
    script = Script(counters(1, 1, 1000.0))
    config = metrics(source="prometheus", prometheus={"url": "https://prometheus.test", "pack": "opentelemetry"})
    under_test = open_source(
        config, lambda: whom, clock=ManualClock(), register=Redactor(), transport=httpx.MockTransport(script)
    )
    assert (await under_test.read(0.0)).problem == "the version of canary is not known"
    assert not script.requests
    await under_test.close()


async def test_a_server_that_hangs_up_on_real_sockets() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        # Bound and not listening: every connection is refused.
        site = Site(f"http://127.0.0.1:{port}", seconds=2.0)
        with pytest.raises(NoData, match="can't be reached"):
            await site.ask("GET", "/", headers={})
        await site.close()


async def test_a_certificate_is_verified(tmp_path: Path) -> None:
    authority, key = certificate.self_signed("metrics")
    (tmp_path / "ca.pem").write_text(authority)
    (tmp_path / "both.pem").write_text(authority + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        strange = Site(url, seconds=5.0)
        with pytest.raises(NoData, match="CERTIFICATE_VERIFY_FAILED"):
            await strange.ask("GET", "/", headers={})
        await strange.close()
        known = Site(url, seconds=5.0, ca_file=tmp_path / "ca.pem")
        assert await known.ask("GET", "/", headers={}) == (200, b"ok")
        await known.close()


async def test_an_authority_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nonsense")
    site = Site("https://prometheus.test", seconds=2.0, ca_file=file)
    with pytest.raises(NoData, match="can't be used as an authority"):
        await site.ask("GET", "/", headers={})
    await site.close()


async def test_both_versions_are_asked_for_in_one_question_of_one_moment() -> None:
    script = Script(counters(1, 1, 1000.0))
    under_test = source(script)
    await under_test.read(0.0)
    (request,) = script.requests
    assert request.method == "POST"
    body = dict(httpx.QueryParams(request.content.decode()))
    assert body["query"].count("http_requests_total{") == 2 * 8
    (told,) = under_test.asked
    assert told.of == ("errors", "latency")
    (query,) = told.queries
    assert '"quarterdeck_arm", "stable"' in query, "both versions, whole"
    assert len(query) < 4000
    again = query.replace("{{pods}}", "|".join(told.pods["canary"]), query.count("{{pods}}") // 2)
    assert again.replace("{{pods}}", "|".join(told.pods["stable"])) == body["query"], "it can be asked again"
    await under_test.close()

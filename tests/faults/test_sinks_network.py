"""Every sink over HTTP, with the courier before it, in a network and before servers that do their worst: nothing is lost."""

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web
from support.datadog_logs import APP_KEY, Account
from support.hec import Collector
from support.otlp import Receiver
from support.shipping import Graveyard
from support.sinks import (
    TOKEN,
    Authority,
    Fake,
    Fault,
    LeapingClock,
    cut,
    garbage,
    lost,
    record,
    records,
    serving,
    slow,
    status,
    swallowed,
    unpackable,
)

from services.audit.sinks.base import Answer, Sink, Trouble
from services.audit.sinks.opening import open_sink
from services.redaction import Redactor
from services.settings.sinks import DatadogLogs, Otlp, SinkSection, Splunk


class Kind:
    """One kind of sink, with the fake that stands for its server."""

    def __init__(self, made: Callable[[], Fake], section: type[SinkSection], keys: Callable[[str], dict[str, Any]]) -> None:
        self.fake = made()
        self._section = section
        self._keys = keys

    def sink(self, *, url: str = "", **more: Any) -> Sink:
        keys = {"timeout": 20, **self._keys(url or self.fake.url), **more}
        opened = open_sink(self._section.model_validate_json(json.dumps(keys)), secrets=Redactor(), clock=LeapingClock())
        assert not hasattr(opened, "put")
        return opened  # type: ignore[return-value]

    def seqs(self) -> set[int]:
        match self.fake:
            case Collector() | Account():
                return set(self.fake.seqs())
            case Receiver():
                found = [{one["key"]: one["value"] for one in log["attributes"]} for log in self.fake.records]
                return {int(attributes["quarterdeck.seq"]["intValue"]) for attributes in found}
        raise AssertionError(self.fake)


def splunk(url: str) -> dict[str, Any]:
    return {"kind": "splunk", "url": url, "token": "env:A_TOKEN"}


def datadog(url: str) -> dict[str, Any]:
    return {"kind": "datadog", "intake_url": url, "api_url": url, "api_key": "env:A_TOKEN", "application_key": "env:A_KEY"}


KINDS: dict[str, Callable[[], Kind]] = {
    "splunk": lambda: Kind(Collector, Splunk, splunk),
    "splunk with acknowledgement": lambda: Kind(
        lambda: Collector(acknowledges=True), Splunk, lambda url: {**splunk(url), "acknowledge": True}
    ),
    "datadog": lambda: Kind(lambda: Account(LeapingClock()), DatadogLogs, datadog),
    "otlp": lambda: Kind(Receiver, Otlp, lambda url: {"kind": "otlp", "url": url, "headers": {"X-Key": "env:A_TOKEN"}}),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kind:
    monkeypatch.setenv("A_TOKEN", TOKEN)
    monkeypatch.setenv("A_KEY", APP_KEY)
    return KINDS[request.param]()


BROKEN: dict[str, Fault] = {
    "not stored, reset": swallowed,
    "stored, reset before the answer": lost,
    "stored, reset in the answer": cut,
    "stored, never answered": slow,
    "200 and somebody else's page": garbage,
    "200 and a body that does not unpack": unpackable,
    "an answer without an end": lambda request, sent, handled: _endless(request),
}


async def _endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    chunk = b"x" * (1 << 20)
    try:
        for _ in range(64):
            await answer.write(chunk)
    except ConnectionError:
        pass  # the other side has heard enough
    return answer


@pytest.mark.parametrize("fault", BROKEN)
async def test_no_answer_that_is_no_answer_counts_as_a_receipt(kind: Kind, fault: str) -> None:
    async with serving(kind.fake):
        patient, hasty = kind.sink(), kind.sink(timeout=0.5)
        sink = hasty if BROKEN[fault] is slow else patient
        kind.fake.faults = [BROKEN[fault]]
        delivery = await sink.send(records(5))
        assert (delivery.trouble, delivery.answers) == (Trouble.UNREACHABLE, ())
        assert TOKEN not in delivery.detail
        assert (await patient.send(records(5))).answers == (Answer.DELIVERED,) * 5
        await hasty.close()
        await patient.close()
    assert kind.seqs() == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("seed", range(6))
async def test_every_entry_arrives_whatever_happens_on_the_way(kind: Kind, seed: int) -> None:
    random = Random(seed)
    pool: list[Fault] = [
        swallowed, lost, cut, garbage, status(429, Retry_After="2"), status(503), status(502), status(504), status(413),
        status(401), status(403), status(404), status(301, Location="http://127.0.0.1:1/"),
    ]  # fmt: skip
    grave = Graveyard()
    async with serving(kind.fake):
        sink = kind.sink()
        courier = grave.courier(sink, LeapingClock(), seed=seed)
        for first in range(1, 200, 40):
            kind.fake.faults += [random.choice(pool) for _ in range(random.randrange(6))]
            await courier.deliver(records(40, first))
        await sink.close()
    assert kind.seqs() == set(range(1, 201))
    assert grave.letters == []


async def test_one_poisoned_entry_of_five_hundred_is_the_only_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", TOKEN)
    for acknowledges in (False, True):
        fake = Collector(acknowledges=acknowledges)
        fake.poison = {"poisoned"}
        kind = Kind(lambda fake=fake: fake, Splunk, lambda url, on=acknowledges: {**splunk(url), "acknowledge": on})  # type: ignore[misc]
        grave = Graveyard()
        batch = [record(seq, user="poisoned" if seq == 317 else "jane") for seq in range(1, 501)]
        async with serving(fake):
            sink = kind.sink(timeout=5)
            await grave.courier(sink, LeapingClock()).deliver(batch)
            await sink.close()
        assert [letter.seq for letter in grave.buried] == [317]
        whole = {one["event"]["seq"] for one in fake.taken if "payload_dropped" not in one["event"]}
        assert whole == set(range(1, 501)) - {317}
        assert 317 in {one["event"]["seq"] for one in fake.taken}


async def test_a_certificate_is_believed_from_the_configured_authority_alone(kind: Kind, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(str(authority.certificate), str(authority.key))
    async with serving(kind.fake, tls=context):
        believing, doubting = kind.sink(ca_file=str(authority.ca)), kind.sink()
        assert (await believing.send(records(2))).answers == (Answer.DELIVERED,) * 2
        assert (await believing.probe()).ok
        delivery, probe = await doubting.send(records(2)), await doubting.probe()
        assert delivery.trouble is Trouble.HOLD
        assert "certificate" in delivery.detail
        assert not probe.ok
        await believing.close()
        await doubting.close()


async def test_an_address_that_is_wrong_is_told_by_the_probe(kind: Kind) -> None:
    async with serving(kind.fake):
        over_tls = kind.sink(url=kind.fake.url.replace("http:", "https:"))
        nobody = kind.sink(url="http://127.0.0.1:1")
        page = kind.sink()
        for sink, trouble in ((over_tls, Trouble.HOLD), (nobody, Trouble.UNREACHABLE)):
            assert (await sink.send(records(1))).trouble is trouble
            probe = await sink.probe()
            assert not probe.ok
            assert probe.hint
            await sink.close()
        kind.fake.faults = [garbage]
        assert not (await page.probe()).ok
        await page.close()


@pytest.mark.parametrize("secret", ["tok\u00e9n-geheim", "word-of-many\r\nX-Injected: yes"])
async def test_a_secret_that_no_header_can_carry_is_held_and_never_told(
    kind: Kind, secret: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("A_TOKEN", secret)
    caplog.set_level(logging.DEBUG)
    async with serving(kind.fake):
        sink = kind.sink()
        delivery, probe = await sink.send(records(1)), await sink.probe()
        await sink.close()
    assert delivery.trouble is Trouble.HOLD
    assert not probe.ok
    assert secret.splitlines()[0] not in repr(delivery) + repr(probe) + repr(sink) + caplog.text


async def test_no_secret_is_told_by_a_server_that_repeats_it(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(kind.fake):
        sink = kind.sink()
        for code in (400, 401, 403, 413, 429, 500, 503):
            kind.fake.faults = [lambda request, sent, handled, code=code: _repeated(request, code)] * 2
            delivery, probe = await sink.send(records(1)), await sink.probe()
            assert TOKEN not in repr(delivery) + repr(probe) + repr(sink)
        await sink.close()
    assert TOKEN not in caplog.text


def _repeated(request: web.Request, code: int) -> web.Response:
    return web.Response(status=code, text=repr(dict(request.headers)))


async def test_sinks_side_by_side_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", TOKEN)
    monkeypatch.setenv("A_KEY", APP_KEY)
    stuck, well = KINDS["otlp"](), KINDS["splunk"]()
    async with serving(stuck.fake), serving(well.fake):
        stuck.fake.faults = [slow]
        first, second = stuck.sink(timeout=20), well.sink()
        waiting = asyncio.create_task(first.send(records(1)))
        assert (await second.send(records(1))).answers == (Answer.DELIVERED,)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await first.close()
        await second.close()

"""Sealed segments in a bucket: the signature, what is there already, and every error of S3."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from support.bucket import KEYS, Bucket, error
from support.sinks import JOURNAL, LeapingClock, cut, garbage, lost, serving, slow, status, swallowed

from services.audit.sinks.base import Answer, Delivery, Trouble
from services.audit.sinks.s3 import S3Archive
from services.audit.sinks.sigv4 import Keys, authorization
from services.redaction import Redactor
from services.settings.sinks import S3

EMPTY = hashlib.sha256(b"").hexdigest()
CONTENT = b"".join(b"%064d\t{}\n" % number for number in range(100))
SHA = hashlib.sha256(CONTENT).hexdigest()
SUITE = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
GUIDE = Keys(KEYS["QD_ACCESS"], KEYS["QD_SECRET"])

PUBLISHED = {
    # AWS Signature Version 4 test suite
    "get-vanilla": (
        ("GET", "/", {}, {"Host": "example.amazonaws.com", "X-Amz-Date": "20150830T123600Z"}, EMPTY, SUITE, "service"),
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-vanilla-query-order-key-case": (
        (
            "GET", "/", {"Param2": "value2", "Param1": "value1"},
            {"Host": "example.amazonaws.com", "X-Amz-Date": "20150830T123600Z"}, EMPTY, SUITE, "service",
        ),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "post-vanilla": (
        ("POST", "/", {}, {"Host": "example.amazonaws.com", "X-Amz-Date": "20150830T123600Z"}, EMPTY, SUITE, "service"),
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    # Amazon S3 API reference, "Signature Calculations for the Authorization Header"
    "get object": (
        (
            "GET", "/test.txt", {},
            {
                "Host": "examplebucket.s3.amazonaws.com", "Range": "bytes=0-9", "x-amz-content-sha256": EMPTY,
                "x-amz-date": "20130524T000000Z",
            },
            EMPTY, GUIDE, "s3",
        ),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "put object": (
        (
            "PUT", "/test%24file.text", {},
            {
                "Host": "examplebucket.s3.amazonaws.com", "Date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-date": "20130524T000000Z", "x-amz-storage-class": "REDUCED_REDUNDANCY",
                "x-amz-content-sha256": hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
            },
            hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(), GUIDE, "s3",
        ),
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "get bucket lifecycle": (
        (
            "GET", "/", {"lifecycle": ""},
            {"Host": "examplebucket.s3.amazonaws.com", "x-amz-date": "20130524T000000Z", "x-amz-content-sha256": EMPTY},
            EMPTY, GUIDE, "s3",
        ),
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "list objects": (
        (
            "GET", "/", {"max-keys": "2", "prefix": "J"},
            {"Host": "examplebucket.s3.amazonaws.com", "x-amz-date": "20130524T000000Z", "x-amz-content-sha256": EMPTY},
            EMPTY, GUIDE, "s3",
        ),
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_signature_is_the_one_that_amazon_publishes(name: str) -> None:
    (method, path, query, headers, payload, keys, service), signature = PUBLISHED[name]
    made = authorization(method, path, query, headers, payload, keys=keys, region="us-east-1", service=service)
    assert made.rpartition("Signature=")[2] == signature
    assert keys.secret not in repr(keys)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    file = tmp_path / "000000000001.jsonl"
    file.write_bytes(CONTENT)
    return file


def archive(fake: Bucket, **keys: Any) -> S3Archive:
    known = {"kind": "s3", "url": fake.url, "bucket": "audit-trail", "access_key": "env:QD_ACCESS", "secret_key": "env:QD_SECRET"}
    section = S3.model_validate_json(json.dumps({**known, "timeout": 20, "upload_timeout": 20, **keys}))
    return S3Archive(section, secrets=Redactor(), clock=LeapingClock())


async def put(one: S3Archive, segment: Path, sha: str = SHA) -> Delivery:
    return await one.put(segment, journal=JOURNAL, first=1, last=100, sha256=sha)


async def test_a_segment_is_stored_whole_and_locked_under_the_name_of_its_content(segment: Path) -> None:
    fake = Bucket()
    async with serving(fake):
        one = archive(fake, prefix="audit/", keep_days=400)
        assert await put(one, segment) == Delivery(answers=(Answer.DELIVERED,))
        assert await put(one, segment) == Delivery(answers=(Answer.DUPLICATE,))
        await one.close()
    ((path, (content, headers)),) = fake.objects.items()
    assert path == f"/audit-trail/audit/{JOURNAL}/000000000001-000000000100-{SHA}.jsonl"
    assert content == CONTENT
    assert {name.lower(): value for name, value in headers.items()} == {
        "x-amz-object-lock-mode": "COMPLIANCE",
        "x-amz-object-lock-retain-until-date": "2027-02-05T00:00:00Z",
        "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(SHA)).decode(),
    }


@pytest.mark.parametrize("fault", [lost, cut, slow, swallowed])
async def test_a_put_whose_answer_is_lost_is_found_to_be_there_or_done_again(fault: Any, segment: Path) -> None:
    fake = Bucket()
    fake.faults = [fault]
    async with serving(fake):
        one = archive(fake, **({"timeout": 0.5, "upload_timeout": 1} if fault is slow else {}))
        assert (await put(one, segment)).trouble is Trouble.UNREACHABLE
        while fake.faults:  # the time was over before the request had come
            await put(one, segment)
        await one.close()
        patient = archive(fake)
        again = await put(patient, segment)
        await patient.close()
    assert again.answers == ((Answer.DELIVERED,) if fault is swallowed else (Answer.DUPLICATE,))
    assert len(fake.objects) == 1


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("checksum", "AAAA", "with another content"),
        ("checksum", None, "without a checksum"),
        ("lock-mode", None, "without the lock"),
        ("lock-mode", "GOVERNANCE", "without the lock"),
    ],
)
async def test_something_else_of_that_name_is_never_taken_for_ours(
    part: str, value: str | None, words: str, segment: Path
) -> None:
    fake = Bucket()
    async with serving(fake):
        one = archive(fake)
        await put(one, segment)
        ((path, (content, headers)),) = fake.objects.items()
        changed = {name: value if part in name.lower() else kept for name, kept in headers.items()}
        fake.objects[path] = (content, {name: kept for name, kept in changed.items() if kept is not None})
        delivery = await put(one, segment)
        await one.close()
    assert delivery.trouble is Trouble.HOLD
    assert words in delivery.detail


@pytest.mark.parametrize(
    ("code", "name", "trouble"),
    [
        (400, "BadDigest", Trouble.BUSY), (400, "RequestTimeout", Trouble.BUSY), (400, "ExpiredToken", Trouble.HOLD),
        (400, "InvalidRequest", Trouble.HOLD), (400, "AuthorizationHeaderMalformed", Trouble.HOLD),
        (403, "AccessDenied", Trouble.HOLD),
        (403, "InvalidAccessKeyId", Trouble.HOLD), (403, "SignatureDoesNotMatch", Trouble.HOLD),
        (403, "RequestTimeTooSkewed", Trouble.HOLD), (404, "NoSuchBucket", Trouble.HOLD),
        (409, "ConditionalRequestConflict", Trouble.BUSY),
        (409, "OperationAborted", Trouble.BUSY), (413, "EntityTooLarge", Trouble.HOLD), (500, "InternalError", Trouble.BUSY),
        (501, "NotImplemented", Trouble.HOLD), (503, "SlowDown", Trouble.BUSY), (503, "ServiceUnavailable", Trouble.BUSY),
        (429, "TooManyRequests", Trouble.BUSY), (301, "PermanentRedirect", Trouble.HOLD),
    ],
)  # fmt: skip
async def test_every_error_has_its_meaning(code: int, name: str, trouble: Trouble, segment: Path) -> None:
    fake = Bucket()
    fake.faults = [lambda request, sent, handled: error(code, name, KEYS["QD_SECRET"])]
    async with serving(fake):
        one = archive(fake)
        delivery = await put(one, segment)
        await one.close()
    assert (delivery.trouble, delivery.answers) == (trouble, ())
    assert f"answered {code} {name}" in delivery.detail
    assert KEYS["QD_SECRET"] not in delivery.detail


async def test_answers_that_are_not_of_s3_store_nothing(segment: Path) -> None:
    fake = Bucket()
    async with serving(fake):
        one = archive(fake)
        fake.faults = [status(204)]
        assert (await put(one, segment)).trouble is Trouble.UNREACHABLE
        fake.faults = [status(412), status(404)]
        assert (await put(one, segment)).trouble is Trouble.BUSY
        fake.faults = [status(412), status(403)]
        assert (await put(one, segment)).trouble is Trouble.HOLD
        fake.faults = [status(412), status(503)]
        assert (await put(one, segment)).trouble is Trouble.BUSY
        await one.close()
    assert fake.objects == {}


async def test_a_file_that_is_not_what_was_sealed_is_never_stored(segment: Path, tmp_path: Path) -> None:
    fake = Bucket()
    async with serving(fake):
        one = archive(fake)
        changed = await put(one, segment, "0" * 64)
        absent = await put(one, tmp_path / "absent.jsonl")
        await one.close()
    assert (changed.trouble, absent.trouble) == (Trouble.HOLD, Trouble.HOLD)
    assert "content that it was sealed with" in changed.detail
    assert fake.seen == []


async def test_the_probe_finds_a_bucket_without_lock_and_keys_that_are_not_there(segment: Path) -> None:
    fake = Bucket()
    async with serving(fake):
        one, keyless = archive(fake), archive(fake, secret_key="env:NOT_SET_ANYWHERE")
        assert (await one.probe()).ok
        fake.faults = [garbage]
        assert "no object lock" in (await one.probe()).detail
        fake.faults = [lambda request, sent, handled: error(403, "SignatureDoesNotMatch")]
        assert "the secret key is not the one" in (await one.probe()).detail
        fake.locks = False
        assert not (await one.probe()).ok
        assert (await put(one, segment)).trouble is Trouble.HOLD
        assert "NOT_SET_ANYWHERE" in (await keyless.probe()).detail
        await one.close()
        await keyless.close()


def test_the_address_of_a_bucket_is_amazons_unless_it_says_otherwise() -> None:
    known = {"kind": "s3", "access_key": "env:A", "secret_key": "env:B", "region": "eu-central-1"}

    def address(**keys: str) -> tuple[str, str]:
        return S3.model_validate_json(json.dumps({**known, **keys})).address

    assert address(bucket="trail") == ("https://trail.s3.eu-central-1.amazonaws.com", "")
    assert address(bucket="my.trail") == ("https://s3.eu-central-1.amazonaws.com", "/my.trail")
    assert address(bucket="trail", region="cn-north-1") == ("https://trail.s3.cn-north-1.amazonaws.com.cn", "")
    assert address(bucket="trail", url="https://minio.test:9000/") == ("https://minio.test:9000", "/trail")

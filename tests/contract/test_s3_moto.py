"""The archive against moto, and its signatures against botocore's own, both in an environment of their own."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bucket import KEYS, boto, moto, needs_moto, told
from support.sinks import JOURNAL

from services.audit.sinks.base import Answer, Delivery
from services.audit.sinks.s3 import S3Archive
from services.audit.sinks.sigv4 import Keys, authorization
from services.clock import SystemClock
from services.redaction import Redactor
from services.settings.sinks import S3

pytestmark = [pytest.mark.counterpart, needs_moto]

MAKE = """
import sys, boto3
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1")
s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
s3.create_bucket(Bucket="open")
"""
LOOK = """
import sys, json, boto3
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1")
found = []
for one in s3.list_object_versions(Bucket="locked").get("Versions", []):
    whole = s3.get_object(Bucket="locked", Key=one["Key"], VersionId=one["VersionId"], ChecksumMode="ENABLED")
    try:
        s3.delete_object(Bucket="locked", Key=one["Key"], VersionId=one["VersionId"])
        deleted = "deleted"
    except s3.exceptions.ClientError as error:
        deleted = error.response["Error"]["Code"]
    found.append([one["Key"], whole["Body"].read().decode(), whole["ObjectLockMode"], whole["ChecksumSHA256"], deleted])
print(json.dumps(found))
"""
SIGN = """
import sys, json
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
import botocore.auth
answers = []
for one in json.load(open(sys.argv[1])):
    request = AWSRequest(one["method"], one["url"], headers=one["headers"], data=b"")
    request.context["timestamp"] = one["headers"]["X-Amz-Date"]
    auth = S3SigV4Auth(Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), "s3", "eu-west-3")
    canonical = auth.canonical_request(request)
    answers.append(auth.signature(auth.string_to_sign(request, canonical), request))
print(json.dumps(answers))
"""


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def archive(url: str, bucket: str) -> S3Archive:
    known = {"kind": "s3", "url": url, "bucket": bucket, "access_key": "env:QD_ACCESS", "secret_key": "env:QD_SECRET"}
    return S3Archive(S3.model_validate_json(json.dumps(known)), secrets=Redactor(), clock=SystemClock())


async def test_a_segment_lies_locked_in_the_bucket_once_and_can_not_be_deleted(tmp_path: Path) -> None:
    content = b"".join(b"%064d\t{}\n" % number for number in range(50))
    sha = hashlib.sha256(content).hexdigest()
    segment = tmp_path / "segment.jsonl"
    segment.write_bytes(content)
    with moto(tmp_path) as url:
        boto(MAKE, url)
        one, other = archive(url, "locked"), archive(url, "open")
        assert (await one.probe()).ok
        assert not (await other.probe()).ok
        assert not (await archive(url, "absent").probe()).ok
        assert await one.put(segment, journal=JOURNAL, first=1, last=50, sha256=sha) == Delivery(answers=(Answer.DELIVERED,))
        again = await one.put(segment, journal=JOURNAL, first=1, last=50, sha256=sha)
        assert again == Delivery(answers=(Answer.DUPLICATE,))
        ((key, body, mode, checksum, deleted),) = told(boto(LOOK, url))  # type: ignore[misc, attr-defined]
        await one.close()
        await other.close()
    assert key == f"{JOURNAL}/000000000001-000000000050-{sha}.jsonl"
    assert body.encode() == content
    assert (mode, deleted) == ("COMPLIANCE", "AccessDenied")
    assert bytes.fromhex(sha) == base64.b64decode(checksum)


NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12).map(lambda name: f"x-amz-{name}")
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30).map(lambda text: f"v{text}v")
SEGMENTS = st.text("abcXYZ019-_.~", min_size=1, max_size=10).filter(lambda part: part not in (".", ".."))


def test_signatures_are_botocores(tmp_path: Path) -> None:
    requests: list[dict[str, object]] = []
    ours: list[str] = []

    @settings(max_examples=200, database=None)
    @given(
        st.sampled_from(["GET", "PUT", "HEAD"]),
        st.lists(SEGMENTS, min_size=1, max_size=4),
        st.dictionaries(SEGMENTS, SEGMENTS, max_size=3),
        st.dictionaries(NAMES, VALUES, max_size=4),
    )
    def collect(method: str, parts: list[str], query: dict[str, str], more: dict[str, str]) -> None:
        sha = hashlib.sha256("/".join(parts).encode()).hexdigest()
        path = "/" + "/".join(parts)
        headers = {**more, "Host": "bucket.test:9000", "X-Amz-Date": "20260101T000000Z", "X-Amz-Content-SHA256": sha}
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        url = f"https://bucket.test:9000{path}" + (f"?{asked}" if asked else "")
        requests.append({"method": method, "url": url, "headers": headers})
        keys = Keys(KEYS["QD_ACCESS"], KEYS["QD_SECRET"])
        ours.append(authorization(method, path, query, headers, sha, keys=keys, region="eu-west-3").rpartition("Signature=")[2])

    collect()
    file = tmp_path / "requests.json"
    file.write_text(json.dumps(requests))
    assert told(boto(SIGN, str(file))) == ours
    assert len(ours) >= 100

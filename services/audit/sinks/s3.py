"""Sealed segments in a bucket with object lock: whole, under a name that their content decides, never to be changed again.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html and …/userguide/object-lock.html . Exactly once: a put asks
that nothing be there yet (``If-None-Match: *``), and whatever is there already is compared by its SHA-256.
"""

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import httpx

from services.audit.segments import PACKED, PLAIN, Segment, opened
from services.audit.sinks.base import Answer, Delivery, Probe, Trouble
from services.audit.sinks.s3errors import judged
from services.audit.sinks.sigv4 import Keys, authorization
from services.audit.sinks.target import HttpTarget, Reply, probe_of, secret_missing
from services.clock import Clock
from services.settings.load import SecretGuard
from services.settings.secrets import SecretUnavailable
from services.settings.sinks.s3 import S3

MODE = "COMPLIANCE"
"""Nobody can shorten or lift the lock, the account's root included."""
_EMPTY = hashlib.sha256(b"").hexdigest()


class S3Archive:
    """See :class:`services.audit.sinks.base.Archive`."""

    kind = "s3"

    def __init__(
        self, section: S3, *, secrets: SecretGuard, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.name = section.label
        self._section = section
        self._clock = clock
        address, self._bucket = section.address
        # A segment takes as long as it takes; the questions about it don't.
        self._asked, self._filled = (
            HttpTarget(address, secrets=secrets, clock=clock, timeout=seconds, ca_file=section.ca_file, transport=transport)
            for seconds in (section.timeout, section.upload_timeout)
        )

    async def put(self, segment: Path, *, journal: str, first: int, last: int, sha256: str) -> Delivery:
        """Its lines as they were written, whether or not it has been packed since: so the name is the same at every attempt. What
        is not what ``sha256`` says is never stored under that name."""
        try:
            content = await asyncio.to_thread(_lines, segment, first)
        except OSError as error:
            return Delivery(trouble=Trouble.HOLD, detail=f"{segment} can't be read: {error.strerror or error}")
        if (await asyncio.to_thread(hashlib.sha256, content)).hexdigest() != sha256:
            return Delivery(trouble=Trouble.HOLD, detail=f"{segment} does not have the content that it was sealed with")
        key = f"{self._section.prefix}{journal}/{first:012d}-{last:012d}-{sha256}{PLAIN}"
        until = self._clock.now() + timedelta(days=self._section.keep_days)
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode("ascii")
        headers = {
            "Content-Type": "application/x-ndjson",
            "If-None-Match": "*",
            "x-amz-checksum-sha256": checksum,
            # Without it (or Content-MD5) no object is taken that asks for a lock.
            "x-amz-sdk-checksum-algorithm": "SHA256",
            "x-amz-object-lock-mode": MODE,
            "x-amz-object-lock-retain-until-date": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        reply = await self._ask("PUT", key, headers=headers, content=content, sha256=sha256)
        if isinstance(reply, Delivery):
            return reply
        if reply.status == 200:
            return Delivery(answers=(Answer.DELIVERED,))
        if reply.status == 412:
            return await self._compared(key, checksum)
        return judged(self._asked, reply)

    async def probe(self) -> Probe:
        """Whether the bucket is there for our keys and has object lock. Writing is not tried: what is written stays."""
        reply = await self._ask("GET", "", query={"object-lock": ""})
        if isinstance(reply, Delivery):
            return probe_of(reply)
        if reply.status == 200 and b"<ObjectLockEnabled>Enabled</ObjectLockEnabled>" in reply.body:
            return Probe(ok=True, detail=f"the bucket {self._section.bucket} has object lock; writing to it was not tried")
        if reply.status == 200 or b"ObjectLockConfigurationNotFound" in reply.body:
            hint = "Make the bucket with object lock: it can't be had for content that is there without."
            return Probe(ok=False, detail=f"the bucket {self._section.bucket} has no object lock", hint=hint)
        return probe_of(judged(self._asked, reply))

    async def close(self) -> None:
        await self._asked.close()
        await self._filled.close()

    async def _compared(self, key: str, checksum: str) -> Delivery:
        """Something of that name is there: ours from an attempt whose answer was lost, or not ours."""
        reply = await self._ask("HEAD", key, headers={"x-amz-checksum-mode": "ENABLED"})
        if isinstance(reply, Delivery):
            return reply
        if reply.status == 404:
            return Delivery(trouble=Trouble.BUSY, detail=f"{key} was in the bucket, and then was not")
        if reply.status != 200:
            return judged(self._asked, reply)
        there = reply.headers.get("x-amz-checksum-sha256", "")
        if there != checksum:
            what = "with another content" if there else "without a checksum to compare"
            return Delivery(trouble=Trouble.HOLD, detail=f"{key} is in the bucket already, {what}")
        if reply.headers.get("x-amz-object-lock-mode", "") != MODE:
            return Delivery(trouble=Trouble.HOLD, detail=f"{key} is in the bucket already, without the lock {MODE}")
        return Delivery(answers=(Answer.DUPLICATE,))

    async def _ask(
        self,
        method: str,
        key: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        content: bytes = b"",
        sha256: str = _EMPTY,
    ) -> Reply | Delivery:
        target = self._filled if content else self._asked
        path = f"{self._bucket}/{quote(key, safe='/-_.~')}"
        try:
            keys = self._keys(target)
        except SecretUnavailable as error:
            return secret_missing(error)
        sent = {
            **(headers or {}),
            "host": target.host,
            "x-amz-content-sha256": sha256,
            "x-amz-date": self._clock.now().strftime("%Y%m%dT%H%M%SZ"),
        }
        if keys.token:
            sent["x-amz-security-token"] = keys.token
        sent["Authorization"] = authorization(method, path, query or {}, sent, sha256, keys=keys, region=self._section.region)
        asked = "&".join(f"{name}={value}" for name, value in (query or {}).items())
        return await target.ask(method, f"{path}?{asked}" if asked else path, headers=sent, content=content, compress=False)

    def _keys(self, target: HttpTarget) -> Keys:
        section = self._section
        token = target.reveal(section.session_token) if section.session_token is not None else ""
        return Keys(target.reveal(section.access_key), target.reveal(section.secret_key), token)


def _lines(segment: Path, first: int) -> bytes:
    with opened(Segment(first, segment, segment.name.endswith(PACKED))) as file:
        return file.read()

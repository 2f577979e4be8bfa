"""The errors of S3, by their code (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""

import re

import msgspec

from services.audit.sinks.base import Delivery, Trouble
from services.audit.sinks.target import HttpTarget, Reply

_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,80})</Code>")
"""Searched for rather than parsed: a document type of another side's is nothing to be expanded."""
_AGAIN = frozenset(
    {
        "BadDigest",  # what arrived is not what was sent
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)
_MEANT = {
    "AuthorizationHeaderMalformed": "the region is another",
    "ExpiredToken": "the session's token is no longer valid",
    "InvalidAccessKeyId": "the access key is not known",
    "NoSuchBucket": "there is no such bucket",
    "NotImplemented": "it knows no conditional writes",
    "PermanentRedirect": "the bucket is in another region",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "SignatureDoesNotMatch": "the secret key is not the one of the access key",
}


def judged(target: HttpTarget, reply: Reply) -> Delivery:
    """What an answer that is not a success means. A segment is never rejected for its content: who refuses one refuses all."""
    found = _CODE.search(reply.body[:4096])
    code = found[1].decode("ascii") if found else ""
    told = target.troubled(reply)
    if told is None:
        # Whoever says yes like this is not S3.
        return Delivery(trouble=Trouble.UNREACHABLE, detail=f"{target.host} answered {reply.status}, which is no answer of S3")
    meaning = f": {_MEANT[code]}" if code in _MEANT else ""
    detail = f"{target.host} answered {reply.status} {code}{meaning}" if code else told.detail
    again = code in _AGAIN or reply.status in (409, 412) or (told.trouble is Trouble.BUSY and reply.status != 501)
    return msgspec.structs.replace(told, trouble=Trouble.BUSY if again else Trouble.HOLD, detail=detail)

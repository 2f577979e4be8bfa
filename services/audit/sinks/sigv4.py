"""AWS Signature Version 4, for requests whose path and query are escaped already (as S3 wants them: once).

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html . boto3 would sign too, but its botocore and the
Kubernetes client want different versions of dateutil, and both can't be installed at once; aiobotocore is botocore as well.
Thirty lines are left of them, checked against Amazon's published examples and against botocore itself.
"""

import hashlib
import hmac
from collections.abc import Mapping

import msgspec

_ALGORITHM = "AWS4-HMAC-SHA256"


class Keys(msgspec.Struct, frozen=True):
    access: str
    secret: str
    token: str = ""
    """Of a session; empty for keys that last."""

    def __repr__(self) -> str:
        return "Keys(…)"


def authorization(
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    payload_sha256: str,
    *,
    keys: Keys,
    region: str,
    service: str = "s3",
) -> str:
    """The ``Authorization`` header. All ``headers`` are signed; ``host`` and ``x-amz-date`` must be among them.

    Names and values of ``query`` are escaped already.
    """
    lower = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    signed = ";".join(sorted(lower))
    canonical = "\n".join(
        (
            method,
            path,
            "&".join(f"{name}={value}" for name, value in sorted(query.items())),
            *(f"{name}:{lower[name]}" for name in sorted(lower)),
            "",
            signed,
            payload_sha256,
        )
    )
    stamp = lower["x-amz-date"]
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return f"{_ALGORITHM} Credential={keys.access}/{scope}, SignedHeaders={signed}, Signature={signature}"

"""A bucket with object lock."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from services.settings.secrets import ACCEPTED, SecretRef
from services.settings.section import Url, broken, ranged
from services.settings.sinks.base import SinkSection, check_clear

Bucket = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""
Region = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$")]


def _prefix(text: str) -> str:
    if text and (not text.endswith("/") or text.startswith("/") or "//" in text or {".", ".."} & set(text.split("/"))):
        raise broken("is not a prefix of keys", "segments of a path, each with '/' after it, e.g. audit/production/")
    return text


Prefix = Annotated[str, StringConstraints(max_length=400, pattern=r"^[A-Za-z0-9!_.*'()/-]*$"), AfterValidator(_prefix)]


class S3(SinkSection):
    """A bucket that keeps sealed segments under object lock (compliance mode) for ``keep_days``. ``upload_timeout``: wall seconds
    for one segment, up to 64 MiB. ``url``: of a server other than AWS's."""

    whole: ClassVar[bool] = True

    kind: Literal["s3"]
    bucket: Bucket = Field(description="the name of a bucket with versioning and object lock")
    region: Region = Field(default="us-east-1", description="the region of the bucket, e.g. eu-central-1")
    url: Url | None = Field(default=None, description="absent: AWS's address for bucket and region")
    prefix: Prefix = Field(default="", description="what keys begin with, e.g. audit/")
    access_key: SecretRef = Field(description=ACCEPTED)
    secret_key: SecretRef = Field(description=ACCEPTED)
    session_token: SecretRef | None = Field(default=None, description=ACCEPTED)
    keep_days: int = ranged(1, 36_500, "days", default=400)
    upload_timeout: float = ranged(1, 3600, "seconds", default=300.0)

    @model_validator(mode="after")
    def _fits_together(self) -> "S3":
        if ".." in self.bucket:
            raise broken("'bucket' holds two dots in a row", "a legal name of a bucket")
        check_clear(self.address[0], secret=True)
        return self

    @property
    def address(self) -> tuple[str, str]:
        """The server, and the path of the bucket on it: in the path where the server is not AWS's, or where the bucket's name has
        dots, for which AWS's certificate does not hold."""
        if self.url is not None:
            return self.url.rstrip("/"), f"/{self.bucket}"
        suffix = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        if "." in self.bucket:
            return f"https://s3.{self.region}.{suffix}", f"/{self.bucket}"
        return f"https://{self.bucket}.s3.{self.region}.{suffix}", ""

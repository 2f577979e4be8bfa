"""Elasticsearch and OpenSearch, which share the protocol that entries are written by."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from services.settings.secrets import ACCEPTED, SecretRef
from services.settings.section import Url, broken
from services.settings.sinks.base import SinkSection, UserName, check_clear

IndexName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,199}$")]
"""A prefix of index names, so without what those may not hold
(https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-indices-create)."""


class _Bulk(SinkSection):
    url: Url = Field(description="the address of the cluster, e.g. https://search.example.com:9200")
    index: IndexName = Field(
        default="quarterdeck-audit", description="a-z, 0-9, '-', '_' and '.'; indices are called after it and the month"
    )
    user: UserName = Field(default="", description="the user of basic authentication, with password")
    password: SecretRef | None = Field(default=None, description=ACCEPTED)
    token: SecretRef | None = Field(default=None, description=ACCEPTED)

    def _check(self, secrets: list[SecretRef]) -> None:
        if bool(self.user) != (self.password is not None):
            raise broken("basic authentication needs both 'user' and 'password'", "user: NAME and password: env:NAME")
        if len(secrets) > 1:
            raise broken("has several credentials", "one of them")
        check_clear(self.url, secret=bool(secrets))


class Elasticsearch(_Bulk):
    """An Elasticsearch cluster. One of ``api_key`` (its ``encoded`` form, or ``id:key``), ``user`` and ``password``, or
    ``token`` (a bearer token)."""

    kind: Literal["elasticsearch"]
    api_key: SecretRef | None = Field(default=None, description=ACCEPTED)

    @model_validator(mode="after")
    def _fits_together(self) -> "Elasticsearch":
        self._check([secret for secret in (self.api_key, self.password, self.token) if secret is not None])
        return self


class OpenSearch(_Bulk):
    """An OpenSearch cluster. ``user`` and ``password``, or ``token`` (a bearer token)."""

    kind: Literal["opensearch"]

    @model_validator(mode="after")
    def _fits_together(self) -> "OpenSearch":
        self._check([secret for secret in (self.password, self.token) if secret is not None])
        return self

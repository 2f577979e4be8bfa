"""What the sections of all sinks have in common."""

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from services.settings.section import FilePath, Name, Section, broken, is_loopback, ranged

UserName = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f:]*$")]


class SinkSection(Section):
    """``required``: nothing is removed from this disk that the sink has not confirmed. ``timeout``: wall seconds for one request.

    Each kind adds ``kind``, a literal, and what its protocol needs.
    """

    whole: ClassVar[bool] = False
    """Whether it takes segments whole once they are sealed, instead of entries."""

    kind: str
    name: Name | None = Field(default=None, description="a-z, 0-9 and '-'; absent: the kind")
    required: bool = Field(default=True, description="true or false: entries are kept here until this sink has confirmed them")
    ca_file: FilePath | None = Field(default=None, description="a PEM file with the authority that signed its certificate")
    timeout: float = ranged(0.1, 60, "seconds", default=10.0)

    @property
    def label(self) -> str:
        """Its name: of its cursor, on screens and in the journal."""
        return self.name or self.kind


def check_clear(url: str, *, secret: bool) -> None:
    """Raise the error of a validator where a secret would travel over ``url`` unencrypted."""
    if secret and url.startswith("http:") and not is_loopback(url):
        raise broken("the secret would travel in the clear", "an https:// address (http:// on loopback only)")

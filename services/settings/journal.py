"""How long the journal is kept on this disk, and where it is shipped to."""

from pydantic import Field, model_validator

from services.settings.section import Section, broken, ranged
from services.settings.sinks import SinkField

MOST_SINKS = 10
YEAR = 366
"""Days: entries of production are kept for twelve months at least (R6.4)."""


class JournalOptions(Section):
    """``retention_days``: entries older than that may be removed from this disk once every required sink has confirmed them."""

    retention_days: int = ranged(YEAR, 36_500, "days", default=400)
    sinks: tuple[SinkField, ...] = Field(
        default=(), max_length=MOST_SINKS, description="a list of sinks, e.g. [{kind: elasticsearch, url: https://…}]"
    )

    @model_validator(mode="after")
    def _named_apart(self) -> "JournalOptions":
        names = [sink.label for sink in self.sinks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise broken(f"has two sinks called {twice[0]}", "'name' for each of them, each name once")
        return self

"""The audit journal: what was about to be done and what came of it, on disk before it takes effect (R6)."""

from services.audit.event import Event, JournalHealth, JournalUnavailable, Receipt
from services.audit.journal import Journal

__all__ = ["Event", "Journal", "JournalHealth", "JournalUnavailable", "Receipt"]

"""This operator's small state (drafts, preferences) in TinyDB, on a storage that survives crashes and several processes."""

from services.store.storage import AtomicStorage, StateDamaged, StateUnusable

__all__ = ["AtomicStorage", "StateDamaged", "StateUnusable"]

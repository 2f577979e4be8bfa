"""Validation: from raw strings to a :class:`services.model.release.Release`, before anything runs."""

from services.release.validate import Candidate, KnownServices, problems, validate, validate_syntax

__all__ = ["Candidate", "KnownServices", "problems", "validate", "validate_syntax"]

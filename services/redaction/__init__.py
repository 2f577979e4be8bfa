"""Secrets are taken out before anything is hashed, written, logged or shown."""

from services.redaction.installation import installation_key, passing_key
from services.redaction.redactor import Redactor

__all__ = ["Redactor", "installation_key", "passing_key"]

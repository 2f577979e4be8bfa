"""What speaks for and against a deploy."""

from widgets.evidence.checklist import ChecklistView

__all__ = ["ChecklistView"]

"""What speaks for and against a deploy."""

from widgets.evidence.checklist import ChecklistView
from widgets.evidence.judgement import Judged, JudgementView

__all__ = ["ChecklistView", "Judged", "JudgementView"]

"""The base of what draws in tones: how each looks is found out when it is drawn.

As component classes ten tones on every widget would be matched against the style sheet each time that a class, the focus or the
size changes anywhere above them: ten times the work for the widgets themselves, most of it for tones that are not on the screen.
"""

from textual.css.model import RuleSet
from textual.css.styles import RenderStyles
from textual.dom import DOMNode
from textual.widget import Widget

from widgets.ink import TONE_CLASSES


class Toned(Widget):
    """Its tones have rules by type and class alone (:func:`widgets.ink.tone_css`): they are the same for as long as the rules
    are, which a theme changes."""

    _tones: dict[str, DOMNode] | None = None
    _tones_by: list[RuleSet] | None = None

    def get_component_styles(self, *names: str) -> RenderStyles:
        for name in names:
            if name in TONE_CLASSES:
                self._component_styles[name] = self._tone(name).styles
        return super().get_component_styles(*names)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        if self._tones and self._tones_by is not self.app.stylesheet.rules:
            self.refresh()  # where nothing else of it looks different, nothing else has it drawn again

    def _tone(self, name: str) -> DOMNode:
        rules = self.app.stylesheet.rules
        if self._tones is None or self._tones_by is not rules:
            self._tones, self._tones_by = {}, rules
        if name not in self._tones:
            node = self._tones[name] = DOMNode(classes=name)
            node._attach(self)
            self.app.stylesheet.apply(node)
        return self._tones[name]

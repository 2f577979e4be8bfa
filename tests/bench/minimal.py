"""The least Textual application that shows a text: what the console's first frame is measured against."""

from textual.app import App, ComposeResult
from textual.widgets import Static


class Minimal(App[None]):
    def compose(self) -> ComposeResult:
        yield Static("FIRST FRAME")


if __name__ == "__main__":
    Minimal().run()

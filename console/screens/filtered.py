"""A screen whose list can be filtered by a text: ``/`` opens the field, ``esc`` clears and closes it before it goes back."""

from textual.widgets import Input

from console.screens.base import ConsoleScreen


class FilteredScreen(ConsoleScreen):
    """Its body has an ``Input`` with the id ``filter``; what is typed there is the subclass's to apply."""

    def clearable(self) -> bool:
        return self.is_mounted and self.query_one("#filter", Input).has_class("-open")

    def do_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.add_class("-open")
        self.set_focus(field)

    def do_back(self) -> None:
        if not self.clearable():
            super().do_back()
            return
        self.close_filter()
        self.draw_keys()

    def close_filter(self) -> None:
        """Show every row again, without the field."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.remove_class("-open")
        self.focus_body()

"""The command palette: exactly the actions of the screen below it; one that can't be done now says why."""

from functools import partial
from inspect import unwrap
from typing import TYPE_CHECKING, cast

from rich.text import Text
from textual import work
from textual.await_complete import AwaitComplete
from textual.command import CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.css.query import NoMatches

from console.actions import Action, Situation, actions_on, label_for
from console.parting import lost_by_parting
from widgets.text import sanitize

if TYPE_CHECKING:
    from console.screens.base import ConsoleScreen


def entry_of(action: Action, situation: Situation) -> tuple[str, str]:
    """An action as the palette lists it: label and key; then what it does, or why it can't be done now."""
    reason = action.refusal(situation)
    title = f"{label_for(action, situation)}  ({action.shown_key})"
    return sanitize(title), sanitize(f"not now: {reason}" if reason else action.help)


class Palette(CommandPalette):
    def _action_command_list(self, action: str) -> None:
        # paging through a list that was not laid out yet ends the application (textual 8.2.8: KeyError in _move_page)
        if self.query_one(CommandList).size.height:
            super()._action_command_list(action)

    @work(exclusive=True, group=CommandPalette._GATHER_COMMANDS_GROUP)
    async def _gather_commands(self, search_value: str) -> None:
        # what it still gathers then finds no list any more (textual 8.2.8: NoMatches in _watch__list_visible)
        try:
            await unwrap(CommandPalette._gather_commands)(self, search_value)
        except NoMatches as error:
            if self.is_current and not lost_by_parting(self, error):
                raise

    def dismiss(self, result: None = None) -> AwaitComplete:
        # enter twice on a busy machine: the second would take away a screen below, or fail where there is none (textual 8.2.8)
        return super().dismiss(result) if self.is_current else AwaitComplete()


class Actions(Provider):
    """The palette parses plain strings as markup, and what it shows may be anybody's words: it gets finished texts."""

    def _known(self) -> list[tuple[Action, str, str]]:
        from console.screens.base import ConsoleScreen

        if not isinstance(self.screen, ConsoleScreen):
            return []
        situation = self.screen.situation()
        return [(action, *entry_of(action, situation)) for action in actions_on(self.screen.where) if action.id != "palette"]

    def _command(self, action: Action) -> "partial[None]":
        return partial(cast("ConsoleScreen", self.screen).choose_action, action.id)

    async def discover(self) -> Hits:
        for action, title, help in self._known():
            yield DiscoveryHit(_shown(title, help), self._command(action), text=title)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for action, title, help in self._known():
            if (score := matcher.match(title)) > 0:
                yield Hit(score, _shown(title, help), self._command(action), text=title)


def _shown(title: str, help: str) -> Text:
    return Text.assemble((title, "bold"), "\n", (f"  {help}", "dim"))

"""Our two themes: greys, one accent, and colours that only appear where they mean something.

Blue is the accent and the running version, violet the new one, amber a warning, red trouble: four hues that stay apart for most
eyes, and none of them is ever the only sign.
"""

from collections.abc import Mapping

from textual.theme import Theme

DARK = Theme(
    name="quarterdeck",
    dark=True,
    primary="#6ba6d6",
    secondary="#8593a3",
    accent="#bd9ce6",
    success="#86b991",
    warning="#dcae62",
    error="#e57f86",
    foreground="#d3d8de",
    background="#14171a",
    surface="#191d21",
    panel="#20262c",
    variables={
        "text-primary": "#7db3e0",
        "text-accent": "#c5a8ea",
        "text-success": "#93c49d",
        "text-warning": "#e3b86f",
        "text-error": "#ee8f95",
        "border-blurred": "#2c343c",
        "border": "#6ba6d6",
        "scrollbar": "#39434d",
        "scrollbar-background": "#14171a",
        "scrollbar-hover": "#4c5965",
        "scrollbar-active": "#6ba6d6",
        "input-cursor-background": "#d3d8de",
        "rule": "#2c343c",
    },
)

LIGHT = Theme(
    name="quarterdeck-light",
    dark=False,
    primary="#2b6ca3",
    secondary="#5d6874",
    accent="#7a45b8",
    success="#2f7444",
    warning="#8a5a08",
    error="#b02a37",
    foreground="#22272d",
    background="#f7f6f2",
    surface="#ffffff",
    panel="#e8e7e1",
    variables={
        "text-primary": "#235b8b",
        "text-accent": "#693aa1",
        "text-success": "#28643a",
        "text-warning": "#7a4f06",
        "text-error": "#9c232f",
        "border-blurred": "#d2d0c8",
        "border": "#2b6ca3",
        "scrollbar": "#c3c1b8",
        "scrollbar-background": "#f7f6f2",
        "scrollbar-hover": "#a9a79e",
        "scrollbar-active": "#2b6ca3",
        "rule": "#d2d0c8",
    },
)

SIXTEEN = Theme(
    name="quarterdeck-16",
    dark=True,
    primary="#55ffff",
    secondary="#aaaaaa",
    accent="#ff55ff",
    success="#55ff55",
    warning="#ffff55",
    error="#ff5555",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    variables={
        "text-primary": "#55ffff",
        "text-accent": "#ff55ff",
        "text-success": "#55ff55",
        "text-warning": "#ffff55",
        "text-error": "#ff5555",
        "border-blurred": "#aaaaaa",
        "border": "#55ffff",
        "rule": "#aaaaaa",
    },
)
"""For terminals of sixteen colours, where softer ones would all become the same grey."""

THEMES = (DARK, LIGHT, SIXTEEN)


def chosen(environment: Mapping[str, str], color_system: str | None) -> str:
    """The theme to start with: QUARTERDECK_THEME where it is ``dark``, ``light`` or ``16``, else the dark one that the terminal
    can show."""
    named = {"dark": DARK.name, "light": LIGHT.name, "16": SIXTEEN.name}
    if (wanted := environment.get("QUARTERDECK_THEME", "")) in named:
        return named[wanted]
    return SIXTEEN.name if color_system == "standard" else DARK.name


def other(name: str, environment: Mapping[str, str], color_system: str | None) -> str:
    """The theme that the switch goes to: the light one, and from there back to the one to start with, or the dark one."""
    if name != LIGHT.name:
        return LIGHT.name
    first = chosen(environment, color_system)
    return first if first != LIGHT.name else chosen({}, color_system)

"""Our themes: greys, one accent, and colours that only appear where they mean something.

Blue is the accent and the running version, violet the new one, amber a warning, red trouble: four hues that stay apart for most
eyes, and none of them is ever the only sign.
"""

from collections.abc import Mapping

from textual.theme import Theme

DARK = Theme(
    name="dark",
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
    name="light",
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
    name="16",
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

CONTRAST = Theme(
    name="contrast",
    dark=True,
    primary="#3a86c0",
    secondary="#d0d0d0",
    accent="#e0c4ff",
    success="#9be8ac",
    warning="#ffd27a",
    error="#ffaaae",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1a1a1a",
    variables={
        "text-muted": "#d0d0d0",
        "text-primary": "#8fd0ff",
        "text-accent": "#e0c4ff",
        "text-success": "#9be8ac",
        "text-warning": "#ffd27a",
        "text-error": "#ffaaae",
        "border-blurred": "#ffffff",
        "border": "#8fd0ff",
        "scrollbar": "#d0d0d0",
        "scrollbar-background": "#000000",
        "scrollbar-hover": "#ffffff",
        "scrollbar-active": "#8fd0ff",
        "input-cursor-background": "#ffffff",
        "rule": "#b0b0b0",
    },
)
"""Seven to one or better for all words, on black."""

MONO = Theme(
    name="mono",
    dark=True,
    primary="#b4b4b4",
    secondary="#8c8c8c",
    accent="#e6e6e6",
    success="#c8c8c8",
    warning="#e6e6e6",
    error="#ffffff",
    foreground="#d4d4d4",
    background="#141414",
    surface="#191919",
    panel="#222222",
    variables={
        "text-primary": "#c8c8c8",
        "text-accent": "#ffffff",
        "text-success": "#d4d4d4",
        "text-warning": "#e6e6e6",
        "text-error": "#ffffff",
        "border-blurred": "#303030",
        "border": "#b4b4b4",
        "scrollbar": "#444444",
        "scrollbar-background": "#141414",
        "scrollbar-hover": "#5c5c5c",
        "scrollbar-active": "#b4b4b4",
        "input-cursor-background": "#ffffff",
        "rule": "#303030",
    },
)
"""Greys: signs, words and weight say it all."""

THEMES = (DARK, LIGHT, CONTRAST, MONO, SIXTEEN)
NAMES = tuple(theme.name for theme in THEMES)


def chosen(environment: Mapping[str, str], color_system: str | None, *, remembered: str = "") -> str:
    """The theme to start with: what QUARTERDECK_THEME names, else what this operator chose last, else what the terminal can
    show. A terminal of few colours overrules what was chosen on a better one."""
    fits = _for_terminal(environment, color_system)
    wanted = environment.get("QUARTERDECK_THEME", "")
    if wanted in NAMES:
        return wanted
    return remembered if remembered in NAMES and fits == DARK.name else fits


def _for_terminal(environment: Mapping[str, str], color_system: str | None) -> str:
    if color_system is None or "NO_COLOR" in environment:
        return MONO.name
    return SIXTEEN.name if color_system == "standard" else DARK.name


def following(name: str, color_system: str | None) -> str:
    """The theme that the switch goes to: all in turn, but those that this terminal can't show."""
    shown = [each for each in NAMES if each != (DARK.name if color_system == "standard" else SIXTEEN.name)]
    return shown[(shown.index(name) + 1) % len(shown)] if name in shown else shown[0]

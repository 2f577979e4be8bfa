"""What the terminal can show. Where there is none the console can't run; commands need none."""

import os
import sys
from collections.abc import Mapping

from console.doctor.finding import Check, Finding, Group, Topic
from console.terminal import encoding_of_locale, signs_for

COLUMNS, ROWS = 80, 24
_DRAWS = "a terminal that can be drawn on: the console can't run here, commands can"


def checks(env: Mapping[str, str], encoding: str | None = None) -> list[Check]:
    """``encoding`` stands for the locale's in tests."""
    looks = {
        "size": lambda topic: _size(topic, _screen()),
        "type": lambda topic: _type(topic, env, attached=_screen() is not None),
        "colours": lambda topic: _colours(topic, env),
        "characters": lambda topic: _characters(topic, env, encoding or encoding_of_locale()),
        "between": lambda topic: _between(topic, env),
    }

    def check(name: str) -> Check:
        topic = Topic(Group.TERMINAL, name)

        async def run() -> list[Finding]:
            return [looks[name](topic)]

        return Check(topic, run)

    return [check(name) for name in looks]


def _screen() -> os.terminal_size | None:
    """The size of the terminal we are on; ``None`` where the console would refuse to start."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    return os.get_terminal_size(sys.stdout.fileno())


def _size(topic: Topic, size: os.terminal_size | None) -> Finding:
    if size is None:
        return topic.skipped("no terminal here: the console needs one, commands don't")
    found = f"{size.columns} x {size.lines}"
    if size.columns < COLUMNS or size.lines < ROWS:
        return topic.warning(found, f"{COLUMNS} x {ROWS}, for everything to be seen", "Make the window larger.")
    return topic.ok(found)


def _type(topic: Topic, env: Mapping[str, str], *, attached: bool) -> Finding:
    term = env.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        found = f"TERM is {term or 'not set'}"
        if attached:
            return topic.problem(found, _DRAWS, "Set TERM to what the terminal is, e.g. xterm-256color.")
        return topic.skipped(f"{found}; no terminal here")
    return topic.ok(f"TERM={term}")


def _colours(topic: Topic, env: Mapping[str, str]) -> Finding:
    term, claimed = env.get("TERM", ""), env.get("COLORTERM", "").strip().lower()
    if env.get("NO_COLOR"):
        return topic.ok("none, as NO_COLOR asks")
    if term in ("", "dumb", "unknown"):
        return topic.skipped(f"none (TERM is {term or 'not set'})")
    if claimed in ("truecolor", "24bit"):
        return topic.ok(f"16 million (COLORTERM={claimed})")
    if term.endswith(("-256color", "-direct", "kitty")):
        return topic.ok("256; 16 million with COLORTERM=truecolor, where the terminal has them")
    action = "Set TERM=xterm-256color or COLORTERM=truecolor where the terminal has them; else QUARTERDECK_THEME=16."
    return topic.warning(f"16 (TERM={term}, COLORTERM not set)", "256, for the themes to look as they should", action)


def _characters(topic: Topic, env: Mapping[str, str], encoding: str) -> Finding:
    if signs_for(env, encoding) == "unicode":
        return topic.ok(encoding)
    if encoding.lower().replace("-", "") != "utf8":
        action = "Set LANG to a UTF-8 locale, e.g. C.UTF-8."
        return topic.warning(f"{encoding}: signs are drawn in ASCII, names may be unreadable", "UTF-8", action)
    return topic.ok(f"{encoding}, but TERM={env.get('TERM', '')} has few signs: they are drawn in ASCII")


def _between(topic: Topic, env: Mapping[str, str]) -> Finding:
    """What stands between the console and the eye."""
    layers = [name for name, mark in (("tmux", "TMUX"), ("screen", "STY"), ("SSH", "SSH_CONNECTION")) if env.get(mark)]
    term = env.get("TERM", "")
    if env.get("TMUX") and not term.startswith(("tmux", "screen")):
        action = "In tmux's configuration: set -g default-terminal tmux-256color."
        return topic.warning(f"tmux, but TERM={term or 'not set'}", "tmux-256color: else keys and colours go wrong", action)
    return topic.ok(" in ".join(layers) or "nothing")

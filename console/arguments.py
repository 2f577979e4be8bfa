"""The command line's grammar: global options that may stand before or after the verb, and errors that are values."""

import argparse
import difflib
import shlex
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from services.model.errors import ExitCode, QuarterdeckError
from services.model.release import DeployRequest

_SHOWN = 80


class UsageError(QuarterdeckError):
    """The command line can't be understood; ``usage`` is the short form of what can."""

    exit_code = ExitCode.REJECTED
    word = "command line"

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(
            f"command line: {message}", usage.strip(), "`quarterdeck --help` and `quarterdeck VERB --help` say more."
        )


class _Form(argparse.HelpFormatter):
    """Every line is folded by itself: paragraphs, examples and exit codes keep their lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = [textwrap.wrap(line, width, initial_indent=indent, subsequent_indent=indent) for line in text.splitlines()]
        return "\n".join(part for line in lines for part in line or [""])


class Parser(argparse.ArgumentParser):
    """No abbreviated options (a script must not change its meaning when an option is added), no exit on errors."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", _Form)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        # The innermost parser that was reached says what would have been understood.
        self.set_defaults(grammar=self)

    def understood(self, words: Sequence[str]) -> argparse.Namespace:
        """``words`` as options. Raises :class:`UsageError`, with the usage of the verb that was reached."""
        parsed, unknown = self.parse_known_args(words)
        if unknown:
            parsed.grammar.refuse(unknown[0])
        return parsed

    def refuse(self, word: str) -> NoReturn:
        """Raise for a word that no option and no argument of this parser takes."""
        if not word.startswith("-"):
            self.error(f"{word[:_SHOWN]!r} is one word too many")
        name = word.partition("=")[0]
        self.error(f"there is no option {name[:_SHOWN]!r}{_suggestion(name, self._option_string_actions)}")

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, self.format_usage())

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """What argparse says of a word that is none of the choices, said for people, with the nearest one."""
        if action.choices is None or value in action.choices:
            return
        name = action.metavar.lower() if isinstance(action.metavar, str) else "/".join(action.option_strings)
        known = ", ".join(map(str, action.choices))
        self.error(f"there is no {name} {str(value)[:_SHOWN]!r}{_suggestion(str(value), action.choices)} (known: {known})")


def _suggestion(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _place(text: str) -> str:
    """A path. An empty one is what a script makes of a variable that is not set: never to be taken for "the usual place"."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; leave the option out for the usual place")
    return text


def common(*, suppress: bool) -> argparse.ArgumentParser:
    """The options that every verb takes. ``suppress``: for a verb's parser, where silence keeps what was said before the verb."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    absent = argparse.SUPPRESS if suppress else None
    group = parser.add_argument_group("global options")
    group.add_argument("--config", metavar="FILE", type=_place, default=absent, help="configuration (else QUARTERDECK_CONFIG)")
    group.add_argument(
        "--home", metavar="DIR", type=_place, default=absent, help="state: journal, rollouts, log (else QUARTERDECK_HOME)"
    )
    group.add_argument(
        "--read-only", action="store_true", default=argparse.SUPPRESS if suppress else False, help="observer: refuse every change"
    )
    group.add_argument(
        "-o", "--output", choices=("text", "json"), default=argparse.SUPPRESS if suppress else "text", help="form of the result"
    )
    return parser


def command_for(args: argparse.Namespace, *words: str) -> str:
    """The command line of ``words`` on the same configuration and home as ``args``."""
    named = [(f"--{name}", str(value)) for name in ("config", "home") if (value := getattr(args, name, None))]
    return shlex.join(["quarterdeck", *words, *(word for option in named for word in option)])


class ShowVersion(argparse.Action):
    """``--version``. Looks the version up when it is asked for: at every start that would cost a tenth of it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        sys.stdout.write(f"{parser.prog} {program_version()}\n")
        parser.exit()


def program_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("quarterdeck")
    except PackageNotFoundError:
        return "unknown (not installed)"


def wants_json(argv: Sequence[str]) -> bool:
    """Whether JSON was asked for, told from a command line that could not be parsed. The last word counts."""
    wanted = False
    for index, word in enumerate(argv):
        if word in ("-o", "--output"):
            wanted = argv[index + 1 : index + 2] == ["json"]
        elif word.startswith(("--output=", "-o")):
            wanted = word.removeprefix("--output=").removeprefix("-o").removeprefix("=") == "json"
    return wanted


_VALUED = {
    "-e": "environment", "--environment": "environment", "--strategy": "strategy", "--ticket": "ticket",
    "-n": "namespace", "--namespace": "namespace", "--confirm": "", "--to": "",
    "--reason": "", "--config": "", "--home": "", "-o": "", "--output": "",
}  # fmt: skip


def asked_rollout(argv: Sequence[str]) -> DeployRequest:
    """What a deploy or a rollback that could not be parsed seems to ask for, as far as it can be told; shown, never acted on."""
    found: dict[str, str] = {}
    free: list[str] = []
    words = iter(argv)
    for word in words:
        name, assigned, value = word.partition("=")
        if name in _VALUED:
            value = value if assigned else next(words, "")
            if _VALUED[name]:
                found[_VALUED[name]] = value
        elif word[:2] in ("-e", "-n") and len(word) > 2:
            found[_VALUED[word[:2]]] = word[2:].removeprefix("=")
        elif not word.startswith("-"):
            free.append(word)
    service, release = [*free[1:], "", ""][:2]
    return DeployRequest(
        service=service,
        version=release,
        environment=found.get("environment", ""),
        strategy=found.get("strategy", ""),
        ticket=found.get("ticket", ""),
        namespace=found.get("namespace", ""),
    )

"""The command line's grammar: global options that may stand before or after the verb, and errors that are values."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from services.model.errors import ExitCode, QuarterdeckError
from services.model.release import DeployRequest


class UsageError(QuarterdeckError):
    """The command line can't be understood; ``usage`` is the short form of what can."""

    exit_code = ExitCode.REJECTED

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(
            f"command line: {message}", usage.strip(), "`quarterdeck --help` and `quarterdeck VERB --help` say more."
        )


class Parser(argparse.ArgumentParser):
    """No abbreviated options (a script must not change its meaning when an option is added), no exit on errors."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, self.format_usage())


def common(*, suppress: bool) -> argparse.ArgumentParser:
    """The options that every verb takes. ``suppress``: for a verb's parser, where silence keeps what was said before the verb."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    absent = argparse.SUPPRESS if suppress else None
    group = parser.add_argument_group("global options")
    group.add_argument("--config", metavar="FILE", default=absent, help="configuration (else QUARTERDECK_CONFIG)")
    group.add_argument("--home", metavar="DIR", default=absent, help="state: journal, rollouts, log (else QUARTERDECK_HOME)")
    group.add_argument(
        "--read-only", action="store_true", default=argparse.SUPPRESS if suppress else False, help="observer: refuse every change"
    )
    group.add_argument(
        "-o", "--output", choices=("text", "json"), default=argparse.SUPPRESS if suppress else "text", help="form of the result"
    )
    return parser


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
    "-n": "namespace", "--namespace": "namespace", "--confirm": "", "--config": "", "--home": "", "-o": "", "--output": "",
}  # fmt: skip


def asked_deploy(argv: Sequence[str]) -> DeployRequest:
    """What a deploy that could not be parsed seems to ask for, as far as it can be told; shown in its result, never acted on."""
    found: dict[str, str] = {}
    free: list[str] = []
    words = iter(argv)
    for word in words:
        name, assigned, value = word.partition("=")
        if name in _VALUED:
            value = value if assigned else next(words, "")
            if _VALUED[name]:
                found[_VALUED[name]] = value
        elif not word.startswith("-"):
            free.append(word)
    service, release = ([*free[free.index("deploy") + 1 :], "", ""] if "deploy" in free else ["", ""])[:2]
    return DeployRequest(
        service=service,
        version=release,
        environment=found.get("environment", ""),
        strategy=found.get("strategy", ""),
        ticket=found.get("ticket", ""),
        namespace=found.get("namespace", ""),
    )

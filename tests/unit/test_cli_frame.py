"""The command line's promises, whatever the verb."""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from console import arguments, cli, output
from services.model.errors import ExitCode, GateUnmet, HeldByAnother, NeedsAttention, Rejected, Unavailable
from services.model.reasons import reason_of
from services.model.release import DeployRequest

ROOT = Path(__file__).parents[2]
HEAVY = ("textual", "kubernetes", "httpx", "pydantic", "aiohttp", "rich", "yaml", "prometheus_client")


def quarterdeck(*words: str, **more: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "console", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        **more,
    )  # type: ignore[call-overload,no-any-return]


def test_importing_and_parsing_load_nothing_heavy() -> None:
    code = f"import sys, console.cli; console.cli.parser(); print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_the_journal_of_a_home_needs_no_settings_code(tmp_path: Path) -> None:
    code = (
        f"import sys, console.cli; console.cli.main(['journal', 'verify', '--home', {str(tmp_path)!r}]);"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_verb_is_there() -> None:
    verbs = next(action.choices for action in cli.parser()._actions if action.dest == "verb")
    assert verbs is not None
    assert tuple(verbs) == cli.VERBS


@pytest.mark.parametrize(
    "words", [["-o", "json", "journal", "list"], ["journal", "-o", "json", "list"], ["journal", "list", "-o", "json"]]
)
def test_global_options_stand_anywhere(words: list[str]) -> None:
    args = cli.parser().parse_args([*words, "--home", "/x"])
    assert (args.output, args.home, args.config, args.read_only) == ("json", "/x", None, False)
    args = cli.parser().parse_args(["--read-only", "--config", "c", *words])
    assert (args.output, args.config, args.read_only) == ("json", "c", True)


def test_options_are_never_guessed_from_abbreviations(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["journal", "list", "--serv", "x"]) == 2
    assert "--serv" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["bogus"], ["journal"], ["journal", "show", "x"], ["--output", "xml", "journal", "list"], ["deploy"]]
)
def test_a_command_line_that_cannot_be_understood(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("quarterdeck: command line: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["depoly"], "there is no verb 'depoly'; did you mean deploy?"),
        (["Status"], "did you mean status?"),
        (["journal", "verfy"], "there is no action 'verfy'; did you mean verify?"),
        (["-o", "jsn", "status"], "did you mean json?"),
        (["deploy", "a", "v1.2.3", "--tiket", "CHG-1"], "there is no option '--tiket'; did you mean --ticket?"),
        (["deploy", "a", "v1.2.3", "--confrm=production"], "did you mean --confirm?"),
        (["--read_only", "status"], "did you mean --read-only?"),
        (["status", "production"], "'production' is one word too many"),
        (["status", "--config", ""], "--config: is empty"),
        (["--home=", "status"], "--home: is empty"),
        (["journal", "list", "--limit", "few"], "--limit: invalid int value"),
        (["x" * 5000], f"there is no verb '{'x' * 80}' (known"),
    ],
)
def test_a_slip_is_named_with_what_was_meant(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err) < 1500


def test_the_usage_is_that_of_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["journal", "list", "--serv", "x"]) == 2
    assert "usage: quarterdeck journal list" in capsys.readouterr().err


def helped(words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main([*words, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself_and_every_word_it_takes(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = helped([verb], capsys, monkeypatch)
    assert max(map(len, shown.splitlines())) <= 80
    parser = cli.parser()._subparsers
    assert parser is not None
    found = next(action.choices for action in parser._group_actions if action.choices)[verb]  # type: ignore[index,call-overload]
    assert found.description, "what it does"
    assert all(action.help for action in found._actions if not isinstance(action, argparse._SubParsersAction))


def test_the_first_help_names_every_verb_and_every_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = helped([], capsys, monkeypatch)
    assert all(f"    {verb} " in shown for verb in cli.VERBS)
    assert all(f"  {int(code)}  " in shown for code in ExitCode)


def test_a_deploy_that_cannot_be_understood_still_answers_with_its_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["deploy", "payment-service", "v2.15.0", "-e", "production", "--bogus", "-o", "json"]) == 2
    out, _ = capsys.readouterr()
    document = json.loads(out)
    assert out.count("\n") == 1
    assert document["outcome"] == "rejected"
    assert (document["service"], document["version"], document["environment"]) == ("payment-service", "v2.15.0", "production")
    assert set(document) == {
        "rollout", "service", "environment", "version", "previous_version", "strategy", "outcome", "reason", "gates", "steps",
        "rollback", "duration_seconds", "journal",
    }  # fmt: skip
    assert document["reason"]["kind"] == "input"
    assert (document["gates"], document["steps"], document["rollback"]) == ([], [], None)


def test_the_rejected_document_names_field_rule_and_accepted() -> None:
    error = Rejected("version", "latest", "is no semantic version", "v1.2.3")
    request = DeployRequest(service="s", version="latest", environment="dev", strategy="canary")
    document = output.rejected_rollout(request, reason_of(error), journal=(4, 5))
    assert document["reason"] == {
        "kind": "input", "name": "version", "value": "latest", "limit": None,
        "detail": "is no semantic version; accepted: v1.2.3",
    }  # fmt: skip
    assert document["journal"] == {"first": 4, "last": 5}
    assert document["strategy"] == "canary"


@pytest.mark.parametrize(
    ("raised", "code", "outcome"),
    [
        (Rejected("field", "x", "rule", "y"), 2, "rejected"),
        (GateUnmet("A gate is unmet"), 3, "failed"),
        (NeedsAttention("Look"), 5, "failed"),
        (HeldByAnother("Held"), 6, "failed"),
        (Unavailable("Down", "https://x", "Wait"), 1, "failed"),
        (KeyboardInterrupt(), 7, None),
        (ZeroDivisionError("secret=hunter2"), 1, "failed"),
    ],
)
def test_what_a_command_raises_becomes_an_exit_code(
    raised: BaseException,
    code: int,
    outcome: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(args: argparse.Namespace) -> int:
        raise raised

    monkeypatch.setattr("console.commands.journal.run", run)
    assert cli.main(["journal", "verify", "--home", str(tmp_path), "-o", "json"]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert err.count("quarterdeck: ") == 1
    if outcome:
        assert json.loads(out)["outcome"] == outcome
    if isinstance(raised, ZeroDivisionError):
        log = tmp_path / "log" / "quarterdeck.log"
        assert str(log) in err
        assert "Traceback" in log.read_text()
        assert "hunter2" not in log.read_text() + err + out


def test_a_reader_that_leaves_early_is_no_crash(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "console", "--help"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait(30)
    assert b"Traceback" not in err
    assert b"BrokenPipe" not in err


def test_without_a_terminal_the_console_says_so() -> None:
    done = quarterdeck()
    assert done.returncode == 2
    assert "terminal" in done.stderr
    assert done.stdout == ""


def test_a_stranger_of_the_same_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "widgets").mkdir()
    (tmp_path / "widgets" / "__init__.py").write_text("")
    code = (
        "import sys; sys.path.append(sys.argv[1]); from console.cli import main; "
        "sys.path.insert(0, sys.argv[2]); sys.exit(main(['--version']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "`widgets` is taken by another one" in done.stderr
    assert str(tmp_path) in done.stderr


SLEEPER = """
import sys, time, console.commands.journal as journal
from console import cli
def run(args):
    print("up", file=sys.stderr, flush=True)
    time.sleep(30)
journal.run = run
sys.exit(cli.main(["journal", "verify"]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_command_with_the_code_for_interrupted(number: int) -> None:
    # A job in the background of a shell ignores the interrupt, and so would its children: here it is to be heard.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen([sys.executable, "-c", SLEEPER], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, heard)
    assert process.stderr is not None
    assert process.stderr.readline() == "up\n"
    time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 7
    assert "Traceback" not in err


def test_json_is_seen_in_a_command_line_that_cannot_be_parsed() -> None:
    for words in (["-o", "json"], ["-ojson"], ["--output=json"], ["--output", "json"], ["-o", "text", "-o", "json"]):
        assert arguments.wants_json(["x", *words])
    for words in ([], ["-o", "text"], ["-o"], ["json"], ["-o", "json", "-o", "text"]):
        assert not arguments.wants_json(["x", *words])


def test_tables_are_aligned_and_plain(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("A", "LONGER"), [("x" * 5, "1"), ("y", "2\x1b")])
    assert capsys.readouterr().out.splitlines() == ["A      LONGER", "xxxxx  1", "y      2\\x1b"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_on_a_terminal_no_line_is_wider_than_it(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout", Terminal())
    rows = [(str(seq), "2026-11-23 00:07:51Z", "deployment.completed", "ok", "word " * 30 + "x" * 90) for seq in range(3)]
    output.table(("SEQ", "TIME", "EVENT", "OUTCOME", "WHAT"), rows)
    output.folded("a sentence of many words " * 12)
    printed = sys.stdout.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, printed.splitlines())) <= width
    assert printed.count("word") == 90 + 12
    assert "".join(printed.split()).count("x" * 90) == 3


def test_a_file_gets_a_line_a_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    output.table(("A", "B"), [("1", "word " * 40), ("2", "other " * 40)])
    output.folded("word " * 40)
    assert len(capsys.readouterr().out.splitlines()) == 4


THREAD = """
import sys, threading, console.commands.journal as journal
from console import cli
def run(args):
    failing = threading.Thread(target=lambda: 1 / 0, name="password=hunter2")
    failing.start()
    failing.join()
    return 0
journal.run = run
sys.exit(cli.main(["journal", "verify", "--home", sys.argv[1]]))
"""


def test_a_crash_beside_the_command_is_in_the_log_and_not_on_the_terminal(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", THREAD, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "QUARTERDECK_HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "ZeroDivisionError" in (tmp_path / "log" / "quarterdeck.log").read_text()


def test_documents_survive_hostile_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.document({"a": "\ud800\x1b\n", "b": [float("nan"), (1, 2)]})
    assert json.loads(capsys.readouterr().out) == {"a": "\\ud800\x1b\n", "b": [None, [1, 2]]}


def test_no_secret_is_printed_in_a_document_however_deep_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    token = "ghp_" + "a1B2" * 9
    output.document({"plain": token, "listed": [token], "fixed": (f"a {token}", (token, {"in": (token,)})), token: 1})
    shown = capsys.readouterr().out
    assert token not in shown
    assert shown.count("[REDACTED:") == 6


def test_a_key_of_several_lines_in_an_error_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabcdefghij\n-----END RSA PRIVATE KEY-----"
    output.problem(Unavailable("It answered", f"the body was:\n{key}\nand no more", f"hint {key}"))
    err = capsys.readouterr().err
    assert "MIIE" not in err
    assert "and no more" in err

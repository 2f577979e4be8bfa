"""``analyse --replay``: the answer's form, every kind of bad file named by row and column, and what the settings change."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import cli
from services.analysis.judge import SENSITIVITY, Parameters, Verdict
from services.analysis.recording import COLUMNS, parse
from services.analysis.replay import replay
from services.model.errors import Rejected

ROW = [1000, 10, 10, 9000, 90, 90]
BAD = [1000, 60, 10, 9000, 90, 90]


def recorded(rows, *, columns=COLUMNS, **more) -> dict:
    return {"interval_s": 10, "columns": list(columns), "rows": rows, "pre_rows": None, "slow_threshold": 0.12} | more


@pytest.fixture
def analyse(tmp_path, capsys):
    def run(document, *words, form="json"):
        path = tmp_path / "canary.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        code = cli.main(["analyse", "--replay", str(path), "-o", form, *words])
        out, err = capsys.readouterr()
        return code, json.loads(out) if form == "json" else out, err

    return run


def test_a_regression(analyse) -> None:
    code, answer, err = analyse(recorded([ROW] * 20 + [BAD] * 40))
    assert code == 0
    assert err == ""
    assert list(answer) == ["verdict", "at_s", "metric", "log_evidence", "intervals"]
    assert (answer["verdict"], answer["metric"], answer["intervals"]) == ("regressed", "errors", 60)
    assert 200 < answer["at_s"] <= 250
    assert answer["log_evidence"] >= math.log(100)


def test_slow_requests_are_a_regression_after_the_warm_up(analyse) -> None:
    slow = [1000, 10, 60, 9000, 90, 90]
    answer = analyse(recorded([slow] * 12))[1]
    assert (answer["verdict"], answer["metric"], answer["at_s"]) == ("regressed", "latency", 60.0)
    assert analyse(recorded([slow] * 3 + [ROW] * 57))[1]["verdict"] == "healthy"


def test_healthy_undecided_and_no_data(analyse) -> None:
    healthy = analyse(recorded([[10_000, 10, 100, 90_000, 90, 900]] * 60))[1]
    assert (healthy["verdict"], healthy["at_s"], healthy["metric"]) == ("healthy", 90.0, "errors")
    undecided = analyse(recorded([[50, 0, 0, 450, 1, 4]] * 6))[1]
    assert (undecided["verdict"], undecided["at_s"]) == ("undecided", None)
    for nothing in ([0, 0, 0, 900, 1, 1], [900, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]):
        answer = analyse(recorded([nothing] * 60))[1]
        assert answer == {"verdict": "no_data", "at_s": None, "metric": None, "log_evidence": 0.0, "intervals": 60}


def test_what_was_healthy_before_the_fault_is_not_called_healthy(analyse) -> None:
    rows = [[10_000, 10, 100, 90_000, 90, 900]] * 30 + [[10_000, 100, 100, 90_000, 90, 900]] * 30
    answer = analyse(recorded(rows))[1]
    assert answer["verdict"] == "regressed"
    assert 300 < answer["at_s"] <= 340


def test_columns_in_any_order_other_keys_and_other_columns_are_fine(analyse) -> None:
    plain = analyse(recorded([ROW] * 20 + [BAD] * 40))[1]
    order = [5, 3, 1, 0, 4, 2]
    rows = [["12:00", *(row[at] for at in order)] for row in [ROW] * 20 + [BAD] * 40]
    document = recorded(rows, columns=["time", *(COLUMNS[at] for at in order)], label="regression", onset_s=200)
    del document["pre_rows"], document["slow_threshold"]
    assert analyse(document)[1] == plain


def test_the_time_before_the_deploy_calibrates(analyse) -> None:
    """A service whose arms really differ by half from scrape to scrape: calm counts mean more than these."""
    calm = [ROW] * 120
    wild = [[1000, 10 + 9 * (-1) ** (at // 2), 10, 9000, 90, 90] for at in range(120)]
    rows = [ROW] * 20 + [[1000, 22, 10, 9000, 90, 90]] * 40
    at = {name: analyse(recorded(rows, pre_rows=before))[1]["at_s"] for name, before in (("calm", calm), ("none", None))}
    assert at["calm"] <= at["none"]
    assert (analyse(recorded(rows, pre_rows=wild))[1]["at_s"] or 999) > at["calm"]
    assert analyse(recorded(rows, pre_rows=calm), "--no-history")[1]["at_s"] == at["none"]


def test_settings_change_the_answer(analyse) -> None:
    half_more = recorded([[10_000, 150, 100, 90_000, 900, 900]] * 60)
    assert analyse(half_more)[1]["verdict"] == "regressed"
    assert analyse(half_more, "--sensitivity", "lenient")[1]["verdict"] == "undecided"
    assert analyse(half_more, "--errors-d", "0.01")[1]["verdict"] == "undecided"
    assert analyse(half_more, "--errors-r", "1.6")[1]["verdict"] == "undecided"
    assert analyse(half_more, "--alpha", "1e-300")[1]["verdict"] == "undecided"
    for name in SENSITIVITY:
        assert analyse(half_more, "--sensitivity", name)[0] == 0
    burst = recorded([[10_000, 5000, 100, 90_000, 900, 900]] * 10)
    assert analyse(burst)[1]["at_s"] == 30.0
    assert analyse(burst, "--burst-scrapes", "4")[1]["at_s"] == 40.0
    slow = recorded([[1000, 10, 60, 9000, 90, 90]] * 20)
    assert analyse(slow, "--warm-up", "60")[1]["at_s"] == 90.0
    assert analyse(slow, "--latency-r", "8")[1]["verdict"] == "undecided"


def test_the_hard_trigger_only_where_asked_for(analyse) -> None:
    rows = recorded([[1000, 90, 10, 9000, 90, 90]] * 2 + [ROW] * 58)
    assert analyse(rows)[1]["verdict"] != "regressed"
    answer = analyse(rows, "--hard-triggers")[1]
    assert (answer["verdict"], answer["metric"], answer["at_s"]) == ("regressed", "error-rate", 10.0)
    both = recorded([[1000, 90, 10, 9000, 900, 90]] * 2 + [ROW] * 58)
    assert "looks like an incident" in analyse(both, "--hard-triggers", form="text")[1].replace("\n ", "")


def test_scrapes_of_another_length(analyse) -> None:
    """The limit of a scrape follows its length: an abort still needs about half a minute of failures."""
    for interval, at in ((5, 30.0), (15, 30.0), (30, 30.0), (60, 60.0), (0.1, 30.0)):
        rows = [[5000, 2500, 50, 45_000, 45, 450]] * max(10, int(40 / interval))
        assert analyse(recorded(rows, interval_s=interval))[1]["at_s"] == at


BROKEN = {
    "ragged, short": (recorded([ROW, ROW[:-1]]), "rows[1] (row 2), column control_slow"),
    "ragged, long": (recorded([ROW, ROW, [*ROW, 1]]), "rows[2] (row 3), after column control_slow"),
    "negative": (recorded([ROW, [1000, -1, 10, 9000, 90, 90]]), "rows[1] (row 2), column canary_errors: is negative"),
    "errors": (
        recorded([[1000, 10, 10, 90, 91, 1]]),
        "rows[0] (row 1), column control_errors: is more than control_requests, 90",
    ),
    "slow": (recorded([[10, 1, 11, 90, 9, 1]]), "rows[0] (row 1), column canary_slow: is more than canary_requests, 10"),
    "NaN": (recorded([ROW, [1000, 10, 10, math.nan, 90, 90]]), "rows[1] (row 2), column control_requests: is not a finite"),
    "infinite": (recorded([[math.inf, 10, 10, 9, 9, 9]]), "rows[0] (row 1), column canary_requests: is not a finite"),
    "text": (recorded([["1000", 10, 10, 9, 9, 9]]), "rows[0] (row 1), column canary_requests: is not a number"),
    "null": (recorded([[1000, None, 10, 9, 9, 9]]), "rows[0] (row 1), column canary_errors: is not a number"),
    "true": (recorded([[1000, True, 10, 9, 9, 9]]), "rows[0] (row 1), column canary_errors: is not a number"),
    "huge": (recorded([[10**400, 1, 10, 9, 9, 9]]), "rows[0] (row 1), column canary_requests: is more than can be"),
    "no list": (recorded([ROW, {"canary_requests": 5}]), "rows[1] (row 2): is not a list"),
    "before": (recorded([ROW], pre_rows=[ROW, [1, 2, 0, 1, 0, 0]]), "pre_rows[1] (row 2), column canary_errors"),
    "before, no rows": (recorded([ROW], pre_rows=7), "pre_rows: is not a list"),
    "no rows": (recorded([]), "rows: has no rows at all"),
    "rows": (recorded("none"), "rows: is not a list"),
    "column": (recorded([ROW[1:]], columns=COLUMNS[1:]), "columns: has no column canary_requests"),
    "columns": (
        recorded([ROW[3:]], columns=COLUMNS[3:]),
        "columns: has no columns canary_requests, canary_errors, canary_slow",
    ),
    "twice": (recorded([[*ROW, 1]], columns=[*COLUMNS, "canary_slow"]), "columns: has the column canary_slow more than once"),
    "names": (recorded([ROW], columns=[1, 2]), "columns: is not a list of names"),
    "zero interval": (recorded([ROW], interval_s=0), "interval_s: is no length"),
    "negative interval": (recorded([ROW], interval_s=-10), "interval_s: is no length"),
    "NaN interval": (recorded([ROW], interval_s=math.nan), "interval_s: is not a finite"),
    "text interval": (recorded([ROW], interval_s="10s"), "interval_s: is not a number"),
    "missing": ({"interval_s": 10, "columns": list(COLUMNS)}, "canary.json: rows: is missing"),
    "not an object": ([ROW], "canary.json: is not an object"),
    "empty": ("", "canary.json: is empty"),
    "a key twice": ('{"interval_s": 0, "columns": [], "rows": [], "interval_s": 10}', "interval_s: is there more than once"),
    "cut": (json.dumps(recorded([ROW]))[:-20], "canary.json: is not JSON"),
    "deep": ("[" * 100_000, "canary.json: is not JSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_judged_is_refused_by_row_and_column(name, analyse) -> None:
    document, told = BROKEN[name]
    code, answer, err = analyse(document)
    assert code == 2
    assert told in err
    assert answer["outcome"] == "rejected"
    assert answer["reason"]["kind"] == "input"
    assert answer["reason"]["name"] in told or told in answer["reason"]["name"]
    assert "Traceback" not in err


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_file(encoding, tmp_path, capsys, analyse) -> None:
    plain = analyse(recorded([ROW] * 20 + [BAD] * 40))[1]
    path = tmp_path / "marked.json"
    path.write_bytes(json.dumps(recorded([ROW] * 20 + [BAD] * 40)).encode(encoding))
    assert cli.main(["analyse", "--replay", str(path), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == plain


def test_a_file_that_cannot_be_read(tmp_path, capsys) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        assert cli.main(["analyse", "--replay", str(path)]) == 2
        assert "can't be read" in capsys.readouterr().err
    binary = tmp_path / "binary"
    binary.write_bytes(bytes(range(256)))
    assert cli.main(["analyse", "--replay", str(binary)]) == 2
    assert "is not JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--alpha", "0"], ["--alpha", "nan"], ["--errors-r", "0.5"], ["--burst-scrapes", "0"], ["--onset", "inf"],
              ["--warm-up", "-1"], ["--beta", "1"], ["--alpha", "x"], ["--sensitivity", "wild"]],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(words, analyse) -> None:
    code, answer, err = analyse(recorded([ROW]), *words)
    assert code == 2
    assert answer["outcome"] == "rejected"
    assert "Traceback" not in err


def test_a_file_is_asked_for(capsys) -> None:
    assert cli.main(["analyse"]) == 2
    assert "--replay" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([ROW] * 20 + [BAD] * 40, ("REGRESSED at 2", "canary", "× the control", "began after 200 s", "abort")),
        ([[10_000, 10, 100, 90_000, 90, 900]] * 60, ("HEALTHY since 90 s", "quiet", "100 / 100")),
        ([[5, 0, 0, 45, 0, 1]] * 60, ("UNDECIDED", "nine times in ten")),
        ([[0, 0, 0, 450, 1, 4]] * 60, ("NO DATA", "no data")),
        ([[2**53, 2**53, 0, 2**53, 0, 0]] * 60, ("REGRESSED at 30 s",)),
        ([[1e-9, 1e-9, 0, 0.5, 0, 0]] * 60, ("UNDECIDED",)),
    ],
)
def test_the_summary_fits_80_columns(rows, told, analyse) -> None:
    code, text, err = analyse(recorded(rows, slow_threshold="120 ms\x1b[31m"), form="text")
    assert (code, err) == (0, "")
    for one in told:
        assert one in text
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text


def test_the_summary_says_what_a_rival_would_have_done(analyse) -> None:
    text = analyse(recorded([ROW] * 12 + [[1000, 80, 10, 9000, 90, 90]] * 48), form="text")[1]
    assert "Argo's default rule (success below 95 % in any minute) aborts at 180 s." in text
    assert "never aborts" in analyse(recorded([ROW] * 60), form="text")[1]


counts = st.tuples(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1)).map(
    lambda told: [told[0], math.floor(told[0] * told[1]), math.floor(told[0] * told[2])]
)


@given(
    st.lists(st.tuples(counts, counts).map(lambda arms: arms[0] + arms[1]), min_size=1, max_size=40),
    st.none() | st.lists(st.tuples(counts, counts).map(lambda arms: arms[0] + arms[1]), max_size=40),
    st.sampled_from((0.001, 1, 5, 10, 15, 60, 86_400)),
)
def test_any_counts_have_a_finite_answer(rows, before, interval) -> None:
    recording = parse(json.dumps(recorded(rows, pre_rows=before, interval_s=interval)).encode(), "x")
    found = replay(recording, Parameters(interval_s=recording.interval_s), hard_triggers=True)
    assert math.isfinite(found.state.log_e)
    assert (found.at_s is None) is (found.verdict in (Verdict.UNDECIDED, Verdict.NO_DATA))
    assert found.at_s is None or 0 < found.at_s <= round(len(rows) * interval, 6)
    assert (found.metric is None) is (found.verdict is Verdict.NO_DATA)


@given(st.binary(max_size=300) | st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), st.lists).map(
    lambda value: json.dumps({"interval_s": 10, "columns": list(COLUMNS), "rows": value, "pre_rows": value}).encode()
))  # fmt: skip
def test_nothing_else_than_a_refusal_comes_of_a_strange_file(body) -> None:
    with pytest.raises(Rejected):
        parse(body, "x")


@pytest.mark.parametrize(("name", "said"), [("", "--replay: is empty"), ("-", "can't be read (No such file or directory)")])
def test_what_is_piped_in_has_a_name(name, said, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["analyse", "--replay", name]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "/dev/stdin" in err

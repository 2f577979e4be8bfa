"""The judge against figures that were computed elsewhere, by other routes, with 50 digits."""

import json

import pytest
from bench import judge_vectors

ABSENT = not judge_vectors.FILE.exists()


@pytest.mark.skipif(ABSENT, reason="../shared/judge_vectors.json is not there")
def test_every_case_agrees() -> None:
    document = json.loads(judge_vectors.FILE.read_text())
    rows = judge_vectors.compared(document)
    assert len({(row.group, row.name) for row in rows}) >= sum(len(group["cases"]) for group in document["tests"].values()) > 0
    assert [row for row in rows if not row.agrees] == []


@pytest.mark.skipif(ABSENT, reason="../shared/judge_vectors.json is not there")
def test_a_wrong_figure_shows(tmp_path, monkeypatch, capsys) -> None:
    document = json.loads(judge_vectors.FILE.read_text())
    document["tests"]["combine"]["cases"][0]["log_e"] += 1e-6
    changed = tmp_path / "vectors.json"
    changed.write_text(json.dumps(document))
    monkeypatch.setattr("sys.argv", ["judge_vectors.py", str(changed)])
    assert judge_vectors.main() == 1
    told = capsys.readouterr().out
    assert told.count("OFF") == 1
    assert "1 rows off" in told

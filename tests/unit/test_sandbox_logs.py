"""The log store of the sandbox: what it keeps over a restart and a kill, how much, and what it answers to queries."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sandbox.logdocuments import Documents
from services.sandbox.logquery import NotUnderstood, by_words, compiled, filtered, ordered
from services.sandbox.logstore import LogStore, Refused

DOCUMENT: dict[str, Any] = {"n": 3, "event": {"action": "deployment.started", "seq": 7}, "tags": ["a", "b"], "ok": True, "a.b": 1}


def test_what_was_stored_is_there_after_a_restart_and_a_line_cut_off_by_a_kill_is_not(tmp_path: Path) -> None:
    file = tmp_path / "logs.jsonl"
    first = Documents(file)
    first.put("a", "1", {"n": 1})
    first.put("a", "2", {"n": 2})
    first.put("a", "1", {"n": 11})
    first.delete("a", "2")
    with file.open("a") as out:
        out.write('{"_index": "a", "_id": "3", "_sou')
    again = Documents(file)
    assert [(id_, source["n"]) for _, id_, source in again.all()] == [("1", 11)]
    again.put("a", "4", {"n": 4})
    assert len(Documents(file)) == 2


def test_the_oldest_are_forgotten_in_memory_and_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "logs.jsonl"
    documents = Documents(file, most=10)
    for n in range(100):
        documents.put("a", str(n), {"n": n})
    assert [source["n"] for _, _, source in documents.all()] == list(range(90, 100))
    assert len(file.read_text().splitlines()) <= 21


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        (None, True),
        ({"match_all": {}}, True),
        ({"term": {"event.action": "deployment.started"}}, True),
        ({"term": {"event.action.keyword": {"value": "deployment.started"}}}, True),
        ({"match": {"event.action": "other"}}, False),
        ({"terms": {"n": [1, 2, 3]}}, True),
        ({"term": {"tags": "b"}}, True),
        ({"term": {"ok": "true"}}, True),
        ({"term": {"a.b": 1}}, True),
        ({"ids": {"values": ["x"]}}, True),
        ({"exists": {"field": "event.seq"}}, True),
        ({"exists": {"field": "event.nothing"}}, False),
        ({"prefix": {"event.action": "deployment."}}, True),
        ({"range": {"n": {"gte": 3, "lt": 4}}}, True),
        ({"range": {"n": {"gt": 3}}}, False),
        ({"bool": {"must": {"term": {"n": 3}}, "must_not": [{"term": {"n": 4}}]}}, True),
        ({"bool": {"should": [{"term": {"n": 4}}, {"term": {"tags": "a"}}]}}, True),
        ({"bool": {"filter": [{"term": {"n": 3}}, {"term": {"n": 4}}]}}, False),
    ],
)
def test_queries(query: Any, matches: bool) -> None:
    assert compiled(query)("x", DOCUMENT) is matches


@pytest.mark.parametrize(
    "query", [{"script": {}}, {"term": {"a": 1, "b": 2}}, [], {"a": 1, "b": 2}, {"bool": {"must": [{"x": 1}]}}]
)
def test_what_is_not_understood_is_said(query: Any) -> None:
    if query:
        with pytest.raises(NotUnderstood):
            compiled(query)
    with pytest.raises(NotUnderstood):
        by_words("no colon")


def test_words_order_and_filter() -> None:
    assert by_words("event.action:deployment.started AND n:3")("x", DOCUMENT)
    assert not by_words("n:4")("x", DOCUMENT)
    found = [("i", str(n), {"n": n} if n != 2 else {}) for n in (1, 3, 2)]
    assert [id_ for _, id_, _ in ordered(found, [{"n": {"order": "desc"}}])] == ["3", "1", "2"]
    assert [id_ for _, id_, _ in ordered(found, "n:asc")] == ["1", "3", "2"]
    answer = {
        "took": 1,
        "errors": True,
        "items": [{"create": {"status": 201, "_id": "a"}}, {"create": {"status": 400, "error": 1}}],
    }
    assert filtered(answer, "errors,items.*.status,items.*.error") == {
        "errors": True,
        "items": [{"create": {"status": 201}}, {"create": {"status": 400, "error": 1}}],
    }
    assert filtered(answer, "nothing") == {}


@given(st.lists(st.tuples(st.sampled_from(["create", "index", "delete"]), st.integers(0, 5), st.integers()), max_size=30))
def test_a_bulk_request_is_carried_out_item_by_item(actions: list[tuple[str, int, int]]) -> None:
    store, model = LogStore(Documents()), dict[str, int]()
    body, wanted = b"", []
    for kind, id_, n in actions:
        body += json.dumps({kind: {"_index": "a", "_id": str(id_)}}).encode() + b"\n"
        there = str(id_) in model
        if kind == "delete":
            wanted.append(200 if model.pop(str(id_), None) is not None else 404)
            continue
        body += json.dumps({"n": n}).encode() + b"\n"
        wanted.append((409 if there else 201) if kind == "create" else 200 if there else 201)
        if kind == "index" or not there:
            model[str(id_)] = n
    if not actions:
        with pytest.raises(Refused):
            store.bulk(b"\n")
        return
    answer = store.bulk(body)
    assert [next(iter(item.values()))["status"] for item in answer["items"]] == wanted
    assert {id_: source["n"] for _, id_, source in store.documents.all()} == model


@pytest.mark.parametrize(
    "body", [b'{"create":{}}', b"not json\n{}\n", b'{"creat":{"_id":"1"}}\n{}\n', b'{"create":{"_id":"1"}}\n']
)
def test_a_bulk_request_that_cant_be_read_stores_nothing(body: bytes) -> None:
    store = LogStore(Documents())
    with pytest.raises(Refused) as refused:
        store.bulk(body, "a")
    assert refused.value.status == 400
    assert len(store.documents) == 0

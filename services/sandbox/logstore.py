"""A log store that speaks Elasticsearch's HTTP interface: what is shipped to the sandbox can be read, searched and counted.

https://www.elastic.co/docs/api/doc/elasticsearch/ . As a server of version 9 it is known by the official clients of Elasticsearch
and OpenSearch. Loopback only, so nobody has to log in.
"""

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from services.sandbox.logdocuments import Documents
from services.sandbox.logquery import NotUnderstood, by_words, compiled, filtered, ordered

VERSION = "9.1.0"
MOST_HITS = 10_000
_ACTIONS = ("create", "index", "update", "delete")


class Refused(Exception):
    """An error in Elasticsearch's form, for a request or for one item of a bulk request."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.kind = kind
        self.reason = reason

    @property
    def cause(self) -> dict[str, Any]:
        return {"type": self.kind, "reason": self.reason}


class LogStore:
    """``check`` sees every item of a bulk request before it is stored, and may raise :class:`Refused` for it."""

    def __init__(self, documents: Documents, check: Callable[[str, str, Any], None] = lambda index, id_, source: None) -> None:
        self.documents = documents
        self._check = check

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request below this store's root, whose path is ``request.match_info["path"]``."""
        body = await request.read()
        path = [part for part in request.match_info.get("path", "").split("/") if part]
        try:
            answer, status = self._answered(request.method, path, body, request)
        except Refused as error:
            answer, status = {"error": {"root_cause": [error.cause], **error.cause}, "status": error.status}, error.status
        return respond(filtered(answer, request.query.get("filter_path", "")), status, request)

    def bulk(self, body: bytes, default_index: str = "") -> dict[str, Any]:
        """Carry out a bulk request: items in its order, each with a status of its own. Raises :class:`Refused` for one that can't
        be read; nothing of it is stored then."""
        if not body.endswith(b"\n"):
            raise Refused(400, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
        items = []
        for kind, meta, source in list(_parsed(body)):
            index, id_ = str(meta.get("_index") or default_index), str(meta.get("_id") or f"auto-{len(self.documents) + 1}")
            try:
                result: dict[str, Any] = self._carried_out(kind, index, id_, source)
            except Refused as error:
                result = {"status": error.status, "error": error.cause}
            items.append({kind: {"_index": index, "_id": id_, **result}})
        errors = any("error" in next(iter(item.values())) for item in items)
        return {"took": 1, "errors": errors, "items": items}

    def _answered(self, method: str, path: list[str], body: bytes, request: web.Request) -> tuple[Any, int]:
        match (method, path):
            case ("GET" | "HEAD", []):
                return _INFO, 200
            case ("GET", ["_cluster", "health"]):
                return {"cluster_name": "sandbox", "status": "green", "number_of_nodes": 1, "timed_out": False}, 200
            case ("GET", ["_cat", "indices"]):
                rows = [{"index": name, "docs.count": str(self._count(name, None)), "health": "green"} for name in self._names()]
                return rows, 200
            case ("POST" | "PUT", ["_bulk"]):
                return self.bulk(body), 200
            case ("POST" | "PUT", [index, "_bulk"]):
                return self.bulk(body, index), 200
            case ("GET" | "POST", ["_search"]):
                return self._search("_all", body, request), 200
            case ("GET" | "POST", [index, "_search"]):
                return self._search(self._there(index), body, request), 200
            case ("GET" | "POST", ["_count"]):
                return self._counted("_all", body, request), 200
            case ("GET" | "POST", [index, "_count"]):
                return self._counted(self._there(index), body, request), 200
            case ("GET" | "POST", ["_mget"]):
                return self._many(body, ""), 200
            case ("GET" | "POST", [index, "_mget"]):
                return self._many(body, index), 200
            case ("GET" | "HEAD", [index, "_doc", id_]):
                found = self._got(self._there(index), id_)
                return found, 200 if found["found"] else 404
            case ("PUT" | "POST", [index, "_doc" | "_create" as kind, id_]):
                create = kind == "_create" or request.query.get("op_type") == "create"
                return self._one("create" if create else "index", index, id_, body)
            case ("POST", [index, "_doc"]):
                return self._one("index", index, f"auto-{len(self.documents) + 1}", body)
            case ("GET" | "POST", ["_refresh"] | [_, "_refresh"]):
                return {"_shards": {"total": 1, "successful": 1, "failed": 0}}, 200
            case ("PUT", [index]):
                self.documents.make(index)
                return {"acknowledged": True, "shards_acknowledged": True, "index": index}, 200
            case ("HEAD", [index]):
                return {}, 200 if self.documents.matching(index) else 404
            case ("DELETE", [index]):
                self.documents.drop(self._there(index))
                return {"acknowledged": True}, 200
        raise Refused(400, "illegal_argument_exception", f"no handler found for uri [/{'/'.join(path)}] and method [{method}]")

    def _names(self) -> list[str]:
        return self.documents.indices

    def _there(self, index: str) -> str:
        if "*" not in index and index != "_all" and not self.documents.matching(index):
            raise Refused(404, "index_not_found_exception", f"no such index [{index}]")
        return index

    def _one(self, kind: str, index: str, id_: str, body: bytes) -> tuple[Any, int]:
        result = self._carried_out(kind, index, id_, _source(body))
        return {"_index": index, "_id": id_, **{key: value for key, value in result.items() if key != "status"}}, result["status"]

    def _carried_out(self, kind: str, index: str, id_: str, source: Any) -> dict[str, Any]:
        if not index or index != index.lower() or any(char in index for char in ' "*\\<|,>/?#') or index[0] in "-_+":
            raise Refused(400, "invalid_index_name_exception", f"Invalid index name [{index}]")
        self._check(index, id_, source)
        there = self.documents.get(index, id_) is not None
        if kind == "delete":
            return {"result": "deleted" if self.documents.delete(index, id_) else "not_found", "status": 200 if there else 404}
        if kind == "update":
            if not there:
                raise Refused(404, "document_missing_exception", f"[{id_}]: document missing")
            source = (self.documents.get(index, id_) or {}) | (source.get("doc", {}) if isinstance(source, dict) else {})
        self.documents.make(index)
        if not isinstance(source, dict):
            raise Refused(
                400, "document_parsing_exception", "[1:1] failed to parse: malformed content, must start with an object"
            )
        if kind == "create" and there:
            reason = f"[{id_}]: version conflict, document already exists (current version [1])"
            raise Refused(409, "version_conflict_engine_exception", reason)
        number = self.documents.put(index, id_, source)
        result = {
            "_version": 2 if there else 1,
            "result": "updated" if there else "created",
            "_seq_no": number,
            "_primary_term": 1,
        }
        return result | {"status": 200 if there else 201}

    def _got(self, index: str, id_: str, whole: bool = True) -> dict[str, Any]:
        source = self.documents.get(index, id_)
        if source is None:
            return {"_index": index, "_id": id_, "found": False}
        found = {"_index": index, "_id": id_, "_version": 1, "_seq_no": self.documents.number(index, id_), "found": True}
        return found | ({"_source": source} if whole else {})

    def _many(self, body: bytes, index: str) -> dict[str, Any]:
        asked = _source(body) or {}
        if not isinstance(asked, dict):
            raise Refused(400, "parsing_exception", "an object with docs or ids is expected")
        docs = asked.get("docs") or [{"_id": id_} for id_ in asked.get("ids", ())]
        return {"docs": [self._got(doc.get("_index", index), doc["_id"], doc.get("_source") is not False) for doc in docs]}

    def _search(self, index: str, body: bytes, request: web.Request) -> dict[str, Any]:
        asked = _source(body) or {}
        found = self._found(index, asked, request.query.get("q", ""))
        found = ordered(found, asked.get("sort") or [key for key in request.query.get("sort", "").split(",") if key])
        start = int(asked.get("from", request.query.get("from", 0)))
        size = min(MOST_HITS, int(asked.get("size", request.query.get("size", 10))))
        whole = asked.get("_source") is not False
        hits = [
            {"_index": index_, "_id": id_, "_score": 1.0} | ({"_source": source} if whole else {})
            for index_, id_, source in found[start : start + size]
        ]
        return {
            "took": 1,
            "timed_out": False,
            "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
            "hits": {"total": {"value": len(found), "relation": "eq"}, "max_score": 1.0 if found else None, "hits": hits},
        }

    def _counted(self, index: str, body: bytes, request: web.Request) -> dict[str, Any]:
        count = len(self._found(index, _source(body) or {}, request.query.get("q", "")))
        return {"count": count, "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0}}

    def _count(self, index: str, query: Any) -> int:
        return len(self._found(index, {"query": query}, ""))

    def _found(self, index: str, asked: Any, words: str) -> list[tuple[str, str, dict[str, Any]]]:
        if not isinstance(asked, dict):
            raise Refused(400, "parsing_exception", "an object is expected")
        try:
            matches = by_words(words) if words else compiled(asked.get("query"))
            return [one for one in self.documents.all(index) if matches(one[1], one[2])]
        except (NotUnderstood, AttributeError, TypeError, ValueError) as error:
            raise Refused(400, "parsing_exception", str(error)) from error


def respond(answer: Any, status: int, request: web.Request) -> web.Response:
    """As Elasticsearch answers: official clients look for its product header, and for the media type that they asked in."""
    kind = "application/json"
    if "application/vnd.elasticsearch+" in request.headers.get("Accept", ""):
        kind = "application/vnd.elasticsearch+json"
    body = b"" if request.method == "HEAD" else json.dumps(answer, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return web.Response(
        body=body, status=status, headers={"X-Elastic-Product": "Elasticsearch", "Content-Type": f"{kind};compatible-with=9"}
    )


def _parsed(body: bytes) -> "list[tuple[str, dict[str, Any], Any]]":
    """The actions of a bulk request, each with what it is about and the document that follows it, if one does."""
    lines = iter([line for line in body.split(b"\n") if line.strip()])
    found: list[tuple[str, dict[str, Any], Any]] = []
    for line in lines:
        action = _source(line)
        kind = next(iter(action), "") if isinstance(action, dict) and len(action) == 1 else ""
        if kind not in _ACTIONS or not isinstance(action[kind], dict):
            reason = f"Malformed action/metadata line [{2 * len(found) + 1}], expected one of {', '.join(_ACTIONS)}"
            raise Refused(400, "illegal_argument_exception", reason)
        source: Any = None
        if kind != "delete":
            following = next(lines, None)
            if following is None:
                raise Refused(400, "action_request_validation_exception", "Validation Failed: 1: no requests added;")
            try:
                source = json.loads(following)
            except ValueError:
                source = None  # refused with its item, as the server does
        found.append((kind, action[kind], source))
    if not found:
        raise Refused(400, "parse_exception", "request body is required")
    return found


def _source(body: bytes) -> Any:
    if not body.strip():
        return None
    try:
        return json.loads(body)
    except ValueError:
        raise Refused(400, "parsing_exception", "the body is not JSON") from None


_INFO = {
    "name": "sandbox",
    "cluster_name": "sandbox",
    "version": {
        "number": VERSION,
        "build_flavor": "default",
        "build_type": "docker",
        "lucene_version": "10.2.2",
        "minimum_wire_compatibility_version": "8.19.0",
        "minimum_index_compatibility_version": "8.0.0",
    },
    "tagline": "You Know, for Search",
}

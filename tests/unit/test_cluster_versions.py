"""A kind that a server serves in an older version only is found there, for reads, watches and writes alike."""

from pathlib import Path

import pytest
from aiohttp import web
from support.fake_api import connected, manifest, status

from services.cluster.writer import Writer
from services.model.errors import NotFound
from services.model.objects import ObjectRef

GROUP = "/apis/gateway.networking.k8s.io"
OLD = f"{GROUP}/v1beta1/namespaces/shop/httproutes"
ROUTE = ObjectRef("HTTPRoute", "shop", "cart")


async def _unknown(_: web.Request) -> web.StreamResponse:
    return status(404, "the server could not find the requested resource")


def _group(*versions: str):
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "APIGroup", "versions": [{"version": version} for version in versions]})

    return answer


async def test_an_older_version_is_found_once_and_used_from_there_on(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):
        api.always(_unknown, path=f"{GROUP}/v1/")
        api.put("httproutes", manifest("HTTPRoute", "cart"))
        api.rules.append((lambda request: request.path == GROUP, _group("v1beta1")))
        assert [found["metadata"]["name"] for found in await connection.list("HTTPRoute", "shop", type=dict)] == ["cart"]
        await connection.list("HTTPRoute", "shop", type=dict)
        await Writer(connection).patch(ROUTE, [{"op": "add", "path": "/spec", "value": {}}])
        ways = [way for _, way, _ in api.requests]
        assert ways == [OLD.replace("v1beta1", "v1"), GROUP, OLD, OLD, f"{OLD}/cart"]


async def test_an_object_that_is_missing_is_missing_in_every_version(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):
        api.always(_unknown, path="/httproutes/cart")
        api.rules.append((lambda request: request.path == GROUP, _group("v1", "v1beta1")))
        for _ in range(2):
            with pytest.raises(NotFound):
                await connection.get(ROUTE)
        assert api.count(path=GROUP) == 3  # twice the object, once the group


async def test_a_group_that_nobody_serves_is_no_group(tmp_path: Path) -> None:
    async with connected(tmp_path) as (api, connection):
        api.always(_unknown, path=GROUP)
        with pytest.raises(NotFound):
            await connection.list("HTTPRoute", "shop", type=dict)

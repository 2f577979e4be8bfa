"""Lists in pages: each page after the first continues the very list that the first one began."""

import base64
import binascii
import secrets
from collections import OrderedDict
from typing import Any

from services.sandbox.errors import bad_request, expired
from services.sandbox.resources import Object

KEPT = 64
"""Unfinished lists that are remembered; an older one has expired."""


class Pages:
    def __init__(self) -> None:
        self._rest: OrderedDict[str, tuple[int, list[Object]]] = OrderedDict()

    def page(self, objects: list[Object], revision: int, limit: int, token: str) -> tuple[list[Object], dict[str, Any]]:
        """One page and the list's metadata. Raises ApiError 400 for a bad token, 410 for one that is too old."""
        if token:
            revision, objects = self._take(token)
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if not limit or len(objects) <= limit:
            return objects, metadata
        key = secrets.token_hex(8)
        self._rest[key] = (revision, objects[limit:])
        while len(self._rest) > KEPT:
            self._rest.popitem(last=False)
        left = len(objects) - limit
        return objects[:limit], metadata | {
            "continue": base64.urlsafe_b64encode(key.encode()).decode(),
            "remainingItemCount": left,
        }

    def _take(self, token: str) -> tuple[int, list[Object]]:
        try:
            key = base64.urlsafe_b64decode(token).decode("ascii")
        except (binascii.Error, ValueError):
            raise bad_request("invalid continue token: continue key is not valid") from None
        if len(key) != 16:
            raise bad_request("invalid continue token: continue key is not valid")
        found = self._rest.get(key)
        if found is None:
            raise expired("The provided continue parameter is too old to display a consistent list result.")
        return found

    def forget(self) -> None:
        """Every unfinished list has expired."""
        self._rest.clear()

"""What the API server refuses, in the shape of a Kubernetes ``Status``."""

from typing import Any


class ApiError(Exception):
    """One refusal: HTTP ``code``, machine-readable ``reason``, ``message`` for people, ``details`` of the object."""

    def __init__(
        self, code: int, reason: str, message: str, details: dict[str, Any] | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after = retry_after

    def status(self) -> dict[str, Any]:
        """The ``Status`` object a client receives."""
        found: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        found["reason"] = self.reason
        details = dict(self.details or {})
        if self.retry_after is not None:
            details["retryAfterSeconds"] = self.retry_after
        if details:
            found["details"] = details
        return found | {"code": self.code}


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def not_found(plural: str, group: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{_qualified(plural, group)} "{name}" not found', _details(plural, group, name))


def unknown_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(plural: str, group: str, name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{_qualified(plural, group)} "{name}" already exists', _details(plural, group, name))


def conflict(plural: str, group: str, name: str, why: str = "") -> ApiError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {_qualified(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(plural, group, name))


def invalid(kind: str, group: str, name: str, field: str, why: str) -> ApiError:
    details = _details(kind, group, name) | {"causes": [{"reason": "FieldValueInvalid", "message": why, "field": field}]}
    return ApiError(422, "Invalid", f'{_qualified(kind, group)} "{name}" is invalid: {field}: {why}', details)


def patch_failed() -> ApiError:
    """What real API servers answer where an operation of a JSON patch, a ``test`` for one, does not hold."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def forbidden(plural: str, group: str, user: str, verb: str, namespace: str) -> ApiError:
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    what = f'cannot {verb} resource "{plural}" in API group "{group}" {where}'
    message = f'{_qualified(plural, group)} is forbidden: User "{user}" {what}'
    return ApiError(403, "Forbidden", message, {"kind": plural})


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message)


def _qualified(name: str, group: str) -> str:
    return f"{name}.{group}" if group else name


def _details(kind: str, group: str, name: str) -> dict[str, Any]:
    return {"name": name, "kind": kind} | ({"group": group} if group else {})

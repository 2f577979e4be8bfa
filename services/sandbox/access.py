"""Who may do what: two users, told apart by bearer token."""

import hmac
from dataclasses import dataclass

from services.sandbox.errors import forbidden, unauthorized
from services.sandbox.resources import READ_VERBS, REVIEW_GROUP

SECRET_KINDS = ("secrets",)


@dataclass(frozen=True, slots=True)
class User:
    name: str
    writes: bool

    def may(self, verb: str, group: str, resource: str) -> bool:
        """An admin may everything; a viewer may read all but secrets, as the built-in role ``view`` allows."""
        if self.writes or group == REVIEW_GROUP:
            return True
        return verb in READ_VERBS and resource.split("/")[0] not in SECRET_KINDS and not resource.endswith("/proxy")

    def require(self, verb: str, group: str, resource: str, namespace: str) -> None:
        if not self.may(verb, group, resource):
            raise forbidden(resource, group, self.name, verb, namespace)


ADMIN = User("admin", writes=True)
VIEWER = User("viewer", writes=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    admin: str
    viewer: str

    def user(self, authorization: str) -> User:
        """The user of an ``Authorization`` header; ApiError 401 where there is none."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            for known, user in ((self.admin, ADMIN), (self.viewer, VIEWER)):
                if hmac.compare_digest(token.strip().encode(), known.encode()):
                    return user
        raise unauthorized()

"""Which field names hold secrets, and which only point at one."""

import re
from functools import lru_cache

SECRET_WORDS = frozenset(
    {
        "password", "passwd", "passphrase", "pwd", "secret", "token", "authorization", "cookie", "apikey", "credential",
        "credentials", "session", "signature", "dsn", "passwords", "secrets", "tokens", "cookies", "bearer",
    }
)  # fmt: skip
SECRET_ENDINGS = (
    "password", "passwd", "passphrase", "secret", "token", "credential", "credentials", "apikey", "secretkey", "privatekey",
    "accesskey", "accountkey", "sshpass",
)  # fmt: skip
"""Words written as one: ``PGPASSWORD``, ``authtoken``."""
SECRET_PAIRS = frozenset(
    {("api", "key"), ("access", "key"), ("private", "key"), ("client", "key"), ("signing", "key"), ("account", "key")}
)
REFERENCE_WORDS = frozenset(
    {
        "name", "names", "ref", "refs", "file", "path", "type", "kind", "mount", "url", "uri", "namespace", "seconds", "audience",
        "expires", "expiry", "expiration", "ttl", "count", "length", "projection", "key", "required", "account", "class",
        "provider", "affinity",
    }
)  # fmt: skip
"""After a secret word these make the field a reference: ``secretName`` names a Secret, ``token_path`` a file."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/\S*")


@lru_cache(maxsize=4096)
def names_a_secret(key: str) -> bool:
    """Whether a field of this name holds a secret: ``DB_PASSWORD``, ``apiKey``, ``x-auth-token``; not ``secretName``."""
    words = [word.lower() for word in _WORD.findall(key[:200])]
    for index, word in enumerate(words):
        pair = index + 1 < len(words) and (word, words[index + 1]) in SECRET_PAIRS
        passed = word == "pass" and index > 0 and index == len(words) - 1
        if word not in SECRET_WORDS and not word.endswith(SECRET_ENDINGS) and not pair and not passed:
            continue
        rest = words[index + 2 :] if pair else words[index + 1 :]
        # "secret key" and "secret access key" are secrets, though "key" after a secret word is else the key within a Secret
        if rest and rest[-1] == "key" and word == "secret" and "ref" not in rest:
            return True
        if not any(word in REFERENCE_WORDS for word in rest) and not (rest == ["id"] and word != "session"):
            return True
    return False


def is_reference(value: str) -> bool:
    """Whether a value only says where a secret is kept (``env:NAME``, ``file:/path``)."""
    return _REFERENCE.fullmatch(value) is not None

"""Secrets to plant and to look for, and a working year's worth of entries that hold none. Seeded: the same everywhere."""

import base64
import hashlib
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from services.audit import Event

ENCODINGS: dict[str, Callable[[str], str]] = {
    "raw": lambda secret: secret,
    "url": lambda secret: quote(secret, safe=""),
    "json": lambda secret: json.dumps(secret)[1:-1],
    "hex": lambda secret: secret.encode().hex(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64, one byte on": lambda secret: base64.b64encode(b"x" + secret.encode() + b"y").decode(),
    "base64, two bytes on": lambda secret: base64.b64encode(b"u:" + secret.encode() + b":end").decode(),
    "base64, url-safe": lambda secret: base64.urlsafe_b64encode(b"user:" + secret.encode()).decode(),
}
SHAPED: tuple[Callable[[random.Random], str], ...] = (
    lambda chance: "ghp_" + _letters(chance, 36),
    lambda chance: "github_pat_" + _letters(chance, 60),
    lambda chance: "glpat-" + _letters(chance, 20),
    lambda chance: "AKIA" + "".join(chance.choices(string.ascii_uppercase + "234567", k=16)),
    lambda chance: "xoxb-" + _letters(chance, 24),
    lambda chance: "AIza" + _letters(chance, 35),
    lambda chance: f"eyJ{_letters(chance, 18)}.eyJ{_letters(chance, 40)}.{_letters(chance, 43)}",
    lambda chance: "hvs." + _letters(chance, 24),
    lambda chance: "npm_" + _letters(chance, 36),
    lambda chance: "pypi-" + _letters(chance, 40),
    lambda chance: "sk_live_" + _letters(chance, 24),
    lambda chance: "dckr_pat_" + _letters(chance, 27),
    lambda chance: f"SG.{_letters(chance, 22)}.{_letters(chance, 43)}",
    lambda chance: "ATATT3" + _letters(chance, 60),
)
"""What nobody has registered, and everybody knows by its shape."""
_EDGE = 4
"""Characters at either end that also depend on what stands beside the secret (base64), or are too few to tell anything."""


def _letters(chance: random.Random, count: int) -> str:
    return "".join(chance.choices(string.ascii_letters + string.digits, k=count))


def registered(count: int = 200) -> list[str]:
    """Passwords with everything in them, tokens, keys in hexadecimal and base64, passphrases in other alphabets."""
    chance = random.Random(20260101)
    awkward = string.ascii_letters + string.digits + "!$%&/()=?+-_#*'\"\\<>;,:@~ é€ß漢"
    makers: tuple[Callable[[], str], ...] = (
        lambda: "p" + "".join(chance.choices(awkward, k=chance.randint(12, 40))) + "w",
        lambda: _letters(chance, chance.randint(12, 64)),
        lambda: f"{chance.getrandbits(160):040x}",
        lambda: str(uuid.UUID(int=chance.getrandbits(128))),
        lambda: base64.b64encode(chance.randbytes(24)).decode(),
    )
    return [makers[n % len(makers)]() for n in range(count)]


def shaped(count: int = 56) -> list[str]:
    chance = random.Random(20260102)
    return [SHAPED[n % len(SHAPED)](chance) for n in range(count)]


def planted(secrets: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Every secret in every encoding: the secret, the encoding's name, the text."""
    for secret in secrets:
        for name, encode in ENCODINGS.items():
            yield secret, name, encode(secret)


def found_in(content: str, secrets: Sequence[str]) -> list[tuple[str, str]]:
    """Which secrets are in ``content``, and in which encoding: their inner part is enough."""
    return [
        (secret, name) for secret, name, text in planted(secrets) if len(inner := text[_EDGE:-_EDGE]) >= 6 and inner in content
    ]


def events(text: str) -> Iterator[Event]:
    """``text`` in every field that an entry has, beside words and alone, as a value and as a key."""
    where = {"environment": text, "service": text, "version": text, "change_ticket": text, "outcome": text, "rollout": text}
    yield Event(event="deployment.executed", user=text, command=f"curl -H 'X-Key: {text}' https://x.example", phase=text, **where)
    yield Event(
        event=f"note {text}",
        user="jane",
        approvers=("bob", text),
        ref=text,
        data={
            "text": text,
            "list": ["a", [text, {"deep": f"<{text}>"}]],
            text: "as a key",
            "env": [{"name": "DB_PASSWORD", "value": text}],
            "changes": [{"path": "/data/token", "old": text, "new": None}],
            "url": f"https://jane:{text}@git.example/x.git?q={text}",
            "said": f'{{"error": "denied for {text}"}}',
        },
    )


# ---- what holds no secret

SERVICES = ("payment-service", "checkout", "search", "auth-token-service", "session-store", "key-value-db", "api-keys", "cookies")
REGISTRIES = (
    "registry.example:5000/shop",
    "ghcr.io/example",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com/prod",
    "docker.io/library",
)


def ordinary(count: int = 10_000) -> Iterator[Event]:
    """Entries as the house writes them, with the digests, ids, patches and command lines that look like secrets."""
    chance = random.Random(20260103)
    for n in range(count):
        yield _KINDS[n % len(_KINDS)](chance, n)


def _common(chance: random.Random, n: int) -> dict[str, Any]:
    service = chance.choice(SERVICES)
    return {
        "user": chance.choice(("jane", "Ada Lovelace", "ci-bot", "j.doe@example.com")),
        "environment": chance.choice(("production", "staging", "canary", "dev")),
        "service": service,
        "version": f"v{n % 9}.{chance.randint(0, 40)}.{chance.randint(0, 9)}-rc.{n % 7}+{chance.getrandbits(28):07x}",
        "change_ticket": f"CHG-{chance.randint(1, 99999)}",
        "rollout": f"{service}-20261128t{chance.randint(0, 235959):06d}-{chance.getrandbits(24):06x}",
    }


def _image(chance: random.Random, service: str) -> str:
    digest = hashlib.sha256(chance.randbytes(8)).hexdigest()
    tag = chance.choice(
        (f"{chance.getrandbits(160):040x}", f"main-{chance.getrandbits(28):07x}-{chance.getrandbits(31)}", "2026.11.28")
    )
    return f"{chance.choice(REGISTRIES)}/{service}" + chance.choice((f"@sha256:{digest}", f":{tag}", f":{tag}@sha256:{digest}"))


def _executed(chance: random.Random, n: int) -> Event:
    common = _common(chance, n)
    old, new = (_image(chance, common["service"]) for _ in range(2))
    patch = [
        {"op": "test", "path": "/metadata/annotations/quarterdeck~1epoch", "value": str(n)},
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": new},
        {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "LOG_LEVEL", "value": "info"}},
    ]
    command = f"kubectl patch deployment {common['service']} -n production --context prod-eu --type=json -p '{json.dumps(patch)}'"
    data = {
        "step": n % 9,
        "step_name": "set image",
        "changes": [
            {
                "object": f"Deployment/{common['service']}",
                "path": "/spec/template/spec/containers/0/image",
                "old": old,
                "new": new,
            }
        ],
        "uid": str(uuid.UUID(int=chance.getrandbits(128))),
        "resource_version": str(chance.getrandbits(31)),
        "pod_template_hash": f"{chance.getrandbits(40):x}"[:10],
    }
    return Event(
        event="deployment.executed",
        command=command,
        phase=chance.choice(("intent", "outcome")),
        ref=_ulid(chance),
        data=data,
        **common,
    )


def _ulid(chance: random.Random) -> str:
    return "01" + "".join(chance.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=24))


def _health(chance: random.Random, n: int) -> Event:
    common = _common(chance, n)
    pods = f"{common['service']}-{chance.getrandbits(40):x}.*"
    query = f'sum(rate(http_requests_total{{service="{common["service"]}",code=~"5..",pod=~"{pods}"}}[60s]))'
    triggers = [{"name": "error-rate", "value": chance.random(), "limit": 0.05, "fired": False, "query": query}]
    return Event(
        event="deployment.health_check",
        outcome="holds",
        data={"triggers": triggers, "requests": chance.getrandbits(20)},
        **common,
    )


def _started(chance: random.Random, n: int) -> Event:
    common = _common(chance, n)
    data = {
        "digest": hashlib.sha256(chance.randbytes(8)).hexdigest(),
        "git": f"{chance.getrandbits(160):040x}",
        "release": {"strategy": "canary", "target": {"context": "prod-eu", "namespace": "production"}},
        "steps": [{"name": f"{share} %", "kind": "SetTraffic", "weight": share} for share in (5, 10, 25, 50)],
        "build": f"https://ci.example/job/{common['service']}/{n}/?commit={chance.getrandbits(160):040x}&run={_ulid(chance)}",
        "secret": {"name": f"{common['service']}-tls", "namespace": "production"},
        "secretKeyRef": {"name": "db", "key": "password"},
        "token_count": n,
        "serviceAccountName": "deployer",
        "sessionAffinity": "ClientIP",
    }
    return Event(event="deployment.started", approvers=("alice", "bob"), data=data, **common)


def _failed(chance: random.Random, n: int) -> Event:
    common = _common(chance, n)
    said = chance.choice(
        (
            "the server could not find the requested resource (get secrets token-controller)",
            'secrets "db-credentials" not found; create it, or name another one with secretName',
            "Unauthorized: the token has expired; run `aws sso login --profile prod`",
            f'Back-off pulling image "{_image(chance, common["service"])}": ErrImagePull',
            f'Readiness probe failed: Get "http://10.{n % 250}.{n % 99}.7:8080/healthz": dial tcp: connection refused',
            f"pod {common['service']}-{chance.getrandbits(36):09x}-{chance.getrandbits(22):05x} evicted: low on memory",
            f"x509: certificate signed by unknown authority (serial {chance.getrandbits(64):016x})",
            "token: expired; session: closed by peer; key not found in map",
            "password authentication is not configured for this source",
            f"basic health check passed after {n} ms, bearer of the lease is jane@host-{n}",
        )
    )
    return Event(
        event="deployment.completed",
        outcome="needs_attention",
        data={"reason": {"kind": "error", "name": "cluster", "detail": said}},
        **common,
    )


def _commands(chance: random.Random, n: int) -> Event:
    common = _common(chance, n)
    command = chance.choice(
        (
            f"kubectl scale deployment/{common['service']} --replicas={n % 50} -n production",
            f"helm upgrade {common['service']} . --version {common['version']} --set tag={chance.getrandbits(160):040x}",
            f"kubectl get pods -l app={common['service']},pod-template-hash={chance.getrandbits(40):010x} -o json",
            "kubectl create secret generic db --from-file=password=/run/secrets/db --dry-run=server",
            f"kubectl annotate lease {common['service']} holder={_ulid(chance)} --overwrite",
            f"argocd app sync {common['service']} --revision {chance.getrandbits(160):040x} --prune",
            "kubectl auth can-i create tokenreviews.authentication.k8s.io",
            f"git show {chance.getrandbits(160):040x}:deploy/values.yaml",
        )
    )
    return Event(event="deployment.executed", command=command, outcome="ok", duration_seconds=chance.random() * 9, **common)


_KINDS = (_executed, _health, _started, _failed, _commands)

"""Shapes of well-known credentials. Every pattern is anchored at a literal prefix and linear in the length of the text.

A pattern runs only where one of its ``hints`` occurs (in the lower-cased text where the pattern ignores case), so ordinary text
costs a few substring searches. The group ``secret``, where there is one, is what is replaced; else the whole match is.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

Replace = Callable[[re.Match[str]], str]


class Pattern(NamedTuple):
    rule: str
    hints: tuple[str, ...]
    regex: re.Pattern[str]
    prose: bool = False
    """A sentence about a secret's place can look like it."""
    needs: str = ""
    """A character without which it matches nowhere: key-like words are part of many names, and looking at each costs most."""
    folded: bool = False
    """Case is ignored."""
    begins: re.Pattern[str] | None = None
    """How it begins, up to a secret that ends at the first ``@`` behind it. Many such beginnings in one run of characters would
    each be followed to its end."""

    def sub(self, replace: Replace, s: str) -> str:
        if self.begins is not None:
            return _replaced_up_to_at(self.begins, self.regex, replace, s)
        return self.regex.sub(replace, s)


_RUN_ENDS = re.compile(r"[\s@\"'<>]")


def _replaced_up_to_at(begins: re.Pattern[str], regex: re.Pattern[str], replace: Replace, s: str) -> str:
    """``regex.sub(replace, s)``, in one pass: what a run of characters ends with is looked for once for all that begins in it."""
    parts: list[str] = []
    done = end = 0
    found = begins.search(s)
    while found is not None:
        if found.end() > end:
            stop = _RUN_ENDS.search(s, found.end())
            if stop is None:
                break
            end = stop.start()
        match = regex.match(s, found.start()) if s[end] == "@" and end - found.end() <= _LONGEST_IN_URL else None
        if match is not None:
            parts += [s[done : match.start()], replace(match)]
            done = match.end()
        # Another may begin with the colon that this one's beginning ends with.
        found = begins.search(s, done if match is not None else found.end() - 1)
    return "".join([*parts, s[done:]])


_LONGEST_IN_URL = 512
_WORDS = (
    r"passw(?:or)?d", "passphrase", "secret", "token", r"api[_-]?key", r"access[_-]?key", r"private[_-]?key",
    r"client[_-]?key(?:[_-]?data)?", r"credentials?", "authorization", "cookie", "session", "signature", "dsn",
    r"account[_-]?key",
)  # fmt: skip
_FIRST = {"s": "sS\u017f"}
"""Letters that are the same where case is ignored, as far as there are more than two."""
_KEY_WORDS = "(?:" + "|".join(
    f"{first}{behind}(?i:{word[1:]})"
    for word, behind in (*((word, "") for word in _WORDS), ("pass", "(?<=(?i:[A-Z0-9])[_-][pP])"))
    for first in _FIRST.get(word[0], word[0] + word[0].upper())
) + ")"  # fmt: skip
"""With each first letter written out: a search skips whatever is none of them, which it does not where case is ignored."""
_KEY_HINTS = (
    "passw",
    "passphrase",
    "secret",
    "token",
    "key",
    "credential",
    "authorization",
    "cookie",
    "session",
    "signature",
    "dsn",
    "_pass",
    "-pass",
)
# What follows "token:" in an honest sentence, or names where the secret is kept, is not a secret. The names of rules in
# markers already made are let through too, so that redaction can run twice.
_HARMLESS = (
    r"(?!\[REDACTED:|env:[A-Za-z_]|file:/"
    r"|/(?:[a-z0-9._-]{1,64}/){1,16}[a-z0-9._-]{1,64}(?:[\s\"',;]|$)"  # a path, in small letters: base64 has others too
    r"|(?:true|false|none|null|missing|expired|invalid|valid|present|absent|required|ok|unknown|optional"
    r"|closed|opened|revoked|denied|refused|rejected|not|no)"
    r"(?:[.,;:)\]}]*(?:[\s\"'\\]|$)))"
)


_BASE64 = r"[A-Za-z0-9+/=_-]{16,}(?:(?:\\n|\r?\n)[A-Za-z0-9+/=_-]{4,76})*"
"""Base64, in one line or folded."""


def _beside(separator: str) -> str:
    """What follows a word that tells a secret: ``password=…``, ``"apiKey": "…"``."""
    return (
        r"(?:[_-]?(?:value|data|base64|b64|key))?\\?[\"']?\s{0,4}" + separator + r"\s{0,4}(?:"
        r"\\?\"" + _HARMLESS + r"(?P<quoted>[^\"\\]{1,4096})\\?\"|'" + _HARMLESS + r"(?P<single>[^']{1,4096})'|"
        + _HARMLESS + r"(?P<secret>[^\s\"',;&\\]{3,}))"
    )  # fmt: skip


def _pattern(rule: str, hints: str, regex: str, flags: int = 0) -> Pattern:
    return Pattern(rule, tuple(hints.split()), re.compile(regex, flags), folded=bool(flags & re.IGNORECASE))


_KEY_BEGINS = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
KEY_BEGINS = re.compile(_KEY_BEGINS)
"""The first line of a private key."""

_URL_BEGINS = r"://[^\s/:@\"'<>\[]{1,256}:(?!\d{1,5}[/?#])(?!\[REDACTED:)"

PATTERNS: tuple[Pattern, ...] = (
    # An unterminated block is taken to the end of the text: a cut key is still a key.
    _pattern(
        "private-key",
        "-----BEGIN",
        _KEY_BEGINS + r"(?:(?!-----END).)*(?:-----END [A-Z0-9 ]{0,40}-----)?",
        re.DOTALL,
    ),
    # The same in base64, as kubeconfigs and Secrets hold it (certificates begin alike, and are no secret); and whole kubeconfigs.
    _pattern("private-key", "LS0tLS1CRUdJTi", r"\bLS0tLS1CRUdJTi(?!BDRVJU)" + _BASE64),
    _pattern("kubeconfig", "YXBpVmVyc2lvb eyJhcGlWZXJzaW9u", r"\b(?:YXBpVmVyc2lvb|eyJhcGlWZXJzaW9u)" + _BASE64),
    _pattern("jwt", "eyJ", r"\beyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*)?"),
    _pattern("github-token", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", r"\b(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{16,}"),
    _pattern(
        "gitlab-token", "glpat- glptt- gldt- glrt- glsoat- glcbt- glft-", r"\bgl(?:pat|ptt|dt|rt|soat|cbt|ft)-[A-Za-z0-9_.-]{8,}"
    ),
    _pattern("aws-key", "AKIA ASIA AROA AIDA AGPA ANPA ANVA", r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ANVA)[A-Z0-9]{16}"),
    _pattern("slack-token", "xox xapp-", r"\b(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{8,}"),
    _pattern("google-key", "AIza ya29.", r"\b(?:AIza[A-Za-z0-9_-]{20,}|ya29\.[A-Za-z0-9_.-]{8,})"),
    _pattern("vault-token", "hvs. hvb. hvr.", r"\bhv[sbr]\.[A-Za-z0-9_-]{8,}"),
    _pattern("vault-token", "s.", r"s\.(?<![\w.-]s\.)(?=[A-Za-z]*[0-9])(?=[a-z0-9]*[A-Z])[A-Za-z0-9]{24}(?![\w.-])"),
    _pattern("ai-key", "sk-proj- sk-ant- sk-svcacct- sk-admin-", r"\bsk-(?:proj|ant|svcacct|admin)-[A-Za-z0-9_-]{16,}"),
    _pattern("huggingface-token", "hf_", r"\bhf_[A-Za-z0-9]{20,}"),
    _pattern("shopify-token", "shpat_ shpss_ shpca_ shppa_", r"\bshp(?:at|ss|ca|pa)_[a-fA-F0-9]{16,}"),
    _pattern("databricks-token", "dapi", r"\bdapi[a-f0-9]{32}(?:-\d)?\b"),
    _pattern("newrelic-key", "NRAK-", r"\bNRAK-[A-Z0-9]{16,}"),
    _pattern("age-key", "AGE-SECRET-KEY-", r"\bAGE-SECRET-KEY-1[A-Z0-9]{16,}"),
    _pattern("npm-token", "npm_", r"\bnpm_[A-Za-z0-9]{16,}"),
    _pattern("pypi-token", "pypi-", r"\bpypi-[A-Za-z0-9_-]{16,}"),
    _pattern("stripe-key", "k_live_ k_test_", r"\b[srp]k_(?:live|test)_[A-Za-z0-9]{8,}"),
    _pattern("docker-token", "dckr_pat_ dckr_oat_", r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{8,}"),
    _pattern("digitalocean-token", "dop_v1_ doo_v1_", r"\bdo[op]_v1_[a-f0-9]{16,}"),
    _pattern("sendgrid-key", "SG.", r"\bSG\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    _pattern("atlassian-token", "ATATT3 ATCTT3", r"\bAT[AC]TT3[A-Za-z0-9_=-]{16,}"),
    _pattern("chat-webhook", "hooks.slack.com", r"hooks\.slack\.com/[a-z]{1,20}/(?P<secret>[A-Za-z0-9/_-]{8,})"),
    _pattern("chat-webhook", "webhook.office.com", r"webhook\.office\.com/(?P<secret>[A-Za-z0-9/@_-]{8,})"),
    _pattern("chat-webhook", "/api/webhooks/", r"discord(?:app)?\.com/api/webhooks/(?P<secret>[0-9]{8,}/[A-Za-z0-9_-]{8,})"),
    # To the last @ before the path; then those that hold a / all the same, where no port stands before it; then a token alone.
    _pattern("url-password", "://", r"://[^\s/:@\"'<>]{0,256}:(?P<secret>(?!\[REDACTED:)[^\s/\"'<>]{1,512})@"),
    _pattern("url-password", "://", _URL_BEGINS + rf"(?P<secret>[^\s@\"'<>]{{1,{_LONGEST_IN_URL}}})@")._replace(
        needs="@", begins=re.compile(_URL_BEGINS)
    ),
    _pattern("url-password", "://", r"://(?P<secret>(?=[^\s/:@\"'<>]{0,512}[0-9])[^\s/:@\"'<>]{16,512})@"),
    _pattern("url-signature", "sig=", r"[?&;]sig=(?P<secret>[^\s&\"'<>]{6,})", re.IGNORECASE),
    _pattern(
        "cookie",
        "cookie",
        r"\bcookie[\"']?:\s{0,4}[\"']?(?P<secret>(?!\[REDACTED:)[^\s\"'=;]{1,128}=[^\r\n\"']{1,4096})",
        re.IGNORECASE,
    ),
    _pattern(
        "authorization",
        "bearer basic splunk apikey",
        r"\b(?:Bearer|Basic|Splunk|ApiKey)[ ]+"
        r"(?P<secret>(?=[A-Za-z0-9._~+/=-]{0,80}[0-9=]|[A-Za-z._~+/-]{20})[A-Za-z0-9._~+/=-]{8,})",
        re.IGNORECASE,
    ),
    _pattern(
        "authorization",
        "authorization",
        r"\bauthorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:[A-Za-z]{3,12}[ ]+)?" + _HARMLESS + r"(?P<secret>[^\s\"',;]{4,})",
        re.IGNORECASE,
    ),
    _pattern(
        "command-option",
        "password passwd token secret api-key client-key-data",
        r"--(?:[a-z0-9]{1,20}-){0,3}(?:password|passwd|token|secret|api-key|client-key-data)[ ]+"
        + _HARMLESS + r"(?P<secret>(?!-)\S+)",
    ),
    # NAME:PASSWORD as curl and its like are given it. A number alone behind the colon is a port, or a group; where no
    # curl is, so is a word in small letters.
    _pattern(
        "command-option",
        "curl",
        r"(?:(?<![\w-])-u[ =]?|--(?:proxy-)?user[ =])[\"']?[^\s:/\"'=]{1,128}:"
        + _HARMLESS + r"(?P<secret>(?!\d{1,5}(?:[\s\"']|$))[^\s\"']{3,})",
    )._replace(needs=":"),
    _pattern(
        "command-option",
        "",
        r"(?:(?<![\w-])-u[ =]|--(?:proxy-)?user[ =])[\"']?[^\s:/\"'=]{1,128}:"
        + _HARMLESS + r"(?P<secret>(?!\d{1,5}(?:[\s\"']|$))(?=[a-z_.-]{0,64}[^a-z_.\s\"',;)-])[^\s\"']{3,})",
    )._replace(hints=("-u ", "-u=", "-user ", "-user="), needs=":"),
    # A sentence that tells one: "password is: …". What a token or a secret "is" may also be a word that a number follows.
    _pattern(
        "key-value",
        "passw passphrase secret token",
        r"(?:(?:passw(?:or)?d|passphrase)[ ]is[ ]?:?|(?:secret|token)[ ]is(?:[ ]?:|(?![ ]{1,4}[a-z]+\d{0,2}(?:[\s\"',;.]|$))))"
        r"[ ]{0,4}[\"']?" + _HARMLESS + r"(?P<secret>(?=[^\s\"',;]{0,64}[0-9])(?=[^\s\"',;]{0,64}[A-Za-z])[^\s\"',;]{6,})",
        re.IGNORECASE,
    ),
    # "pass=" and "pwd=" alone, as in a connection's options. A number is a count, "pwd=/…" a directory, "$…" a variable.
    _pattern(
        "key-value",
        "pass= pwd=",
        r"(?<![\w.-])(?:pass|pwd)=[\"']?" + _HARMLESS + r"(?!\d+(?:\W|$)|\$|/)(?P<secret>[^\s\"',;&\\]{3,})",
        re.IGNORECASE,
    ),
    *(
        _pattern("key-value", " ".join(_KEY_HINTS), f"{_KEY_WORDS}(?i:{_beside(separator)})")._replace(
            prose=separator == ":", needs=separator, folded=True
        )
        for separator in "=:"
    ),
)  # fmt: skip

BESIDE_WORDS = len(PATTERNS) - 1
"""The place of a pattern that is hinted at by every key-like word."""

Gates = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
"""What has to occur for any of the hints below it to: each with the place of its pattern."""

_CASED_GATES = ("eyJ", "A", "_", "-", ".")
_FOLDED_GATES = ("pass", "secret", "token", "sig", "key")


def _gated(gates: tuple[str, ...], folded: bool) -> Gates:
    found: dict[str, list[tuple[str, int]]] = {}
    for index, pattern in enumerate(PATTERNS):
        if pattern.folded == folded:
            for hint in pattern.hints:
                found.setdefault(next((gate for gate in gates if gate in hint), hint), []).append((hint, index))
    return tuple((gate, tuple(hints)) for gate, hints in found.items())


CASED = _gated(_CASED_GATES, folded=False)
"""To be looked for in a text as it is."""
FOLDED = _gated(_FOLDED_GATES, folded=True)
"""To be looked for in the lower-cased text."""


def hinted(text: str) -> list[int]:
    """The places of the patterns that may match in ``text``, in their order."""
    lower = text.lower()
    found = {index for gate, hints in CASED if gate in text for hint, index in hints if hint in text}
    found.update(index for gate, hints in FOLDED if gate in lower for hint, index in hints if hint in lower)
    return sorted(found)

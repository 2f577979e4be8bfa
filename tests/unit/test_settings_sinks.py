"""The sinks of the journal in the configuration: what is refused, where, and with which words."""

import pytest
from support.configuration import configured

from services.settings import ConfigurationError

BASE = "version: 1\nenvironments: {dev: {context: a, namespaces: [dev]}}\njournal:\n  sinks:\n"


def test_a_sink_is_called_after_its_kind_and_required_until_it_says_otherwise() -> None:
    settings = configured(BASE + "    - {kind: elasticsearch, url: 'https://es.example'}\n")
    (sink,) = settings.journal.sinks
    assert (sink.label, sink.kind, sink.required) == ("elasticsearch", "elasticsearch", True)
    assert settings.journal.retention_days == 400


@pytest.mark.parametrize(
    ("entry", "line", "key", "words"),
    [
        ("{kind: elastic, url: 'https://es.example'}", 5, "journal.sinks[0].kind", "Did you mean 'elasticsearch'?"),
        ("{url: 'https://es.example'}", 5, "journal.sinks[0].kind", "is required"),
        ("{kind: elasticsearch, ur: 'https://es.example'}", 5, "journal.sinks[0].ur", "Did you mean 'url'?"),
        ("{kind: opensearch}", 5, "journal.sinks[0].url", "is required"),
        ("{kind: opensearch, url: 'https://u:p@es.example'}", 5, "journal.sinks[0].url", "holds a user name or password"),
        ("{kind: opensearch, url: 'https://es.example', user: a}", 5, "journal.sinks[0]", "needs both 'user' and 'password'"),
        ("{kind: opensearch, url: 'http://es.example', token: 'env:T'}", 5, "journal.sinks[0]", "travel in the clear"),
        ("{kind: elasticsearch, url: 'https://es.example', index: Audit}", 5, "journal.sinks[0].index", "is not accepted"),
        ("{kind: elasticsearch, url: 'https://es.example', timeout: 100}", 5, "journal.sinks[0].timeout", "0.1 to 60 seconds"),
        (
            "{kind: elasticsearch, url: 'https://es.example', token: 'env:T', api_key: 'env:K'}",
            5,
            "journal.sinks[0]",
            "several credentials",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_line_without_the_kind_in_the_key(entry: str, line: int, key: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        configured(f"{BASE}    - {entry}\n")
    assert [(problem.line, problem.key) for problem in refused.value.problems if words in str(problem)] == [(line, key)]


def test_a_key_itself_instead_of_a_reference_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as refused:
        configured(BASE + "    - {kind: elasticsearch, url: 'https://es.example', api_key: VnVhQ2ZHY0JDZGJrU}\n")
    assert "journal.sinks[0].api_key" in str(refused.value)
    assert "VnVhQ2ZHY0JDZGJrU" not in str(refused.value)


def test_two_sinks_of_one_name_are_refused() -> None:
    entry = "    - {kind: opensearch, url: 'https://es.example'}\n"
    with pytest.raises(ConfigurationError, match="two sinks called opensearch"):
        configured(BASE + entry + entry)
    both = configured(BASE + entry + entry.replace("kind", "name: second, kind"))
    assert [sink.label for sink in both.journal.sinks] == ["opensearch", "second"]

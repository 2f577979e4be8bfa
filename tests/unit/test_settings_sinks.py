"""The sinks of the journal in the configuration: what is refused, where, and with which words."""

import pytest
from support.clock import ManualClock
from support.configuration import configured

from services.audit.sinks.opening import open_sink
from services.redaction import Redactor
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


KINDS = {
    "splunk": "{kind: splunk, url: 'https://s.example:8088', token: 'env:T'}",
    "datadog": "{kind: datadog, site: datadoghq.eu, api_key: 'env:K'}",
    "otlp": "{kind: otlp, url: 'https://collector.example:4318', headers: {Authorization: 'env:T'}}",
    "syslog": "{kind: syslog, host: logs.example, certificate: client.pem}",
    "relp": "{kind: relp, host: logs.example, queues_on_disk: true}",
    "s3": "{kind: s3, bucket: audit-trail, region: eu-central-1, access_key: 'env:A', secret_key: 'env:S'}",
}


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_that_is_configured_is_opened(kind: str) -> None:
    (section,) = configured(f"{BASE}    - {KINDS[kind]}\n").journal.sinks
    sink = open_sink(section, secrets=Redactor(), clock=ManualClock())
    assert (sink.kind, sink.name) == (kind, kind)
    await sink.close()


@pytest.mark.parametrize(
    ("entry", "key", "words"),
    [
        (KINDS["splunk"].replace("https", "http"), "", "travel in the clear"),
        (KINDS["splunk"].replace("env:T", "5eed-c0de"), ".token", "is not a reference to a secret"),
        (KINDS["splunk"].replace("url", "index: Audit!, url"), ".index", "is not accepted"),
        (KINDS["splunk"].replace("url", "event_bytes: 10, url"), ".event_bytes", "1000 to 1e+06 bytes"),
        (KINDS["datadog"].replace("datadoghq.eu", "example.com"), ".site", "datadoghq.com"),
        (KINDS["datadog"].replace("api_key", "intake_url: 'http://proxy.example', api_key"), "", "travel in the clear"),
        (KINDS["datadog"].replace("api_key", "tags: ['no tag'], api_key"), ".tags[0]", "is not accepted"),
        (KINDS["otlp"].replace("https", "http"), "", "travel in the clear"),
        (KINDS["otlp"].replace("Authorization", "Content-Type"), "", "which the protocol decides"),
        (KINDS["otlp"].replace("env:T", "Bearer abc"), ".headers.Authorization", "is not a reference to a secret"),
        (KINDS["syslog"].replace("logs.example", "'logs.example/x'"), ".host", "not the name or address of a host"),
        (KINDS["syslog"].replace("logs.example", "'logs.example:6514'"), ".host", "HOST, without a port"),
        (KINDS["relp"].replace("logs.example", "'[2001:db8::7]:20514'"), ".host", "HOST, without a port"),
        (KINDS["syslog"].replace("certificate", "key"), "", "has a 'key' but no 'certificate'"),
        (KINDS["syslog"].replace("host", "max_bytes: 480, host"), ".max_bytes", "2048 to 1e+06 bytes"),
        (KINDS["relp"].replace("host", "tls: false, host"), "", "travel in the clear"),
        (KINDS["s3"].replace("audit-trail", "Audit_Trail"), ".bucket", "is not accepted"),
        (KINDS["s3"].replace("region", "prefix: /a, region"), ".prefix", "is not a prefix of keys"),
        (KINDS["s3"].replace("region", "url: 'http://minio.example', region"), "", "travel in the clear"),
        (KINDS["s3"].replace(", secret_key: 'env:S'", ""), ".secret_key", "is required"),
    ],
)
def test_what_a_kind_refuses_is_said_at_its_key(entry: str, key: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        configured(f"{BASE}    - {entry}\n")
    assert [problem.key for problem in refused.value.problems if words in str(problem)] == [f"journal.sinks[0]{key}"]
    assert "5eed-c0de" not in str(refused.value)


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

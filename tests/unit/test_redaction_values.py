"""JSON values, log files, and the installation's key."""

import logging
import stat
from pathlib import Path

import pytest

from console import logs
from services.redaction import Redactor, installation_key

KEY = b"k" * 32


@pytest.mark.parametrize(
    "name",
    ["password", "DB_PASSWORD", "apiKey", "x-api-key", "clientSecret", "AWS_SECRET_ACCESS_KEY", "secretKey", "auth_token",
     "Authorization", "set-cookie", "private_key", "sessionId", "dsn", "credentials", "token", "client-key-data", "signature",
     "PGPASSWORD", "dbpassword", "authtoken", "DB_PASS", "smtpPass", "SSHPASS", "AccountKey", "privatekey"],
)  # fmt: skip
def test_fields_whose_name_says_secret(name: str) -> None:
    value, rules = Redactor(KEY).value({"outer": [{name: "hunter2"}]})
    assert value["outer"][0][name].startswith("[REDACTED:key-name:")
    assert rules == ("key-name",)


@pytest.mark.parametrize(
    "field",
    [
        {"secretName": "tls"}, {"secretRef": {"name": "app"}}, {"imagePullSecrets": [{"name": "registry"}]},
        {"token_path": "/var/run/t"},
        {"automountServiceAccountToken": True}, {"tokens": 3 > 2}, {"token": "env:JIRA_TOKEN"}, {"password": "file:/etc/pw"},
        {"password": ""}, {"secretKeyRef": {"name": "db", "key": "password"}}, {"keyboard": "us"}, {"monkey": "see"},
        {"name": "REPLICAS", "value": "3"}, {"path": "/spec/replicas", "old": 3, "new": 5}, {"passwordFile": "/etc/x"},
        {"serviceAccountToken": {"path": "token"}}, {"pass": 3}, {"bypass": "no"}, {"compass": "north"},
    ],
)  # fmt: skip
def test_fields_that_only_point_at_a_secret(field: dict[str, object]) -> None:
    assert Redactor(KEY).value(field) == (field, ())


def test_a_secret_named_beside_its_value() -> None:
    redactor = Redactor(KEY)
    environment, _ = redactor.value([{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "LEVEL", "value": "info"}])
    assert "hunter2" not in str(environment)
    assert environment[1] == {"name": "LEVEL", "value": "info"}
    change, _ = redactor.value({"path": "/data/api-token", "old": "hunter1", "new": "hunter2"})
    assert "hunter" not in str(change)


def test_the_values_of_a_secret_object() -> None:
    value, _ = Redactor(KEY).value(
        {"kind": "Secret", "metadata": {"name": "app"}, "data": {"x": "aHVudGVyMg=="}, "stringData": {"y": "z"}}
    )
    assert "aHVu" not in str(value)
    assert value["metadata"] == {"name": "app"}
    assert value["stringData"]["y"].startswith("[REDACTED:")


def test_the_copy_is_a_copy_and_other_types_stay() -> None:
    original = {"a": [1, 2.5, None, True, "text"], "password": "hunter2"}
    value, _ = Redactor(KEY).value(original)
    assert original["password"] == "hunter2"
    assert value["a"] == [1, 2.5, None, True, "text"]


def test_nested_deeper_than_anything_sane() -> None:
    deep: list[object] = ["hunter2"]
    for _ in range(200):
        deep = [deep]
    assert "hunter2" not in str(Redactor(KEY).value({"password": deep})[0])
    assert "cut" in str(Redactor(KEY).value(deep)[0])


def test_the_installation_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = installation_key(tmp_path)
    assert installation_key(tmp_path) == key
    assert len(key) == 32
    assert stat.S_IMODE((tmp_path / "redaction.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["redaction.key"]
    (tmp_path / "redaction.key").write_bytes(b"short")
    with pytest.raises(OSError, match="5 bytes"):
        installation_key(tmp_path)


def test_the_log_holds_no_secret_not_even_in_tracebacks(tmp_path: Path) -> None:
    redactor = Redactor(KEY)
    redactor.register("correct-horse-battery")
    path = logs.set_up(tmp_path, redactor)
    try:
        logger = logging.getLogger("quarterdeck.test")
        logger.warning("asked with %s", {"password": "hunter2", "user": "correct-horse-battery"})
        try:
            raise ValueError("https://jane:correct-horse-battery@host")
        except ValueError:
            logger.exception("failed")
    finally:
        logs.tear_down()
    text = path.read_text()
    assert "correct-horse" not in text
    assert "hunter2" not in text
    assert "Traceback" in text
    assert "ValueError" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("end", [["-----END RSA PRIVATE KEY-----"], []], ids=["ended", "cut"])
def test_a_private_key_in_the_lines_of_a_list(end: list[str]) -> None:
    begin = "tls: -----BEGIN RSA PRIVATE KEY-----"
    body = ["Proc-Type: 4,ENCRYPTED", "", "MIIEowIBAAKCAQEA7bq", {"line": "no text"}, "q98Dw=="]
    redactor = Redactor(KEY)
    lines, rules = redactor.value(["--listen", begin, *body, *end])
    assert lines[:2][0] == "--listen"
    assert lines[1].startswith("tls: [REDACTED:private-key:")
    assert lines[5] == {"line": "no text"}
    assert rules == ("private-key",)
    assert not any(secret in str(lines) for secret in ("MIIE", "q98D", "Proc-Type"))
    assert redactor.value(lines) == (lines, ()), "twice is once"
    after, _ = redactor.value([begin, "q98Dw==", "-----END RSA PRIVATE KEY-----", "--verbose"])
    assert after[3] == "--verbose"

"""``quarterdeck config init|check`` from its command line."""

import json
import re
import stat
from pathlib import Path

import jsonschema
import pytest
import yaml
from support.configuration import WHOLE, redactor

from console.cli import main
from services.model.release import Tier
from services.settings import load

KUBECONFIG = """\
apiVersion: v1
kind: Config
contexts:
- {name: production-viewer, context: {cluster: a, user: v, namespace: shop}}
- {name: "arn:aws:eks:eu-1:0:cluster/prod", context: {cluster: b, user: a, namespace: shop}}
- {name: kind-dev, context: {cluster: c, user: a}}
- {name: "staging", context: {cluster: c, user: a, namespace: Not_Legal}}
- {name: minikube, context: {cluster: d, user: a}}
"""


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "QUARTERDECK_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def test_the_first_configuration_is_valid_private_and_made_from_the_contexts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = tmp_path / "kube"
    kubeconfig.write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'absent'}:{kubeconfig}")
    path = tmp_path / "new" / "config.yaml"
    assert main(["config", "init", str(path), "-o", "json"]) == 0
    assert told(capsys)["file"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    settings = load(path, redactor=redactor())
    places = {name: (place.context, place.namespaces, place.tier) for name, place in settings.environments.items()}
    assert places == {
        "dev": ("kind-dev", ("default",), Tier.DEV),
        "staging": ("staging", ("default",), Tier.STAGING),
        "production": ("production-viewer", ("shop",), Tier.PRODUCTION),
    }
    assert "arn:aws:eks:eu-1:0:cluster/prod" in path.read_text(), "the other candidate is named beside it"
    assert main(["config", "check", "--config", str(path)]) == 0


def test_what_is_commented_out_is_valid_too(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert main(["config", "init", str(path)]) == 0
    lines = path.read_text().splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("# policy:"))
    # Uncomment the examples, which are keys or lie indented below one; the sentences are neither.
    example = re.compile(r"# ( |[a-z_]+:)")
    path.write_text("\n".join(lines[:start] + [line[2:] for line in lines[start:] if example.match(line)]))
    settings = load(path, redactor=redactor())
    assert settings.tickets is not None
    assert settings.checks("payment-service")


def test_an_unknown_context_is_taken_for_production(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kube = tmp_path / ".kube"
    kube.mkdir()
    (kube / "config").write_text("contexts: [{name: minikube, context: {cluster: x}}]\n")
    path = tmp_path / "config.yaml"
    assert main(["--config", str(path), "config", "init"]) == 0
    assert load(path, redactor=redactor()).environments["production"].context == "minikube"
    assert "  production: context minikube, namespaces default" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("content", ["- 1", "contexts: 5", "contexts: [5, {name: 7}, {name: x, context: y}]", ""])
def test_a_strange_kubeconfig_still_gives_a_configuration(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kube = tmp_path / ".kube"
    kube.mkdir()
    (kube / "config").write_text(content)
    path = tmp_path / "config.yaml"
    assert main(["config", "init", str(path)]) == 0
    load(path, redactor=redactor())
    if "name: x" not in content:
        assert "an example to correct" in capsys.readouterr().err.splitlines()[0], "nobody takes the example for his own"


@pytest.mark.parametrize("named", ["a: [", "a directory", "nothing there", "no contexts"])
def test_from_a_kubeconfig_that_can_t_be_read_nothing_is_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = tmp_path / "kube"
    if named == "a directory":
        kubeconfig.mkdir()
    elif named != "nothing there":
        kubeconfig.write_text("contexts: []" if named == "no contexts" else named)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    path = tmp_path / "config.yaml"
    assert main(["config", "init", str(path)]) == 2
    assert not path.exists()
    told = capsys.readouterr()
    assert str(kubeconfig) in told.err
    assert "Nothing was written" in told.err
    assert "--example" in told.err
    assert main(["config", "init", str(path), "-o", "json"]) == 2
    assert main(["config", "init", "--example", str(path)]) == 0
    assert load(path, redactor=redactor()).environments


def test_a_configuration_is_replaced_only_on_purpose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(WHOLE)
    assert main(["config", "init", str(path)]) == 2
    assert path.read_text() == WHOLE
    assert "--force" in capsys.readouterr().err
    assert main(["config", "init", "--force", str(path)]) == 0
    assert path.read_text() != WHOLE
    assert list(tmp_path.glob(".config.yaml.*")) == []


def test_check_lists_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("environments:\n  dev: {context: d, namespaces: [d]}\npolcy: {}\nprobes: {failures: 0}\n")
    assert main(["config", "check", str(path), "-o", "json"]) == 2
    document = told(capsys)
    assert (document["ok"], document["file"]) == (False, str(path))
    problems = document["problems"]
    assert isinstance(problems, list)
    assert [(problem["line"], problem["key"]) for problem in problems] == [(3, "polcy"), (4, "probes.failures")]
    assert problems[1] == {
        "file": str(path),
        "line": 4,
        "key": "probes.failures",
        "problem": "is too small",
        "accepted": "1 to 100 probes in a row",
        "suggestion": "",
    }


def test_check_tells_people_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("environments:\n  dev: {context: d, namespaces: [d]}\npolcy: {}\n")
    assert main(["config", "check", str(path)]) == 2
    assert f"{path}:3: polcy: is not a known key" in capsys.readouterr().out


def test_check_finds_a_token_that_others_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text("secret")
    (tmp_path / "token").chmod(0o644)
    path = tmp_path / "config.yaml"
    path.write_text(WHOLE.replace("env:JIRA_TOKEN", "file:token").replace("~/.kube/other", "kubeconfig"))
    kubeconfig(tmp_path, "dev", "staging", "canary", "production")
    assert main(["config", "check", str(path), "-o", "json"]) == 2
    assert '"key":"tickets.token"' in capsys.readouterr().out
    (tmp_path / "token").chmod(0o600)
    assert main(["config", "check", str(path)]) == 0


def test_check_finds_what_the_configuration_names_and_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(WHOLE.replace("env:JIRA_TOKEN", "file:token").replace("~/.kube/other", "kubeconfig"))
    assert main(["config", "check", str(path)]) == 2
    said = capsys.readouterr().out
    assert "kubeconfig: the file can't be read" in said
    assert "tickets.token: the file is not there" in said
    (tmp_path / "token").write_text("secret")
    (tmp_path / "token").chmod(0o600)
    kubeconfig(tmp_path, "dev", "staging")
    assert main(["config", "check", str(path)]) == 2
    assert "environments.production.context: production is not in the kubeconfig" in capsys.readouterr().out


def test_check_of_a_missing_file_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", str(tmp_path / "none.yaml")]) == 2
    assert "\nMake one with: quarterdeck config init" in capsys.readouterr().out


def kubeconfig(directory: Path, *contexts: str) -> None:
    entries = [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in contexts]
    (directory / "kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "contexts": entries}))


def test_the_schema_knows_what_check_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    schema = told(capsys)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(WHOLE), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"environments": {"dev": {"context": "d", "namespaces": ["d"], "teir": "dev"}}}, schema)


def test_a_missing_configuration_is_one_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "-o", "json"]) == 2
    document = told(capsys)
    assert document["file"] == str(tmp_path / ".config/quarterdeck/config.yaml")
    assert "config init" in str(document["problems"])

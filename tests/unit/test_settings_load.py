"""A configuration is either usable or explained: every problem, its line, its rule, what is accepted."""

from pathlib import Path

import pytest
from support.configuration import WHOLE, configured, redactor

from services.clock import SystemClock
from services.model.errors import ExitCode, Rejected
from services.model.gates import Person
from services.model.release import Tier
from services.model.steps import SmokeCheck
from services.settings import Binding, ConfigurationError, Problem, load


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as caught:
        configured(text)
    return caught.value.problems


def only(text: str) -> Problem:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


def minimal(*lines: str) -> str:
    return "\n".join(["environments:", "  dev: {context: dev, namespaces: [dev]}", *lines]) + "\n"


def test_a_whole_configuration_becomes_one_value() -> None:
    settings = configured()
    assert settings.home == Path("/etc/quarterdeck/state"), "paths count from the file's directory"
    assert settings.kubeconfig == Path("~/.kube/other").expanduser()
    assert settings.environments["dev"].tier is Tier.DEV, "the tier is the environment's name unless written"
    assert settings.people[0] == Person(name="Jane Doe", login="jane", ticket_account="acc-jane")
    assert settings.checks("payment-service")[1] == SmokeCheck(name="pay", path="/api/v1/ping", contains="pong")
    assert settings.checks("search") == ()
    assert settings.person_of("acc-chen") == settings.operator("chen")
    assert settings.person_of("") is None
    assert settings.clock().speed == 1


def test_gates_bind_everywhere_unless_written_otherwise() -> None:
    settings = configured(minimal())
    for tier, approvals in ((Tier.DEV, 1), (Tier.STAGING, 1), (Tier.CANARY, 1), (Tier.PRODUCTION, 2)):
        policy = settings.policy[tier]
        assert (policy.ticket, policy.smoke_tests, policy.gradual_rollout) == (Binding.REQUIRED,) * 3
        assert policy.approvals == approvals
        assert (policy.rollback_tested is Binding.REQUIRED) == (tier is Tier.PRODUCTION)


def test_a_relaxation_is_found_again_by_its_line() -> None:
    settings = configured()
    assert settings.policy[Tier.DEV].ticket is Binding.WAIVED
    assert settings.where("policy.dev.ticket") == "config.yaml:12"
    assert settings.where("policy.staging.ticket") == "built-in default"


@pytest.mark.parametrize("gate", ["ticket", "smoke_tests", "gradual_rollout", "rollback_tested"])
def test_production_can_not_be_relaxed(gate: str) -> None:
    problem = only(minimal("policy:", "  production:", f"    {gate}: waived"))
    assert (problem.line, problem.key, problem.accepted) == (5, f"policy.production.{gate}", "required")


@pytest.mark.parametrize("approvals", [0, 1])
def test_production_needs_two_approvals(approvals: int) -> None:
    problem = only(minimal("policy:", f"  production: {{approvals: {approvals}}}"))
    assert problem.key == "policy.production.approvals"
    assert problem.accepted == "2 or more"


def test_production_may_be_stricter() -> None:
    assert configured(minimal("policy: {production: {approvals: 3}}")).policy[Tier.PRODUCTION].approvals == 3


def test_a_typo_is_named_with_its_line_and_the_word_that_was_meant() -> None:
    problem = only(minimal("triggers:", "  eror_rate: 0.1"))
    assert str(problem).startswith(
        "/etc/quarterdeck/config.yaml:4: triggers.eror_rate: is not a known key. Accepted: error_rate, "
    )
    assert str(problem).endswith("Did you mean 'error_rate'?")


def test_every_problem_is_told_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        "environments:\n  prod: {context: p, namespaces: [p]}\n  dev: {context: '', namespaces: [Kube_System]}\n"
        "polcy: {}\nmetrics:\n  interval: 0\n  interval: 5\n"
    )
    assert [(problem.line, problem.key) for problem in found] == [
        (2, "environments.prod"),
        (3, "environments.dev.context"),
        (3, "environments.dev.namespaces[0]"),
        (4, "polcy"),
        (6, "metrics.interval"),
        (7, "metrics.interval"),
    ]
    assert found[0].suggestion == "production"
    assert found[5].problem == "is written twice (first in line 6)"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("metrics: {interval: .inf}", "metrics.interval"),
        ("metrics: {interval: '10'}", "metrics.interval"),
        ("metrics: {port: 0}", "metrics.port"),
        ("metrics: {port: 1.5}", "metrics.port"),
        ("probes: {failures: 0}", "probes.failures"),
        ("canary: {steps: []}", "canary.steps"),
        ("canary: {steps: [{weight: 10, seconds: 5}, {weight: 10, seconds: 5}]}", "canary.steps"),
        ("canary: {steps: [{weight: 101, seconds: 5}]}", "canary.steps[0].weight"),
        ("triggers: {cpu: 90}", "triggers.cpu"),
        ("triggers: {error_rate: .nan}", "triggers.error_rate"),
        ("smoke_tests: {pay: [{name: x, path: healthz}]}", "smoke_tests.pay[0].path"),
        ("smoke_tests: {pay: [{name: x, path: /../x}]}", "smoke_tests.pay[0].path"),
        ("metrics: {scrape_url: 'http://x/{pod}'}", "metrics.scrape_url"),
        ("metrics: {scrape_url: 'ftp://x/{pod}/{namespace}'}", "metrics.scrape_url"),
        ("smoke: {url: 'http://x/{namespace}/{service}/{pod}'}", "smoke.url"),
        ("version: 2", "version"),
        ("sandbox: {speed: 0}", "sandbox.speed"),
        ("default_strategy: {production: recreate}", "default_strategy.production"),
        ("people: [{name: A, login: '-rf'}]", "people[0].login"),
        ("people:", "people"),
    ],
)
def test_every_value_has_a_rule(line: str, key: str) -> None:
    problem = only(minimal(line))
    assert (problem.line, problem.key) == (3, key)
    assert problem.accepted


def test_names_of_environments_are_the_four_and_aliases_can_not_hide_one() -> None:
    found = problems(
        "environments:\n"
        "  production: {tier: dev, context: a, namespaces: [p]}\n"
        "  dev:\n"
        "    context: b\n"
        "    namespaces: [x]\n"
        "    aliases: [production, test]\n"
        "  staging:\n"
        "    context: c\n"
        "    namespaces: [x]\n"
        "    aliases: [test]\n"
    )
    assert [(problem.line, problem.key) for problem in found] == [
        (2, "environments.production.tier"),
        (6, "environments.dev.aliases[0]"),
        (10, "environments.staging.aliases[0]"),
    ]


def test_production_can_not_be_reached_under_another_name() -> None:
    problem = only(
        "environments:\n  production: {context: a, namespaces: [shop]}\n  dev: {context: a, namespaces: [toys, shop]}\n"
    )
    assert problem.key == "environments.dev.namespaces[1]"
    assert "already belongs to production" in problem.problem


def test_two_people_can_not_share_a_login_or_an_account() -> None:
    found = problems(
        minimal(
            "people:",
            "  - {name: A, login: a, ticket_account: acc}",
            "  - {name: B, login: a}",
            "  - {name: C, login: c, ticket_account: ACC}",
            "  - {name: D, login: d}",
        )
    )
    assert [problem.key for problem in found] == ["people[1].login", "people[2].ticket_account"]


@pytest.mark.parametrize("token", ["hunter2-secret", "env:not a name", "'file:'", "vault:kv/jira", "ENV:JIRA", '"env:X\\n"'])
def test_an_inline_secret_is_refused_and_never_repeated(token: str) -> None:
    text = minimal(f"tickets: {{flavour: data-center, url: 'https://jira.example', token: {token}}}")
    with pytest.raises(ConfigurationError) as caught:
        configured(text)
    assert caught.value.problems[0].key == "tickets.token"
    assert "env:NAME" in caught.value.problems[0].accepted
    for told in (str(caught.value), repr(caught.value), caught.value.detail):
        assert "hunter2" not in told
        assert "kv/jira" not in told


@pytest.mark.parametrize(
    "line",
    [
        "tickets: {flavour: cloud, user: a@example.com, url: 'https://me:hunter2@jira.example', token: 'env:X'}",
        "tickets: {flavour: data-center, url: 'https://jira.example', password: hunter2, token: 'env:X'}",
        "tickets: {flavour: data-center, url: 'https://jira.example', token: *hunter2}",
        "tickets: {flavour: data-center, url: 'https://jira.example', token: 'hunter2",
    ],
)
def test_no_message_repeats_what_may_be_a_secret(line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configured(minimal(line))
    assert "hunter2" not in str(caught.value)


def test_a_token_never_travels_in_the_clear() -> None:
    problem = only(minimal("tickets: {flavour: data-center, url: 'http://jira.example', token: 'env:X'}"))
    assert "in the clear" in problem.problem


def test_jira_cloud_needs_the_user_of_its_token() -> None:
    assert "user" in only(minimal("tickets: {flavour: cloud, url: 'https://x.example', token: 'env:X'}")).problem


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("metrics: {scrape_url: 'http://prod.example/{namespace}/{pod}'}", "metrics.scrape_url"),
        ("metrics: {scrape_url: 'http://127.0.0.1.{pod}/{namespace}'}", "metrics.scrape_url"),
    ],
)
def test_nobody_runs_a_real_fleet_at_speed_twenty(line: str, key: str) -> None:
    problem = only(minimal("sandbox: {speed: 20}", "kubeconfig: kubeconfig", line))
    assert problem.key == key
    assert "loopback" in problem.problem


def test_a_hurried_clock_needs_a_kubeconfig_of_its_own() -> None:
    assert only(minimal("sandbox: {speed: 20}")).key == "kubeconfig"


def test_the_sandbox_sets_the_pace() -> None:
    settings = configured(
        minimal(
            "sandbox: {speed: 20.0, epoch: 1795372099.0}",
            "kubeconfig: kubeconfig",
            "metrics: {scrape_url: 'http://127.0.0.1:1/{namespace}/{pod}'}",
        )
    )
    clock = settings.clock()
    assert isinstance(clock, SystemClock)
    assert clock.speed == 20


@pytest.mark.parametrize(("name", "canonical"), [("production", "production"), ("prod", "production"), ("stage", "staging")])
def test_an_environment_is_found_by_name_or_alias(name: str, canonical: str) -> None:
    assert configured().resolve_environment(name)[0] == canonical


@pytest.mark.parametrize("name", ["", "PROD", "Production", "prod ", "prod; rm -rf /", "../staging", "canary"])
def test_nothing_else_is_an_environment(name: str) -> None:
    with pytest.raises(Rejected) as caught:
        configured().resolve_environment(name)
    assert caught.value.accepted == "dev, staging, production, stage, prod"


def test_no_environment_is_missing_and_not_unknown() -> None:
    with pytest.raises(Rejected) as caught:
        configured().resolve_environment("")
    assert caught.value.rule == "is missing, and there is no default"


def test_a_missing_file_says_which_and_how_to_make_one(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(ConfigurationError) as caught:
        load(path, redactor=redactor())
    assert str(path) in str(caught.value)
    assert "quarterdeck config init" in str(caught.value)
    assert caught.value.exit_code == ExitCode.REJECTED


def test_a_file_that_is_no_text_or_a_directory_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"version: 1\nhome: \xff\xfe\n")
    with pytest.raises(ConfigurationError) as caught:
        load(path, redactor=redactor())
    assert (caught.value.problems[0].line, caught.value.problems[0].problem) == (2, "is not UTF-8 text")
    with pytest.raises(ConfigurationError, match="can't be read"):
        load(tmp_path, redactor=redactor())


def test_a_file_is_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(WHOLE)
    assert load(path, redactor=redactor()).home == tmp_path / "state"


HOSTILE = {
    "a tab": ("policy:\n\tdev: {}\n", 5),
    "a key twice": ("version: 1\n", 4),
    "yes and no for names": ("people:\n  - {name: yes, login: jane}\n", 5),
    "a key that is no": ("no: 1\n", 4),
    "a second document": ("---\nversion: 1\n", 4),
    "no number": ("canary: {soak_seconds: .inf}\n", 4),
    "a number without end": (f"canary: {{min_requests: {'9' * 5000}}}\n", 4),
    "a number in octal": ('smoke_tests: {a: [{name: x, path: "/x", status: 0310}]}\n', 4),
    "a number in sixties": ("canary: {soak_seconds: 1:30}\n", 4),
    "half a character": ('people: [{name: "\\ud800", login: jane}]\n', 4),
    "a secret in a path": ('smoke_tests: {a: [{name: x, path: "/x?access_token=hunter2hunter2"}]}\n', 4),
    "a secret as an alias": ("home: *hunter2hunter2\n", 4),
    "a tag": ("home: !hunter2hunter2 x\n", 4),
    "an item of the wrong type": ("default_strategy: []\npeople: [7]\n", 4),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_every_problem_names_its_line_and_what_is_accepted(what: str) -> None:
    text, line = HOSTILE[what]
    found = problems("version: 1\nenvironments:\n  dev: {context: dev, namespaces: [dev]}\n" + text)
    assert found[0].line == line
    assert all(problem.problem and problem.accepted for problem in found)
    assert len({(problem.line, problem.key) for problem in found}) == len(found), "each once"
    assert "hunter2" not in str(found)


def test_what_services_call_their_metrics_can_be_said() -> None:
    usual = configured().metrics.names
    assert (usual.requests, usual.latency) == ("http_requests_total", "http_request_duration_seconds")
    named = configured(WHOLE + "metrics: {names: {requests: app:requests_total, cpu: cpu_seconds}}\n").metrics.names
    assert (named.requests, named.cpu, named.memory) == ("app:requests_total", "cpu_seconds", usual.memory)
    with pytest.raises(ConfigurationError, match=r"metrics\.names\.requests"):
        configured(WHOLE + "metrics: {names: {requests: 'sum(rate(x[5m]))'}}\n")

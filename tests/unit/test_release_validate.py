"""From raw strings to a release: each bad field is named with its value, its rule and what is accepted (R2.1-R2.4, R2.7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.configuration import configured, redactor

from services.model.errors import ExitCode, Rejected
from services.model.release import DeployRequest, Release, Strategy, Target, Tier
from services.release import problems, validate, validate_syntax

SETTINGS = configured()
CONTEXTS = ("dev", "staging", "production")
RUNNING = {
    ("dev", "dev"): ["payment-service", "search"],
    ("staging", "staging"): ["payment-service", "search"],
    ("staging", "staging-two"): ["search"],
    ("production", "production"): ["payment-service", "payment-service-canary", "blue-canary"],
}


def known(context: str, namespace: str) -> list[str]:
    return RUNNING[context, namespace]


def asked(
    service: str = "payment-service",
    version: str = "v2.15.0",
    environment: str = "production",
    strategy: str = "canary",
    ticket: str = "CHG-4821",
    namespace: str = "",
) -> DeployRequest:
    return DeployRequest(
        service=service, version=version, environment=environment, strategy=strategy, ticket=ticket, namespace=namespace
    )


def rejected(request: DeployRequest, contexts: tuple[str, ...] = CONTEXTS) -> Rejected:
    with pytest.raises(Rejected) as caught:
        validate(request, SETTINGS, contexts, known)
    assert caught.value.exit_code == ExitCode.REJECTED
    assert caught.value.rule
    assert caught.value.accepted
    return caught.value


def test_a_good_request_becomes_a_release() -> None:
    assert validate(asked(environment="prod"), SETTINGS, CONTEXTS, known) == Release(
        service="payment-service",
        version="v2.15.0",
        target=Target(environment="production", tier=Tier.PRODUCTION, context="production", namespace="production"),
        strategy=Strategy.CANARY,
        ticket="CHG-4821",
    )


@pytest.mark.parametrize(("environment", "strategy"), [("production", Strategy.CANARY), ("staging", Strategy.ROLLING)])
def test_a_strategy_that_is_not_named_is_the_tiers(environment: str, strategy: Strategy) -> None:
    assert validate_syntax(asked(environment=environment, strategy=""), SETTINGS).strategy is strategy


@pytest.mark.parametrize(
    "environment",
    ["prod; rm -rf /", "../staging", "PRODUCTION", "Prod", " production", "production\n", "produc", "canary", "$(id)",
     "dev,staging", "dev\x00", "ｄｅｖ"],
)  # fmt: skip
def test_an_environment_is_a_configured_word_or_nothing(environment: str) -> None:
    error = rejected(asked(environment=environment))
    assert (error.field, error.value) == ("environment", environment)
    assert error.accepted == "dev, staging, production, stage, prod"


def test_there_is_no_default_environment() -> None:
    assert "no default" in rejected(asked(environment="")).rule


@pytest.mark.parametrize("version", ["latest", "1.2", "v1.2.3 && id", "1.2.3\n", "", "1.2.3+build"])
def test_a_version_is_semantic(version: str) -> None:
    error = rejected(asked(version=version))
    assert (error.field, error.value) == ("version", version)


@pytest.mark.parametrize("namespace", ["Kube_System", "a" * 64, "-a", "a-", "a.b", "../x", "a b", "a\n", "production;id"])
def test_a_namespace_has_a_legal_name(namespace: str) -> None:
    assert rejected(asked(namespace=namespace)).field == "namespace"


def test_a_namespace_belongs_to_its_environment() -> None:
    error = rejected(asked(namespace="kube-system"))
    assert (error.field, error.rule, error.accepted) == ("namespace", "does not belong to production", "production")


def test_an_unknown_context_is_refused_before_anything_is_looked_up() -> None:
    error = rejected(asked(), contexts=("dev", "minikube"))
    assert (error.field, error.value, error.accepted) == ("cluster", "production", "dev, minikube")
    assert "kubeconfig" in rejected(asked(), contexts=()).accepted


def test_a_service_must_exist_where_it_goes() -> None:
    error = rejected(asked(service="payment-servise"))
    assert error.field == "service"
    assert "did you mean payment-service?" in error.rule
    assert "payment-service" in error.accepted
    assert rejected(asked(service="search")).rule.startswith("does not exist in namespace production of production")


@pytest.mark.parametrize("service", ["", "Payment", "a/b", "a;b", "a" * 64, "--force", "a\n"])
def test_a_service_has_a_legal_name(service: str) -> None:
    assert rejected(asked(service=service)).field == "service"


def test_a_service_in_two_namespaces_needs_the_namespace() -> None:
    error = rejected(asked(service="search", environment="staging"))
    assert (error.field, error.accepted) == ("namespace", "staging, staging-two")
    chosen = validate(asked(service="search", environment="staging", namespace="staging-two"), SETTINGS, CONTEXTS, known)
    assert chosen.target.namespace == "staging-two"
    only = validate(asked(environment="stage"), SETTINGS, CONTEXTS, known)
    assert only.target.namespace == "staging"


def test_the_canary_of_a_service_is_not_a_service() -> None:
    error = rejected(asked(service="payment-service-canary"))
    assert (error.field, error.accepted) == ("service", "payment-service")
    assert rejected(asked(service="nope")).accepted == "blue-canary, payment-service"
    assert validate(asked(service="blue-canary"), SETTINGS, CONTEXTS, known).service == "blue-canary"


@pytest.mark.parametrize("strategy", ["recreate", "big-bang"])
def test_big_bang_deploys_are_blocked(strategy: str) -> None:
    error = rejected(asked(strategy=strategy))
    assert (error.field, error.accepted) == ("strategy", "rolling, canary")
    assert "big-bang" in error.rule
    assert "blocked" in error.rule


@pytest.mark.parametrize("strategy", ["blue-green", "ab", "shadow", "flag"])
def test_strategies_still_to_come_say_so(strategy: str) -> None:
    assert "not available in this version" in rejected(asked(strategy=strategy)).rule


@pytest.mark.parametrize(
    ("strategy", "told"), [("cannary", "did you mean canary?"), ("Canary", "did you mean canary?"), ("x", "strategy")]
)
def test_a_strategy_is_one_of_the_words(strategy: str, told: str) -> None:
    assert told in rejected(asked(strategy=strategy)).rule


@pytest.mark.parametrize(
    "ticket", ["chg-1", "CHG-0", "CHG-01", "CHG", "CHG-1/../../x", "CHG-1?x=1", "CHG-1\n", "C-1", "CHG-" + "9" * 70]
)
def test_a_ticket_has_the_form_of_a_key(ticket: str) -> None:
    assert rejected(asked(ticket=ticket)).field == "ticket"


def test_a_missing_ticket_is_the_gates_to_refuse() -> None:
    assert validate(asked(ticket=""), SETTINGS, CONTEXTS, known).ticket == ""


def test_a_form_is_told_everything_at_once() -> None:
    found = problems(asked(service="", version="", environment="", strategy="x", ticket="y", namespace="Z"), SETTINGS)
    assert [problem.field for problem in found] == ["environment", "service", "version", "namespace", "strategy", "ticket"]


def test_a_rejected_value_is_cut_and_can_not_act_on_a_terminal() -> None:
    error = rejected(asked(version="\x1b[31m" + "1" * 500))
    assert len(error.value) == 80
    assert "\x1b" not in str(error)
    assert "‮" not in str(rejected(asked(version="‮1.2.3")))


def test_a_secret_pasted_into_a_field_is_not_repeated() -> None:
    token = "ghp_" + "a1B2" * 9
    assert token not in str(rejected(asked(version=token)))
    guard = redactor()
    guard.register("our-own-secret-value")
    with pytest.raises(Rejected) as caught:
        validate_syntax(asked(environment="our-own-secret-value" + "x" * 70), SETTINGS, redact=guard.text)
    assert "our-own-secret" not in str(caught.value)


_ANY = st.text(max_size=40) | st.sampled_from(
    ["payment-service", "v1.2.3", "production", "dev", "canary", "rolling", "CHG-1", ""]
)


@given(_ANY, _ANY, _ANY, _ANY, _ANY, _ANY)
def test_whatever_is_asked_is_a_sound_release_or_a_rejection(
    service: str, version: str, environment: str, strategy: str, ticket: str, namespace: str
) -> None:
    request = asked(service, version, environment, strategy, ticket, namespace)
    try:
        release = validate(request, SETTINGS, CONTEXTS, known)
    except Rejected as caught:
        error = caught
    else:
        assert release.target.environment in SETTINGS.environments
        assert release.service in known(release.target.context, release.target.namespace)
        assert problems(request, SETTINGS) == ()
        return
    assert len(error.value) <= 80
    assert str(error).isprintable()
    assert problems(request, SETTINGS) or error.field in ("service", "namespace")

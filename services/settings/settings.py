"""The whole configuration as one frozen value, with the rules that bind several sections together."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, StringConstraints, model_validator

from services.clock import SystemClock
from services.model.errors import Rejected
from services.model.gates import Person
from services.model.release import Tier
from services.model.steps import SmokeCheck
from services.settings.alerting import Alerts
from services.settings.journal import JournalOptions
from services.settings.policy import Policies
from services.settings.schema import (
    CanaryPlan,
    DefaultStrategies,
    Environment,
    Judge,
    Metrics,
    PersonField,
    Probes,
    RollingPlan,
    SandboxClock,
    ServiceOptions,
    Smoke,
    SmokeCheckField,
    Tickets,
    Triggers,
)
from services.settings.section import BrokenRule, FilePath, Name, Section, broken_together, is_loopback

ENVIRONMENTS = tuple(tier.value for tier in Tier)
"""R2.1: the canonical names of environments, and the only ones."""

EnvironmentName = Annotated[str, StringConstraints(pattern=r"^(dev|staging|canary|production)$")]


BUILT_IN = "built-in default"


class Settings(Section):
    """Everything the configuration says, completed by strict defaults. Made by :func:`services.settings.load`."""

    version: Literal[1] = Field(default=1, description="1")
    home: FilePath | None = Field(default=None, description="a directory for this operator's state")
    kubeconfig: FilePath | None = Field(default=None, description="a kubeconfig file; absent: KUBECONFIG, else ~/.kube/config")
    environments: dict[EnvironmentName, Environment] = Field(
        min_length=1, description="one or more of dev, staging, canary, production"
    )
    policy: Policies = Policies()
    people: tuple[PersonField, ...] = Field(default=(), description="a list of {name, login, ticket_account}")
    tickets: Tickets | None = None
    alerts: Alerts | None = None
    metrics: Metrics = Metrics()
    probes: Probes = Probes()
    smoke: Smoke = Smoke()
    smoke_tests: dict[Name, Annotated[tuple[SmokeCheckField, ...], Field(max_length=100)]] = Field(
        default={}, description="checks by service: [{name, path, status}]"
    )
    services: dict[Name, ServiceOptions] = Field(default={}, description="options by service: {router: ...}")
    default_strategy: DefaultStrategies = DefaultStrategies()
    canary: CanaryPlan = CanaryPlan()
    rolling: RollingPlan = RollingPlan()
    triggers: Triggers = Triggers()
    judge: Judge = Judge()
    journal: JournalOptions = JournalOptions()
    sandbox: SandboxClock | None = None

    _file: str = PrivateAttr(default="")
    _lines: Mapping[str, int] = PrivateAttr(default={})

    @model_validator(mode="after")
    def _rules(self) -> "Settings":
        checks = (self._names_clash, self._places_clash, self._people_clash, self._speed_outside_the_sandbox)
        if rules := [rule for check in checks for rule in check()]:
            raise broken_together(rules)
        return self

    def _names_clash(self) -> Iterator[BrokenRule]:
        taken: dict[str, str] = {}
        for name, environment in self.environments.items():
            if name == Tier.PRODUCTION and environment.tier is not Tier.PRODUCTION:
                yield BrokenRule(
                    ("environments", name, "tier"), "must be production for the environment of that name", "production"
                )
            for index, alias in enumerate(environment.aliases):
                key = ("environments", name, "aliases", index)
                if alias in ENVIRONMENTS:
                    yield BrokenRule(key, f"{alias} is the name of an environment", "another word")
                elif alias in taken:
                    yield BrokenRule(key, f"{alias} already means {taken[alias]}", "each alias once")
                taken.setdefault(alias, name)

    def _places_clash(self) -> Iterator[BrokenRule]:
        # Otherwise production could be reached by another name, past production's gates.
        owner: dict[tuple[str, str], str] = {}
        for name, environment in self.environments.items():
            for index, namespace in enumerate(environment.namespaces):
                first = owner.setdefault((environment.context, namespace), name)
                if first != name:
                    yield BrokenRule(
                        ("environments", name, "namespaces", index),
                        f"{namespace} of context {environment.context} already belongs to {first}",
                        "each namespace of a context in one environment",
                    )

    def _people_clash(self) -> Iterator[BrokenRule]:
        logins: dict[str, str] = {}
        accounts: dict[str, str] = {}
        for index, person in enumerate(self.people):
            if person.login in logins:
                rule = f"{person.login} is the login of {logins[person.login]} already"
                yield BrokenRule(("people", index, "login"), rule, "each login once")
            account = person.ticket_account.casefold()
            if account and account in accounts:
                rule = f"{person.ticket_account} is the account of {accounts[account]} already"
                yield BrokenRule(("people", index, "ticket_account"), rule, "each account once")
            logins.setdefault(person.login, person.name)
            accounts.setdefault(account, person.name)

    def _speed_outside_the_sandbox(self) -> Iterator[BrokenRule]:
        if self.sandbox is None or self.sandbox.speed == 1:
            return
        if self.kubeconfig is None:
            rule = f"must be named while sandbox.speed is {self.sandbox.speed:g}: whatever KUBECONFIG says may be a real cluster"
            yield BrokenRule(("kubeconfig",), rule, "the sandbox's kubeconfig, or no 'sandbox' section at all")
        urls = {
            ("metrics", "scrape_url"): self.metrics.scrape_url,
            ("probes", "url"): self.probes.url,
            ("smoke", "url"): self.smoke.url,
            ("tickets", "url"): self.tickets.url if self.tickets else None,
            ("alerts", "url"): self.alerts.url if self.alerts else None,
        }
        for key, url in urls.items():
            if url is not None and not is_loopback(url.replace("{", "").replace("}", "")):
                yield BrokenRule(
                    key,
                    f"must be on loopback while sandbox.speed is {self.sandbox.speed:g}: speeds other than 1 are the sandbox's",
                    "http://127.0.0.1:PORT/…, or no 'sandbox' section at all",
                )

    def clock(self) -> SystemClock:
        """The clock of this configuration: pace is wall time, except in the sandbox."""
        return SystemClock(self.sandbox.speed, self.sandbox.epoch) if self.sandbox else SystemClock()

    def names(self) -> tuple[str, ...]:
        """Every word that means an environment here: names first, then aliases."""
        aliases = [alias for environment in self.environments.values() for alias in environment.aliases]
        return (*self.environments, *aliases)

    def resolve_environment(self, name: str) -> tuple[str, Environment]:
        """The canonical name and the environment that ``name`` (a name or an alias, exactly) means.

        Raises :class:`services.model.errors.Rejected` for anything else; there is no default.
        """
        for canonical, environment in self.environments.items():
            if name == canonical or name in environment.aliases:
                return canonical, environment
        rule = "is not one of the configured environments" if name else "is missing, and there is no default"
        raise Rejected("environment", name[:80], rule, ", ".join(self.names()))

    def operator(self, login: str) -> Person | None:
        """The person with this login, if the configuration names one."""
        return next((person for person in self.people if person.login == login), None)

    def person_of(self, ticket_account: str) -> Person | None:
        """The person with this account in the ticket system, if the configuration names one."""
        if not ticket_account:
            return None
        return next((person for person in self.people if person.ticket_account == ticket_account), None)

    def of(self, service: str) -> "Settings":
        """As they are for one service: what is judged of others alone is left out."""
        return self.model_copy(update={"metrics": self.metrics.of(service)})

    def checks(self, service: str) -> tuple[SmokeCheck, ...]:
        """The smoke tests of a service; empty where none are defined."""
        return self.smoke_tests.get(service, ())

    def router(self, service: str) -> str:
        """The router that is configured for a service; empty where it follows from what routes to it."""
        options = self.services.get(service)
        return options.router if options is not None else ""

    def line(self, key: str) -> int:
        """The line of a key in the file; 0 where it is not written there."""
        return self._lines.get(key, 0)

    def where(self, key: str) -> str:
        """Where a value comes from, for people: ``config.yaml:12``, or ``built-in default``."""
        if key in self._lines:
            return f"{Path(self._file).name}:{self._lines[key]}"
        return BUILT_IN

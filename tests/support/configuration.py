"""A whole configuration to test against, and a redactor of its own."""

from pathlib import Path

from services.redaction import Redactor
from services.settings import Settings, parse

WHOLE = """\
version: 1
home: state
kubeconfig: ~/.kube/other
environments:
  dev: {context: dev, namespaces: [dev]}
  staging:
    aliases: [stage]
    context: staging
    namespaces: [staging, staging-two]
  production: {tier: production, aliases: [prod], context: production, namespaces: [production]}
policy:
  dev: {ticket: waived, approvals: 0, smoke_tests: required, gradual_rollout: waived, rollback_tested: waived}
people:
  - {name: Jane Doe, login: jane, ticket_account: acc-jane}
  - {name: Amira Haddad, login: amira, ticket_account: acc-amira}
  - {name: Chen Wei, login: chen, ticket_account: acc-chen}
tickets: {flavour: data-center, url: "http://127.0.0.1:8099/jira", token: "env:JIRA_TOKEN"}
smoke_tests:
  payment-service: [{name: health, path: /healthz}, {name: pay, path: /api/v1/ping, contains: pong}]
"""


def redactor() -> Redactor:
    return Redactor(b"k" * 32)


def configured(text: str = WHOLE, *, file: str = "/etc/quarterdeck/config.yaml") -> Settings:
    return parse(text, file=file, base=Path("/etc/quarterdeck"), redactor=redactor())

"""The source of alerts: does it answer, and does it take our credentials."""

from console.doctor.finding import Check, Finding, Group, Topic
from services.clock import Clock
from services.integrations.alerts import AlertsUnavailable, open_alerts
from services.model.alerts import AlertSubject
from services.redaction import Redactor
from services.settings import Settings

_NEEDED = "its answer: without one no alert rolls a deploy back"


def checks(settings: Settings, clock: Clock, redactor: Redactor) -> list[Check]:
    """None where no source is configured."""
    if settings.alerts is None:
        return []
    topic = Topic(Group.MEASUREMENTS, "alerts", settings.alerts.url)

    async def asked() -> list[Finding]:
        source = open_alerts(settings, redactor=redactor, clock=clock)
        assert source is not None
        name, environment = next(iter(settings.environments.items()))
        anyone = AlertSubject(service="checkout", namespace=environment.namespaces[0], environment=name, workloads=())
        try:
            await source.firing(anyone)
        except AlertsUnavailable as error:
            return [topic.problem(redactor.text(error.detail or error.title), _NEEDED, error.hint)]
        finally:
            await source.close()
        return [topic.ok("it says which alerts fire")]

    return [Check(topic, asked)]

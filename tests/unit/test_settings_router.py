"""The router that is configured for a service."""

import pytest
from support.configuration import WHOLE, configured

from services.model.errors import QuarterdeckError


def test_a_service_without_options_has_no_router() -> None:
    assert configured().router("web") == ""


@pytest.mark.parametrize("router", ["istio", "gateway", "nginx", "replicas", "gateway/web-external", "istio/a.b"])
def test_a_router_or_one_object_of_it(router: str) -> None:
    settings = configured(f'{WHOLE}services: {{web: {{router: "{router}"}}}}\n')
    assert settings.router("web") == router
    assert settings.router("other") == ""


@pytest.mark.parametrize("router", ["traefik", "gateway/", "replicas/x", "gateway/A b", "istio;rm"])
def test_what_is_no_router_is_refused(router: str) -> None:
    with pytest.raises(QuarterdeckError, match="router"):
        configured(f'{WHOLE}services: {{web: {{router: "{router}"}}}}\n')

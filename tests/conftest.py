"""Property tests: no time limit an example (a busy machine is no defect), and the same examples at each run of CI.

Where tests run side by side in groups, those of one module are one, and all that need the one real control plane.
"""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        group = "cluster" if item.get_closest_marker("cluster") else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_finish() -> None:
    """Thousands of tests and all that they import stay till the end: looking through them again and again for garbage would take
    as long as running them."""
    gc.collect()
    gc.freeze()

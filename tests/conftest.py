"""Property tests: no time limit an example (a busy machine is no defect), and the same examples at each run of CI."""

import gc
import os

from hypothesis import HealthCheck, settings

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_collection_finish() -> None:
    """Thousands of tests and all that they import stay till the end: looking through them again and again for garbage would take
    as long as running them."""
    gc.collect()
    gc.freeze()

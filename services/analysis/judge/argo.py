"""What Argo Rollouts' documented example rule would have done on the same counts, to be shown beside the judge.

Success of at least 95 % over the last minute, measured each minute; failed when more measurements than the limit have failed, not
necessarily in a row (``assessMetricFailureInconclusiveOrError`` of its ``analysis/analysis.go``). No comparison with the control.
A minute without requests is an error of the provider; more than four running end the run as well.
"""

import msgspec

from services.analysis.judge.parameters import Interval

ERROR_RATE = 0.05
WINDOW_S = 60.0
ERRORS_RUNNING = 4


class Argo(msgspec.Struct, frozen=True):
    """Where such a run stands. ``aborted_at`` in seconds after exposure, ``None`` while it goes on."""

    elapsed: float = 0.0
    window: float = 0.0
    requests: float = 0.0
    bad: float = 0.0
    failed: int = 0
    errors_running: int = 0
    aborted_at: float | None = None

    @property
    def unanswered(self) -> bool:
        """Whether it was ended by measurements that had no answer, and not by failures."""
        return self.errors_running > ERRORS_RUNNING


def unanswered(run: Argo, seconds: float) -> Argo:
    """The run after ``seconds`` of which nothing is known: it goes on measuring each minute, and gets no answer."""
    while seconds > 1e-9 and run.aborted_at is None:
        part = min(seconds, WINDOW_S - run.window)
        run, seconds = measured(run, Interval(0.0, 0.0, 0.0, 0.0), part), seconds - part
    return run


def measured(run: Argo, interval: Interval, seconds: float, *, failure_limit: int = 0) -> Argo:
    """The run after one more interval of ``seconds``."""
    if run.aborted_at is not None:
        return run
    elapsed, window = run.elapsed + seconds, run.window + seconds
    requests, bad = run.requests + interval.n, run.bad + interval.s
    if window < WINDOW_S - 1e-9:
        return Argo(elapsed, window, requests, bad, run.failed, run.errors_running)
    failed = run.failed + (bad > ERROR_RATE * requests)
    errors = 0 if requests > 0 else run.errors_running + 1
    aborted = failed > failure_limit or errors > ERRORS_RUNNING
    return Argo(elapsed, 0.0, 0.0, 0.0, failed, errors, elapsed if aborted else None)

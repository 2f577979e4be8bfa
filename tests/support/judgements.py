"""Judgements as a checkpoint keeps them: of a canary that does well, and of one that does not."""

from typing import Any

import msgspec

from services.analysis.judge import ERRORS, Parameters
from services.analysis.trial import Look, looked, opened
from services.model.rollout import JudgedMetric, Judgement, Replayed


def errors(**changes: Any) -> JudgedMetric:
    return JudgedMetric(
        **{
            "name": "errors",
            "n": 9_000.0,
            "s": 19.0,
            "m": 27_000.0,
            "f": 51.0,
            "ratio_low": 0.61,
            "ratio_high": 2.02,
            "r": 1.2,
            "d": 0.0002,
            "noise": 1.8,
            "log_e": 0.21,
            "log_ok": 2.13,
            "onset": 10.0,
            **changes,
        }
    )


def slow(**changes: Any) -> JudgedMetric:
    own = {"name": "latency-p99", "edge": 0.066, "s": 88.0, "f": 270.0, "ratio_low": 0.7, "ratio_high": 1.4, "r": 1.5, "d": 0.005}
    return errors(**{**own, "noise": 1.0, "log_e": -0.4, **changes})


def judgement(**changes: Any) -> Judgement:
    """72 s of a canary that does about as well as stable: nothing is decided yet."""
    return Judgement(
        **{
            "verdict": "undecided",
            "seconds": 70.0,
            "intervals": 7,
            "regression": 9.1,
            "health": 71.0,
            "log_e": 0.42,
            "abort_at": 4.605,
            "highest": 0.61,
            "leading": "errors",
            "past": False,
            "metrics": (errors(), slow()),
            "path": (0.0, -0.1, 0.2, 0.61, 0.4, 0.38, 0.42),
            "at": 1000.0,
            "detail": "errors: 0.211 % failed against 0.189 % of stable",
            "memory": {"anything": 1},
            **changes,
        }
    )


def regressed(**changes: Any) -> Judgement:
    """Five times the failures from half a minute on: rolled back."""
    bad = errors(s=81.0, ratio_low=2.9, ratio_high=8.1, log_e=5.3, log_ok=-3.0, onset=30.0)
    bad = msgspec.structs.replace(bad, path=(0.0, -0.1, -0.2, 1.9, 3.7, 5.0, 5.3), alone_at=5.298)
    told = {
        "verdict": "regressed",
        "regression": 100.0,
        "health": 0.0,
        "log_e": 4.61,
        "highest": 4.61,
        "metrics": (bad, slow(path=(0.0, 0.2, 0.9, 0.4, -0.1, -0.3, -0.4), alone_at=6.215)),
        "path": (0.0, -0.1, -0.2, 1.5, 3.1, 4.4, 4.61),
        "detail": "errors: 0.9 % failed against 0.189 % of stable, 2.9 to 8.1 × (95 % at any time); 81 requests hit",
    }
    return judgement(**{**told, **changes})


REPLAYED = Replayed(rows=30, splits=10, aborted=0, noise={"errors": 1.8})


def proven_in(step: int) -> Judgement:
    """What the judge has said by ``step`` of the plan after two minutes of a version that runs well."""
    trial = opened(Parameters(metrics=(ERRORS,)))
    for _ in range(12):
        trial = looked(trial, Look(counts={"errors": (2000.0, 18_000.0, 1.0, 18.0)}, seconds=10.0, step=step))
    assert trial.proven
    memory = msgspec.json.decode(msgspec.json.encode(trial))
    return msgspec.structs.replace(judgement(), verdict="healthy", memory=memory)

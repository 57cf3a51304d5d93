"""No number of a worker's reaches the core unless it is one that can be."""

from dataclasses import replace

import pytest

from bflcd.learn.checks.results import check_result
from bflcd.learn.protocol import (
    EvaluateJob,
    EvaluateResult,
    ScoreJob,
    ScoreResult,
    TrainJob,
    TrainResult,
    UpdateScore,
    UpdateToScore,
    WorkerError,
)
from bflcd.types import Digest, MicroNats, PartsPerMillion, Round

KEY, OTHER = Digest(bytes(32)), Digest(bytes([1]) * 32)
TRAIN = TrainJob(Round(0), b"", 1, "mine")
TRAINED = TrainResult(b"", 10, 0.5, 0.1)
SCORE = ScoreJob(Round(0), b"", (UpdateToScore(KEY, b"", "a"), UpdateToScore(OTHER, b"", "b")), 1, 256, 4)
FOUND = UpdateScore(KEY, MicroNats(5), PartsPerMillion(7), 9)
SCORED = ScoreResult(MicroNats(1), PartsPerMillion(2), (FOUND,), ((OTHER, "bad"),), 0.1, 256, 1_000)
MEASURE, MEASURED = EvaluateJob(b""), EvaluateResult(PartsPerMillion(1), MicroNats(2), 3)


@pytest.mark.parametrize(
    ("job", "result"), [(TRAIN, TRAINED), (SCORE, SCORED), (MEASURE, MEASURED), (MEASURE, EvaluateResult(None, None, 0))]
)
def test_what_can_be_passes(job, result):
    check_result(job, result)


@pytest.mark.parametrize(
    ("job", "result", "words"),
    [
        (TRAIN, replace(TRAINED, samples=0), "samples is 0; expected 1 to "),
        (TRAIN, replace(TRAINED, samples=2**40 + 1), "samples is "),
        (TRAIN, replace(TRAINED, loss=float("nan")), "loss is nan; expected a finite number"),
        (SCORE, replace(SCORED, base_accuracy=16_265_625), "base accuracy is 16265625; expected 0 to 1000000"),
        (SCORE, replace(SCORED, base_loss=10**9 + 1), "base loss is "),
        (SCORE, replace(SCORED, scores=(replace(FOUND, accuracy=-1),)), "accuracy is -1"),
        (SCORE, replace(SCORED, scores=(replace(FOUND, gain=-(10**9) - 1),)), "gain is "),
        (SCORE, replace(SCORED, scores=(replace(FOUND, norm=2**22 + 1),)), "norm is "),
        (
            SCORE,
            replace(SCORED, scores=(replace(FOUND, alike=(OTHER,) * 65),)),
            "number of updates like one is 65; expected 0 to 64",
        ),
        (SCORE, replace(SCORED, scores=(replace(FOUND, cost=10**6 + 1),)), "cost is "),
        (SCORE, replace(SCORED, invalid=()), "judged 1 updates, not just the 2 "),
        (SCORE, replace(SCORED, scores=(FOUND, FOUND)), "judged 3 updates, not just the 2 "),
        (MEASURE, replace(MEASURED, accuracy=1_000_001), "accuracy is 1000001"),
    ],
)
def test_what_cannot_be_is_named(job, result, words):
    with pytest.raises(WorkerError, match=words):
        check_result(job, result)

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
    WatchJob,
    WatchResult,
    WorkerError,
)
from bflcd.learn.watching.errors import ClassErrors
from bflcd.types import Digest, MicroNats, PartsPerMillion, Round

KEY, OTHER = Digest(bytes(32)), Digest(bytes([1]) * 32)
TRAIN = TrainJob(Round(0), b"", 1, "mine")
TRAINED = TrainResult(b"", 10, 0.5, 0.1)
SCORE = ScoreJob(Round(0), b"", (UpdateToScore(KEY, b"", "a"), UpdateToScore(OTHER, b"", "b")), 1, 256, 4)
FOUND = UpdateScore(KEY, MicroNats(5), PartsPerMillion(7), 9)
SCORED = ScoreResult(MicroNats(1), PartsPerMillion(2), (FOUND,), ((OTHER, "bad"),), 0.1, 256, 1_000)
ERRORS = ClassErrors((0, 3), (10, 20), (1, 2), (2, 0), 1)
WATCH, WATCHED = WatchJob(b"", 30), WatchResult(ERRORS, 0.1)
MEASURE, MEASURED = EvaluateJob(b""), EvaluateResult(PartsPerMillion(1), MicroNats(2), 3)


@pytest.mark.parametrize(
    ("job", "result"),
    [(TRAIN, TRAINED), (SCORE, SCORED), (MEASURE, MEASURED), (MEASURE, EvaluateResult(None, None, 0)), (WATCH, WATCHED)],
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
        (replace(WATCH, rows=29), WATCHED, "watched rows is 30; expected 0 to 29"),
        (WATCH, replace(WATCHED, errors=replace(ERRORS, rows=(0, 30))), "rows of a class is 0"),
        (WATCH, replace(WATCHED, errors=replace(ERRORS, missed=(11, 2))), "wrong rows of a class is 11; expected 0 to 10"),
        (WATCH, replace(WATCHED, errors=replace(ERRORS, taken=(-1, 0))), "rows called by a class is -1"),
        (WATCH, replace(WATCHED, errors=replace(ERRORS, strayed=2)), "rows called by a class is 4; expected 0 to 3"),
        (WATCH, replace(WATCHED, errors=replace(ERRORS, labels=(3, 0))), "counts classes twice, or out of order"),
    ],
)
def test_what_cannot_be_is_named(job, result, words):
    with pytest.raises(WorkerError, match=words):
        check_result(job, result)

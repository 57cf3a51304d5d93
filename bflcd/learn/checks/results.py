"""What a worker says it computed, checked before anybody relies on it: the core takes numbers within their limits only."""

from math import isfinite
from typing import Final

from bflcd.learn.checks.alike import MOST_NAMED
from bflcd.learn.protocol import (
    NORM_LIMIT,
    NORM_SCALE_BITS,
    WIDEST_ROW_LIMIT,
    EvaluateJob,
    EvaluateResult,
    ScoreJob,
    ScoreResult,
    TrainJob,
    TrainResult,
    WatchJob,
    WatchResult,
    WorkerError,
)
from bflcd.learn.watching.errors import MOST_ROWS, ClassErrors
from bflcd.params import MILLION

MAX_SAMPLES: Final = 2**40
"""Rows that an offer may claim."""


def check_result(
    job: TrainJob | ScoreJob | EvaluateJob | WatchJob, result: TrainResult | ScoreResult | EvaluateResult | WatchResult
) -> None:
    """Raise WorkerError naming the first number that can't be, or a score of what was not asked for."""
    match job, result:
        case TrainJob(), TrainResult():
            _within("samples", result.samples, 1, MAX_SAMPLES)
            if not isfinite(result.loss):
                raise _wrong("loss", result.loss, "a finite number")
        case ScoreJob(), ScoreResult():
            _check_scores(job, result)
        case EvaluateJob(), EvaluateResult():
            _within("accuracy", result.accuracy or 0, 0, MILLION)
            _within("loss", result.loss or 0, -WIDEST_ROW_LIMIT, WIDEST_ROW_LIMIT)
        case WatchJob(), WatchResult():
            _check_errors(result.errors, min(job.rows, MOST_ROWS))


def _check_scores(job: ScoreJob, result: ScoreResult) -> None:
    _within("base loss", result.base_loss, -WIDEST_ROW_LIMIT, WIDEST_ROW_LIMIT)
    _within("base accuracy", result.base_accuracy, 0, MILLION)
    _within("drawn rows", result.drawn, 1, job.rows)
    _within("held rows", result.held, result.drawn, MAX_SAMPLES)
    for score in result.scores:
        _within("gain", score.gain, -WIDEST_ROW_LIMIT, WIDEST_ROW_LIMIT)
        _within("accuracy", score.accuracy, 0, MILLION)
        _within("norm", score.norm, 0, NORM_LIMIT << NORM_SCALE_BITS)
        _within("number of updates like one", len(score.alike), 0, MOST_NAMED)
        _within("cost", score.cost, -2 * MILLION, MILLION)
    said = sorted([score.key for score in result.scores] + [key for key, _ in result.invalid])
    asked = sorted(candidate.key for candidate in job.candidates)
    if said != asked:
        raise WorkerError(f"the compute worker judged {len(said)} updates, not just the {len(asked)} that it was asked for")


def _check_errors(errors: ClassErrors, most: int) -> None:
    _within("watched rows", errors.total, 0, most)
    for rows, missed in zip(errors.rows, errors.missed, strict=True):
        _within("rows of a class", rows, 1, most)
        _within("wrong rows of a class", missed, 0, rows)
    for taken in (*errors.taken, errors.strayed, sum(errors.taken) + errors.strayed):
        _within("rows called by a class", taken, 0, errors.wrong)
    if list(errors.labels) != sorted(set(errors.labels)):
        raise WorkerError("the compute worker counts classes twice, or out of order")


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise _wrong(name, value, f"{low} to {high}")


def _wrong(name: str, value: float, expected: str) -> WorkerError:
    return WorkerError(f"the compute worker's {name} is {value}; expected {expected}")

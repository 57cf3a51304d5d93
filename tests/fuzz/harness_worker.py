"""Frames between daemon and compute worker, in both directions."""

from collections.abc import Iterator
from contextlib import suppress

from bflcd.errors import OperatorError
from bflcd.learn.attacks import AttackConfig
from bflcd.learn.data import DataConfig
from bflcd.learn.frames import Frame, FrameError, frame_parts, read_frame
from bflcd.learn.messages import (
    DescribeRequest,
    Ready,
    Setup,
    TaskDescription,
    describe_frame,
    describe_of,
    description_frame,
    description_of,
    error_frame,
    evaluate_result,
    job_frame,
    job_of,
    ready_frame,
    ready_of,
    result_frame,
    score_result,
    setup_frame,
    setup_of,
    train_result,
)
from bflcd.learn.protocol import (
    AttackContext,
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
from bflcd.types import Digest, MicroNats, NodeId, PartsPerMillion, Round
from tests.fuzz.target import Target
from tests.helpers.learning import SPEC, task_spec

READERS = (setup_of, ready_of, describe_of, description_of, job_of, train_result, score_result, evaluate_result)
KEY = Digest(bytes([5]) * 32)
DATA = DataConfig(None, "equal", 0, 1, 0, 0.5, 0)


def frames() -> tuple[Frame, ...]:
    score = UpdateScore(KEY, MicroNats(-1), PartsPerMillion(5), 7)
    return (
        setup_frame(Setup(task_spec("digits", SPEC), DATA, 200_000, 7, "cpu", 1)),
        setup_frame(Setup(task_spec("digits", SPEC), DATA, 200_000, 7, "cpu", 1, AttackConfig("noise", (NodeId(KEY),), 2.0))),
        ready_frame(Ready("cpu", 1, 2, 3)),
        describe_frame(DescribeRequest("digits", {"a": "b"}, 1, DATA)),
        description_frame(TaskDescription((("a", "b"),), SPEC, b"model")),
        job_frame(TrainJob(Round(1), b"model", 3, "label")),
        job_frame(TrainJob(Round(1), b"model", 3, "label", AttackContext(4, 2, 7))),
        job_frame(ScoreJob(Round(1), b"model", (UpdateToScore(KEY, b"update", "label"),), 3, 256, 4)),
        job_frame(EvaluateJob(b"model")),
        result_frame(TrainResult(b"update", 10, 0.5, 0.1)),
        result_frame(ScoreResult(MicroNats(1), PartsPerMillion(2), (score,), ((KEY, "bad"),), 0.1)),
        result_frame(EvaluateResult(PartsPerMillion(1), MicroNats(2), 3)),
        error_frame(WorkerError("torch failed")),
        error_frame(OperatorError("no data", hint="give some")),
    )


def seeds() -> Iterator[bytes]:
    for frame in frames():
        yield b"".join(frame_parts(frame))


def one(data: bytes) -> None:
    position = 0

    def read_exactly(size: int) -> bytes:
        nonlocal position
        part = data[position : position + size]
        if len(part) != size:
            raise EOFError
        position += size
        return part

    try:
        frame = read_frame(read_exactly)
    except (FrameError, EOFError):
        return
    for read in READERS:
        with suppress(FrameError, WorkerError, OperatorError):
            read(frame)


TARGET = Target("worker", seeds, one, share=2)

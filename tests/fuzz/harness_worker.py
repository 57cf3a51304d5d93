"""Frames between daemon and compute worker, in both directions."""

from collections.abc import Iterator
from contextlib import suppress

from bflcd.errors import OperatorError
from bflcd.learn.frames import FrameError, frame_parts, read_frame
from bflcd.learn.messages import DescribeRequest, Ready, Setup, TaskDescription, frame_of, job_of, read_as
from bflcd.learn.protocol import EvaluateResult, ScoreResult, TrainResult, WorkerError
from tests.fuzz.target import Target
from tests.helpers.worker_messages import MESSAGES

EXPECTED = (Setup, Ready, DescribeRequest, TaskDescription, TrainResult, ScoreResult, EvaluateResult)


def seeds() -> Iterator[bytes]:
    for message in MESSAGES:
        yield b"".join(frame_parts(frame_of(message)))


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
    for expected in EXPECTED:
        with suppress(FrameError, WorkerError, OperatorError):
            read_as(frame, expected)
    with suppress(FrameError, WorkerError, OperatorError):
        job_of(frame)


TARGET = Target("worker", seeds, one, share=2)

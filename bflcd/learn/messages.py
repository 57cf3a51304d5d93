"""Jobs, results and settings as frames, both ways; one place for both ends of the pipe.

A frame's fields are those of one dataclass, by name; its models and updates travel as the frame's payloads, in the same order.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgpack
import msgspec

from bflcd.errors import OperatorError, PeerError
from bflcd.learn.attacks import AttackConfig
from bflcd.learn.data import DataConfig
from bflcd.learn.frames import Frame, FrameError
from bflcd.learn.protocol import (
    EvaluateJob,
    EvaluateResult,
    PayloadError,
    ScoreJob,
    ScoreResult,
    TrainJob,
    TrainResult,
    WatchJob,
    WatchResult,
    WorkerError,
)
from bflcd.params import TaskSpec, TensorSpec
from bflcd.wire.training import Training

Job = TrainJob | ScoreJob | EvaluateJob | WatchJob
Result = TrainResult | ScoreResult | EvaluateResult | WatchResult

T = TypeVar("T")

_PAYLOADS: Final = ("model", "before", "update")
"""Fields whose bytes are payloads of a frame."""

MAX_SAID_CHARS: Final = 4096
"""Of an error, in a frame: more than anybody reads."""

_QUOTED_CHARS: Final = 40
"""Of a frame's kind, in a message."""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a worker needs before its first job. `split_seed`: private, draws the validation rows; `threads`: of torch.

    `attack`: what an attacker's worker lies by; None in an honest node's. `private`: it trains with privacy, or not at all.
    """

    task: TaskSpec
    data: DataConfig
    validation_fraction: int
    split_seed: int
    device: str
    threads: int
    attack: AttackConfig | None = None
    private: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """What the worker found: the device it computes on and its numbers of rows."""

    device: str
    training_rows: int
    validation_rows: int
    test_rows: int


@dataclass(frozen=True, slots=True)
class DescribeRequest:
    """Asks for a TaskDescription; `data` may serve to infer options. `trial`: train and judge a step with it first."""

    factory: str
    options: dict[str, str]
    seed: int
    data: DataConfig | None
    trial: bool = False


@dataclass(frozen=True, slots=True)
class TaskDescription:
    """What a genesis fixes of a task: effective options (sorted), tensor specification, payload of model 0.

    `untried`: why no step was tried though that was asked for; empty if it was.
    """

    options: tuple[tuple[str, str], ...]
    tensors: tuple[TensorSpec, ...]
    model: bytes
    untried: str = ""


@dataclass(frozen=True, slots=True)
class OperatorFault:
    """An OperatorError: what people must mend."""

    message: str
    hint: str
    code: str


@dataclass(frozen=True, slots=True)
class JobFailed:
    """Any other error: one job's end. `payload`: what the job brought is at fault, not the worker; `fault`: as in WorkerError."""

    message: str
    payload: bool = False
    fault: Training = Training.WORKER


Message = Setup | Ready | DescribeRequest | TaskDescription | Job | Result | OperatorFault | JobFailed

_KINDS: Final[Mapping[str, type[Message]]] = {
    "setup": Setup,
    "ready": Ready,
    "describe": DescribeRequest,
    "description": TaskDescription,
    "train": TrainJob,
    "score": ScoreJob,
    "evaluate": EvaluateJob,
    "watch": WatchJob,
    "trained": TrainResult,
    "scored": ScoreResult,
    "evaluated": EvaluateResult,
    "watched": WatchResult,
    "operator_error": OperatorFault,
    "failed": JobFailed,
}

_KIND_OF: Final = {message: kind for kind, message in _KINDS.items()}


def frame_of(message: Message) -> Frame:
    """The frame that says `message`."""
    fields = msgspec.to_builtins(message, builtin_types=(bytes,))
    candidates = fields.get("candidates", ())
    payloads = tuple(holder.pop(name) for holder, name in _places(type(message), fields, candidates))
    return Frame(_KIND_OF[type(message)], fields, payloads)


def error_frame(error: Exception) -> Frame:
    """The frame that says that a job, or the setup, ended with `error`."""
    if isinstance(error, OperatorError):
        return frame_of(OperatorFault(_spelled(str(error)), _spelled(error.hint), error.code))
    fault = error.fault if isinstance(error, WorkerError) else Training.WORKER
    return frame_of(JobFailed(_spelled(str(error)) or type(error).__name__, isinstance(error, PeerError), fault))


def _spelled(text: str) -> str:
    """What can be said of it: the name of a file may have bytes that are no UTF-8, and a task may say anything."""
    return text[:MAX_SAID_CHARS].encode(errors="backslashreplace").decode()


def read_as(frame: Frame, expected: type[T]) -> T:
    """The message of that type. Raises FrameError, or the worker's own error where the frame says one."""
    found = _read(frame)
    if isinstance(found, expected):
        return found
    raise _unexpected(frame, found)


def job_of(frame: Frame) -> Job:
    """The job that the daemon asks for. Raises FrameError."""
    found = _read(frame)
    if isinstance(found, Job):
        return found
    raise _unexpected(frame, found)


def _unexpected(frame: Frame, found: Message) -> Exception:
    match found:
        case OperatorFault():
            return OperatorError(found.message, hint=found.hint, code=found.code)
        case JobFailed():
            return PayloadError(found.message) if found.payload else WorkerError(found.message, found.fault)
    return FrameError(f"a frame {frame.kind!r} is out of place here")


def _read(frame: Frame) -> Message:
    """What a frame says. Raises FrameError for whatever is wrong with it: the pipe can't be used any more."""
    kind = _KINDS.get(frame.kind)
    if kind is None:
        raise FrameError(f"a frame {frame.kind[:_QUOTED_CHARS]!r} is of no known kind")
    try:
        found = msgspec.convert(_with_payloads(frame, kind), kind, builtin_types=(bytes,))
        stray = msgpack.packb(frame_of(found).fields) != msgpack.packb(frame.fields)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a frame {frame.kind!r} whose fields are not those of its kind: {error}") from error
    if stray:  # a dataclass is read past keys that it does not know
        raise FrameError(f"a frame {frame.kind!r} whose fields are not those of its kind: others stand among them")
    return found


def _with_payloads(frame: Frame, kind: type[Message]) -> dict[str, Any]:
    """A frame's fields with its payloads back in their places. Raises ValueError if it has others than places."""
    fields = dict(frame.fields)
    if "candidates" in fields:
        fields["candidates"] = msgspec.convert(fields["candidates"], list[dict[str, Any]], builtin_types=(bytes,))
    places = _places(kind, fields, fields.get("candidates", ()))
    for (holder, name), payload in zip(places, frame.payloads, strict=True):
        holder[name] = payload
    return fields


def _places(kind: type[Message], fields: dict[str, Any], candidates: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Where payloads belong, in their order: the message's own, then the update of each candidate."""
    yield from ((fields, name) for name in _PAYLOADS if name in kind.__dataclass_fields__)
    yield from ((candidate, "update") for candidate in candidates)

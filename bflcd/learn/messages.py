"""Jobs, results and settings as frames, both ways; one place for both ends of the pipe."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any, Final, TypeVar

from bflcd.errors import OperatorError
from bflcd.learn.attacks import AttackConfig
from bflcd.learn.data import DataConfig
from bflcd.learn.frames import Frame, FrameError
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
from bflcd.params import TaskSpec, TensorSpec
from bflcd.types import Digest, MicroNats, NodeId, PartsPerMillion, Round

Job = TrainJob | ScoreJob | EvaluateJob
Result = TrainResult | ScoreResult | EvaluateResult

T = TypeVar("T")

_WRONG_FIELDS: Final = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What reading fields raises that are missing or of another kind than they should be."""


def _reader(read: Callable[[Frame], T]) -> Callable[[Frame], T]:
    """Let a reader of frames raise FrameError for whatever is wrong with one: the pipe can't be used any more."""

    @wraps(read)
    def checked(frame: Frame) -> T:
        try:
            return read(frame)
        except _WRONG_FIELDS as error:
            name = type(error).__name__
            raise FrameError(f"a frame {frame.kind[:40]!r} whose fields are not those of its kind: {name}: {error}") from error

    return checked


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a worker needs before its first job. `split_seed`: private, draws the validation rows; `threads`: of torch.

    `attack`: what an attacker's worker lies by; None in an honest node's.
    """

    task: TaskSpec
    data: DataConfig
    validation_fraction: int
    split_seed: int
    device: str
    threads: int
    attack: AttackConfig | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """What the worker found: the device it computes on and its numbers of rows."""

    device: str
    training_rows: int
    validation_rows: int
    test_rows: int


@dataclass(frozen=True, slots=True)
class TaskDescription:
    """What a genesis fixes of a task: effective options (sorted), tensor specification, payload of model 0."""

    options: tuple[tuple[str, str], ...]
    tensors: tuple[TensorSpec, ...]
    model: bytes


@dataclass(frozen=True, slots=True)
class DescribeRequest:
    """Asks for a TaskDescription; `data` may serve to infer options."""

    factory: str
    options: dict[str, str]
    seed: int
    data: DataConfig | None


def setup_frame(setup: Setup) -> Frame:
    """Kind `setup`."""
    return Frame("setup", asdict(setup))


@_reader
def setup_of(frame: Frame) -> Setup:
    """Raises FrameError."""
    fields = dict(_expect(frame, "setup"))
    task = fields.pop("task")
    tensors = _tensors(task.pop("tensors"))
    options = tuple((key, value) for key, value in task.pop("options"))
    attack = _attack(fields.pop("attack"))
    return Setup(TaskSpec(options=options, tensors=tensors, **task), DataConfig(**fields.pop("data")), attack=attack, **fields)


def ready_frame(ready: Ready) -> Frame:
    """Kind `ready`."""
    return Frame("ready", asdict(ready))


@_reader
def ready_of(frame: Frame) -> Ready:
    """Raises FrameError."""
    return Ready(**_expect(frame, "ready"))


def describe_frame(request: DescribeRequest) -> Frame:
    """Kind `describe`."""
    return Frame("describe", asdict(request))


@_reader
def describe_of(frame: Frame) -> DescribeRequest:
    """Raises FrameError."""
    fields = dict(_expect(frame, "describe"))
    data = fields.pop("data")
    return DescribeRequest(data=None if data is None else DataConfig(**data), **fields)


def description_frame(description: TaskDescription) -> Frame:
    """Kind `description`."""
    fields = {"options": description.options, "tensors": [asdict(tensor) for tensor in description.tensors]}
    return Frame("description", fields, (description.model,))


@_reader
def description_of(frame: Frame) -> TaskDescription:
    """Raises FrameError."""
    fields = _expect(frame, "description", payloads=1)
    options = tuple((key, value) for key, value in fields["options"])
    return TaskDescription(options, _tensors(fields["tensors"]), frame.payloads[0])


def job_frame(job: Job) -> Frame:
    """Kind `train`, `score` or `evaluate`."""
    match job:
        case TrainJob():
            context = _context_fields(job.attack)
            fields: dict[str, Any] = {"round": job.round, "seed": job.seed, "label": job.label, "attack": context}
            return Frame("train", fields, (job.model,))
        case ScoreJob():
            candidates = [[candidate.key, candidate.label] for candidate in job.candidates]
            fields = {"round": job.round, "seed": job.seed, "rows": job.rows, "damping": job.damping}
            fields |= {"candidates": candidates, "attack": _context_fields(job.attack)}
            return Frame("score", fields, (job.model, *(candidate.update for candidate in job.candidates)))
        case EvaluateJob():
            return Frame("evaluate", {}, (job.model,))


@_reader
def job_of(frame: Frame) -> Job:
    """Raises FrameError."""
    fields, payloads = frame.fields, frame.payloads
    match frame.kind:
        case "train":
            return TrainJob(Round(fields["round"]), payloads[0], fields["seed"], fields["label"], _context(fields["attack"]))
        case "score":
            keys, (model, *updates) = fields["candidates"], payloads
            candidates = tuple(
                UpdateToScore(Digest(key), update, label) for (key, label), update in zip(keys, updates, strict=True)
            )
            numbers = fields["seed"], fields["rows"], fields["damping"]
            return ScoreJob(Round(fields["round"]), model, candidates, *numbers, _context(fields["attack"]))
        case "evaluate":
            return EvaluateJob(payloads[0])
    raise FrameError(f"{frame.kind!r} is no job")


def result_frame(result: Result) -> Frame:
    """Kind `trained`, `scored` or `evaluated`."""
    match result:
        case TrainResult():
            fields: dict[str, Any] = {"samples": result.samples, "loss": result.loss, "seconds": result.seconds}
            return Frame("trained", fields, (result.update,))
        case ScoreResult():
            scores = [[score.key, score.gain, score.accuracy, score.norm] for score in result.scores]
            fields = {"base_loss": result.base_loss, "base_accuracy": result.base_accuracy, "seconds": result.seconds}
            return Frame("scored", {**fields, "scores": scores, "invalid": result.invalid})
        case EvaluateResult():
            return Frame("evaluated", asdict(result))


@_reader
def train_result(frame: Frame) -> TrainResult:
    """Raises FrameError, or the worker's own error."""
    fields = _expect(frame, "trained", payloads=1)
    return TrainResult(frame.payloads[0], fields["samples"], fields["loss"], fields["seconds"])


@_reader
def score_result(frame: Frame) -> ScoreResult:
    """Raises FrameError, or the worker's own error."""
    fields = _expect(frame, "scored")
    return ScoreResult(
        base_loss=MicroNats(fields["base_loss"]),
        base_accuracy=PartsPerMillion(fields["base_accuracy"]),
        scores=tuple(
            UpdateScore(Digest(key), MicroNats(gain), PartsPerMillion(accuracy), norm)
            for key, gain, accuracy, norm in fields["scores"]
        ),
        invalid=tuple((Digest(key), reason) for key, reason in fields["invalid"]),
        seconds=fields["seconds"],
    )


@_reader
def evaluate_result(frame: Frame) -> EvaluateResult:
    """Raises FrameError, or the worker's own error."""
    fields = _expect(frame, "evaluated")
    return EvaluateResult(fields["accuracy"], fields["loss"], fields["rows"])


def error_frame(error: Exception) -> Frame:
    """Kind `operator_error` (what people must mend) or `failed` (one job's end)."""
    if isinstance(error, OperatorError):
        return Frame("operator_error", {"message": str(error), "hint": error.hint, "code": error.code})
    return Frame("failed", {"message": str(error) or type(error).__name__})


def _expect(frame: Frame, kind: str, *, payloads: int = 0) -> dict[str, Any]:
    """The fields of a frame of `kind`; raises what an error frame says, FrameError for any other."""
    if frame.kind == "operator_error":
        raise OperatorError(frame.fields["message"], hint=frame.fields["hint"], code=frame.fields["code"])
    if frame.kind == "failed":
        raise WorkerError(frame.fields["message"])
    if frame.kind != kind or len(frame.payloads) != payloads:
        raise FrameError(f"expected a frame {kind!r}, got {frame.kind!r} with {len(frame.payloads)} payloads")
    return frame.fields


def _tensors(listed: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(item["name"], tuple(item["shape"]), item["dtype"]) for item in listed)


def _attack(fields: dict[str, Any] | None) -> AttackConfig | None:
    if fields is None:
        return None
    return AttackConfig(adversaries=tuple(NodeId(node) for node in fields.pop("adversaries")), **fields)


def _context_fields(context: AttackContext | None) -> list[int] | None:
    return None if context is None else [context.trainers, context.conspirators, context.seed]


def _context(fields: list[int] | None) -> AttackContext | None:
    return None if fields is None else AttackContext(*fields)

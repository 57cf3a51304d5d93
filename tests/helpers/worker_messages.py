"""One message of every kind between daemon and compute worker."""

from bflcd.learn.attacks import AttackConfig
from bflcd.learn.data import DataConfig
from bflcd.learn.messages import DescribeRequest, JobFailed, Message, OperatorFault, Ready, Setup, TaskDescription
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
    WatchJob,
    WatchResult,
)
from bflcd.learn.watching.errors import ClassErrors
from bflcd.types import Digest, MicroNats, NodeId, PartsPerMillion, Round
from tests.helpers.learning import SPEC, task_spec

KEY = Digest(bytes([5]) * 32)
DATA = DataConfig(None, "equal", 0, 1, 0, 0.5, 0)
SCORE = UpdateScore(KEY, MicroNats(-1), PartsPerMillion(5), 7, (KEY,), repeats=True)

MESSAGES: tuple[Message, ...] = (
    Setup(task_spec("digits", SPEC), DATA, 200_000, 7, "cpu", 1),
    Setup(task_spec("digits", SPEC), DATA, 200_000, 7, "cpu", 1, AttackConfig("noise", (NodeId(KEY),), 2.0)),
    Ready("cpu", 1, 2, 3),
    DescribeRequest("digits", {"a": "b"}, 1, DATA),
    TaskDescription((("a", "b"),), SPEC, b"model"),
    TrainJob(Round(1), b"model", 3, "label"),
    TrainJob(Round(1), b"model", 3, "label", AttackContext(4, 2, 7)),
    ScoreJob(
        Round(1),
        b"model",
        (UpdateToScore(KEY, b"update", "label"), UpdateToScore(KEY, b"other", "second")),
        3,
        256,
        4,
        before=b"past",
    ),
    EvaluateJob(b"model"),
    TrainResult(b"update", 10, 0.5, 0.1),
    ScoreResult(MicroNats(1), PartsPerMillion(2), (SCORE,), ((KEY, "bad"),), 0.1, 5, 9),
    EvaluateResult(PartsPerMillion(1), MicroNats(2), 3),
    WatchJob(b"model", 256),
    WatchResult(ClassErrors((0, 3), (10, 20), (1, 2), (2, 0), 1), 0.1),
    OperatorFault("no data", "give some", "bad_data"),
    JobFailed("torch failed"),
)

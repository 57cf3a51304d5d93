"""What a node asks of its compute worker, and the exact integers that it gets back."""

from dataclasses import dataclass
from typing import Protocol

from bflcd.errors import BflcError
from bflcd.learn.private.mechanism import Mechanism
from bflcd.learn.watching.errors import ClassErrors
from bflcd.types import Digest, MicroNats, PartsPerMillion, Round
from bflcd.wire.privacy import PrivacyClaim
from bflcd.wire.training import Training

NORM_SCALE_BITS = 12
"""Norms travel as integers: floor(norm * 2^12)."""

NORM_LIMIT = 2**10
"""Norms are clamped to 2^10 before scaling."""

CANARY = -4.0
"""What a canary offers, in what it has trained: a step back that is refused for most of a training, and within the band of norms
(docs/measurements/judges.md)."""

WIDEST_ROW_LIMIT = MicroNats(1_000_000_000)
"""The gain of a row is never above a thousand nats."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How a round's judges measure an offer and say what they found, as the ledger has it.

    `damping`, `limit`, `row_limit`, `gain_limit`, `balanced` as in `ScoreJob`. `words`: lower edges of gains that a card tells
    apart, in micro-nats, above the one word for all below. `patience`: offers of this node that may harm before one brings it to
    rest.
    """

    damping: int
    limit: int | None
    row_limit: MicroNats
    words: tuple[MicroNats, ...]
    patience: int
    gain_limit: MicroNats = WIDEST_ROW_LIMIT
    balanced: bool = False


@dataclass(frozen=True, slots=True)
class AttackContext:
    """What an adversary that shall lie in a job knows of its round (`learn.attacks`).

    `trainers`: how many may offer in this round, `conspirators`: how many of them lie; `seed`: what all adversaries draw from
    alike; `judging`: how offers are met, None for attacks that don't ask.
    """

    trainers: int
    conspirators: int
    seed: int
    judging: Judging | None = None


@dataclass(frozen=True, slots=True)
class TrainJob:
    """Train from `model` (safetensors bytes) and return the difference. `label` names chain, round and uploader in the update.

    `attack`: only for a worker that was set up to attack; None in all other jobs. `privacy`: how it is made noisy; a worker that
    was set up for privacy does no job without it. `canary`: the update is `CANARY` times what was trained, so that who measures
    it finds that it harms (design 5, Canaries). `known`: how right the ledger has the model, by which training is calibrated
    (`learn.labels.calibration`).
    """

    round: Round
    model: bytes
    seed: int
    label: str
    attack: AttackContext | None = None
    privacy: Mechanism | None = None
    canary: bool = False
    known: PartsPerMillion = PartsPerMillion(0)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """`update`: safetensors bytes of local model minus base; `samples`: rows trained on; `loss`: mean of the last epoch.

    `claim`: what all noisy updates up to this one tell of a row, once that is durable; never by a worker.
    """

    update: bytes
    samples: int
    loss: float
    seconds: float
    claim: PrivacyClaim | None = None


@dataclass(frozen=True, slots=True)
class UpdateToScore:
    """One update to be scored, keyed by its offer's digest; `label`: what its payload must say (`wire.tensors.update_label`)."""

    key: Digest
    update: bytes
    label: str


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """Score `candidates` against `model` on at most `rows` local rows drawn by `seed`.

    Same seed, same rows: a round's offers may be scored in several jobs. The base is scored in the first and kept.
    `damping` d: each candidate is judged at base + U/d, or as far in that direction as `limit` lets (in the unit of
    `UpdateScore.norm`; None: no limit). `row_limit`: what one row may gain or lose at most; `gain_limit`: what it may gain, where
    that is less. `loss_limit`: what one counts at most in the base's loss, and then at least 0; None: as it is. `attack` as in
    `TrainJob`.
    `alike`: cosine from which on two updates are one, 0: none are (`learn.checks.alike`); `before`: the model of the round
    before, whose step to `model` no update may repeat, empty in all but the first job of a round, or where it is not at hand.
    `fresh`: what an update repeats of that step is left out of what is measured. `balanced`: the less of what rows and classes
    gain counts.
    """

    round: Round
    model: bytes
    candidates: tuple[UpdateToScore, ...]
    seed: int
    rows: int
    damping: int
    attack: AttackContext | None = None
    limit: int | None = None
    row_limit: MicroNats = WIDEST_ROW_LIMIT
    alike: PartsPerMillion = PartsPerMillion(0)
    before: bytes = b""
    gain_limit: MicroNats = WIDEST_ROW_LIMIT
    loss_limit: MicroNats | None = None
    fresh: bool = False
    balanced: bool = False


@dataclass(frozen=True, slots=True)
class UpdateScore:
    """`gain`: mean of the rows' bounded gains, loss(base) - loss(base + U/d), in micro-nats; `accuracy` of base + U/d; of what is
    left of U, where the job wants what is fresh.

    `norm`: L2 norm of the whole U, fixed point. `cost`: the confidence, in millionths, that base + U/d loses in the class where
    it loses most, less what it gains in the class where it gains most (`labels.balance.class_costs`). Exact: what a card says of
    them is the ledger's rule (`ledger.disclosure`).
    `alike`: keys of updates of the round, compared before it, that are one with it; `repeats`: it is one with the last step.
    """

    key: Digest
    gain: MicroNats
    accuracy: PartsPerMillion
    norm: int
    alike: tuple[Digest, ...] = ()
    repeats: bool = False
    cost: int = 0


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """Scores in the order of the candidates; `invalid`: keys whose payload broke the specification, with the reason.

    `drawn`: rows that were measured on, of the `held` from which they were drawn without replacement.
    """

    base_loss: MicroNats
    base_accuracy: PartsPerMillion
    scores: tuple[UpdateScore, ...]
    invalid: tuple[tuple[Digest, str], ...]
    seconds: float
    drawn: int
    held: int


@dataclass(frozen=True, slots=True)
class EvaluateJob:
    """Measure `model` on the task's test data (seen by no trainer)."""

    model: bytes


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """`accuracy` is None where the task has no test data."""

    accuracy: PartsPerMillion | None
    loss: MicroNats | None
    rows: int


@dataclass(frozen=True, slots=True)
class WatchJob:
    """Count what `model` gets wrong on a fixed sample of the rows that this node judges on, at most `rows` (ADR 39)."""

    model: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class WatchResult:
    """`errors` of the sample, the same in each job of a worker with the same rows."""

    errors: ClassErrors
    seconds: float


class WorkerError(BflcError):
    """A job failed: the task or torch raised, memory ran out, or the worker died; a new one does the next job.

    `fault`: where it lies, in the word that peers are told if it was to train.
    """

    def __init__(self, message: str, fault: Training = Training.WORKER) -> None:
        super().__init__(message)
        self.fault = fault


class PayloadError(WorkerError):
    """A job failed by the payload that it brought: the worker is not at fault, and stays."""


class Compute(Protocol):
    """The compute worker as the runtime sees it. One job at a time; `cancel` ends the running one."""

    async def start(self) -> None:
        """Start the process, load task and data. Raises OperatorError when the data or the task is at fault."""
        ...

    async def train(self, job: TrainJob) -> TrainResult:
        """Raises WorkerError."""
        ...

    async def score(self, job: ScoreJob) -> ScoreResult:
        """Raises WorkerError."""
        ...

    async def evaluate(self, job: EvaluateJob) -> EvaluateResult:
        """Raises WorkerError."""
        ...

    async def close(self) -> None:
        """End the process within 3 seconds. Idempotent."""
        ...

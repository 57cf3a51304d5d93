"""The worker of an attacker: what it trains on, offers and reports in the place of the truth (`learn.attacks`)."""

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bflcd.learn.attacks import Attack, AttackConfig, Known
from bflcd.learn.data import DataConfig, bad_data
from bflcd.learn.flat import as_tensor, to_numpy
from bflcd.learn.lies.cards import Measurements, lie
from bflcd.learn.lies.gauge import Gauge
from bflcd.learn.protocol import AttackContext, Judging, ScoreJob, ScoreResult, TrainJob, TrainResult
from bflcd.learn.questions.asker import Asker, Turn, suspected
from bflcd.learn.task import Dataset, Rows, Task
from bflcd.learn.training import DeviceRows
from bflcd.params import TensorSpec
from bflcd.types import MicroNats, NodeId, PartsPerMillion, Round
from bflcd.wire.tensors import VALUE_LIMIT, Counters, Floats, join_payload, split_payload, uploader_of


class Adversary:
    """Falsifies one worker's results. It has to `see` the model of every job: some attacks offer what changed since the last."""

    def __init__(
        self,
        config: AttackConfig,
        spec: tuple[TensorSpec, ...],
        rows: DeviceRows,
        asker: Asker | None = None,
        gauge: Gauge | None = None,
    ) -> None:
        """`spec`: the tensors of models and updates; `rows`: what it trains on while it lies; `asker`: of an attack that asks.

        `gauge`: of one that weighs what it offers. Raises UsageError.
        """
        self._attack, self._adversaries, self._spec = config.find(), frozenset(config.adversaries), spec
        self._rows, self._asker, self._gauge = rows, asker, gauge
        self._round = Round(-1)
        self._model: Tensor | None = None
        self._model_before: Tensor | None = None

    def rows_in(self, round_: Round, true: DeviceRows) -> DeviceRows:
        """What it trains on in a round in which it lies; `true`: its own rows as they are."""
        return self._rows if round_ >= self._attack.onset else true

    def see(self, round_: Round, model: bytes) -> None:
        """A job of `round_` is about to begin from `model`. Raises PeerError(BAD_TENSOR) for a broken one."""
        if round_ != self._round:
            weights = as_tensor(split_payload(model, self._spec, label=None)[1])
            self._round, self._model_before, self._model = round_, self._model, weights

    def forge(self, trained: TrainResult, job: TrainJob, context: AttackContext) -> TrainResult:
        """The forged update in the place of the one `trained`, with the same claims beside it."""
        counters, weights = split_payload(trained.update, self._spec, label=job.label)
        honest = as_tensor(weights)

        def noise(shared: bool) -> Tensor:  # on the CPU, so that adversaries with and without a GPU share theirs
            rng = torch.Generator().manual_seed(context.seed if shared else job.seed)
            return torch.randn(honest.shape, generator=rng)[None]

        moved = torch.zeros_like(honest)
        if self._model is not None and self._model_before is not None:
            moved = self._model - self._model_before

        def question(strength: float) -> Tensor | None:
            asker, model, judging = self._asker, self._model, context.judging
            if asker is None or model is None or judging is None or not judging.patience:
                return None
            turn = turn_of(job.round, uploader_of(job.label), self._adversaries)
            return asker.question(model.to(asker.device), turn, judging, strength).update.cpu()

        known = Known(
            honest[None], moved, None, context.trainers, noise, context.conspirators, question, self._cost(context.judging)
        )
        return replace(trained, update=offered(self._attack.forge(known)[0], counters, self._spec, job.label))

    def _cost(self, judging: Judging | None) -> Callable[[Tensor], float] | None:
        """What an offer to the round's judges costs its own rows; None for an attack that does not ask."""
        gauge, model = self._gauge, self._model
        if gauge is None or model is None or judging is None:
            return None
        return lambda offer: gauge.cost(model, offer, judging)

    def report(self, measured: ScoreResult, job: ScoreJob) -> ScoreResult:
        """What it says of the candidates in the place of what it has `measured`."""
        uploaders = {candidate.key: uploader_of(candidate.label) for candidate in job.candidates}
        accomplices = np.array([uploaders[score.key] in self._adversaries for score in measured.scores], dtype=np.bool_)
        truth = Measurements(
            gains=np.array([score.gain for score in measured.scores], dtype=np.int64),
            accuracies=np.array([score.accuracy for score in measured.scores], dtype=np.int64),
            norms=np.array([score.norm for score in measured.scores], dtype=np.int64),
            base_loss=measured.base_loss,
        )
        said = lie(self._attack.lies, truth, accomplices, np.random.Generator(np.random.PCG64(job.seed)))
        columns = zip(measured.scores, said.gains.tolist(), said.accuracies.tolist(), said.norms.tolist(), strict=True)
        least = min((score.cost for score in measured.scores), default=0)
        scores = tuple(
            replace(
                score,
                gain=MicroNats(gain),
                accuracy=PartsPerMillion(accuracy),
                norm=norm,
                cost=score.cost if said is truth else least,
            )
            for score, gain, accuracy, norm in columns
        )
        return replace(measured, base_loss=MicroNats(said.base_loss), scores=scores)


def poisoned(attack: Attack, training: Rows, data: Dataset) -> Rows:
    """A node's `training` rows as the attack has them; the labels of all its `data` say how many classes there are.

    Raises OperatorError (`bad_data`) for rows that it can't poison.
    """
    if type(attack).poison is Attack.poison:
        return training
    return Rows(*attack.poison(training.inputs, training.targets, class_count(data)))


def asker_of(attack: Attack, task: Task, config: DataConfig, data: Dataset, device: torch.device) -> Asker | None:
    """Who asks for a node that plays an attack that does; None for all others.

    Its own rows stand for those of its judges; which few of all rows it asks after follows from how the data is dealt.
    Raises OperatorError (`bad_data`) for rows without classes.
    """
    if not attack.asks:
        return None
    classes = class_count(data)
    community = task.load_all(config)
    records = list(suspected(community, config.seed))
    known = Rows(community.rows.inputs[records], community.rows.targets[records])
    return Asker(task, DeviceRows.of(data.own, device), DeviceRows.of(known, device), classes)


def turn_of(round_: Round, asker: NodeId, askers: Collection[NodeId]) -> Turn:
    """When of all askers one asks in a round."""
    return Turn(round_, sorted(askers).index(asker), len(askers))


def class_count(data: Dataset) -> int:
    """How many classes a node's rows have. Raises OperatorError (`bad_data`) for targets that are no classes."""
    targets = [rows.targets for rows in (data.own, data.test) if rows is not None and len(rows)]
    if not all(np.issubdtype(labels.dtype, np.integer) for labels in targets):
        raise bad_data(
            f"targets of {targets[0].dtype} are no classes to poison or to ask about", "play another attack on this task"
        )
    return int(max(labels.max() for labels in targets)) + 1


def offered(forged: Tensor, counters: Counters, spec: tuple[TensorSpec, ...], label: str) -> bytes:
    """The payload by which a forged update travels."""
    return join_payload(counters, _admissible(forged), spec, label=label)


def _admissible(forged: Tensor) -> Floats:
    """The nearest update that may travel: finite and within +-2^10, so that an adversary does offer something."""
    bounded = torch.nan_to_num(forged, nan=0.0, posinf=VALUE_LIMIT, neginf=-VALUE_LIMIT).clamp_(-VALUE_LIMIT, VALUE_LIMIT)
    return to_numpy(bounded)

"""Askers beside a community: what they learn of its judges' rows from the judges' cards, round after round.

The community trains as it always does. Beside it, in each round, a few colluding trainers offer what they like, and read every
judge's answer; no offer of theirs is packed, so all rules of disclosure are measured on one and the same course of learning.
The askers know the task, the round's model, the step limit, how many rows a judge has, the distribution of labels and how much
devices differ from it, and rows of the same kind (the test rows). Each judge, and each record, is asked about with all questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bflcd.lab.disclosures import DISCLOSURES, Disclosure
from bflcd.lab.engine.stacked import StackedEngine
from bflcd.lab.questions.answers import Answer, Measured, answers, measured, row_gains
from bflcd.lab.questions.craft import LoudCrafter
from bflcd.lab.questions.inference import Asked, Belief, log_odds, telling
from bflcd.lab.rng import Draw, generator
from bflcd.lab.simulation import Simulation
from bflcd.learn.protocol import NORM_SCALE_BITS
from bflcd.learn.questions.asker import UNBOUND
from bflcd.learn.questions.prediction import Prediction, predict
from bflcd.learn.training import DeviceRows
from bflcd.ledger.influence.step_limit import step_limit
from bflcd.ledger.trust.margin import margin_of
from bflcd.params import MILLION
from bflcd.types import MicroNats

ASKERS: Final = 3
"""Colluding trainers: a fifth of those that train beside four judges of twenty."""

RECORDS: Final = 5
"""Of each judge's rows, and as many of others' and of the same classes, that are asked about."""

LEAST_SITTINGS: Final = 5
"""Rounds in which a judge sat, from which on it counts in what is reported."""


@dataclass(slots=True)
class Record:
    """One row that is asked about: whether `judge` holds it, and by rule of disclosure how likely the askers think so."""

    judge: int
    position: int
    held: bool
    odds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Learned:
    """What the askers know of one judge at the end, by rule of disclosure: its class shares."""

    device: int
    rows: int
    true: NDArray[np.float64]
    public: NDArray[np.float64]
    guessed: dict[str, NDArray[np.float64]]


class Interrogation:
    """One simulation with askers beside it."""

    def __init__(self, simulation: Simulation, rules: Sequence[str] = tuple(DISCLOSURES)) -> None:
        """`rules`: names of rules of disclosure."""
        self._simulation, self._rules = simulation, {name: DISCLOSURES[name] for name in rules}
        devices, chain = simulation.devices, simulation.chain
        self._devices, self._chain = devices, chain
        self._engine = StackedEngine(simulation.task, devices.pool)  # many models on few rows
        self._crafter = LoudCrafter(simulation.task, devices.test, chain.params.score_damping)
        self._rng = generator(simulation.config.seed, Draw.QUESTIONS)
        labels = devices.pool.targets.numpy()
        self._labels, classes = labels, self._crafter.classes
        everybody = np.concatenate(devices.all_rows)
        public = np.bincount(labels[everybody], minlength=classes) / len(everybody)
        self._public = public
        self._beliefs = {
            (device, name): Belief(
                public, simulation.config.alpha * classes, len(rows), self._rng, balanced=rule.balanced(chain.params)
            )
            for device, rows in enumerate(devices.validation)
            for name, rule in self._rules.items()
        }
        self.records = [record for device in range(len(devices.validation)) for record in self._draw_records(device, everybody)]
        self._least = MicroNats(0)
        self._sittings = np.zeros(len(devices.validation), dtype=np.int64)

    def _draw_records(self, device: int, everybody: NDArray[np.int64]) -> list[Record]:
        """Rows that a device holds, and for each one of the same class that it does not: no class tells which is which."""
        own = self._devices.validation[device]
        others = self._rng.permutation(np.setdiff1d(everybody, own))
        drawn = []
        for position in self._rng.permutation(own)[:RECORDS]:
            alike = others[self._labels[others] == self._labels[position]]
            if alike.size:
                drawn += [(position, True), (alike[0], False)]
                others = others[others != alike[0]]
        return [Record(device, int(p), held, dict.fromkeys(self._rules, 0.0)) for p, held in drawn]

    def ask(self) -> bool:
        """Ask what is to be asked in the running round, and let the community close it; False after the last."""
        if self._simulation.done:
            return False
        self._ask_all()
        self._simulation.advance()
        return True

    def asked_enough(self) -> list[Record]:
        """The records about judges that sat often enough."""
        return [record for record in self.records if self._sittings[record.judge] >= LEAST_SITTINGS]

    def learned(self) -> list[Learned]:
        """Of each judge that sat often enough."""
        classes = self._crafter.classes
        return [
            Learned(
                device,
                len(rows),
                np.bincount(self._labels[rows], minlength=classes) / len(rows),
                self._public,
                {name: self._beliefs[device, name].mean() for name in self._rules},
            )
            for device, rows in enumerate(self._devices.validation)
            if self._sittings[device] >= LEAST_SITTINGS
        ]

    # -- one round ----------------------------------------------------------------------------------------------------

    def _ask_all(self) -> None:
        model, chain = self._simulation.model, self._chain
        limit = step_limit(chain.params.norm_clip, chain.state.usual_norm)
        radius = UNBOUND if limit is None else chain.params.score_damping * limit / 2**NORM_SCALE_BITS
        self._least = MicroNats(-margin_of(chain.params, chain.state))
        honest = self._crafter.honest(model)
        about_classes = self._class_questions(model, honest, radius)
        predicted = self._predict(model, about_classes)
        for device in chain.committee:
            self._sittings[device] += 1
            self._ask_classes(model, device, about_classes, predicted)
            for record in self.records:
                if record.judge == device:
                    self._ask_record(model, record, honest, radius)

    def _rows(self, device: int) -> DeviceRows:
        return self._engine.gather(self._devices.validation[device])

    def _measure(self, model: Tensor, updates: Tensor, rows: DeviceRows) -> Measured:
        return measured(self._engine, model, updates, rows, self._chain.params.score_damping)

    def _predict(self, model: Tensor, updates: Tensor) -> dict[float, list[Prediction]]:
        """By what a row may gain at most."""
        reference = self._crafter.reference
        found, labels = self._measure(model, updates, reference), reference.targets.numpy()
        limits = {rule.most(self._chain.params) for rule in self._rules.values()}
        return {most: predict(row_gains(found, clipped=True, most=most), labels, self._crafter.classes) for most in limits}

    def _judged(self, rule: Disclosure, device: int) -> tuple[Disclosure, float]:
        """A rule as it is for one judge, and what a row may gain at most under it."""
        return rule.before(self._chain.params, len(self._devices.validation[device])), rule.most(self._chain.params)

    def _class_questions(self, model: Tensor, honest: Tensor, radius: float) -> Tensor:
        """Candidates, [questions, weights]: each class helped and harmed, strongly and weakly, alone and with what helps all."""
        ways = [self._crafter.toward_class(model, label, sign) for label in range(self._crafter.classes) for sign in (1.0, -1.0)]
        mixed = [way + mix * honest for way in ways for mix in (0.0, 0.7)]
        return torch.stack([way * (radius * size / float(way.norm())) for way in mixed for size in (1.0, 0.3)])

    def _ask_classes(self, model: Tensor, device: int, updates: Tensor, predicted: dict[float, list[Prediction]]) -> None:
        found = self._measure(model, updates, self._rows(device))
        least = self._least
        for name, rule in self._rules.items():
            belief = self._beliefs[device, name]
            if not rule.clipped:
                self._shout(model, device, rule, belief)
                continue
            judged, most = self._judged(rule, device)
            worth = belief.information(predicted[most], judged, least / MILLION)
            asked = np.argsort(-worth)[:ASKERS].tolist()
            for number, answer in zip(asked, self._answers(judged, found, asked, device, most), strict=True):
                belief.hear(predicted[most][number], answer, judged.noise)

    def _shout(self, model: Tensor, device: int, rule: Disclosure, belief: Belief) -> None:
        """Where nothing is clipped: the accuracy of a model that sees one class only is that class's share."""
        unknown = [label for label in range(self._crafter.classes) if label not in belief.known][:ASKERS]
        if unknown:
            updates = torch.stack([self._crafter.shout(model, label) for label in unknown])
            found = self._measure(model, updates, self._rows(device))
            for label, answer in zip(unknown, answers(rule, self._least, found, range(len(unknown)), self._rng), strict=True):
                belief.known[label] = answer.accuracy or 0.0

    def _ask_record(self, model: Tensor, record: Record, honest: Tensor, radius: float) -> None:
        crafter, row = self._crafter, self._engine.gather(np.array([record.position]))
        ways = [crafter.toward_record(model, row, sign, honest) for sign in (1.0, -1.0)]
        mixed = [way + mix * honest for way in ways for mix in (-0.5, -0.2, 0.0, 0.2, 0.5)]
        updates = torch.stack([way * (radius * size / float(way.norm())) for way in mixed for size in (1.0, 0.4)])
        predicted = self._predict(model, updates)
        of_record = self._measure(model, updates, row)
        found = self._measure(model, updates, self._rows(record.judge))
        least = self._least
        for name, rule in self._rules.items():
            if not rule.clipped:
                record.odds[name] += self._detect(model, record, row, rule)
                continue
            belief = self._beliefs[record.judge, name]
            judged, most = self._judged(rule, record.judge)
            own = row_gains(of_record, clipped=True, most=most)[:, 0]
            label = int(self._labels[record.position])
            worth = telling(belief, predicted[most], Asked(own, label), judged, least / MILLION)
            asked = np.argsort(-worth)[:ASKERS].tolist()
            for number, answer in zip(asked, self._answers(judged, found, asked, record.judge, most), strict=True):
                of = Asked(own[number : number + 1], label)
                record.odds[name] += log_odds(belief, predicted[most][number], of, answer, judged.noise)

    def _answers(self, judged: Disclosure, found: Measured, asked: Sequence[int], device: int, most: float) -> list[Answer]:
        labels = self._labels[self._devices.validation[device]] if judged.balanced(self._chain.params) else None
        return answers(judged, self._least, found, asked, self._rng, most=most, labels=labels)

    def _detect(self, model: Tensor, record: Record, row: DeviceRows, rule: Disclosure) -> float:
        """Where nothing is clipped: two offers that differ for this record alone, so a difference is the record."""
        pair = torch.stack(self._crafter.detector(model, row))
        found = self._measure(model, pair, self._rows(record.judge))
        asleep, awake = answers(rule, self._least, found, (0, 1), self._rng)
        (of_row,) = (gains[0] - gains[1] for gains in [row_gains(self._measure(model, pair, row), clipped=False)[:, 0]])
        expected = of_row / self._devices.validation[record.judge].size
        return 1.0 if abs(asleep.low - awake.low) > abs(expected) / 2 > 0 else -1.0

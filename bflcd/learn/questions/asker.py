"""Which question a liar asks in a round: all that it needs is the round's model, how judges measure, and its own rows.

Askers that collude deal the questions out without a word between them: by the round and their place among themselves, every other
one is about a class, the rest about records. Of the offers that could ask it the asker draws one, by what their answers would
tell of a judge of whom it knows nothing yet; so thresholds differ from question to question, and answers add up.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from bflcd.learn.checks.moves import held_share
from bflcd.learn.protocol import NORM_SCALE_BITS, Judging
from bflcd.learn.questions.craft import Crafter
from bflcd.learn.questions.prediction import Prediction, Reals, deviations, expected, information, predict
from bflcd.learn.scoring import measure
from bflcd.learn.task import Community, Task
from bflcd.learn.training import DeviceRows, never
from bflcd.params import MILLION

UNBOUND: Final = 8.0
"""Norm of a question in the first round, which has no limit."""

RECORDS: Final = 12
"""Of all nodes' rows, that the askers ask about: few, so that each is asked about often."""

SKEW: Final = 0.5
"""Judges' class shares are thought to be drawn from a symmetric Dirichlet distribution of it."""

_TRIED: Final = 150
"""Judges as there may be, by which questions are chosen."""

_MIXES: Final = (0.0, 0.35, 0.7, 1.4)
"""How much of what helps everybody goes with what helps one class: it decides which share of the class is needed to qualify."""

_RECORD_MIXES: Final = (-0.5, -0.2, 0.0, 0.2, 0.5)

_SIZES: Final = (1.0, 0.3)
"""Of questions, in shares of the largest that is measured whole."""

_SHARPNESS: Final = 4
"""Power of an offer's worth by which it is drawn: the best ones in turn, since one alone would always ask the same threshold."""

_RECORD_STREAM: Final = 4
"""Number of a random stream of the data's seed (`bflcd.learn.partition` has the others)."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose question of which round: the asker's `place` among so many `askers`."""

    round: int
    place: int
    askers: int

    @property
    def number(self) -> int:
        """Of all questions in the order of rounds and places."""
        return self.round * self.askers + self.place


@dataclass(frozen=True, slots=True)
class Question:
    """`update` [weights] and what it asks about: a class, or one of the records by its number."""

    update: Tensor
    label: int | None
    record: int | None


class Asker:
    """One asker. The same model and turn give the same question, so that whoever has its rows can say later what it asked."""

    def __init__(self, task: Task, own: DeviceRows, records: DeviceRows, classes: int) -> None:
        """`own`: rows like those of the judges; `records`: rows of which it would know who holds them; labels below `classes`."""
        self._task, self.records = task, records
        self._crafter = Crafter(task, own, classes)
        self._labels = own.targets.cpu().numpy()
        self._classes = np.unique(self._labels)

    @property
    def reference(self) -> DeviceRows:
        """The rows by which it expects."""
        return self._crafter.reference

    @property
    def device(self) -> torch.device:
        """Where it computes: models come there."""
        return self._crafter.flat.device

    def question(self, model: Tensor, turn: Turn, judging: Judging, strength: float) -> Question:
        """What it asks of `model` in a turn; `strength`: how long the offer is, in offers that judges measure whole."""
        limit, rng = judging.limit, np.random.default_rng((turn.round, turn.place))
        norm = strength * (UNBOUND if limit is None else judging.damping * limit / 2**NORM_SCALE_BITS)
        number, about_record = divmod(turn.number, 2)
        common = self._crafter.honest(model)
        if about_record:
            record = number % len(self.records)
            ways = self._record_ways(model, record, common)
        else:
            label = int(self._classes[number % len(self._classes)])
            ways = self._class_ways(model, label, common)
        offers = torch.stack([way * (norm * size / float(way.norm().clamp(min=1e-12))) for way in ways for size in _SIZES])
        if about_record:
            return Question(offers[_drawn(rng, self._telling(model, offers, record, judging, rng))], None, record)
        return Question(offers[_drawn(rng, self._dividing(model, offers, judging, rng))], label, None)

    def predict(self, model: Tensor, updates: Tensor, judging: Judging) -> list[Prediction]:
        """What each of `updates` [updates, weights] does to rows of each class, by the asker's own."""
        return predict(self.gains(model, updates, self.reference, judging), self._labels, self._crafter.classes)

    def gains(self, model: Tensor, updates: Tensor, rows: DeviceRows, judging: Judging) -> Reals:
        """Each update's gain on each row in nats, as a judge measures it, [updates, rows]."""
        flat = self._crafter.flat
        flat.weights.copy_(model)
        base = measure(flat, self._task, rows, never).losses
        limit, found = judging.row_limit / MILLION, []
        most = min(limit, judging.gain_limit / MILLION)
        for update in updates:
            share = held_share(float(update.norm()), judging.damping, judging.limit)
            torch.add(model, update, alpha=share, out=flat.weights)
            found.append((base - measure(flat, self._task, rows, never).losses).clamp(-limit, most))
        gains: Reals = torch.stack(found).numpy()
        return gains

    def _class_ways(self, model: Tensor, label: int, common: Tensor) -> list[Tensor]:
        ways = [self._crafter.toward_class(model, label, sign) for sign in (1.0, -1.0)]
        return [way + mix * common for way in ways for mix in _MIXES]

    def _record_ways(self, model: Tensor, record: int, common: Tensor) -> list[Tensor]:
        row = self.records.part(record, record + 1)
        ways = [self._crafter.toward_record(model, row, sign, common) for sign in (1.0, -1.0)]
        return [way + mix * common for way in ways for mix in _RECORD_MIXES]

    def _strangers(self, rng: np.random.Generator) -> Reals:
        """Class shares of judges as there may be, [judges, classes]."""
        return rng.dirichlet(np.full(self._crafter.classes, SKEW), _TRIED)

    def _expected(self, model: Tensor, offers: Tensor, judging: Judging, rng: np.random.Generator) -> tuple[Reals, Reals]:
        """Of strangers' mean gains, [judges, offers]."""
        predictions = self.predict(model, offers, judging)
        return expected(self._strangers(rng), predictions, len(self._labels), balanced=judging.balanced)

    def _dividing(self, model: Tensor, offers: Tensor, judging: Judging, rng: np.random.Generator) -> Reals:
        """What each answer would tell of a stranger's class shares, in nats."""
        means, variances = self._expected(model, offers, judging, rng)
        return information(_bounds(judging), means, deviations(variances))

    def _telling(self, model: Tensor, offers: Tensor, record: int, judging: Judging, rng: np.random.Generator) -> Reals:
        """What each answer would tell of whether a stranger holds the record, in nats."""
        rows = len(self._labels)
        means, variances = self._expected(model, offers, judging, rng)
        own = self.gains(model, offers, self.records.part(record, record + 1), judging)[:, 0]
        without = means.mean(0)
        spread = deviations(variances.mean(0) + means.var(0))
        return information(_bounds(judging), np.stack((without, without + (own - without) / rows)), spread)


def suspected(community: Community, seed: int) -> tuple[int, ...]:
    """Rows of which askers would know who holds them, as positions among all; the same for all that draw from `seed`."""
    everybody = np.concatenate(community.parts)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, _RECORD_STREAM))))
    return tuple(sorted(rng.permutation(everybody)[:RECORDS].tolist()))


def _bounds(judging: Judging) -> Reals:
    """Of a card's words, in nats."""
    return np.array([-np.inf, *(word / MILLION for word in judging.words), np.inf])


def _drawn(rng: np.random.Generator, worth: Reals) -> int:
    """One of the offers, the more likely the more its answer is worth."""
    odds = np.maximum(worth, 0.0) ** _SHARPNESS
    total = odds.sum()
    return int(rng.choice(len(odds), p=odds / total)) if total > 0 else int(rng.integers(len(odds)))

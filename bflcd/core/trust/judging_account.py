"""What this node's cards have told of its rows, over its life, and what they still may. Pure; the runtime keeps it on the disk.

A card is counted before it is durable, and so before it leaves; counted again after a restart, under its round and epoch, it is
the same. All cards of one round answer on the same rows, so their answers are of one draw; rounds add up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Final

from bflcd.ledger.trust.accounting import NOTHING, Answers, Spent, added, cost, epsilon
from bflcd.types import ZERO_DIGEST, Digest, Epoch, Round

USUAL_DELTA: Final = 1e-5
"""At which epsilon is told where the operator says nothing else."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the card of one round and epoch of `chain` tells."""

    round: Round
    epoch: Epoch
    answers: Answers
    chain: Digest = ZERO_DIGEST


@dataclass(frozen=True, slots=True)
class Tally:
    """All that was told: `spent` by `cards` of rounds before `round` of `chain`, whose own cards are `running`, by epoch.

    Rows take their account along to another chain."""

    spent: Spent = NOTHING
    cards: int = 0
    answers: int = 0
    round: Round = Round(0)
    running: Mapping[Epoch, Answers] = field(default_factory=dict)
    chain: Digest = ZERO_DIGEST

    def after(self, told: Told) -> "Tally":
        """With one more card; one of an earlier round of the same chain than the last counts as one of that."""
        if not told.answers.count:
            return self
        tally = self
        if told.chain != self.chain or told.round > self.round:
            tally = Tally(self.total, self.all_cards, self.all_answers, told.round, chain=told.chain)
        return replace(tally, running={**tally.running, told.epoch: told.answers})

    @property
    def total(self) -> Spent:
        """Of all rounds."""
        return added(self.spent, cost_of_round(tuple(self.running.values())))

    @property
    def all_cards(self) -> int:
        """Cards that told something."""
        return self.cards + len(self.running)

    @property
    def all_answers(self) -> int:
        """Numbers on them that say something of the rows."""
        return self.answers + sum(one.count for one in self.running.values())


def cost_of_round(cards: tuple[Answers, ...]) -> Spent:
    """What the cards of one round tell together: they answer on the same draw of rows.

    Where the rows changed within the round, what their drawing helps is not counted.
    """
    if not cards:
        return NOTHING
    first = cards[0]
    if all((one.noise, one.drawn, one.held) == (first.noise, first.drawn, first.held) for one in cards):
        return cost(replace(first, count=sum(one.count for one in cards)))
    return added(*(cost(replace(one, held=one.drawn)) for one in cards))


class JudgingAccount:
    """The tally as it stands, and the budget that the operator gave."""

    def __init__(self, tally: Tally | None = None, *, budget: float = 0.0, delta: float = USUAL_DELTA) -> None:
        """`budget`: the most that epsilon at `delta` may come to over this node's life; 0: none is kept."""
        self.tally = Tally() if tally is None else tally
        self.budget, self.delta = budget, delta

    def affords(self, told: Told) -> bool:
        """Whether a card may tell so much; without a budget any may."""
        return not self.budget or epsilon(self.tally.after(told).total, self.delta) <= self.budget

    def count(self, tally: Tally) -> None:
        """This is durable now."""
        self.tally = tally

    @property
    def epsilon(self) -> float:
        """Of all that was told; infinite if some of it was told without noise."""
        return epsilon(self.tally.total, self.delta)

    @property
    def refusal(self) -> str:
        """Why a card says nothing, for people."""
        told = f"epsilon {self.epsilon:.3g}" if isfinite(self.epsilon) else "no bound"
        return (
            f"our card says nothing of our rows: another answer would exceed epsilon {self.budget:g} at delta {self.delta:g}, "
            f"after {told} so far. Raise privacy.judging_epsilon, or follow the chain only"
        )

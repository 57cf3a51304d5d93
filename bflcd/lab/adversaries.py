"""What the adversaries of a simulation do in a round; remembers whether sleepers have begun to attack."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from bflcd.lab.chain import CardLines
from bflcd.lab.config import SimulationConfig
from bflcd.lab.engine.base import Scores
from bflcd.lab.rng import Draw, generator, number
from bflcd.learn.attacks import Attack, Known, acts_now
from bflcd.learn.lies.cards import DEFAMED_GAIN, Lies, Measurements, lie
from bflcd.ledger.disclosure import REFUSED


class Adversaries:
    """The devices that lie, `members`, and how."""

    def __init__(self, config: SimulationConfig, members: Sequence[int]) -> None:
        """Raises UsageError for an attack that there is not."""
        self._seed, self._attack = config.seed, config.find_attack() or Attack(lies=Lies.NONE)
        self.members = frozenset(members)
        self._onset = config.onset
        self.awake = not self._attack.waits

    def watch(self, committee: Sequence[int], round_: int) -> None:
        """A round opens: sleepers that hold more than half of the seats begin."""
        if round_ >= self._onset:
            held = sum(device in self.members for device in committee)
            self.awake = self.awake or acts_now(self._attack, held, len(committee))

    def lie_in(self, round_: int) -> bool:
        """Whether they lie in that round."""
        return self.awake and round_ >= self._onset

    def copying(self, round_: int) -> frozenset[int]:
        """Who measures nothing as a judge in that round, and says what another's card says; in all else it is honest."""
        return self.members if self._attack.copies and self.lie_in(round_) else frozenset[int]()

    def forge(
        self, offering: Sequence[int], updates: Tensor, moved: Tensor, round_: int, cost: Callable[[Tensor], float] | None = None
    ) -> None:
        """Put what the adversaries among `offering` offer in the place of what they trained, in `updates` [offering, weights].

        `cost` as in `Known`.
        """
        mine = [line for line, device in enumerate(offering) if device in self.members]
        if not mine or not self.lie_in(round_):
            return
        others = [line for line, device in enumerate(offering) if device not in self.members]
        places = torch.tensor(mine, device=updates.device)
        honest = updates[places]

        def noise(shared: bool) -> Tensor:
            if shared:
                return self._noise(honest[:1], number(self._seed, Draw.SHARED_FORGERY, round_)).expand_as(honest)
            seeds = [number(self._seed, Draw.FORGERY, round_, offering[line]) for line in mine]
            return torch.cat([self._noise(row[None], seed) for row, seed in zip(honest, seeds, strict=True)])

        seen = updates[torch.tensor(others, device=updates.device, dtype=torch.int64)]
        updates[places] = self._attack.forge(Known(honest, moved, seen, len(offering), noise, cost=cost))

    @staticmethod
    def _noise(like: Tensor, seed: int) -> Tensor:
        rng = torch.Generator(like.device).manual_seed(seed)
        return torch.randn(like.shape, generator=rng, device=like.device, dtype=like.dtype)

    def report(self, member: int, measured: Measurements, offering: Sequence[int], round_: int) -> Measurements:
        """What `member` writes on its card of what it measured of those `offering`."""
        if member not in self.members or not self.lie_in(round_) or self._attack.copies:
            return measured
        accomplices = np.array([device in self.members for device in offering], dtype=np.bool_)
        return lie(self._attack.lies, measured, accomplices, generator(self._seed, Draw.LIES, round_, member))

    def hide(self, member: int, likes: Sequence[int | None], offering: Sequence[int], round_: int) -> tuple[int | None, ...]:
        """Of what copies `member` tells on its card, of the `likes` that it found: a liar tells nothing of its friends', and who
        looks at no update of any."""
        if member in self.copying(round_):
            return (None,) * len(likes)
        if member not in self.members or not self.lie_in(round_) or self._attack.lies is Lies.NONE:
            return tuple(likes)
        return tuple(None if device in self.members else like for device, like in zip(offering, likes, strict=True))

    def overheard(self, scores: Scores, committee: Sequence[int], card: CardLines, round_: int) -> Scores:
        """A round's `scores` as if copiers of the `committee` had measured what `card` says, as a daemon does that copies.

        What it refuses harms as much as a liar says; what an update costs one class stands on no card.
        """
        copiers = self.copying(round_)
        mine = [line for line, member in enumerate(committee) if member in copiers]
        gains, accuracies, costs = scores.gains.copy(), scores.accuracies.copy(), scores.costs.copy()
        losses, rights = scores.base_losses.copy(), scores.base_accuracies.copy()
        gains[mine] = np.where(card.gains == REFUSED, DEFAMED_GAIN, card.gains)
        accuracies[mine], costs[mine] = card.accuracies, 0
        losses[mine], rights[mine] = card.base_loss, card.base_accuracy
        return Scores(gains, accuracies, losses, rights, costs)

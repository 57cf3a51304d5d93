"""How a budget is dealt out: the noise of each update, from what all of them together may tell."""

from dataclasses import dataclass

from bflcd.learn.private.accountant import noise_for
from bflcd.learn.private.mechanism import Mechanism, lots_of


@dataclass(frozen=True, slots=True)
class Plan:
    """What a device means to do: `rounds` updates of `epochs` epochs each, in steps on lots of about `lot` rows.

    `epsilon`, thousandths, at delta 10^-`exponent`: of all of them together. `clip`: L2 norm of a row's gradient. `noise`: of
    a step, in thousandths of the clip; 0: the least that stays within the budget.
    """

    epsilon: int
    exponent: int
    rounds: int
    epochs: int
    lot: int
    clip: float
    noise: int = 0

    def steps(self, rows: int) -> int:
        """Of one update on so many rows."""
        return lots_of(rows, self.lot) * self.epochs

    def mechanism(self, rows: int) -> Mechanism | None:
        """How one update is made on so many rows; None if no noise is large enough. Takes a moment at first."""
        lots, steps = lots_of(rows, self.lot), self.steps(rows)
        noise = self.noise or noise_for(self.epsilon, self.exponent, lots=lots, steps=steps * self.rounds)
        return None if noise is None else Mechanism(noise, self.clip, lots, steps)

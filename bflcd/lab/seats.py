"""How likely liars hold too many seats if they behave until they strike: exactly, and by the ledger's election (paper, IV-C)."""

from dataclasses import dataclass, replace
from math import comb
from typing import Final

import numpy as np

from bflcd.errors import UsageError
from bflcd.lab.chain import LabChain
from bflcd.ledger.election import Merit, elect
from bflcd.ledger.quorum import faults
from bflcd.params import Params
from bflcd.types import Digest, MicroNats, Round

ELECTIONS_DRAWN: Final = 200
"""Simulated elections of one point: a probability of a half is then known to 4 points."""


@dataclass(frozen=True, slots=True)
class Seats:
    """M of `devices` seats are drawn, `liars` of the devices lie."""

    devices: int
    seats: int
    liars: int

    @property
    def majority(self) -> float:
        """Probability that liars hold more than half of the seats: then they decide every score (the paper's attack)."""
        return self._above(self.seats // 2)

    @property
    def beyond_faults(self) -> float:
        """Probability that liars hold more than f = (M - 1) // 3 seats: then consensus itself is at their mercy."""
        return self._above(faults(self.seats))

    def _above(self, bound: int) -> float:
        """P(X > bound), X hypergeometric, in exact integers up to the last division."""
        least = max(bound + 1, self.seats - (self.devices - self.liars))
        most = min(self.seats, self.liars)
        ways = sum(comb(self.liars, x) * comb(self.devices - self.liars, self.seats - x) for x in range(least, most + 1))
        return ways / comb(self.devices, self.seats)


def seats_of(devices: int, p: float, q: float) -> Seats:
    """A share `p` of the devices sits, a share `q` lies. Raises UsageError for shares that leave no seat, or are none."""
    if not (0 < p <= 1 and 0 <= q <= 1) or devices < 1:
        raise UsageError(
            f"--of {devices}, --p {p}, --q {q}",
            hint="give at least one device, p above 0 and up to 1, q from 0 to 1",
            code="bad_setting",
        )
    return Seats(devices, max(1, round(devices * p)), round(devices * q))


def elected(seats: Seats, seed: int, *, draws: int = ELECTIONS_DRAWN) -> tuple[float, float]:
    """The same two probabilities as shares of `draws` elections by the ledger: everybody is packed, and drawn by the seed."""
    chain = LabChain.simulated(Params(committee_size=seats.seats, election="random"), seats.devices, seed)
    scores = {node: Merit(MicroNats(1), 0) for node in chain.nodes}
    liars = frozenset(chain.nodes[: seats.liars])
    held = []
    for draw in range(draws):
        state = replace(chain.state, committee=(), round=Round(2), grandparent=Digest(draw.to_bytes(32, "big")))
        committee = elect(chain.params, state, scores, frozenset(chain.nodes)).committee
        held.append(sum(node in liars for node in committee))
    counts = np.array(held)
    return float((counts > seats.seats // 2).mean()), float((counts > faults(seats.seats)).mean())

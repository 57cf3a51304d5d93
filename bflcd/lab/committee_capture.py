"""How likely adversaries that behave at first hold too many seats: exactly, and by the ledger's election (paper, IV-C)."""

from dataclasses import dataclass, replace
from math import comb
from typing import Final

import numpy as np

from bflcd.errors import UsageError
from bflcd.lab.chain import LabChain
from bflcd.ledger.election import Merit, elect
from bflcd.ledger.quorum import faults
from bflcd.ledger.roles import seed_of
from bflcd.params import Params
from bflcd.types import Digest, MicroNats

ELECTIONS_DRAWN: Final = 200
"""Simulated elections of one point: a probability of a half is then known to 4 points."""


@dataclass(frozen=True, slots=True)
class CommitteeCapture:
    """M of `devices` seats are drawn, `adversaries` of the devices lie."""

    devices: int
    seats: int
    adversaries: int

    @property
    def majority(self) -> float:
        """Probability that adversaries hold more than half of the seats: then they decide every score (the paper's attack)."""
        return self._above(self.seats // 2)

    @property
    def beyond_faults(self) -> float:
        """Probability that adversaries hold more than f = (M - 1) // 3 seats: then they can stop consensus itself."""
        return self._above(faults(self.seats))

    def _above(self, bound: int) -> float:
        """P(X > bound), X hypergeometric, in exact integers up to the last division."""
        least = max(bound + 1, self.seats - (self.devices - self.adversaries))
        most = min(self.seats, self.adversaries)
        ways = sum(
            comb(self.adversaries, x) * comb(self.devices - self.adversaries, self.seats - x) for x in range(least, most + 1)
        )
        return ways / comb(self.devices, self.seats)


def capture_of(devices: int, p: float, q: float) -> CommitteeCapture:
    """A share `p` of the devices sits, a share `q` lies. Raises UsageError for shares that leave no seat, or are none."""
    if not (0 < p <= 1 and 0 <= q <= 1) or devices < 1:
        raise UsageError(
            f"--of {devices}, --p {p}, --q {q}",
            hint="give at least one device, p above 0 and up to 1, q from 0 to 1",
            code="bad_setting",
        )
    return CommitteeCapture(devices, max(1, round(devices * p)), round(devices * q))


def elected(capture: CommitteeCapture, seed: int, *, elections: int = ELECTIONS_DRAWN) -> tuple[float, float]:
    """The same two probabilities as shares of so many `elections` by the ledger: everybody is packed, and drawn by the seed."""
    chain = LabChain.simulated(Params(committee_size=capture.seats, election="random"), capture.devices, seed)
    scores = {node: Merit(MicroNats(1), 0) for node in chain.nodes}
    adversaries = frozenset(chain.nodes[: capture.adversaries])
    state, held = replace(chain.state, committee=()), []
    for draw in range(elections):
        drawn = seed_of(replace(chain.state, lot=Digest(draw.to_bytes(32, "big"))))
        committee = elect(chain.params, state, scores, frozenset(chain.nodes), drawn).committee
        held.append(sum(node in adversaries for node in committee))
    counts = np.array(held)
    return float((counts > capture.seats // 2).mean()), float((counts > faults(capture.seats)).mean())

"""How much a card says: this project's rule, what it was before, and others that it is compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from bflcd.ledger.disclosure import APART, GAIN_LEVELS, REFUSED, balances, coarse_accuracy, gain_limit, row_limit, said_gain
from bflcd.ledger.trust.noise import sensitivity
from bflcd.params import MILLION, NOISE_UNIT, Params
from bflcd.types import MicroNats, PartsPerMillion


@dataclass(frozen=True, slots=True)
class Disclosure:
    """`levels`: what a card says of a gain, lower edges in micro-nats; None: the number itself, and the accuracy too.

    `clipped`: whether an offer is held to the step limit before it is measured, and a row's gain to the row limit; `share`: of
    its rows that a judge draws in a round; `noise`: standard deviation, in nats, of what a judge adds to a gain; `multiplier`: of
    noise in what one row changes (`Params.score_noise` is in thousandths of that); None: as the genesis has it.
    """

    levels: tuple[MicroNats, ...] | None = GAIN_LEVELS
    clipped: bool = True
    share: float = 1.0
    noise: float = 0.0
    multiplier: float | None = 0.0

    def under(self, params: Params) -> Params:
        """The community's parameters with this rule's noise."""
        return params if self.multiplier is None else replace(params, score_noise=round(self.multiplier * NOISE_UNIT))

    def before(self, params: Params, rows: int) -> "Disclosure":
        """The rule as it is for a judge with so many rows to look at: its noise in nats."""
        params = self.under(params)
        if not params.score_noise:
            return self
        one = sensitivity(row_limit(params) + gain_limit(params), rows)
        return replace(self, noise=params.score_noise * one / NOISE_UNIT / MILLION)

    def balanced(self, params: Params) -> bool:
        """Whether a judge's classes count too in what it measures."""
        return self.clipped and balances(self.under(params))

    def most(self, params: Params) -> float:
        """What a row may gain at most, in nats, where it is clipped at all."""
        return gain_limit(self.under(params)) / MILLION

    def gain(self, gain: MicroNats, least: MicroNats) -> MicroNats:
        """What a card says of a measured gain, of which `least` qualifies."""
        if self.levels is not None:
            return said_gain(gain, least, self.levels)
        return REFUSED if gain < least else MicroNats(max(gain, 0))

    def accuracy(self, params: Params, gain: MicroNats, accuracy: PartsPerMillion) -> PartsPerMillion:
        """What a card says of the accuracy of an offer of whose gain it says `gain`."""
        if self.levels is None:
            return accuracy
        return coarse_accuracy(accuracy) if params.score_rule == "accuracy" and gain != REFUSED else PartsPerMillion(0)


BEFORE: Final = "exact, unclipped"
HERE: Final = "nine levels"
SIX_LEVELS: Final = "six levels"

_TWO: Final = GAIN_LEVELS[:2]

_SIX: Final = tuple(level for level in GAIN_LEVELS if not 0 < level < APART)
"""Without words for small gains, as cards were."""

DISCLOSURES: Final[Mapping[str, Disclosure]] = {
    BEFORE: Disclosure(None, clipped=False),
    "exact": Disclosure(None),
    HERE: Disclosure(multiplier=None),
    SIX_LEVELS: Disclosure(_SIX, multiplier=None),
    "nine levels, no noise": Disclosure(),
    "nine levels, noise 1 row": Disclosure(multiplier=1.0),
    "nine levels, noise 2 rows": Disclosure(multiplier=2.0),
    "nine levels, noise 4 rows": Disclosure(multiplier=4.0),
    "nine levels, noise 8 rows": Disclosure(multiplier=8.0),
    "nine levels, noise 16 rows": Disclosure(multiplier=16.0),
    "nine levels, noise 64 rows": Disclosure(multiplier=64.0),
    "helps or not": Disclosure(_TWO),
    "qualifies or not": Disclosure(_TWO[:1]),
    "nine levels, half of the rows": Disclosure(share=0.5),
    "helps or not, half of the rows": Disclosure(_TWO, share=0.5),
    "nine levels, noise 0.1": Disclosure(noise=0.1),
    "helps or not, noise 0.1": Disclosure(_TWO, noise=0.1),
    "helps or not, noise 0.3": Disclosure(_TWO, noise=0.3),
}
"""By name; `HERE` is what daemons do."""

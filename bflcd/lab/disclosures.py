"""How much a card says: this project's rule, what it was before, and others that it is compared with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bflcd.ledger.disclosure import GAIN_LEVELS, REFUSED, coarse_accuracy, said_gain
from bflcd.params import Params
from bflcd.types import MicroNats, PartsPerMillion


@dataclass(frozen=True, slots=True)
class Disclosure:
    """`levels`: what a card says of a gain, lower edges in micro-nats; None: the number itself, and the accuracy too.

    `clipped`: whether an offer is held to the step limit before it is measured, and a row's gain to the row limit; `share`: of
    its rows that a judge draws in a round; `noise`: standard deviation, in nats, of what a judge adds to a gain.
    """

    levels: tuple[MicroNats, ...] | None = GAIN_LEVELS
    clipped: bool = True
    share: float = 1.0
    noise: float = 0.0

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
HERE: Final = "six levels"

_TWO: Final = GAIN_LEVELS[:2]

DISCLOSURES: Final[Mapping[str, Disclosure]] = {
    BEFORE: Disclosure(None, clipped=False),
    "exact": Disclosure(None),
    HERE: Disclosure(),
    "helps or not": Disclosure(_TWO),
    "qualifies or not": Disclosure(_TWO[:1]),
    "six levels, half of the rows": Disclosure(share=0.5),
    "helps or not, half of the rows": Disclosure(_TWO, share=0.5),
    "six levels, noise 0.1": Disclosure(noise=0.1),
    "helps or not, noise 0.1": Disclosure(_TWO, noise=0.1),
    "helps or not, noise 0.3": Disclosure(_TWO, noise=0.3),
}
"""By name; `HERE` is what daemons do."""

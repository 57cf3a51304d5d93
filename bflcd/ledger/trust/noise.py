"""What a judge adds to what it measured before its card says it: noise by which no single row shows (design 5.3).

All that a card tells of its author's rows are means over the rows that it drew for the round: of gains held to the row limit, of
rightness, of the base's loss held to `LOSS_LIMIT`. Where one of n rows is another, such a mean moves by at most the width of its
range over n, which is its sensitivity; the noise is a discrete Gaussian of `Params.score_noise` thousandths of that. What is done
after, levels and the word for harm, tells no more (post-processing). How much that is: `ledger.trust.accounting`.

The noise follows from the node's secret, the round and the offer, so a card that is made again after a restart says the same, and
asking twice averages nothing out. No two nodes, offers or numbers share a draw.
"""

from dataclasses import dataclass
from typing import Final

from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.ledger.disclosure import gain_limit, row_limit
from bflcd.ledger.trust.accounting import Answers
from bflcd.ledger.trust.discrete_gaussian import drawn
from bflcd.params import MILLION, NOISE_UNIT, Params
from bflcd.types import Digest, Epoch, MicroNats, PartsPerMillion, Round

LOSS_LIMIT: Final = MicroNats(8_000_000)
"""What one row counts at most in the base's loss on a card, where noise is added; below 0 it counts nothing."""

BASE_ANSWERS: Final = 2
"""Of a card that has entries, beside those about offers: the base's loss and accuracy."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Those that a judge measures on in a round: `drawn` without replacement of the `held`, both at least 1."""

    drawn: int
    held: int


def sensitivity(width: int, rows: int) -> int:
    """By how much the mean of `rows` numbers of a range of `width` changes at most, in its units, if one of them is another.

    One more than the quotient's ceiling: means are rounded to whole units.
    """
    return -(-width // rows) + 1


def gain_range(params: Params) -> MicroNats:
    """How far apart what two rows gain may be, where noise is added."""
    return MicroNats(row_limit(params) + gain_limit(params))


@dataclass(frozen=True, slots=True)
class Noise:
    """One judge's in one round. `secret`: of that node, round and epoch; `rows`: those that were measured on."""

    params: Params
    secret: bytes
    rows: Rows

    @classmethod
    def of(cls, params: Params, private_seed: bytes, round_: Round, epoch: Epoch, rows: Rows) -> "Noise":
        """By a node's own secret."""
        return cls(params, digest(Domain.NOISE, private_seed, integer(round_), integer(epoch)), rows)

    def gain(self, gain: MicroNats, offer: Digest) -> MicroNats:
        """A mean gain with noise; no row loses more than `row_limit`, or gains more than `gain_limit`."""
        return MicroNats(gain + self._drawn(gain_range(self.params), b"gain", offer))

    def accuracy(self, accuracy: PartsPerMillion, offer: Digest) -> PartsPerMillion:
        """An offer's accuracy, or the base's, with noise."""
        return PartsPerMillion(min(max(0, accuracy + self._drawn(MILLION, b"accuracy", offer)), MILLION))

    def loss(self, loss: MicroNats, model: Digest) -> MicroNats:
        """The base's mean loss, each row's within 0 to `LOSS_LIMIT`, with noise."""
        if not self.params.score_noise:
            return loss
        return MicroNats(min(max(0, loss + self._drawn(LOSS_LIMIT, b"loss", model)), LOSS_LIMIT))

    def answers(self, entries: int) -> Answers:
        """What a card with so many entries tells."""
        each = 2 if self.params.score_rule == "accuracy" else 1
        count = entries * each + BASE_ANSWERS if entries else 0
        return Answers(self.params.score_noise, count, self.rows.drawn, self.rows.held)

    def _drawn(self, width: int, what: bytes, about: bytes) -> int:
        if not self.params.score_noise:
            return 0
        scale = self.params.score_noise * sensitivity(width, self.rows.drawn)
        return drawn(digest(Domain.NOISE, self.secret, what, about), scale, NOISE_UNIT)

"""What a judge says of its rows on its card: as coarse as the decision needs, one word for what does not qualify (design 5.3).

A trainer chooses what it offers, and every judge says on a card that is kept for ever what the offer does on the judge's private
rows. Exact numbers there answer any question about them: how many rows of a class, whether a record is among them. So a judge
measures exactly, and says little: nothing but `REFUSED` of an offer that costs it more than its margin, else the lower edge of
one of few levels, each four times the one before. The bound of what one answer tells is the logarithm of their number.
"""

from collections.abc import Sequence
from typing import Final

from bflcd.params import MILLION, Params
from bflcd.types import MicroNats, PartsPerMillion

REFUSED: Final = MicroNats(-1)
"""The gain on a card of whatever does not qualify on the judge's rows: one word, no number."""

GAIN_LEVELS: Final = tuple(MicroNats(level) for level in (0, 16, 63, 250, 1_000, 4_000, 16_000, 64_000, 256_000))
"""Lower edges in micro-nats of what a card says of a gain; the first stands for all that costs no more than the margin.

On the plateau where a network begins hardly anything gains 0.001 nat; the words below it tell help from nothing there
(docs/adr/0038-words-for-small-gains.md).
"""

APART: Final = MicroNats(1_000)
"""Gains of less are one word where judges' words are held against each other, and nothing where norms are rated: rows differ by
as much by chance, and any long step gains as much on a model that knows nothing."""

ACCURACY_STEP: Final = PartsPerMillion(62_500)
"""Accuracies on cards are multiples of a sixteenth."""

LOSS_STEP: Final = MicroNats(250_000)
"""The base's loss on cards is a multiple of a quarter of a nat."""

HALF_RIGHT: Final = PartsPerMillion(500_000)
"""A model that is right less often than this knows little: the margin then shrinks with its accuracy's square."""

LEAST_SHARE: Final = PartsPerMillion(100)
"""Of `score_margin`: it shrinks no further, so a margin that refuses nothing refuses nothing at any accuracy."""


LEAST_ROW_LIMIT: Final = MicroNats(2_000_000)
"""What a row may gain or lose at most, in micro-nats, where the margin is not wide."""

MOST_ROW_LIMIT: Final = MicroNats(1_000_000_000)
"""A thousand nats, beyond which no row's loss counts."""

MARGINS_A_ROW: Final = 8
"""A row may lose so many margins: an eighth of the rows, turned round altogether, is as much as the margin bears."""


def row_limit(params: Params) -> MicroNats:
    """What one row may gain or lose at most when an offer is measured: no record moves a judge's mean far."""
    return MicroNats(min(max(LEAST_ROW_LIMIT, MARGINS_A_ROW * params.score_margin), MOST_ROW_LIMIT))


LEAST_GAIN_LIMIT: Final = MicroNats(500_000)
"""What a row may gain at most, in micro-nats, where noise is added and the margin is not wide."""

MARGINS_A_GAIN: Final = 2
"""With noise a row may gain so many margins. It may lose what it may without: harm must be seen, but no offer needs praise."""


def gain_limit(params: Params) -> MicroNats:
    """What one row may gain at most: with noise less than it may lose, since the noise grows with what a row can say."""
    if not params.score_noise:
        return row_limit(params)
    return MicroNats(min(max(LEAST_GAIN_LIMIT, MARGINS_A_GAIN * params.score_margin), row_limit(params)))


def row_range(params: Params, known: PartsPerMillion) -> tuple[MicroNats, MicroNats]:
    """What one row may lose and gain at most when an offer is measured; `known`: see `State.known`.

    With noise a young model's rows gain as much as they lose, in a range as wide as ever: first offers of few classes each cost
    most rows much and gain some rows more, and with the narrow side for gains none of them would help anybody.
    """
    lost, gained = row_limit(params), gain_limit(params)
    if params.score_noise and known < HALF_RIGHT:
        lost = gained = MicroNats((lost + gained) // 2)
    return lost, gained


FIRST_WIDENING: Final = MicroNats(100_000)
"""The least margin of a young model after a round that packed nothing."""

WIDENING: Final = 4
"""It grows by so much with each further one."""

MOST_WIDENINGS: Final = 8
"""After so many it is far beyond what it is held to."""


def margin_after(params: Params, known: PartsPerMillion, empty: int) -> MicroNats:
    """The margin of a round before which `empty` rounds packed nothing: wider, while the model knows little.

    First updates of few classes each cost all others more than any margin, and so would those of the next round. What costs every
    row the most that a row may lose never qualifies.
    """
    usual = margin(params, known)
    if known >= HALF_RIGHT or empty <= 0:
        return usual
    lost, _ = row_range(params, known)
    return MicroNats(max(usual, min(FIRST_WIDENING * WIDENING ** (min(empty, MOST_WIDENINGS) - 1), lost - 1)))


def margin(params: Params, known: PartsPerMillion) -> MicroNats:
    """What an update may cost on a judge's rows and still qualify: the community's margin times what the last model knew.

    `known` stands in the ledger (`State.known`), so that every judge has the same margin, and none tells its own accuracy by it.
    While a model knows nothing, whoever trains honestly helps everybody; the more it knows, the more an update from rows of few
    classes takes from those who have the others. A constant margin wide enough for that lets the first rounds be poisoned. And
    with few classes chance alone is right often, so below HALF_RIGHT the margin shrinks with the accuracy's square.
    """
    share: int = known
    if share < HALF_RIGHT:
        share = share**2 // HALF_RIGHT
    return MicroNats(params.score_margin * max(share, LEAST_SHARE) // MILLION)


def measures_fresh(params: Params, known: PartsPerMillion) -> bool:
    """Whether judges leave out what an update repeats of the last step; `known`: see `State.known`.

    While a model knows little, all updates point the same way, the last step too: nothing tells who repeats from who learns.
    """
    return params.fresh_gains and known >= HALF_RIGHT


def balances(params: Params) -> bool:
    """Whether a judge's classes count too in what it measures of a gain, each alike, and not its rows alone.

    Not with noise: that is what one row of many can say at most, and one of few would need more of it.
    """
    return params.balanced_gains and not params.score_noise


def said_gain(gain: MicroNats, least: MicroNats, levels: Sequence[MicroNats] = GAIN_LEVELS) -> MicroNats:
    """What a card says of a measured `gain`; `least`: the gain that qualifies, at most 0."""
    if gain < least:
        return REFUSED
    return max((level for level in levels if level <= gain), default=levels[0])


def said_accuracy(params: Params, gain: MicroNats, accuracy: PartsPerMillion) -> PartsPerMillion:
    """What a card says of an offer's accuracy, whose gain it says is `gain`: 0 unless accuracy ranks and the offer qualifies."""
    if params.score_rule != "accuracy" or gain == REFUSED:
        return PartsPerMillion(0)
    return coarse_accuracy(accuracy)


def coarse_accuracy(accuracy: PartsPerMillion) -> PartsPerMillion:
    """The multiple of a sixteenth at or below."""
    return PartsPerMillion(accuracy - accuracy % ACCURACY_STEP)


def coarse_loss(loss: MicroNats) -> MicroNats:
    """The nearest multiple of a quarter of a nat, of two the higher."""
    return MicroNats((loss + LOSS_STEP // 2) // LOSS_STEP * LOSS_STEP)

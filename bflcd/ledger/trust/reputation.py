"""What a member's offers were worth of late, in its account: who has harmed makes up for it before anything of it is packed.

A margin wide enough for honest updates of odd rows also lets in what harms a little, round after round. So harm is remembered
until gains have outweighed it, and seats go first to those that help nearly as much as the others. A reputation is a moving
average of median gains: with at most f liars among q cards each lies between two honest words (design 5, Reputation).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bflcd.ledger.disclosure import GAIN_LEVELS, HALF_RIGHT, gain_limit, margin, row_limit
from bflcd.ledger.medians import lower_median
from bflcd.ledger.quorum import faults, quorum
from bflcd.params import NOISE_UNIT, Params
from bflcd.types import MAX_REPUTATION, MicroNats, PartsPerMillion

LEAST_GAIN: Final = GAIN_LEVELS[1]
"""What a card says at least where an offer helps: the lowest level, 0, stands for a small harm as well."""

HARM_PART: Final = 4
"""An offer that costs most judges more than the round's margin counts minus a quarter of that. While a model knows little the
margin is small, and so is the debt of an honest update of odd rows (docs/measurements/rules.md)."""

HELP_PART: Final = 4
"""While a model is young and most gain, an offer that costs most judges more than the margin counts as if that were a quarter of
the middle gain at least: what the margin alone would forgive (docs/adr/0037-young-rounds.md)."""

MIDDLE_GAINS: Final = 2
"""While a model is young no gain counts more than so many middle ones: whom a committee of liars praises is soon not believed."""

DEVIATIONS: Final = 2
"""Of the least noise that a judge adds, where it adds any: a gain of less may be nothing but that."""

SHARE: Final = 2
"""Half of what the middle of the others have is as good as theirs."""


@dataclass(frozen=True, slots=True)
class Measure:
    """By what a round's offers count: an average over `rounds`; what harm is a part of, at least the `margin` of the round; the
    `least` gain that pays a debt, and the `most` that counts of one."""

    rounds: int
    margin: MicroNats
    least: MicroNats = MicroNats(0)
    most: MicroNats = GAIN_LEVELS[-1]


def measure_of(params: Params, known: PartsPerMillion, gains: Sequence[MicroNats]) -> Measure:
    """That of a round; `known`: see `State.known`; `gains`: medians of the offers that count, those that harm below 0."""
    noise = params.score_noise * (row_limit(params) + gain_limit(params)) // (NOISE_UNIT * params.score_rows)
    least = min(DEVIATIONS * noise, GAIN_LEVELS[-1])  # the highest word always pays
    usual = Measure(params.reputation_rounds, margin(params, known), MicroNats(least))
    if known >= HALF_RIGHT or not gains:
        return usual
    middle = lower_median(gains)
    return replace(
        usual,
        margin=MicroNats(max(usual.margin, middle // HELP_PART)),
        most=MicroNats(min(MIDDLE_GAINS * max(middle, LEAST_GAIN), GAIN_LEVELS[-1])),
    )


@dataclass(frozen=True, slots=True)
class Repute:
    """What reputations are held against: below `borne` nothing is packed; from `good` on their owners are seated first."""

    good: MicroNats
    borne: MicroNats

    def takes(self, reputation: MicroNats, helps: int, m: int) -> bool:
        """Whether to pack an offer by which `helps` of the q cards of a committee of m gain: of who has no debt, or none deeper
        than most have and helps more than f."""
        return reputation >= 0 or (reputation >= self.borne and helps > faults(m))


def harm_is_shown(refusals: int, m: int) -> bool:
    """Whether an offer that `refusals` of the q cards of a committee of m refuse brings its uploader into debt.

    At least half of the q - f cards that are left when f of those that refuse it are taken away say so too.
    """
    f, q = faults(m), quorum(m)
    return 2 * (refusals - f) >= q - f


def debt_of(measure: Measure) -> MicroNats:
    """What an offer below the margin takes off a reputation of 0; nothing where reputations don't count."""
    return MicroNats(measure.margin // HARM_PART // measure.rounds if measure.rounds else 0)


def repute_among(reputations: Iterable[MicroNats]) -> Repute:
    """By their lower median: half of it is good, at least 0; what is borne is 0, or the median where most are below.

    A committee of more than f liars can bring all honest members below zero at once: the better half of them goes on.
    """
    values = tuple(reputations)
    middle = lower_median(values) if values else MicroNats(0)
    return Repute(MicroNats(max(0, middle // SHARE)), MicroNats(min(0, middle)))


def reputation_after(before: MicroNats, gain: MicroNats | None, measure: Measure) -> MicroNats:
    """The average after one more offer of median `gain`; None: most did not measure it, which says nothing of it.

    Below zero, time mends nothing: only gains do, each by its share, and none that the judges' noise alone could say.
    """
    if gain is None or (before < 0 <= gain < measure.least):
        return before
    found = -(measure.margin // HARM_PART) if gain < 0 else min(gain, measure.most)
    if gain < 0 and before < found:
        return before  # a debt from when the margin was wider
    lacking = found if before < 0 <= found else found - before
    share = lacking // measure.rounds if lacking >= 0 else -(-lacking // measure.rounds)  # towards zero: no average drifts down
    return MicroNats(max(-MAX_REPUTATION, min(MAX_REPUTATION, before + share)))

"""Defects of how offers that stand out are refused: who is odd, and on whose card."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

ODDNESS = "bflcd/ledger/trust/oddness.py"
BALANCE = "bflcd/learn/labels/balance.py"
OFFERS = "bflcd/core/round/offers.py"

TOLD_APART: Final = selection("ledger/test_oddness.py")
MEASURED: Final = selection("learn/test_scoring.py::test_costs_by_class")
WRITTEN: Final = selection(
    "core/test_judged_offers.py::test_a_card_refuses_an_offer_that_costs_a_class_far_more_than_the_others_do"
)

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "odd-by-all",
        "liars widen what is usual, and none of them stands out",
        ODDNESS,
        "usual = ordered[: -(-len(costs) * share // whole)]",
        "usual = ordered[: len(costs) * share * whole]",
        TOLD_APART,
    ),
    mutant(
        "the-majority-is-odd",
        "two of five offers that cost least have the three others refused",
        ODDNESS,
        "most = max(middle + max(limit * spread // MILLION, LEAST_COST), lower_median(costs))",
        "most = max(middle + max(limit * spread // MILLION, LEAST_COST), min(costs))",
        TOLD_APART,
    ),
    mutant(
        "alike-is-odd",
        "where all offers are alike, whoever costs a hair more is refused",
        ODDNESS,
        "max(limit * spread // MILLION, LEAST_COST)",
        "limit * spread // MILLION",
        TOLD_APART,
    ),
    mutant(
        "cost-in-the-mean",
        "an offer that turns one class round costs no more than any other",
        BALANCE,
        "costs: Tensor = ((means.max(1).values - given) * MILLION)",
        "costs: Tensor = ((means.mean(1) - given) * MILLION)",
        MEASURED,
    ),
    mutant(
        "few-classes-are-odd",
        "who knows few classes is refused for what it takes from the others, whatever it gives",
        BALANCE,
        "    given = (-means).max(1).values.clamp(min=0)\n",
        "    given = 0 * means.max(1).values\n",
        MEASURED,
    ),
    mutant(
        "odd-and-packed",
        "a judge notices what is odd, and says what it gains all the same",
        OFFERS,
        "gain = REFUSED if odd else said_gain(noise.gain(score.gain, offer), least)",
        "gain = said_gain(score.gain, least)",
        WRITTEN,
    ),
)

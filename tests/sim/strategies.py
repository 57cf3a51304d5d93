"""All ways to lie, and the draw of one liar's."""

from random import Random

from tests.sim import lies_cards, lies_closing, lies_floods, lies_seals, lies_serving, lies_votes
from tests.sim.liar import STRATEGIES, Liar

__all__ = ["KINDS", "STRATEGIES", "Liar", "draw_strategies"]

KINDS = (lies_votes, lies_cards, lies_serving, lies_floods, lies_seals, lies_closing)
"""Each registers its strategies when it is imported."""


def draw_strategies(rng: Random) -> list[str]:
    """One to three strategies of one liar."""
    return rng.sample(sorted(STRATEGIES), rng.choice([1, 1, 2, 3]))

"""How wrong the model is where it is worst, as a round's judges say: for people, no rule reads it (design 5.3).

A community's median hides the member on whose rows the model fails. Of n cards up to f may lie, so no figure of one round both
shows a single failing site and can't be made up: the lowest word shows it and is one member's, the (f + 1)-th lowest is no
liar's and shows it only if more than f say so. Sorted honest words being h[0] <= h[1] <= ..., at most f of the n being lies:

    lowest <= h[0]                      one liar alone can say 0; none can lift it above an honest card that was packed
    h[0] <= (f + 1)-th lowest <= h[f]   lies below reach h[0] at most, lies above h[f] (if more than f honest cards have a word)

With q = M - f words of M = 3f + 1 or 3f + 2 seats the (f + 1)-th lowest is their lower median, of 3f + 3 the word below it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bflcd.types import NodeId, PartsPerMillion


@dataclass(frozen=True, slots=True)
class WorstSite:
    """The lowest base accuracy on any card, and whose cards say it, sorted by id."""

    accuracy: PartsPerMillion
    judges: tuple[NodeId, ...]


def worst_site(said: Mapping[NodeId, PartsPerMillion]) -> WorstSite | None:
    """The lowest of what judges say of the model on their own rows; None if none says anything."""
    if not said:
        return None
    lowest = min(said.values())
    return WorstSite(lowest, tuple(sorted(judge for judge, accuracy in said.items() if accuracy == lowest)))


def proven_worst(said: Sequence[PartsPerMillion], f: int) -> PartsPerMillion | None:
    """The (f + 1)-th lowest: if at most `f` judges lie, an honest one found the model no better. None of f words or fewer.

    At f = 0, in a committee of fewer than four, that is the lowest: no liar is reckoned with, and one could say it.
    """
    return sorted(said)[f] if len(said) > f else None

"""What a round pays its packed trainers and its judges out of the pool, to the last unit (design 7)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from bflcd.params import MILLION
from bflcd.types import Amount, NodeId, PartsPerMillion

NOTHING: Final = PartsPerMillion(0)


def rewards(
    pool: Amount, share: PartsPerMillion, gains: Mapping[NodeId, int], *, cards: PartsPerMillion = NOTHING
) -> tuple[tuple[NodeId, Amount], ...]:
    """Who gets what of pool * share // 10^6 less the share `cards` of it, sorted by node, positive amounts only; their sum is
    that payout, or nothing.

    Split in proportion to max(gain, 0): always the median paired gain, also where accuracy ranks, since a zero update has the
    base's accuracy and must earn nothing. Units that are left go to the largest remainders, ties to the lower id. Nobody is
    paid when nobody gained.
    """
    payout = pool * share // MILLION
    payout -= payout * cards // MILLION
    parts = {node: max(gain, 0) for node, gain in gains.items()}
    total = sum(parts.values())
    if total == 0:
        return ()
    paid = {node: payout * part // total for node, part in parts.items()}
    left = payout - sum(paid.values())
    for node in sorted(parts, key=lambda node: (-(payout * parts[node] % total), node))[:left]:
        paid[node] += 1
    return tuple((node, Amount(paid[node])) for node in sorted(paid) if paid[node] > 0)


def card_pay(pool: Amount, share: PartsPerMillion, cards: PartsPerMillion, count: int) -> Amount:
    """What each of `count` cards is paid of what is for them, that is the share `cards` of pool * share // 10^6.

    Each gets its part of all, paid or not: nobody gains if another's card is not paid. What is left stays in the pool.
    """
    return Amount(pool * share // MILLION * cards // MILLION // count)


def together(*paid: Iterable[tuple[NodeId, Amount]]) -> tuple[tuple[NodeId, Amount], ...]:
    """All that was paid, by whom it goes to: sorted by node, each once, positive amounts only."""
    total = Counter[NodeId]()
    for part in paid:
        total.update(dict(part))
    return tuple((node, Amount(total[node])) for node in sorted(total) if total[node] > 0)

"""What a round pays its packed trainers out of the pool, to the last unit (design 7)."""

from collections.abc import Mapping

from bflcd.params import MILLION
from bflcd.types import Amount, NodeId, PartsPerMillion


def rewards(pool: Amount, share: PartsPerMillion, gains: Mapping[NodeId, int]) -> tuple[tuple[NodeId, Amount], ...]:
    """Who gets what of pool * share // 10^6, sorted by node, positive amounts only; their sum is that payout, or nothing.

    Split in proportion to max(gain, 0): always the median paired gain, also where accuracy ranks, since a zero update has the
    base's accuracy and must earn nothing. Units that are left go to the largest remainders, ties to the lower id. Nobody is
    paid when nobody gained.
    """
    payout = pool * share // MILLION
    parts = {node: max(gain, 0) for node, gain in gains.items()}
    total = sum(parts.values())
    if total == 0:
        return ()
    paid = {node: payout * part // total for node, part in parts.items()}
    left = payout - sum(paid.values())
    for node in sorted(parts, key=lambda node: (-(payout * parts[node] % total), node))[:left]:
        paid[node] += 1
    return tuple((node, Amount(paid[node])) for node in sorted(paid) if paid[node] > 0)

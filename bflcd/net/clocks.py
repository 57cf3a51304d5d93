"""Whose clock is wrong, by what heartbeats say: for the operator's eyes alone, no rule of the protocol asks for it.

The median of the members decides what time it is: as long as fewer than half of those who are connected lie, it lies between the
clocks of two honest ones. Fewer than `ENOUGH` of them say nothing.
"""

import logging
from collections.abc import Mapping
from typing import Final

from bflcd.ledger.medians import lower_median
from bflcd.types import NodeId, short

logger = logging.getLogger(__name__)

ENOUGH: Final = 3
"""Members whose clocks are known before anybody's is called wrong."""

WRONG: Final = 5_000
"""Milliseconds off the median from which a clock is called wrong: half of what a proposal's time may be ahead (design 4)."""

MAX_NAMED: Final = 4
"""Other members whose clocks are warned of."""

_DAY: Final = 86_400_000


def wrong_clocks(ahead: Mapping[NodeId, int]) -> frozenset[NodeId | None]:
    """Whose clock is wrong; None is this node. `ahead`: milliseconds by which each connected member's clock is ahead of ours."""
    return frozenset(_offs(ahead))


def clock_warnings(ahead: Mapping[NodeId, int]) -> tuple[str, ...]:
    """What to warn of, our own clock first."""
    found = _offs(ahead)
    texts = [
        f"the clock of {short(node)} is {_words(off)} those of the others: its operator has to set it"
        for node, off in found.items()
        if node is not None
    ][:MAX_NAMED]
    if None in found:
        own = f"this machine's clock is {_words(found[None])} those of its peers (median of {len(ahead)})"
        texts.insert(0, f"{own}: set it, and keep it right with NTP")
    return tuple(texts)


def _offs(ahead: Mapping[NodeId, int]) -> dict[NodeId | None, int]:
    """By how much each wrong clock is ahead of the median: ours of the members' alone, theirs of all."""
    if len(ahead) < ENOUGH:
        return {}
    right = lower_median(sorted((*ahead.values(), 0)))
    offs: dict[NodeId | None, int] = {None: -lower_median(sorted(ahead.values()))}
    offs |= {node: value - right for node, value in sorted(ahead.items())}
    return {node: off for node, off in offs.items() if abs(off) >= WRONG}


def _words(milliseconds: int) -> str:
    side = "ahead of" if milliseconds > 0 else "behind"
    amount = "more than a day" if abs(milliseconds) > _DAY else f"{abs(milliseconds) / 1000:.0f} s"
    return f"{amount} {side}"


class ClockWatch:
    """Logs what is warned of when it begins: how much a clock is off may change with every heartbeat."""

    def __init__(self) -> None:
        self._wrong: frozenset[NodeId | None] = frozenset()

    def look(self, ahead: Mapping[NodeId, int]) -> None:
        """Take in what the members' clocks say now."""
        wrong = wrong_clocks(ahead)
        if wrong - self._wrong:
            for text in clock_warnings(ahead):
                logger.warning("%s", text)
        self._wrong = wrong

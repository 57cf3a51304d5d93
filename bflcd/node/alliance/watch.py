"""A member that was put out while it was away, or by a block that did not reach it, hears nothing more: it has to ask."""

import asyncio
from collections.abc import Callable
from typing import Final

from bflcd.ledger.alliance.membership import BELONGS, Membership
from bflcd.node.alliance.newcomer import meaning_of
from bflcd.node.alliance.poll import MembershipPoll
from bflcd.node.anew import ExcludedError, KeyReplacedError
from bflcd.types import NodeId, Round

FIRST_PAUSE: Final = 10.0
"""Seconds without a commit until members are asked; each further time takes twice as long."""

LONGEST_PAUSE: Final = 160.0

LEAST_PAUSE: Final = 2.0
"""Where a peer has refused this node as a stranger it is asked sooner, but not before this, each further time not before twice as
long: the peer may be a liar, and rounds may take minutes."""


async def watch_membership(
    me: NodeId, poll: MembershipPoll, round_of: Callable[[], Round], taken_for_stranger: asyncio.Event
) -> None:
    """Raise ExcludedError once most of the connected members say, of our round or a later one, that this node is none;
    KeyReplacedError if no fewer than half of these say that another key has taken its place.

    Who does not answer counts too: where nothing moves because all are slow, one that lies fast must not put a member out.
    """
    pause, least, last = FIRST_PAUSE, LEAST_PAUSE, round_of()
    while True:
        await _pause(least, pause, taken_for_stranger)
        if round_of() != last:
            pause, least, last = FIRST_PAUSE, LEAST_PAUSE, round_of()
            continue
        replies = await poll.all_replies()
        out = [reply for reply in replies if reply is not None and reply.standing not in BELONGS and reply.round >= last]
        if 2 * len(out) > len(replies):
            newest = max(out, key=lambda reply: reply.round)
            replaced = sum(reply.standing == Membership.REPLACED for reply in out)
            why = KeyReplacedError if 2 * replaced >= len(out) else ExcludedError
            raise why(f"this node ({me.hex()}) is no member any more: {meaning_of(newest)}")
        pause, least = min(2 * pause, LONGEST_PAUSE), min(2 * least, LONGEST_PAUSE)


async def _pause(least: float, most: float, refused: asyncio.Event) -> None:
    """`most` seconds, or at least `least` and until a peer refuses this node as a stranger."""
    await asyncio.sleep(least)
    try:
        async with asyncio.timeout(most - least):
            await refused.wait()
    except TimeoutError:
        return
    refused.clear()

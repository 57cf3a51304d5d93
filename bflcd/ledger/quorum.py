"""M, f, q and who leads (design 1 and 5)."""

from bflcd.types import NodeId, View


def faults(members: int) -> int:
    """f: how many of M members may be Byzantine."""
    return (members - 1) // 3


def quorum(members: int) -> int:
    """q = M - f. Never 2f + 1: at M = 6 that lets two disjoint quorums exist."""
    return members - faults(members)


def leader(committee: tuple[NodeId, ...], view: View) -> NodeId:
    """Leader of a view: committee[v mod M]. A header names its committee in the order in which it leads."""
    return committee[view % len(committee)]

"""Who holds the seats of the next round: by score, and whom to fall back on when the packed are too few (design 5, Election)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from bflcd.ledger.roles import seed_of, tie_break
from bflcd.ledger.state import NEVER, Account, State
from bflcd.params import Params
from bflcd.types import MicroNats, NodeId


class Group(IntEnum):
    """In which order seats are filled."""

    PACKED = 0
    """Present, packed in this round, without a seat."""
    PACKED_BEFORE = 1
    """Present, packed in an earlier round, without a seat: latest round first, then score."""
    OTHER = 2
    """Present, never packed, without a seat: longest without one first."""
    SEATED = 3
    """Present, holding a seat now: packed, packed before, others, as above."""
    ABSENT = 4
    """Not present: managers first, then those without a seat now, then as above."""


@dataclass(frozen=True, slots=True)
class Election:
    """`committee` in seat order, which is the header's and the leaders' order; `degraded`: a seat went past the packed."""

    committee: tuple[NodeId, ...]
    degraded: bool


_Rank = tuple[int, ...]


def may_sit(account: Account, present: frozenset[NodeId], accused: frozenset[NodeId]) -> bool:
    """Whether a member counts among those that seats are for: no proven liar, and not declared gone while it is."""
    if account.punished_round != NEVER or account.node in accused:
        return False
    return account.retired_round == NEVER or account.node in present


def elect(
    params: Params,
    state: State,
    packed: Mapping[NodeId, MicroNats],
    present: frozenset[NodeId],
    accused: frozenset[NodeId] = frozenset(),
) -> Election:
    """Fill min(M, members that may sit) seats for round t + 1.

    `packed`: score by uploader; `present`: on f + 1 of the q cards; `accused`: by the evidence of this round's block.

    The committee of round t follows all other present members: nobody judges twice in a row while there is anybody else. A
    round without packed updates changes the committee by the same order. Ties by the round's seed.
    """
    seed = seed_of(state)
    seated, managers = frozenset(state.committee), frozenset(state.managers)
    ranks: list[tuple[_Rank, bytes, NodeId]] = []
    for account in state.accounts:
        node = account.node
        if not may_sit(account, present, accused):
            continue
        merit = _merit(account, packed.get(node))
        if node not in present:
            rank: _Rank = (Group.ABSENT, node not in managers, node in seated, *merit)
        elif node in seated:
            rank = (Group.SEATED, *merit)
        else:
            rank = merit
        ranks.append((rank, tie_break(seed, node), node))
    ranks.sort()
    seats = ranks[: params.committee_size]
    return Election(tuple(node for _, _, node in seats), any(rank[0] > Group.PACKED for rank, _, _ in seats))


def _merit(account: Account, score: MicroNats | None) -> _Rank:
    """Lower is better: packed by score, packed before by round and score, others by their last seat (NEVER is lowest)."""
    if score is not None:
        return (Group.PACKED, -score, 0)
    if account.packed_round != NEVER:
        return (Group.PACKED_BEFORE, -account.packed_round, -account.packed_score)
    return (Group.OTHER, account.seat_round, 0)

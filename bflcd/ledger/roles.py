"""Who may do what in a round: membership, seats, the round's seed and its active trainers (design 5.1)."""

from typing import Final

from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.ledger.alliance.fees import owes, owing
from bflcd.ledger.state import HALF, NEVER, State, account_of, member_of, members_of
from bflcd.params import MILLION, Params
from bflcd.types import Digest, NodeId, Round

_DRAW_BYTES: Final = 8
"""Leading bytes of the activity hash that are compared: the share is right to one part in 2^64."""


def seed(chain: Digest, round_: Round, lot: Digest) -> Digest:
    """The public seed of a round: its committee, the order in which that leads, and all ties within it are drawn by this."""
    return digest(Domain.SEED, chain, integer(round_), lot)


def seed_of(state: State) -> Digest:
    """The seed of the round that `state` opens."""
    return seed(state.chain, state.round, state.lot)


def tie_break(seed_: Digest, node: NodeId) -> Digest:
    """What orders equals: lower goes first; nobody can choose an id for it, since the seed is younger."""
    return digest(Domain.TIE, seed_, node)


def lead_lot(seed_: Digest, node: NodeId) -> Digest:
    """What orders the leaders of a round: lower leads an earlier view."""
    return digest(Domain.LEAD, seed_, node)


def is_active(params: Params, seed_: Digest, node: NodeId) -> bool:
    """Whether the draw of a round lets `node` train: its hash with the seed falls under `active_fraction`."""
    if params.active_fraction == MILLION:
        return True
    draw = int.from_bytes(digest(Domain.ACTIVE, seed_, node)[:_DRAW_BYTES], "big")
    return draw * MILLION < params.active_fraction << (8 * _DRAW_BYTES)


def may_train(params: Params, state: State, node: NodeId) -> bool:
    """Whether `node` may offer an update in this round; see `trainers`."""
    account = member_of(state, node)
    if account is None or account.punished_round != NEVER or account.rest_round > state.round:
        return False
    works = params.small_community if node in state.committee else is_active(params, seed_of(state), node)
    return works and not owes(state, node)


def trainers(params: Params, state: State) -> frozenset[NodeId]:
    """Members that may train in this round: active, not punished, not resting, owing nothing, without a seat; in a small
    community also those with a seat, who are at work whatever the draw says.

    Design 4 and 5.1.
    """
    seated = frozenset(state.committee)
    seed_, late = seed_of(state), owing(state)
    return frozenset(
        account.node
        for account in members_of(state)
        if account.node not in late
        and account.punished_round == NEVER
        and account.rest_round <= state.round
        and (params.small_community if account.node in seated else is_active(params, seed_, account.node))
    )


def offering(state: State) -> frozenset[NodeId]:
    """Members whose offers came in most of the rounds that the ledger remembers, the last ones weighing most (design 5.3)."""
    return frozenset(account.node for account in members_of(state) if account.offering >= HALF)


def rests(state: State, node: NodeId) -> bool:
    """Whether a member sits this round out for offers that did harm (`ledger.standing`)."""
    account = account_of(state, node)
    return account is not None and account.rest_round > state.round

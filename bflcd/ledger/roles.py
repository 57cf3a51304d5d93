"""Who may do what in a round: membership, seats, the round's seed and its active trainers (design 5.1)."""

from bisect import bisect_left
from enum import Enum
from operator import attrgetter
from typing import Final

from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.ledger.state import NEVER, Account, State
from bflcd.params import MILLION, Params
from bflcd.types import Digest, NodeId, Round

_DRAW_BYTES: Final = 8
"""Leading bytes of the activity hash that are compared: the share is right to one part in 2^64."""

_SEEDED_BY_HEADER: Final = 2
"""First round whose seed covers a model header: that of round t - 2, whose maker could not foresee what it would decide."""


class Role(Enum):
    """What a member is in one round (design 1)."""

    COMMITTEE = "committee"
    """Validates and agrees; in a small community it may train too."""
    TRAINER = "trainer"
    """May train and offer an update."""
    OBSERVER = "observer"
    """A member that only follows this round."""
    STRANGER = "stranger"
    """No member."""


def seed(chain: Digest, round_: Round, grandparent: Digest) -> Digest:
    """The public seed of a round, from the hash of model header t - 2; before there is one the chain id takes its place."""
    source = chain if round_ < _SEEDED_BY_HEADER else grandparent
    return digest(Domain.SEED, chain, integer(round_), source)


def seed_of(state: State) -> Digest:
    """The seed of the round that `state` opens."""
    return seed(state.chain, state.round, state.grandparent)


def tie_break(seed_: Digest, node: NodeId) -> Digest:
    """What orders equals: lower goes first; nobody can choose an id for it, since the seed is younger."""
    return digest(Domain.TIE, seed_, node)


def account_of(state: State, node: NodeId) -> Account | None:
    """A member's account, or None for a stranger; logarithmic in the number of members."""
    accounts = state.accounts
    index = bisect_left(accounts, node, key=attrgetter("node"))
    return accounts[index] if index < len(accounts) and accounts[index].node == node else None


def is_active(params: Params, seed_: Digest, node: NodeId) -> bool:
    """Whether the draw of a round lets `node` train: its hash with the seed falls under `active_fraction`."""
    if params.active_fraction == MILLION:
        return True
    draw = int.from_bytes(digest(Domain.ACTIVE, seed_, node)[:_DRAW_BYTES], "big")
    return draw * MILLION < params.active_fraction << (8 * _DRAW_BYTES)


def may_train(params: Params, state: State, node: NodeId) -> bool:
    """Whether `node` may offer an update in this round; see `trainers`."""
    seated = node in state.committee and not params.small_community
    account = account_of(state, node)
    if seated or account is None or account.punished_round != NEVER:
        return False
    return is_active(params, seed_of(state), node)


def trainers(params: Params, state: State) -> frozenset[NodeId]:
    """Members that may train in this round: active, not punished, without a seat unless it is a small community (design 4)."""
    seated = frozenset() if params.small_community else frozenset(state.committee)
    seed_ = seed_of(state)
    return frozenset(
        account.node
        for account in state.accounts
        if account.node not in seated and account.punished_round == NEVER and is_active(params, seed_, account.node)
    )


def role_of(params: Params, state: State, node: NodeId) -> Role:
    """What `node` is in the round that `state` opens; a seat goes before training."""
    if node in state.committee:
        return Role.COMMITTEE
    if account_of(state, node) is None:
        return Role.STRANGER
    return Role.TRAINER if may_train(params, state, node) else Role.OBSERVER

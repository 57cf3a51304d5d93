"""Keys that follow each other: an account under another id, and what stays under the one before it (ADR 22)."""

from bisect import insort
from dataclasses import replace
from operator import attrgetter
from typing import Final

from bflcd.ledger.state import HALF, NEVER, Account, State, account_of, with_accounts, without_word
from bflcd.types import MAX_MEMBERS, Amount, MicroNats, NodeId, PartsPerMillion

MAX_ACCOUNTS_TO_ROTATE: Final = MAX_MEMBERS // 2
"""Accounts of a ledger in which members still rotate by themselves: each rotation leaves one for ever, and the other half of the
places is for whom managers admit."""


def holder_of(state: State, node: NodeId) -> NodeId:
    """Whose account answers for what the key `node` has signed: its own, or that of the key which it was rotated to.

    A key that managers have replaced answers for itself: they have said that it was somebody else's.
    """
    account = account_of(state, node)
    while account is not None and account.successor is not None and account.kicked_round == NEVER:
        node = account.successor
        account = account_of(state, node)
    return node


def last_of(state: State, node: NodeId) -> NodeId:
    """The key under which the member goes on that had `node`, whoever chose it; `node` where none follows."""
    account = account_of(state, node)
    while account is not None and account.successor is not None:
        node = account.successor
        account = account_of(state, node)
    return node


def replaced_round(account: Account) -> int:
    """The round of the block by which another key took this one's place; NEVER if none has."""
    return NEVER if account.successor is None else max(account.left_round, account.kicked_round)


def rotated(state: State, account: Account, to: NodeId) -> State:
    """`account` under the key `to`, by its own word: all that is remembered of it goes along, what is open about it too."""
    moved = replace(account, node=to, rotations=account.rotations + 1)
    dead = replace(_empty(account), left_round=state.round, successor=to)
    motions = tuple(
        replace(
            motion,
            opener=_renamed(motion.opener, account.node, to),
            approvals=_all_renamed(motion.approvals, account.node, to),
        )
        for motion in state.motions
    )
    vouchers = tuple(replace(one, approvals=_all_renamed(one.approvals, account.node, to)) for one in state.vouchers)
    committee = tuple(_renamed(node, account.node, to) for node in state.committee)
    return replace(_moved(state, dead, moved), committee=committee, motions=motions, vouchers=vouchers)


def replaced(state: State, account: Account, to: NodeId) -> State:
    """`account` under the key `to`, by the word of managers: what it has goes along, but neither the presence of the key before,
    which may have been somebody else's, nor what that one was for."""
    moved = replace(account, node=to, rotations=0, availability=PartsPerMillion(0), offering=HALF)
    dead = replace(_empty(account), kicked_round=state.round, successor=to)
    return _moved(without_word(state, account.node), dead, moved)


def _moved(state: State, dead: Account, moved: Account) -> State:
    accounts = list(with_accounts(state, dead).accounts)
    insort(accounts, moved, key=attrgetter("node"))
    managers = _all_renamed(state.managers, dead.node, moved.node)
    applicants = tuple(one for one in state.applicants if one.node != moved.node)
    return replace(state, accounts=tuple(accounts), managers=managers, applicants=applicants)


def _empty(account: Account) -> Account:
    """What is left of an account: its id, and the numbers of its operations."""
    return Account(
        node=account.node,
        balance=Amount(0),
        packed_round=NEVER,
        packed_score=MicroNats(0),
        seat_round=NEVER,
        operations=account.operations,
    )


def _all_renamed(nodes: tuple[NodeId, ...], before: NodeId, after: NodeId) -> tuple[NodeId, ...]:
    return tuple(sorted(_renamed(node, before, after) for node in nodes))


def _renamed(node: NodeId, before: NodeId, after: NodeId) -> NodeId:
    return after if node == before else node

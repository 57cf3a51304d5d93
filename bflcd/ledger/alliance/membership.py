"""What the ledger says of a node: member, applicant, or why not."""

from enum import StrEnum
from typing import Final

from bflcd.ledger.alliance.keys import replaced_round
from bflcd.ledger.operations.motion import applicant_of
from bflcd.ledger.state import NEVER, State, account_of
from bflcd.types import NodeId, short


class Membership(StrEnum):
    """How a node stands to the community."""

    MEMBER = "member"
    """It belongs to it."""
    UNKNOWN = "unknown"
    """It is in no ledger."""
    APPLIED = "applied"
    """It has applied, and managers have not answered."""
    REFUSED = "refused"
    """A manager has refused its application."""
    LEFT = "left"
    """It was a member and went."""
    KICKED = "kicked"
    """It was put out."""
    REPLACED = "replaced"
    """Another key has taken its place."""
    PUNISHED = "punished"
    """It was proved to have lied: a member in name, which neither trains nor judges."""


BELONGS: Final = frozenset({Membership.MEMBER, Membership.PUNISHED})
"""Standings in which a node is connected and follows the chain."""


def membership_of(state: State, node: NodeId) -> tuple[Membership, str]:
    """How `node` stands, and what there is to say about it."""
    account, applicant = account_of(state, node), applicant_of(state, node)
    if account is not None and account.successor is not None:
        return Membership.REPLACED, f"its key was replaced by {short(account.successor)} in round {replaced_round(account)}"
    if account is not None and account.kicked_round != NEVER:
        return Membership.KICKED, f"it was put out in round {account.kicked_round}"
    if account is not None and account.left_round == NEVER:
        punished = account.punished_round
        return (Membership.MEMBER, "") if punished == NEVER else (Membership.PUNISHED, f"it was punished in round {punished}")
    if applicant is not None and applicant.refused_round != NEVER:
        return Membership.REFUSED, applicant.reason
    if applicant is not None:
        return Membership.APPLIED, f"it has applied in round {applicant.round}"
    if account is not None:
        return Membership.LEFT, f"it left in round {account.left_round}"
    return Membership.UNKNOWN, ""

"""What proves that a member equivocated, and what it costs (design 6.9).

An honest node signs at most one message in a place: (kind, chain, round, parent, epoch), and view for a vote; also after a crash,
since what it signs is durable first. Two different ones are proof that needs nothing but the two signatures. View-changes are no
part of it: what they claim to be prepared is proved outside the signature, so a bad proof may be anybody's.
"""

from collections.abc import Sequence
from itertools import pairwise

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.roles import account_of
from bflcd.ledger.state import NEVER, State
from bflcd.types import NodeId, short
from bflcd.wire.envelope import Signed, open_envelope
from bflcd.wire.evidence import Evidence, evidence_id
from bflcd.wire.messages import PUNISHABLE, Commit, Prepare, PrePrepare, PunishableBody


def check_evidence(state: State, evidence: Evidence) -> NodeId:
    """Whom `evidence` proves to have equivocated; signatures aside.

    Raises PeerError: BAD_EVIDENCE, or the decoder's refusal of what is no message of a punishable kind.
    """
    accused = evidence.accused
    name = f"evidence against {short(accused)}"
    first: Signed[PunishableBody] = open_envelope(evidence.first, PUNISHABLE)
    second: Signed[PunishableBody] = open_envelope(evidence.second, PUNISHABLE)
    if second.author != accused:
        raise _refuse(f"{name}: the other message is by {short(second.author)}")
    if _place(first.body) != _place(second.body):
        raise _refuse(f"{name}: the two messages belong to different places")
    if first.digest >= second.digest:
        raise _refuse(f"{name}: the two messages are the same, or not in order")
    if first.body.chain != state.chain or first.body.round > state.round:
        raise _refuse(f"{name}: its messages are of another chain, or of a round that has not come")
    account = account_of(state, accused)
    if account is None:
        raise _refuse(f"{name}: it is no member")
    if account.punished_round != NEVER:
        raise _refuse(f"{name}: it was punished in round {account.punished_round}")
    return accused


def accused_by(state: State, pieces: Sequence[Evidence]) -> frozenset[NodeId]:
    """Whom a block's evidence proves to have equivocated: sorted by id, one piece each. Raises as `check_evidence` does."""
    accused = [check_evidence(state, piece) for piece in pieces]
    ids = [evidence_id(piece) for piece in pieces]
    if any(low >= high for low, high in pairwise(ids)):
        raise _refuse("the evidence of a block is not sorted by its ids, or repeats one")
    if len(set(accused)) != len(accused):
        raise _refuse("a block carries two pieces of evidence against one member")
    return frozenset(accused)


def _place(body: PunishableBody) -> tuple[object, ...]:
    view = body.view if isinstance(body, PrePrepare | Prepare | Commit) else None
    return type(body), body.chain, body.round, body.parent, body.epoch, view


def _refuse(text: str) -> PeerError:
    return PeerError(Rejection.BAD_EVIDENCE, text)

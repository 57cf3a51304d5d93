"""What a recovery changes in the ledger of its round, and whether it may (design 6.8)."""

from bisect import bisect_left
from dataclasses import replace

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.roles import account_of
from bflcd.ledger.state import NEVER, State
from bflcd.types import Epoch, NodeId, short
from bflcd.wire.blocks import CertifiedSegment
from bflcd.wire.recovery import PreparedProof, Recovery


def recovered(state: State, recovery: Recovery) -> State:
    """The ledger that the round is decided from under `recovery`: its epoch, its committee, its retired members.

    Raises PeerError(BAD_RECOVERY) if it is of another round or names members that can't be meant.
    """
    if (recovery.chain, recovery.round) != (state.chain, state.round):
        raise _refuse(f"it is of round {recovery.round} of chain {short(recovery.chain)}, we are in round {state.round}")
    if recovery.epoch <= state.epoch:
        raise _refuse(f"its epoch {recovery.epoch} is not above {state.epoch}, that of the round")
    if len(set(recovery.committee)) != len(recovery.committee):
        raise _refuse("its committee has a member twice")
    for node in recovery.committee:
        account = account_of(state, node)
        if account is None or account.punished_round != NEVER:
            raise _refuse(f"its committee has {short(node)}, which is no member or was punished")
    if recovery.retired != tuple(sorted(set(recovery.retired))) or set(recovery.retired) & set(recovery.committee):
        raise _refuse("its retired members are not sorted and distinct, or have seats")
    return apply_recovery(state, recovery.epoch, recovery.committee, recovery.retired)


def apply_recovery(state: State, epoch: Epoch, committee: tuple[NodeId, ...], retired: tuple[NodeId, ...]) -> State:
    """`state` in a later epoch of its round, with another committee and `retired` gone. Raises PeerError(BAD_RECOVERY)."""
    accounts = list(state.accounts)
    nodes = [account.node for account in accounts]
    for node in retired:
        index = bisect_left(nodes, node)
        if index == len(nodes) or nodes[index] != node:
            raise _refuse(f"it retires {short(node)}, which is no member")
        accounts[index] = replace(accounts[index], retired_round=state.round)
    return replace(state, epoch=epoch, committee=committee, accounts=tuple(accounts))


def state_at_proposal(state: State, proof: PreparedProof) -> State:
    """The ledger that a segment of an older epoch was judged from, which is re-proposed as it stands.

    That is the ledger of its first proposal: what one recovery had re-proposed keeps that epoch under a second one too. Raises
    PeerError(BAD_RECOVERY) if the proof is of the round's own epoch and another committee, or can't tell that ledger.
    """
    if proof.epoch < state.epoch or (proof.epoch == state.epoch and proof.committee != state.committee):
        raise _refuse(f"what it found prepared in epoch {proof.epoch} is not by that epoch's committee")
    first, basis = proof.proposal.epoch, proof.basis
    if (basis is None) != (first == state.epoch) or not state.epoch <= first <= proof.epoch:
        raise _refuse(f"what it found prepared in epoch {proof.epoch} was first proposed in epoch {first}, on a basis not given")
    return state if basis is None else apply_recovery(state, first, basis.committee, basis.retired)


def judged_from(state: State, certified: CertifiedSegment) -> State:
    """The ledger that a certified segment was judged from: `state`, that of the model header before it, or what a recovery made
    of it. The recovery itself is the certificate's to verify. Raises PeerError (BAD_RECOVERY, WRONG_EPOCH).
    """
    model, recovery = certified.segment.model_header.model, certified.certificate.recovery
    if recovery is None:
        return state
    if recovery.proof is not None:
        return state_at_proposal(state, recovery.proof)
    if model is None or model.epoch != recovery.recovery.epoch:
        raise PeerError(Rejection.WRONG_EPOCH, f"the segment that closes round {state.round} is not of its recovery's epoch")
    return recovered(state, recovery.recovery)


def _refuse(text: str) -> PeerError:
    return PeerError(Rejection.BAD_RECOVERY, f"a recovery certificate: {text}")

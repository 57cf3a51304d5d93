"""Recovery: managers give a round that can't go on another committee (design 6.8).

It is no operation of a block, since the round that it is for can decide none: the certificate of its round carries it. All else
of it is as of any other kind.
"""

from dataclasses import replace
from typing import Final

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.operations.base import Body, Limits
from bflcd.ledger.state import NEVER, State, account_of, member_of, with_accounts
from bflcd.types import Epoch, NodeId, Round, short
from bflcd.wire.blocks import CertifiedSegment
from bflcd.wire.codec import limit_of
from bflcd.wire.recovery import PreparedProof, Recovery, RecoveryCertificate


class RecoveryKind:
    """What a quorum of managers signed of one round. It changes the round's epoch, its committee and who is declared gone."""

    name = "recovery"
    bodies: tuple[type[Body], ...] = (Recovery,)
    limits = Limits(per_block=1, per_author=1, max_bytes=limit_of(RecoveryCertificate), rounds=None)

    def author(self, operation: RecoveryCertificate) -> NodeId:
        """The first of its managers."""
        return operation.signatures[0][0]

    def number(self, operation: RecoveryCertificate) -> int | None:
        """Its epoch: a later one of the same round replaces it, an earlier one is refused."""
        return operation.recovery.epoch

    def since(self, operation: RecoveryCertificate) -> Round:
        """Its round, and no other."""
        return operation.recovery.round

    def is_settled(self, state: State, operation: RecoveryCertificate) -> bool:
        """Whether its round is over, or in a later epoch."""
        recovery = operation.recovery
        return (recovery.round, recovery.epoch) < (state.round, state.epoch)

    def describe(self, operation: RecoveryCertificate) -> str:
        """Which round gets which committee."""
        recovery = operation.recovery
        return f"round {recovery.round} goes on in epoch {recovery.epoch} with a new committee of {len(recovery.committee)}"

    def check(self, state: State, operation: RecoveryCertificate) -> None:
        """As `check_recovery`."""
        check_recovery(state, operation.recovery)

    def apply(self, state: State, operation: RecoveryCertificate) -> State:
        """The ledger that the round is decided from under the recovery."""
        recovery = operation.recovery
        return apply_recovery(state, recovery.epoch, recovery.committee, recovery.retired)


RECOVERY: Final = RecoveryKind()


def check_recovery(state: State, recovery: Recovery) -> None:
    """Raise PeerError(BAD_RECOVERY) if it is of another round or names members that can't be meant; signatures aside."""
    # 1. Of this round, in a later epoch.
    if (recovery.chain, recovery.round) != (state.chain, state.round):
        raise _refuse(f"it is of round {recovery.round} of chain {short(recovery.chain)}, we are in round {state.round}")
    if recovery.epoch <= state.epoch:
        raise _refuse(f"its epoch {recovery.epoch} is not above {state.epoch}, that of the round")
    # 2. A committee of distinct members, none of them punished.
    if len(set(recovery.committee)) != len(recovery.committee):
        raise _refuse("its committee has a member twice")
    for node in recovery.committee:
        account = member_of(state, node)
        if account is None or account.punished_round != NEVER:
            raise _refuse(f"its committee has {short(node)}, which is no member or was punished")
    # 3. Retired are distinct members without a seat, in order.
    if recovery.retired != tuple(sorted(set(recovery.retired))) or set(recovery.retired) & set(recovery.committee):
        raise _refuse("its retired members are not sorted and distinct, or have seats")
    for node in recovery.retired:
        if member_of(state, node) is None:
            raise _refuse(f"it retires {short(node)}, which is no member")


def apply_recovery(state: State, epoch: Epoch, committee: tuple[NodeId, ...], retired: tuple[NodeId, ...]) -> State:
    """`state` in a later epoch of its round, with another committee and `retired` gone. Raises PeerError(BAD_RECOVERY)."""
    gone = []
    for node in retired:
        account = account_of(state, node)
        if account is None:
            raise _refuse(f"it retires {short(node)}, which is no member")
        gone.append(replace(account, retired_round=state.round))
    return replace(with_accounts(state, *gone), epoch=epoch, committee=committee)


def state_at_proposal(state: State, proof: PreparedProof) -> State:
    """The ledger that a segment of an older epoch was judged from, which is re-proposed as it stands.

    That is the ledger of its first proposal: what one recovery had re-proposed keeps that epoch under a second one too. Raises
    PeerError(BAD_RECOVERY) if the proof is of the round's own epoch and another committee, or can't tell that ledger.
    """
    claim = proof.claim
    if claim.epoch < state.epoch or (claim.epoch == state.epoch and claim.committee != state.committee):
        raise _refuse(f"what it found prepared in epoch {claim.epoch} is not by that epoch's committee")
    first, basis = claim.proposal.epoch, claim.basis
    if (basis is None) != (first == state.epoch) or not state.epoch <= first <= claim.epoch:
        raise _refuse(f"what it found prepared in epoch {claim.epoch} was first proposed in epoch {first}, on a basis not given")
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
    RECOVERY.check(state, recovery)
    return RECOVERY.apply(state, recovery)


def _refuse(text: str) -> PeerError:
    return PeerError(Rejection.BAD_RECOVERY, f"a recovery certificate: {text}")

"""The ledger under a recovery: its epoch, its committee, and members that are gone until they show up (design 6.8)."""

from dataclasses import replace
from typing import Any

import pytest

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.operations.recovery import RECOVERY, judged_from, state_at_proposal
from bflcd.ledger.state import NEVER, State, account_of
from bflcd.types import Digest, Epoch, Millis, NodeId, Round, Signature, View
from bflcd.wire.blocks import CertifiedSegment
from bflcd.wire.proposal import Proposal
from bflcd.wire.recovery import PreparedClaim, PreparedProof, ProposalBasis, Recovery, RecoveryCertificate
from tests.helpers.chains import certify
from tests.helpers.ledger import NO_PROOF, Community, make_community, play_gains
from tests.helpers.proofs import claiming

START = make_community(10, 4, 6)
STATE = START.state
NEW = (START.outsiders[2], START.outsiders[0], START.outsiders[1], STATE.committee[0])
"""In seat order, which is not the order of ids."""
MANAGER = STATE.managers[0]
GONE = tuple(sorted(STATE.committee[1:3]))


def a_recovery(community: Community = START, **changes: Any) -> Recovery:
    fields = {
        "chain": community.state.chain,
        "round": community.state.round,
        "epoch": Epoch(community.state.epoch + 1),
        "parent": community.head,
        "committee": NEW,
        "retired": GONE,
        "prepared": None,
    }
    return Recovery(**(fields | changes))


def a_proof(epoch: int = 0, committee: tuple[NodeId, ...] = STATE.committee, first: int | None = None) -> PreparedProof:
    """What `committee` prepared in `epoch`; `first`: the epoch of its first proposal, if that is another one."""
    proposal = Proposal(Epoch(epoch if first is None else first), View(0), NO_PROOF, Millis(1), (Digest(bytes(32)),))
    prepares = ((committee[0], Signature(bytes(64))),)
    basis = ProposalBasis(committee, GONE) if proposal.epoch != STATE.epoch else None
    return PreparedProof(PreparedClaim(Epoch(epoch), committee, View(0), Digest(b"d" * 32), proposal, basis), prepares)


def recovered(state: State, recovery: Recovery) -> State:
    """The ledger under what managers signed."""
    certificate = RecoveryCertificate(recovery, None, ((MANAGER, Signature(bytes(64))),))
    RECOVERY.check(state, certificate)
    return RECOVERY.apply(state, certificate)


def retired(state: State) -> dict[NodeId, int]:
    return {account.node: account.retired_round for account in state.accounts if account.retired_round != NEVER}


def test_the_round_has_the_new_epoch_committee_and_retired_members_and_all_else_as_before() -> None:
    after = recovered(STATE, a_recovery(epoch=Epoch(7)))
    assert (after.epoch, after.committee, retired(after)) == (7, NEW, dict.fromkeys(GONE, STATE.round))
    as_before = tuple(replace(account, retired_round=NEVER) for account in after.accounts)
    assert replace(after, epoch=STATE.epoch, committee=STATE.committee, accounts=as_before) == STATE
    assert retired(STATE) == {}, "what came in is not changed"


def punished(state: State, node: NodeId) -> State:
    return replace(state, accounts=tuple(replace(a, punished_round=0) if a.node == node else a for a in state.accounts))


NOBODY = NodeId(bytes(32))


@pytest.mark.parametrize(
    ("state", "changes", "text"),
    [
        (STATE, {"chain": Digest(b"x" * 32)}, "it is of round 0 of chain 78787878"),
        (STATE, {"round": Round(1)}, "it is of round 1 of chain"),
        (STATE, {"epoch": STATE.epoch}, "its epoch 0 is not above 0"),
        (replace(STATE, epoch=Epoch(5)), {"epoch": Epoch(4)}, "its epoch 4 is not above 5"),
        (STATE, {"committee": (*NEW[:3], NEW[0])}, "a member twice"),
        (STATE, {"committee": (*NEW[:3], NOBODY)}, "which is no member or was punished"),
        (punished(STATE, NEW[1]), {}, "which is no member or was punished"),
        (STATE, {"retired": GONE[::-1]}, "not sorted and distinct"),
        (STATE, {"retired": (GONE[0], GONE[0])}, "not sorted and distinct"),
        (STATE, {"retired": (NEW[0],)}, "or have seats"),
        (STATE, {"retired": (NOBODY,)}, "it retires 00000000, which is no member"),
        (STATE, {"retired": (NodeId(b"\xff" * 32),)}, "it retires ffffffff, which is no member"),
    ],
)
def test_what_can_not_be_meant_is_refused(state: State, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(PeerError, match=text) as caught:
        recovered(state, a_recovery(**changes))
    assert caught.value.rejection is Rejection.BAD_RECOVERY


def test_a_segment_of_an_older_epoch_is_judged_by_that_epochs_committee() -> None:
    assert state_at_proposal(STATE, a_proof()) == STATE
    assert state_at_proposal(STATE, a_proof(3, NEW)) == recovered(STATE, a_recovery(epoch=Epoch(3)))


def test_what_one_recovery_had_re_proposed_keeps_its_first_epoch_under_a_second() -> None:
    """Given a segment of epoch 0 that epoch 1 prepared again, when epoch 2 must decide it, then it is judged as in epoch 0."""
    assert state_at_proposal(STATE, a_proof(1, NEW, first=0)) == STATE
    assert state_at_proposal(STATE, a_proof(2, NEW, first=1)) == recovered(STATE, a_recovery(epoch=Epoch(1)))


@pytest.mark.parametrize(
    "proof",
    [
        claiming(a_proof(2, NEW, first=1), basis=None),
        claiming(a_proof(), basis=ProposalBasis(NEW, ())),
        a_proof(1, NEW, first=2),
        claiming(a_proof(2, NEW, first=1), basis=ProposalBasis(NEW, (NodeId(b"\xff" * 32),))),
    ],
    ids=["no basis", "a basis for the first epoch", "proposed after it was prepared", "a stranger retired"],
)
def test_a_proof_on_a_ground_that_can_not_be_is_refused(proof: PreparedProof) -> None:
    with pytest.raises(PeerError) as caught:
        state_at_proposal(STATE, proof)
    assert caught.value.rejection is Rejection.BAD_RECOVERY


@pytest.mark.parametrize(
    ("state", "proof"),
    [
        (STATE, a_proof(0, NEW)),
        (STATE, a_proof(0, STATE.committee[::-1])),
        (replace(STATE, epoch=Epoch(2)), a_proof(1)),
    ],
    ids=["the first epoch, another committee", "another order", "an epoch before the round's first"],
)
def test_a_proof_that_is_not_of_the_rounds_own_committee_is_refused(state: State, proof: PreparedProof) -> None:
    with pytest.raises(PeerError, match="is not by that epoch's committee") as caught:
        state_at_proposal(state, proof)
    assert caught.value.rejection is Rejection.BAD_RECOVERY


def decided(epoch: int, recovery: Recovery | None, proof: PreparedProof | None = None) -> CertifiedSegment:
    """An empty round whose model header says `epoch`, certified with a recovery or without."""
    certified = certify(START, play_gains(START, {}).segment)
    header = certified.segment.model_header
    assert header.model is not None
    header = replace(header, model=replace(header.model, epoch=Epoch(epoch)))
    segment = replace(certified.segment, headers=(*certified.segment.headers[:-1], header))
    signed = None if recovery is None else RecoveryCertificate(recovery, proof, ((NEW[0], Signature(bytes(64))),))
    return CertifiedSegment(segment, replace(certified.certificate, recovery=signed))


BOUND = a_recovery(epoch=Epoch(4), prepared=Digest(b"d" * 32))


@pytest.mark.parametrize(
    ("certified", "state"),
    [
        (decided(0, None), STATE),
        (decided(1, a_recovery()), recovered(STATE, a_recovery())),
        (decided(0, BOUND, a_proof()), STATE),
        (decided(0, BOUND, a_proof(1, NEW, first=0)), STATE),
        (decided(2, BOUND, a_proof(2, NEW)), recovered(STATE, a_recovery(epoch=Epoch(2)))),
    ],
    ids=["no recovery", "free choice", "prepared in the first epoch", "prepared again", "prepared in an epoch between"],
)
def test_what_a_certified_segment_is_judged_from(certified: CertifiedSegment, state: State) -> None:
    assert judged_from(STATE, certified) == state


@pytest.mark.parametrize(
    ("certified", "rejection"),
    [
        (decided(0, a_recovery()), Rejection.WRONG_EPOCH),
        (decided(2, a_recovery()), Rejection.WRONG_EPOCH),
        (decided(1, a_recovery(round=Round(1))), Rejection.BAD_RECOVERY),
        (decided(0, BOUND, a_proof(0, NEW)), Rejection.BAD_RECOVERY),
    ],
    ids=["the old epoch", "a later epoch", "another round's recovery", "another committee's proof"],
)
def test_a_segment_that_its_recovery_can_not_have_closed_is_refused(certified: CertifiedSegment, rejection: Rejection) -> None:
    with pytest.raises(PeerError) as caught:
        judged_from(STATE, certified)
    assert caught.value.rejection is rejection


# -- members that are gone ------------------------------------------------------------------------------------------------


def under(community: Community, **changes: Any) -> Community:
    """The community in its round, under a recovery."""
    return replace(community, state=recovered(community.state, a_recovery(community, **changes)))


def without(community: Community, gone: tuple[NodeId, ...]) -> list[NodeId]:
    return [node for node in community.members if node not in gone]


def test_a_new_committee_decides_and_who_is_gone_gets_no_seat_for_as_long_as_it_is() -> None:
    community = under(START)
    for _ in range(6):
        played = play_gains(community, {}, present=without(START, GONE))
        community = played.after
        assert not set(played.outcome.committee) & set(GONE)
        assert retired(community.state) == dict.fromkeys(GONE, 0)
        assert community.state.epoch == 1, "the next round starts in the epoch that this one was decided in"


def test_the_gone_do_not_count_for_the_size_of_the_committee() -> None:
    """Given 6 members of whom 3 are gone, then 3 hold seats: absence alone would have kept 4."""
    small = make_community(6, 4, 4)
    gone, left = small.members[:3], small.members[3:]
    assert len(play_gains(small, {}, present=left).outcome.committee) == 4
    community = under(small, committee=left, retired=tuple(sorted(gone)))
    outcome = play_gains(community, {}, present=left).outcome
    assert sorted(outcome.committee) == sorted(left)


@pytest.mark.parametrize("when", [0, 2], ids=["in its round", "later"])
def test_who_shows_up_again_is_reinstated(when: int) -> None:
    back, still_gone = GONE
    community = under(START)
    for _ in range(when):
        community = play_gains(community, {}, present=without(START, GONE)).after
    community = play_gains(community, {}, present=without(START, (still_gone,))).after
    assert retired(community.state) == {still_gone: 0}
    seated = set(community.state.committee)
    for _ in range(6):
        gains = {back: 5} if back not in community.state.committee else {}
        community = play_gains(community, gains, present=without(START, (still_gone,))).after
        seated |= set(community.state.committee)
    assert back in seated
    assert still_gone not in seated
    account = account_of(community.state, still_gone)
    assert account is not None
    assert account.balance == account_of(STATE, still_gone).balance, "gone is not punished"  # type: ignore[union-attr]


def test_gone_twice_counts_from_the_later_recovery() -> None:
    community = play_gains(under(START), {}, present=without(START, GONE)).after
    assert community.state.round == 1
    committee = tuple(node for node in START.members if node not in GONE)[:4]
    again = under(community, committee=committee)
    assert retired(again.state) == dict.fromkeys(GONE, 1)


def test_a_segment_that_a_first_recovery_freed_is_judged_alike_under_a_second() -> None:
    """Given epoch 1 with two members retired, when its prepared segment is to be decided in epoch 2, then from the same ledger."""
    first = a_recovery()
    proof = a_proof(1, first.committee)
    assert state_at_proposal(STATE, proof) == recovered(STATE, first)

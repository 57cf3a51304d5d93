"""Recovery certificates with real keys: what is one, the chain across one, and a machine that is bound (design 6.8)."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from bflcd.consensus.certificate import certificate_of, opened_by, verify_certificate, verify_chain
from bflcd.consensus.effects import Broadcast, Build, Check, Decided, PersistVote, Refused, ViewEntered
from bflcd.consensus.events import Built, CardsReady, Checked, Instance, Journal, LockedProposal
from bflcd.consensus.recovery import (
    check_proof,
    check_recovery,
    instance_of,
    merged,
    prepares_of,
    proof_of,
    recovered_instance,
    verify_recovery,
)
from bflcd.crypto.identity import Identity
from bflcd.errors import InvariantError, PeerError, Rejection
from bflcd.params import BlobRef, Params
from bflcd.types import ZERO_DIGEST, Digest, Epoch, Millis, Round, Signature, View
from bflcd.wire.blocks import KIND_MODEL, CertifiedHeader, Header, ModelFields, header_hash, model_height
from bflcd.wire.envelope import seal, verify_envelope
from bflcd.wire.messages import Commit, Prepare
from bflcd.wire.proposal import proposal_id
from bflcd.wire.recovery import PreparedClaim, PreparedProof, ProposalBasis, Recovery, RecoveryCertificate, claim_hash
from tests.helpers.consensus import (
    KEYS,
    Playbook,
    body_of,
    digest_of,
    lot_after,
    make_instance,
    make_proposal,
    pre_prepare,
    prepared_by,
    signed_commits,
    view_change,
    vote,
)
from tests.helpers.proofs import claiming

BASE = make_instance()
"""Seats 0 to 3 in epoch 0."""
MANAGERS = tuple(sorted(KEYS[8:12], key=lambda key: key.node_id))
"""Four, so three are a quorum."""
IDS = tuple(key.node_id for key in MANAGERS)
NEW = tuple(KEYS[seat].node_id for seat in (2, 3, 4, 5))
A, B = make_proposal(1), make_proposal(2)
DA, DB = digest_of(A), digest_of(B)
PROOF = proof_of(prepared_by(BASE, 3, A, (2, 0, 1)), BASE.epoch, BASE.committee)


def a_recovery(base: Instance = BASE, **changes: Any) -> Recovery:
    fields = {
        "chain": base.chain,
        "round": base.round,
        "epoch": Epoch(base.epoch + 1),
        "parent": base.parent,
        "committee": NEW,
        "retired": (),
        "prepared": None,
    }
    return Recovery(**(fields | changes))


def signed(recovery: Recovery, proof: PreparedProof | None = None, by: Iterable[Identity] = MANAGERS[:3]) -> RecoveryCertificate:
    pairs = sorted((key.node_id, seal(recovery, key).envelope.signature) for key in by)
    return RecoveryCertificate(recovery, proof, tuple(pairs))


FREE = signed(a_recovery())
BOUND = signed(a_recovery(prepared=claim_hash(PROOF.claim)), PROOF)


# -- the certificate ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("certificate", [FREE, BOUND, signed(a_recovery(), by=MANAGERS)], ids=["free", "bound", "all sign"])
def test_a_quorum_of_managers_makes_a_recovery(certificate: RecoveryCertificate) -> None:
    verify_recovery(certificate, BASE, IDS, verify_envelope)


@pytest.mark.parametrize(("managers", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (8, 6)])
def test_how_many_managers_it_takes(managers: int, needed: int) -> None:
    """G - (G-1)//3; fewer are a recovery on its way, which is no refusal of `check_recovery`."""
    keys = KEYS[8 : 8 + managers]
    ids = tuple(key.node_id for key in keys)
    verify_recovery(signed(a_recovery(), by=keys[:needed]), BASE, ids, verify_envelope)
    if needed > 1:
        few = signed(a_recovery(), by=keys[: needed - 1])
        check_recovery(few, BASE, ids, verify_envelope)
        with pytest.raises(PeerError, match=f"{needed - 1} managers signed, {needed} of {managers} are needed") as caught:
            verify_recovery(few, BASE, ids, verify_envelope)
        assert caught.value.rejection is Rejection.BAD_RECOVERY


def no_recovery() -> Iterator[tuple[str, RecoveryCertificate, str]]:
    for name, value in (("chain", ZERO_DIGEST), ("round", Round(1)), ("parent", ZERO_DIGEST)):
        yield f"another {name}", signed(a_recovery(**{name: value})), f"it is for another {name} than that of round 0"
    yield "the round's own epoch", signed(a_recovery(epoch=Epoch(0))), "its epoch 0 is not above 0"
    yield "a member twice", signed(a_recovery(committee=(*NEW, NEW[0]))), "its committee has a member twice"
    yield "a stranger", signed(a_recovery(), by=(*MANAGERS[:3], KEYS[0])), "is no manager and signed it"
    (one, first), (two, second), three = FREE.signatures
    twice = replace(FREE, signatures=((one, first), (one, first), three))
    unsorted = replace(FREE, signatures=((two, second), (one, first), three))
    exchanged = replace(FREE, signatures=((one, second), (two, first), three))
    yield "a manager twice", twice, "not distinct and sorted"
    yield "unsorted", unsorted, "not distinct and sorted"
    yield "signatures exchanged", exchanged, "the signature of manager"
    for name, value in {"committee": BASE.committee, "retired": (BASE.committee[0],), "epoch": Epoch(2)}.items():
        other = replace(FREE, recovery=replace(FREE.recovery, **{name: value}))
        yield f"signed for another {name}", other, "the signature of manager"
    yield "a prepared digest without its proof", signed(a_recovery(prepared=DA)), "not of what it names prepared"
    yield "a proof that it does not name", signed(a_recovery(), PROOF), "not of what it names prepared"
    yield "a proof of another digest", signed(a_recovery(prepared=DB), PROOF), "not of what it names prepared"
    yield (
        "a bad proof",
        signed(a_recovery(prepared=claim_hash(claiming(PROOF, view=View(0)).claim)), claiming(PROOF, view=View(0))),
        "the prepare of",
    )


@pytest.mark.parametrize(("certificate", "text"), [row[1:] for row in no_recovery()], ids=[row[0] for row in no_recovery()])
@pytest.mark.parametrize("check", [check_recovery, verify_recovery])
def test_what_is_no_recovery_is_refused(check: Any, certificate: RecoveryCertificate, text: str) -> None:
    with pytest.raises(PeerError, match=text) as caught:
        check(certificate, BASE, IDS, verify_envelope)
    assert caught.value.rejection is Rejection.BAD_RECOVERY


def test_signatures_of_one_recovery_are_merged_and_those_of_two_are_not() -> None:
    first, second = (
        signed(a_recovery(prepared=claim_hash(PROOF.claim)), None, MANAGERS[1:3]),
        signed(a_recovery(prepared=claim_hash(PROOF.claim)), PROOF, MANAGERS[:2]),
    )
    both = merged(first, second)
    assert both == merged(second, first) == BOUND
    assert merged(both, second) == both
    with pytest.raises(InvariantError, match="two different recoveries"):
        merged(FREE, BOUND)


# -- the proof ------------------------------------------------------------------------------------------------------------

LATER = replace(BASE, epoch=Epoch(1), committee=NEW)


def proved(instance: Instance, seats: Iterable[int], view: int = 3) -> PreparedProof:
    return proof_of(prepared_by(instance, view, A, seats), instance.epoch, instance.committee)


def test_a_proof_carries_what_was_prepared_and_gives_its_prepares_back() -> None:
    prepared = prepared_by(BASE, 3, A, (2, 0, 1))
    assert (PROOF.claim.epoch, PROOF.claim.committee, PROOF.claim.view, PROOF.claim.digest, PROOF.claim.proposal) == (
        0,
        BASE.committee,
        3,
        DA,
        A,
    )
    assert prepares_of(PROOF, BASE) == tuple(sorted(prepared.prepares, key=lambda envelope: envelope.author))


@pytest.mark.parametrize(
    ("proof", "below"),
    [(PROOF, 1), (PROOF, 9), (proved(BASE, range(4)), 1), (proved(LATER, (2, 3, 4)), 2)],
    ids=["the epoch before", "long before", "all prepared", "by the committee of an epoch between"],
)
def test_q_members_of_its_committee_prove_it(proof: PreparedProof, below: int) -> None:
    check_proof(proof, BASE, below=below, verify=verify_envelope)


def no_proof() -> Iterator[tuple[str, PreparedProof, str]]:
    (one, first), (two, second), third = PROOF.prepares
    yield "of the recovery's own epoch", proved(replace(LATER, epoch=Epoch(2)), (2, 3, 4)), "which is not between 0 and 2"
    yield "of a later one", proved(replace(LATER, epoch=Epoch(3)), (2, 3, 4)), "which is not between 0 and 2"
    yield "another committee in the round's epoch", proved(replace(BASE, committee=NEW), (2, 3, 4)), "names another committee"
    yield "another order of seats", claiming(PROOF, committee=BASE.committee[::-1]), "names another committee"
    doubled = replace(LATER, committee=(*NEW[:3], NEW[0]))
    yield "a member twice", proved(doubled, (2, 3, 4)), "has a member twice"
    yield "too few", replace(PROOF, prepares=PROOF.prepares[:2]), "2 members prepared what it names, 3 are needed"
    yield "one author twice", replace(PROOF, prepares=((one, first), (one, first), third)), "not distinct members"
    yield "unsorted", replace(PROOF, prepares=PROOF.prepares[::-1]), "not distinct members"
    yield "no member", proved(BASE, (0, 1, 7)), "not distinct members of its committee"
    wrong = "is not signed by it"
    yield "a wrong signature", replace(PROOF, prepares=((one, Signature(bytes(64))), (two, second), third)), wrong
    yield "signatures exchanged", replace(PROOF, prepares=((one, second), (two, first), third)), wrong
    yield "another view", claiming(PROOF, view=View(4)), wrong
    yield "another digest", claiming(PROOF, digest=DB), wrong
    yield "another proposal", claiming(PROOF, proposal=B), wrong
    yield "another epoch", claiming(PROOF, epoch=Epoch(1)), wrong
    yield "another committee between", claiming(proved(LATER, (2, 3, 4)), committee=NEW[::-1]), wrong
    yield "of another round", proved(make_instance(round_=1), (0, 1, 2)), wrong
    yield "of another chain", proved(make_instance(name=b"other"), (0, 1, 2)), wrong
    commits = tuple(sorted((c.author, c.envelope.signature) for c in signed_commits(BASE, (0, 1, 2), DA, 3)))
    yield "commits", replace(PROOF, prepares=commits), wrong


@pytest.mark.parametrize(("proof", "text"), [row[1:] for row in no_proof()], ids=[row[0] for row in no_proof()])
def test_what_proves_nothing_prepared_is_refused(proof: PreparedProof, text: str) -> None:
    with pytest.raises(PeerError, match=text) as caught:
        check_proof(proof, BASE, below=2, verify=verify_envelope)
    assert caught.value.rejection is Rejection.BAD_RECOVERY
    certificate = signed(a_recovery(epoch=Epoch(2), prepared=claim_hash(proof.claim)), proof)
    with pytest.raises(PeerError, match=text):
        verify_recovery(certificate, BASE, IDS, verify_envelope)


def test_an_epoch_before_the_rounds_own_proves_nothing() -> None:
    with pytest.raises(PeerError, match="of epoch 0, which is not between 1 and 2"):
        check_proof(PROOF, LATER, below=2, verify=verify_envelope)


def test_a_proof_under_a_false_proposal_is_refused() -> None:
    with pytest.raises(PeerError):
        verify_recovery(replace(BOUND, proof=claiming(PROOF, proposal=B)), BASE, IDS, verify_envelope)


# -- the chain across a recovery ------------------------------------------------------------------------------------------

PARAMS = Params(committee_size=4, places=6)


def make_header(round_: int, epoch: int = 0, committee: tuple = BASE.committee) -> Header:
    """In epoch 1 round 1 was proposed by the leader of NEW."""
    proposers = [NEW[0] if epoch and led == 1 else BASE.committee[0] for led in range(round_)]
    proof, lot = lot_after(BASE.chain, tuple(proposers))
    return Header(
        chain=BASE.chain,
        height=model_height(Round(round_), PARAMS.places),
        round=Round(round_),
        kind=KIND_MODEL,
        parent=Digest(bytes([round_]) * 32),
        body=ZERO_DIGEST,
        blob=BlobRef(ZERO_DIGEST, 1),
        time=Millis(1_000 + round_),
        model=ModelFields(Epoch(epoch), View(0), proof, lot, ZERO_DIGEST, committee, degraded=False),
    )


def certify(parent: Header, header: Header, recovery: RecoveryCertificate | None = None) -> CertifiedHeader:
    """By the round's committee, or by the one of its recovery."""
    instance = opened_by(parent, PARAMS)
    if recovery is not None:
        instance = recovered_instance(instance, recovery)
    keys = [next(key for key in KEYS if key.node_id == author) for author in instance.committee[: instance.q]]
    certificate = certificate_of([seal(body_of(instance, Commit, 0, digest=header_hash(header)), key) for key in keys])
    return CertifiedHeader(header, replace(certificate, recovery=recovery))


def walk(*certified: CertifiedHeader) -> Header:
    return verify_chain(GENESIS, certified, PARAMS, IDS, verify_envelope)


GENESIS, ONE = make_header(0), make_header(1)
ROUND_1 = opened_by(ONE, PARAMS)
RECOVERY = signed(a_recovery(ROUND_1))
FIRST = certify(GENESIS, ONE)


def prepared_header(instance: Instance, header: Header, seats: Iterable[int], first: int | None = None) -> PreparedProof:
    """A proof that `seats` prepared this header's segment, proposed first in `first`."""
    digest, proposal = header_hash(header), replace(A, epoch=instance.epoch if first is None else Epoch(first))
    prepares = (vote(instance, seat, Prepare, 2, digest=digest, proposal=proposal_id(proposal)) for seat in seats)
    pairs = tuple(sorted((envelope.author, envelope.signature) for envelope in prepares))
    return PreparedProof(PreparedClaim(instance.epoch, instance.committee, View(2), digest, proposal), pairs)


def test_a_chain_goes_through_a_round_that_managers_gave_another_committee() -> None:
    """Free choice: the round's model header and all after it say the new epoch."""
    two = certify(ONE, make_header(2, epoch=1), RECOVERY)
    three = certify(two.header, make_header(3, epoch=1))
    assert walk(FIRST, two, three) == three.header


def test_a_chain_goes_through_a_round_that_was_bound_to_what_its_first_epoch_had_prepared() -> None:
    """The header keeps the epoch of its first proposal, so the rounds after it start in that one again."""
    header = make_header(2, epoch=0)
    proof = prepared_header(ROUND_1, header, (0, 1, 2))
    two = certify(ONE, header, signed(a_recovery(ROUND_1, prepared=claim_hash(proof.claim)), proof))
    assert (two.certificate.epoch, header.model.epoch) == (1, 0)
    three = certify(header, make_header(3, epoch=0))
    assert walk(FIRST, two, three) == three.header


def test_a_chain_goes_through_a_round_that_was_recovered_twice() -> None:
    """Given a header of epoch 0 that epoch 1 prepared again, when epoch 2 decides it, then it still says epoch 0."""
    header = make_header(2, epoch=0)
    proof = prepared_header(replace(ROUND_1, epoch=Epoch(1), committee=NEW), header, (2, 3, 4), first=0)
    two = certify(ONE, header, signed(a_recovery(ROUND_1, epoch=Epoch(2), prepared=claim_hash(proof.claim)), proof))
    assert walk(FIRST, two) == header


def test_a_segment_of_an_epoch_between_was_drawn_by_that_epochs_leader() -> None:
    """Given a header that the committee of epoch 1 proposed, when epoch 2 is bound to it and decides it, then it is proved under
    the committee that the proof's basis names."""
    header, between = make_header(2, epoch=1), replace(ROUND_1, epoch=Epoch(1), committee=NEW)
    proof = claiming(prepared_header(between, header, (2, 3, 4), first=1), basis=ProposalBasis(NEW, ()))
    recovery = signed(a_recovery(ROUND_1, epoch=Epoch(2), prepared=claim_hash(proof.claim)), proof)
    assert walk(FIRST, certify(ONE, header, recovery)) == header


def broken_chains() -> Iterator[tuple[str, CertifiedHeader, Rejection]]:
    free = make_header(2, epoch=1)
    good = certify(ONE, free, RECOVERY)
    epoch, recovery, certificate = Rejection.WRONG_EPOCH, Rejection.BAD_RECOVERY, Rejection.BAD_CERTIFICATE
    yield "without its recovery", replace(good, certificate=replace(good.certificate, recovery=None)), epoch
    yield "the header of the old epoch", certify(ONE, make_header(2), RECOVERY), epoch
    yield "the header of an epoch between", certify(ONE, free, signed(a_recovery(ROUND_1, epoch=Epoch(2)))), epoch
    few = signed(a_recovery(ROUND_1), by=MANAGERS[:2])
    yield "too few managers", certify(ONE, free, few), recovery
    yield "another round's recovery", certify(ONE, free, signed(a_recovery())), recovery
    elsewhere = signed(a_recovery(ROUND_1, committee=tuple(KEYS[seat].node_id for seat in (4, 5, 6, 7))))
    swapped = replace(good, certificate=replace(good.certificate, recovery=elsewhere))
    yield "a recovery that seats others", swapped, certificate
    old = certify(ONE, free)
    yield "signed by the old committee", replace(old, certificate=replace(old.certificate, recovery=RECOVERY)), certificate
    proof = prepared_header(ROUND_1, make_header(2), (0, 1, 2))
    bound = signed(a_recovery(ROUND_1, prepared=claim_hash(proof.claim)), proof)
    yield "bound, but of the new epoch", certify(ONE, free, bound), epoch
    other = replace(make_header(2), time=Millis(5_000))
    yield "bound, but another segment", certify(ONE, other, bound), certificate


@pytest.mark.parametrize(("item", "rejection"), [r[1:] for r in broken_chains()], ids=[r[0] for r in broken_chains()])
def test_a_round_that_its_recovery_does_not_explain_is_refused(item: CertifiedHeader, rejection: Rejection) -> None:
    with pytest.raises(PeerError) as caught:
        walk(FIRST, item)
    assert caught.value.rejection is rejection, caught.value


def test_what_a_certificate_is_held_against() -> None:
    plain = certify(ONE, make_header(2)).certificate
    assert instance_of(plain, ROUND_1, IDS, verify_envelope) == ROUND_1
    opened = instance_of(replace(plain, recovery=RECOVERY), ROUND_1, IDS, verify_envelope)
    assert opened == replace(ROUND_1, epoch=Epoch(1), committee=NEW)
    bound = instance_of(replace(certify(GENESIS, ONE).certificate, recovery=BOUND), BASE, IDS, verify_envelope)
    assert bound == replace(BASE, epoch=Epoch(1), committee=NEW, locked=LockedProposal(DA, A))
    with pytest.raises(PeerError, match="it is for another round"):
        instance_of(replace(plain, recovery=BOUND), ROUND_1, IDS, verify_envelope)


# -- a machine that is bound ----------------------------------------------------------------------------------------------

MANDATED = make_instance(epoch=1)
BINDING = replace(MANDATED, locked=LockedProposal(DA, A))
"""Seats 0 to 3 again, in an epoch that must decide A."""


def test_the_leader_proposes_what_was_prepared_without_any_card() -> None:
    """Given no cards, then the segment is checked here first and proposed as it stands; nothing is built."""
    play = Playbook(0, instance=BINDING)
    assert play.wait(0) == (Check(A, DA, View(0), KEYS[0].node_id, reproposal=True),)
    assert play.wait(1) == (), "it asks once a view"
    message = pre_prepare(BINDING, 0, A)
    prepare = vote(BINDING, 0, Prepare, 0, digest=DA)
    assert play.right(A) == (
        PersistVote(message.pre_prepare),
        Broadcast(message),
        PersistVote(prepare),
        Broadcast(prepare),
    )


def test_cards_time_the_view_and_let_nobody_build() -> None:
    play = Playbook(0, instance=BINDING)
    effects = play.give(CardsReady())
    assert not [effect for effect in effects if isinstance(effect, Build)]
    assert play.machine.deadline() is not None
    assert play.give(Built(View(0), B, DB)) == (), "an honest leader with another wish has none"
    assert [type(effect) for effect in play.right(A)] == [PersistVote, Broadcast, PersistVote, Broadcast]


def test_a_member_takes_the_mandated_segment_and_no_other_in_view_0() -> None:
    play = Playbook(1, instance=BINDING)
    refused = play.give(pre_prepare(BINDING, 0, B))
    assert [(type(effect), effect.rejection) for effect in refused] == [(Refused, Rejection.BAD_JUSTIFICATION)]
    assert "must re-propose" in refused[0].text
    assert play.give(pre_prepare(BINDING, 0, A)) == (Check(A, DA, View(0), KEYS[0].node_id, reproposal=True),)
    prepare = vote(BINDING, 1, Prepare, 0, digest=DA)
    assert play.right(A) == (PersistVote(prepare), Broadcast(prepare))


def test_without_a_mandate_the_same_pre_prepare_is_free() -> None:
    play = Playbook(1, instance=MANDATED)
    assert play.give(pre_prepare(MANDATED, 0, B)) == (Check(B, DB, View(0), KEYS[0].node_id),)


@pytest.mark.parametrize("view", [1, 2, 5])
def test_a_later_view_is_as_bound_as_the_first(view: int) -> None:
    """Given q view-changes that name nothing prepared, which is free choice elsewhere, then only A may follow."""
    member = 3 if BINDING.leader(View(view)) != KEYS[3].node_id else 0
    claims = [view_change(BINDING, seat, view).view_change for seat in (0, 1, 2)]
    play = Playbook(member, instance=BINDING)
    refused = play.give(pre_prepare(BINDING, view, B, view_changes=claims))
    assert [(type(effect), effect.rejection) for effect in refused] == [(Refused, Rejection.BAD_JUSTIFICATION)]
    assert play.machine.view == 0, "what is refused moves nothing"
    effects = play.give(pre_prepare(BINDING, view, A, view_changes=claims))
    assert Check(A, DA, View(view), BINDING.leader(View(view)), reproposal=True) in effects


def test_the_leader_of_a_later_view_proposes_it_without_cards_too() -> None:
    play = Playbook(1, instance=BINDING)
    play.give(CardsReady())
    play.expire()
    effects = play.give_all(view_change(BINDING, seat, 1) for seat in (0, 2))
    assert not [effect for effect in effects if isinstance(effect, Build)]
    assert Check(A, DA, View(1), KEYS[1].node_id, reproposal=True) in effects
    sent = [effect.message for effect in play.right(A) if isinstance(effect, Broadcast)]
    claims = [view_change(BINDING, seat, 1).view_change for seat in (0, 1, 2)]
    claims.sort(key=lambda envelope: envelope.author)
    assert sent[0] == pre_prepare(BINDING, 1, A, view_changes=claims)


def test_what_a_view_of_it_prepared_is_the_mandated_segment_with_its_proof() -> None:
    """Given A prepared in view 0 of this epoch, then view 1 shows that proof; one of B, which q liars signed, binds nobody."""
    play = Playbook(3, instance=BINDING)
    for proposal, accepted in ((B, False), (A, True)):
        prepared = prepared_by(BINDING, 0, proposal, (0, 1, 2))
        claims = [view_change(BINDING, 0, 1, prepared).view_change, *(view_change(BINDING, s, 1).view_change for s in (1, 2))]
        message = pre_prepare(BINDING, 1, proposal, view_changes=claims, prepares=prepared.prepares)
        effects = play.give(message)
        assert any(isinstance(effect, Check) for effect in effects) is accepted


def test_a_mandate_that_does_not_check_is_not_proposed() -> None:
    play = Playbook(0, instance=BINDING)
    play.wait(0)
    assert play.give(Checked(A, DA, Rejection.BAD_SEGMENT)) == ()
    assert play.machine.deadline() is None or play.wait(1) == ()


def test_it_is_decided_and_a_certificate_of_anything_else_is_none() -> None:
    play = Playbook(1, instance=BINDING)
    commits = signed_commits(BINDING, (0, 2, 3), DA)
    effects = play.give_all(commit.envelope for commit in commits)
    assert effects == (Decided(certificate_of(commits), None),)
    verify_certificate(certificate_of(commits), BINDING, verify_envelope)
    other = certificate_of(signed_commits(BINDING, (0, 2, 3), DB))
    verify_certificate(other, MANDATED, verify_envelope)
    with pytest.raises(PeerError, match="had to decide what an older epoch had prepared") as caught:
        verify_certificate(other, BINDING, verify_envelope)
    assert caught.value.rejection is Rejection.BAD_CERTIFICATE


def test_a_restart_of_the_leader_says_the_same_again() -> None:
    """Given its pre-prepare and prepare in the journal, then both are said byte for byte, and nothing is built or signed anew."""
    message, prepare = pre_prepare(BINDING, 0, A), vote(BINDING, 0, Prepare, 0, digest=DA)
    play = Playbook(0, instance=BINDING, journal=Journal((message.pre_prepare, prepare)))
    assert play.wait(0) == (
        Broadcast(prepare),
        PersistVote(message.pre_prepare),
        Broadcast(message),
        Check(A, DA, View(0), KEYS[0].node_id, reproposal=True),
    )
    assert play.give(CardsReady()) == (ViewEntered(View(0), KEYS[0].node_id),)
    assert play.right(A) == ()

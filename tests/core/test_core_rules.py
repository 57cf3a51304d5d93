"""One core, one event, the exact refusal or effect: the rules of a round that whole communities break without a sound."""

from dataclasses import replace

import pytest

from bflcd.core.certificates import QUIET
from bflcd.core.core import Core
from bflcd.core.early_messages import MAX_EARLY_EACH
from bflcd.core.effects import (
    CatchUp,
    Commit,
    FetchBlob,
    FetchEnvelopes,
    FetchSegment,
    Persist,
    Send,
    Train,
)
from bflcd.core.events import (
    BlobFetched,
    BlobMissing,
    EnvelopesFetched,
    Event,
    MessageReceived,
    SegmentFetched,
    Started,
)
from bflcd.core.records import PreparedRecord, ProposalRecord, VoteRecord
from bflcd.core.signing_guard import SigningGuard
from bflcd.crypto.identity import Identity
from bflcd.errors import Rejection
from bflcd.ledger.lot import lot_input
from bflcd.ledger.transition import build_segment, decide, draw_of
from bflcd.types import Digest, Epoch, Millis, NodeId, Round, Signature, View
from bflcd.wire.blocks import CertifiedSegment, committee_hash, header_hash
from bflcd.wire.codec import number_of, peek_number
from bflcd.wire.envelope import Envelope, open_envelope, seal, sealed_digest
from bflcd.wire.messages import (
    Announcement,
    Beacon,
    CardSeal,
    JustifiedPrePrepare,
    JustifiedViewChange,
    Offer,
    Prepare,
    PrePrepare,
    Proposal,
    ScoreCard,
    ViewChange,
)
from bflcd.wire.messages import (
    Commit as CommitVote,
)
from tests.helpers.inside import round_of
from tests.helpers.ledger import NO_PROOF
from tests.helpers.one_core import T0, a_judge, a_world, alone, blamed, kinds, later, offer_of
from tests.helpers.world import World

NOBODY = Signature(bytes(64))


@pytest.fixture(scope="module")
def behind() -> tuple[World, NodeId]:
    """A world whose others stand in round 2, and a trainer that has slept since round 0; nothing is delivered any more."""
    world = a_world()
    asleep = list(world.identities)[-1]
    for node in world.identities:
        if node != asleep:
            world.start(node)
    assert world.run_until(lambda: min(world.rounds()) >= 2, 60_000)
    return world, asleep


def awake(behind: tuple[World, NodeId]) -> Core:
    """A fresh core of the sleeper, in round 0."""
    world, asleep = behind
    identity = world.identities[asleep]
    disk = world.disks[asleep]
    core = Core(world.genesis, disk.head, identity, world.verified.verify_once, identity.seed, guard=SigningGuard(), train=True)
    core.handle(Started(disk.found(0)), world.instant())
    return core


def segment_of(behind: tuple[World, NodeId], round_: int) -> CertifiedSegment:
    world, asleep = behind
    return next(disk.segments[round_] for node, disk in world.disks.items() if node != asleep)


def beacon_of(core: Core, identity: Identity, **changes: object) -> Envelope:
    return seal(replace(core._beacon(), **changes), identity).envelope


def empty_card_of(core: Core, identity: Identity, *also: NodeId) -> Envelope:
    state = core.context.state
    committee = committee_hash(state.epoch, state.committee)
    present = tuple(sorted({identity.node_id, *also}))
    body = ScoreCard(state.chain, state.round, state.epoch, core.context.head_hash, committee, None, None, (), present)
    return seal(body, identity).envelope


# -- the hand-over ------------------------------------------------------------------------------------------------------------


def test_a_segment_is_committed_under_a_true_certificate_only(behind):
    core, certified = awake(behind), segment_of(behind, 1)
    signatures = tuple((author, NOBODY) for author, _ in certified.certificate.signatures)
    forged = CertifiedSegment(certified.segment, replace(certified.certificate, signatures=signatures))
    assert blamed(core.handle(SegmentFetched(forged, behind[1]), behind[0].instant())) == [(behind[1], Rejection.BAD_CERTIFICATE)]
    assert core.context.round == 0
    effects = core.handle(SegmentFetched(certified, behind[1]), behind[0].instant())
    assert core.context.round == 1
    assert effects[0] == Commit(certified, core.context.state), "nothing of the next round comes before the commit"


def test_a_true_certificate_does_not_carry_another_segment(behind):
    """Given a segment that the ledger accepts, of another time, when it comes under the certificate of the decided one, it is refused."""
    core, certified = awake(behind), segment_of(behind, 1)
    context, segment = core.context, certified.segment
    cards = tuple(open_envelope(card, (ScoreCard,)) for card in segment.model.cards)
    offers = {o.digest: o for u in segment.updates if u.offer is not None for o in (open_envelope(u.offer, (Offer,)),)}
    time = Millis(segment.model_header.time + 1)
    draw = draw_of(context.state, View(0), segment.model_header.model.proof)
    outcome = decide(context.params, context.state, context.head_hash, cards, offers, draw=draw, time=time)
    other = build_segment(context.params, context.state, context.head_header, outcome, segment.model_header.blob)
    effects = core.handle(SegmentFetched(CertifiedSegment(other, certified.certificate), behind[1]), behind[0].instant())
    assert blamed(effects) == [(behind[1], Rejection.BAD_SEGMENT)]
    assert core.context.round == 0


def test_a_forged_announcement_does_not_keep_out_the_true_one(behind):
    core, certificate = awake(behind), segment_of(behind, 1).certificate
    forged = replace(certificate, signatures=tuple((author, NOBODY) for author, _ in certificate.signatures))
    effects = core.handle(MessageReceived(Announcement(forged), behind[1]), behind[0].instant())
    assert blamed(effects) == [(behind[1], Rejection.BAD_CERTIFICATE)]
    assert kinds(core.handle(MessageReceived(Announcement(certificate), behind[1]), behind[0].instant())) == [FetchSegment]


def test_a_decided_segment_that_does_not_come_is_asked_for_again(behind):
    core, certificate = awake(behind), segment_of(behind, 1).certificate
    first = core.handle(MessageReceived(Announcement(certificate), behind[1]), behind[0].instant())
    assert not [e for e in core.tick(later(behind[0], T0 - 1)) if isinstance(e, FetchSegment)]
    again = [e for e in core.tick(later(behind[0], T0)) if isinstance(e, FetchSegment)]
    assert [e.round for e in (*first, *again)] == [1, 1]


def test_who_lags_is_answered_with_the_certificate_once_every_t0(behind):
    """Given a node in round 1, when messages of round 0 come, then it answers with the certificate of that round (design 6.2);
    not before the announcement can have come.
    """
    world, other = behind[0], next(iter(behind[0].identities))
    core = awake(behind)
    stale = MessageReceived(beacon_of(core, world.identities[other]), other)
    core.handle(SegmentFetched(segment_of(behind, 1), other), world.instant())
    said = Send(Announcement(segment_of(behind, 1).certificate), (other,))
    assert core.handle(stale, world.instant()) == []
    assert core.handle(stale, later(world, T0 // QUIET - 1)) == []
    assert core.handle(stale, later(world, T0 // QUIET)) == [said]
    assert core.handle(stale, later(world, T0 // QUIET + T0 - 1)) == []
    assert core.handle(stale, later(world, T0 // QUIET + T0)) == [said]


def test_each_of_those_that_lag_is_answered_whoever_else_has_just_been(behind):
    """Given one that passes on what another says, whose answer all should hear, when others ask, then each is answered at once, alone,
    and once."""
    world, (first, second, third, *_) = behind[0], behind[0].identities
    core = awake(behind)
    core.handle(SegmentFetched(segment_of(behind, 1), first), world.instant())
    certificate, now = Announcement(segment_of(behind, 1).certificate), later(world, T0)
    of_first = beacon_of(core, world.identities[first], round=Round(0))
    for peer, answers in (
        (second, [Send(certificate)]),
        (first, [Send(certificate, (first,))]),
        (third, [Send(certificate, (third,))]),
        (first, []),
        (second, []),
    ):
        assert core.handle(MessageReceived(of_first, peer), now) == answers


def test_each_peer_that_is_ahead_is_followed_whoever_else_says_so(behind):
    """Given a liar that always speaks first of a later round, when an honest peer does, then that one is followed too."""
    world, (liar, honest, *_) = behind[0], behind[0].identities
    core = awake(behind)
    for peer in (liar, honest):
        ahead = beacon_of(core, world.identities[peer], round=Round(9))
        assert core.handle(MessageReceived(ahead, peer), world.instant()) == [CatchUp(Round(9), peer)]


# -- what is durable before it is said ----------------------------------------------------------------------------------------


def test_what_a_vote_says_is_durable_before_it_leaves():
    """A prepare says that its segment is durable here, a commit that its prepared certificate is (design 6.1 and 6.2)."""
    world = a_world()
    world.start_all()
    seen = {PrePrepare: 0, Prepare: 0, CommitVote: 0}
    answer = world.answer

    def watching(node, effect):
        message = getattr(effect, "message", None)
        envelope = message.pre_prepare if isinstance(message, JustifiedPrePrepare) else message
        if isinstance(effect, Send) and isinstance(envelope, Envelope):
            kept = world.disks[node].records.get(world.cores[node].context.round, [])
            body = open_envelope(envelope, (Beacon, Offer, CardSeal, ScoreCard, PrePrepare, Prepare, CommitVote)).body
            if type(body) in seen:
                assert any(isinstance(r, VoteRecord) and r.envelope == envelope for r in kept), "the vote isn't durable"
            if isinstance(body, Prepare):
                assert any(isinstance(r, ProposalRecord) and r.digest == body.digest for r in kept), "the segment isn't durable"
            if isinstance(body, CommitVote):
                held = [r.prepared for r in kept if isinstance(r, PreparedRecord)]
                assert any((p.view, p.digest) == (body.view, body.digest) for p in held), "the certificate isn't durable"
            if type(body) in seen:
                seen[type(body)] += 1
        return answer(node, effect)

    world.answer = watching
    # a decided round's records are gone: what is said again of it was checked when it was said first
    assert world.run_until(lambda: max(world.rounds()) >= 1, 30_000)
    assert min(seen[Prepare], seen[CommitVote]) >= 3
    assert seen[PrePrepare]


@pytest.mark.parametrize("kind", [Offer, ScoreCard])
def test_a_restarted_node_says_its_offer_and_its_card_again_byte_for_byte(kind):
    """Given a node that stopped after it had offered or judged, when it comes back, then it says just that, and signs no other: of a
    card its seal at once, and the card when it is to be shown."""
    world = a_world()
    world.start_all()
    node = next(n for n in world.cores if world.cores[n].context.judges == (kind is ScoreCard))

    def own() -> object:
        core = world.cores[node]
        return round_of(core).work.own_offer if kind is Offer else round_of(core).collection.own_card

    assert world.run_until(lambda: own() is not None, 30_000)
    before, said, persisted = own(), [], []
    world.kill(node)
    carry_out = world.carry_out

    def listening(who, effects):
        said.extend(e.message for e in effects if who == node and isinstance(e, Send))
        persisted.extend(r for e in effects if who == node and isinstance(e, Persist) for r in e.records)
        assert who != node or Train not in kinds(effects), "what was offered is not trained again"
        carry_out(who, effects)

    world.carry_out = listening
    if kind is ScoreCard:
        world.drop = lambda _s, _r, _n: True
    world.start(node)
    assert own().envelope == before.envelope
    seals = [message for message in said if peek_number(message.payload) == number_of(CardSeal)]
    if kind is ScoreCard:
        assert [open_envelope(seal, (CardSeal,)).body.card for seal in seals] == [sealed_digest(before.envelope)]
        world.run_until(lambda: False, world.cores[node].context.collect_deadline + T0)
    assert before.envelope in said
    said.clear()
    world.drop = lambda _s, _r, _n: True  # nobody hears anybody: the round stays open
    world.run_until(lambda: False, 8 * T0)
    assert before.envelope in said, "it is said until the round closes"
    mine = [r for r in persisted if getattr(r, "phase", None) == number_of(kind) and hasattr(r, "envelope")]
    assert all(record.envelope == before.envelope for record in mine)


# -- what is asked for again --------------------------------------------------------------------------------------------------


def test_a_model_that_nobody_gave_is_asked_for_again_after_t0():
    world = a_world()
    core, _ = alone(world, world.identities[list(world.identities)[-1]])
    root = core.context.head_blob.root
    core.handle(BlobMissing(root, None, refused=False, text="nobody"), world.instant())
    assert not [e for e in core.tick(later(world, T0 - 1)) if isinstance(e, FetchBlob)]
    assert [e.blob.root for e in core.tick(later(world, T0)) if isinstance(e, FetchBlob)] == [root]


def proposal_at(world: World, core: Core, wall: int) -> MessageReceived:
    """A pre-prepare of view 0 by its leader, whose cards nobody has."""
    context = core.context
    leader, state = world.identities[context.instance.leader(View(0))], context.state
    proof = leader.prove(lot_input(state.chain, state.round, state.lot))
    proposal = Proposal(context.state.epoch, View(0), proof, Millis(wall), tuple(Digest(bytes([i]) * 32) for i in range(3)))
    body = PrePrepare(
        chain=context.state.chain,
        round=context.round,
        epoch=context.state.epoch,
        view=View(0),
        parent=context.head_hash,
        committee=context.instance.committee_hash,
        digest=Digest(bytes([9]) * 32),
        proposal=proposal,
    )
    return MessageReceived(JustifiedPrePrepare(seal(body, leader).envelope, (), ()), leader.node_id)


def test_cards_that_a_proposal_needs_are_asked_for_again_of_another_holder():
    world = a_world()
    core, _ = a_judge(world)
    asked = [
        e for e in core.handle(proposal_at(world, core, world.instant().wall), world.instant()) if isinstance(e, FetchEnvelopes)
    ]
    for millis in (300, 600):
        asked += [e for e in core.tick(later(world, millis)) if isinstance(e, FetchEnvelopes)]
    assert len(asked) == 3
    assert len({e.source for e in asked}) == 3


def test_a_proposal_from_the_future_is_refused_by_the_clock():
    """Row 20: a leader whose clock is an hour ahead; at ten seconds it passes."""
    world = a_world()
    core, _ = a_judge(world)
    ahead = proposal_at(world, core, world.instant().wall + 10_001)
    assert blamed(core.handle(ahead, world.instant()))[0] == (ahead.peer, Rejection.BAD_TIME)
    core, _ = a_judge(world)
    assert blamed(core.handle(proposal_at(world, core, world.instant().wall + 10_000), world.instant())) == []


def test_a_justified_re_proposal_is_not_held_against_the_clock():
    world = a_world()
    core, _ = a_judge(world)
    heard = proposal_at(world, core, world.instant().wall + 3_600_000)
    body = open_envelope(heard.message.pre_prepare, (PrePrepare,)).body
    from bflcd.consensus.effects import Check

    wish = Check(body.proposal, body.digest, View(1), heard.peer, reproposal=True)
    assert blamed(round_of(core).agreement._check(wish, world.instant())) == []
    assert blamed(round_of(core).agreement._check(replace(wish, reproposal=False), world.instant())) == [
        (heard.peer, Rejection.BAD_TIME)
    ]


# -- forged names -------------------------------------------------------------------------------------------------------------


def forged(envelope: Envelope) -> Envelope:
    return replace(envelope, signature=NOBODY)


def test_what_is_said_in_anothers_name_is_refused_and_costs_who_passed_it_on():
    world = a_world()
    core, _ = a_judge(world)
    trainer = world.identities[list(world.identities)[-1]]
    member = world.identities[world.genesis.committee[-1]]
    peer = list(world.identities)[5]
    for envelope in (beacon_of(core, trainer), offer_of(core, trainer), empty_card_of(core, member)):
        effects = core.handle(MessageReceived(forged(envelope), peer), world.instant())
        assert blamed(effects) == [(peer, Rejection.BAD_SIGNATURE)]
    assert not round_of(core).collection.offers
    assert not round_of(core).collection.cards
    assert trainer.node_id not in round_of(core).collection.beacons


def test_a_forged_vote_costs_not_the_member_that_it_names():
    world = a_world()
    core, _ = a_judge(world)
    peer = list(world.identities)[5]
    heard = proposal_at(world, core, world.instant().wall)
    lie = JustifiedPrePrepare(forged(heard.message.pre_prepare), (), ())
    assert blamed(core.handle(MessageReceived(lie, peer), world.instant())) == [(peer, Rejection.BAD_SIGNATURE)]


def test_a_forged_card_that_was_asked_for_is_not_kept():
    world = a_world()
    core, _ = a_judge(world)
    member = world.identities[world.genesis.committee[-1]]
    true = empty_card_of(core, member)
    effects = core.handle(EnvelopesFetched(Round(0), (forged(true),), member.node_id), world.instant())
    assert blamed(effects) == [(member.node_id, Rejection.BAD_SIGNATURE)]
    assert not round_of(core).collection.cards
    assert blamed(core.handle(EnvelopesFetched(Round(0), (true,), member.node_id), world.instant())) == []
    assert [card.envelope for card in round_of(core).collection.cards.values()] == [true]


def test_one_author_has_a_few_places_among_the_messages_of_the_next_round():
    world = a_world()
    core, _ = a_judge(world)
    liar = world.identities[list(world.identities)[-1]]
    for number in range(3 * MAX_EARLY_EACH):
        early = beacon_of(core, liar, round=Round(1), parent=Digest(bytes([number]) * 32))
        core.handle(MessageReceived(early, liar.node_id), world.instant())
    assert len(core._early) == MAX_EARLY_EACH


def test_what_comes_before_the_recovery_that_it_rests_on_is_kept_until_then():
    """Given members of whom one has heard of a recovery first, when its offer is here before that, then it is kept; nothing forged is."""
    world = a_world()
    core, _ = a_judge(world)
    honest = world.identities[list(world.identities)[-1]]
    early = beacon_of(core, honest, epoch=Epoch(1))
    core.handle(MessageReceived(forged(early), honest.node_id), world.instant())
    assert len(core._early) == 0
    for _ in range(2):
        assert core.handle(MessageReceived(early, honest.node_id), world.instant()) == []
    assert [held.message for held in core._early.take(core.context.round)] == [early]
    assert len(core._early) == 0


def test_nobody_fills_anothers_places_among_the_messages_of_the_next_round():
    """Given a relay that says an honest message of the next round again and again, each time with something else beside it."""
    world = a_world()
    core, _ = a_judge(world)
    honest, relay = (world.identities[node] for node in list(world.identities)[-2:])
    beacon = beacon_of(core, honest, round=Round(1))
    proposal = Proposal(core.context.state.epoch, View(0), NO_PROOF, Millis(1), (Digest(bytes(32)),))
    place = {name: getattr(core._beacon(), name) for name in ("chain", "epoch", "parent", "committee")}
    led = seal(PrePrepare(**place, round=Round(1), view=View(0), digest=Digest(bytes(32)), proposal=proposal), honest).envelope
    for number in range(3 * MAX_EARLY_EACH):
        beside = (replace(beacon, signature=Signature(bytes([number]) * 64)),)
        for message in (beacon, JustifiedPrePrepare(led, beside, ()), JustifiedPrePrepare(led, (), beside)):
            core.handle(MessageReceived(message, relay.node_id), world.instant())
    kept = [held.message for held in core._early.take(Round(1))]
    assert kept == [beacon, JustifiedPrePrepare(led, (), ())]


def test_what_needs_a_justification_is_not_kept_for_the_next_round():
    world = a_world()
    core, _ = a_judge(world)
    honest = world.identities[list(world.identities)[-1]]
    place = {name: getattr(core._beacon(), name) for name in ("chain", "epoch", "parent", "committee")}
    asked = seal(ViewChange(**place, round=Round(1), view=View(1), prepared_view=None, prepared_digest=None), honest).envelope
    core.handle(MessageReceived(JustifiedViewChange(asked, (), None), honest.node_id), world.instant())
    assert len(core._early) == 0


# -- silence ------------------------------------------------------------------------------------------------------------------


def test_a_node_whose_database_is_behind_its_mark_file_signs_nothing_in_that_round():
    """Row 18: no vote, no card, no offer in the round of the mark; the beacon binds nobody."""
    world = a_world()
    trainer = world.identities[list(world.identities)[-1]]
    for identity in (world.identities[world.genesis.committee[0]], trainer):
        core, effects = alone(world, identity, floor=Round(0))
        effects += core.handle(BlobFetched(core.context.head_blob.root), world.instant())
        for millis in (T0, 100 * T0, 1_000 * T0):
            effects += core.tick(later(world, millis))
        assert not {Persist, Train} & set(kinds(effects))
        assert not round_of(core).may_sign
        free, effects = alone(world, identity)
        effects += free.handle(BlobFetched(free.context.head_blob.root), world.instant())
        effects += free.tick(later(world, 1_000 * T0))
        assert {Persist, Train} & set(kinds(effects))


def events_given_to_pbft(core: Core) -> list[Event]:
    given: list[Event] = []
    handle = round_of(core).agreement.pbft.handle

    def recording(event, now):
        given.append(event)
        return handle(event, now)

    round_of(core).agreement.pbft.handle = recording
    return given


def test_a_segment_answers_only_for_the_digest_that_it_has():
    """Given a leader that states another digest than its cards give, when the segment is there, then it does not check."""
    world = a_world()
    world.start_all()
    assert world.run_until(
        lambda: any(a and any(x.done for x in a._candidates) for a in (round_of(c).agreement for c in world.cores.values())),
        30_000,
    )
    core = next(c for c in world.cores.values() if (a := round_of(c).agreement) and any(x.done for x in a._candidates))
    candidate = next(x for x in round_of(core).agreement._candidates if x.done)
    given = events_given_to_pbft(core)
    candidate.expected |= {candidate.digest, Digest(bytes([9]) * 32)}
    round_of(core).agreement._answer(candidate, world.instant())
    assert {event.digest: event.refused for event in given} == {
        candidate.digest: None,
        Digest(bytes([9]) * 32): Rejection.BAD_SEGMENT,
    }


def test_a_prepared_candidate_is_not_pushed_out_by_other_proposals():
    world = a_world()
    core, _ = a_judge(world)
    candidates = round_of(core).agreement._candidates
    state = core.context.state
    kept = candidates.add(Proposal(state.epoch, View(0), NO_PROOF, Millis(1), (Digest(bytes(32)),)))
    kept.digest = candidates.prepared = header_hash(core.context.head_header)
    for time in range(2, 100):
        assert candidates.add(Proposal(state.epoch, View(0), NO_PROOF, Millis(time), (Digest(bytes(32)),))) is not None
    assert candidates.by_digest(kept.digest) is kept

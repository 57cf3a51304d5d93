"""Lying scores, and forks signed with old keys: whole cores in virtual time."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bflcd.consensus.certificate import certificate_of, verify_certificate
from bflcd.core.effects import Blame, Effect, Halt, Persist, Score, Send
from bflcd.core.events import Event, MessageReceived, Scored, SegmentFetched, SyncChanged
from bflcd.core.records import OperationRecord
from bflcd.ledger.state import NEVER
from bflcd.params import BlobRef
from bflcd.types import Digest, MicroNats, Millis, NodeId, Signature, short
from bflcd.wire.blocks import Certificate, CertifiedSegment, header_hash
from bflcd.wire.envelope import open_envelope, seal
from bflcd.wire.messages import Announcement, Beacon, Commit, JustifiedPrePrepare, Offer, PrePrepare
from bflcd.wire.tensors import payload_size, update_label
from tests.core.test_recovery import a_recovery, sign, stuck
from tests.helpers.inside import last_certificate, pending_certificate, round_of
from tests.helpers.scenes import Figure, a_trainer, a_world, committee_of, leader_in, mostly_slow, one_state, reach
from tests.helpers.world import World

WORST = MicroNats(-1_000_000_000)


def scoring(world: World, lies: object) -> None:
    """Members for whom `lies(node)` holds give every update the worst score there is."""
    answer = world.answer

    def lying(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        for event, after in answer(node, effect):
            if isinstance(effect, Score) and isinstance(event, Scored) and lies(node):  # type: ignore[operator]
                scores = tuple(replace(score, gain=WORST) for score in event.result.scores)
                yield replace(event, result=replace(event.result, scores=scores)), after
            else:
                yield event, after

    world.answer = lying  # type: ignore[method-assign]


@pytest.mark.parametrize("seed", mostly_slow(0, 1, 2))
def test_row_56_f_liars_that_score_all_worst_keep_nobody_out(seed: int) -> None:
    world = a_world(seed=seed)
    scoring(world, lambda node: node == committee_of(world)[0])
    reach(world, 5, 60_000)
    one_state(world)
    segments = world.disks[next(iter(world.cores))].segments
    assert all(sum(update.offer is not None for update in segments[r].segment.updates) == 6 for r in range(1, 6))


def test_row_43_a_member_that_is_outvoted_by_liars_says_so_and_nobody_else() -> None:
    """Given three of four that call everything useless, when the fourth scored it well, then its node raises the alarm."""
    world = a_world()
    *liars, honest = committee_of(world)
    scoring(world, lambda node: node in liars)
    reach(world, 1, 60_000)
    assert [node for _, node, text in world.notices if "may have colluded" in text] == [honest]


def test_row_56_nothing_qualifies_and_the_committee_does_not_stay(figure: Figure) -> None:
    """Given a committee that finds nothing good, then its rounds are empty: at first it stays, from the third on those who offer are
    drawn, later its seats go to those who were packed before, and they go on."""
    world = a_world()
    first = set(committee_of(world))
    scoring(world, lambda node: world.cores[node].context.round in (0, 1, 2, 4))
    reach(world, 6, 120_000)
    segments = world.disks[next(iter(world.cores))].segments
    packed = [sum(update.offer is not None for update in segments[r].segment.updates) for r in range(1, 7)]
    assert packed[:3] == [0, 0, 0]
    assert packed[3:] == [6, 0, 6]
    committees = [{*segments[r].segment.model_header.model.committee} for r in range(1, 7)]  # type: ignore[union-attr]
    assert committees[0] & first, "of the genesis' committee, whose first beacons some did not hear, who was seen stays"
    assert committees[1] == committees[0], "nobody was ever packed"
    assert not committees[2] & committees[1], "none of three rounds packed anybody: whoever else offers is drawn"
    judged = {open_envelope(update.offer, (Offer,)).author for update in segments[4].segment.updates if update.offer is not None}
    assert committees[3] <= judged
    assert committees[4] <= judged, "the empty round forgets no merit"
    assert committees[4] != committees[3]
    figure(56, world.now / 6 / 1_250, 2, "T0 a round, half of them empty")
    one_state(world)


def forged(world: World, round_: int, parent: Certificate) -> CertifiedSegment:
    """Another block for an old round, rightly certified with the keys of the committee that held its seats then."""
    true = next(disk.segments[round_].segment for disk in world.disks.values() if round_ in disk.segments)
    model = replace(true.model_header, time=Millis(true.model_header.time + 1))
    segment = replace(true, headers=(*true.headers[:-1], model))
    body = Commit(parent.chain, parent.round, parent.epoch, parent.view, parent.parent, parent.committee, header_hash(model))
    signers = [world.identities[node] for node, _ in parent.signatures]
    return CertifiedSegment(segment, certificate_of([seal(body, signer) for signer in signers]))


@pytest.mark.parametrize("syncing", [False, True], ids=["in a round", "while it catches up"])
def test_row_48_a_fork_signed_with_old_keys_is_refused(syncing: bool, figure: Figure) -> None:
    """Given the keys of the committee of round 2, when a node at round 6 is shown another round 3, then its head stays."""
    world = a_world()
    reach(world, 6, 60_000)
    node = next(iter(world.cores))
    core, disk = world.cores[node], world.disks[node]
    liar = committee_of(world)[-1] if committee_of(world)[-1] != node else committee_of(world)[0]
    fork = forged(world, 3, disk.segments[3].certificate)
    before, accepted = disk.head, 0
    if syncing:
        world.feed(node, SyncChanged(active=True))
    for event in (MessageReceived(Announcement(fork.certificate), liar), SegmentFetched(fork, liar)):
        world.feed(node, event)
        accepted += disk.head != before or core.context.head_hash != before.hash
    if syncing:
        world.feed(node, SyncChanged(active=False))
    figure(48, accepted, 0, "accepted")


def test_row_48_old_keys_certify_nothing_on_top_of_the_head(figure: Figure) -> None:
    """Given those keys, when they sign the block that follows the head, then its certificate is refused: they hold no seats."""
    world = a_world()
    reach(world, 6, 60_000)
    node = next(iter(world.cores))
    context = world.cores[node].context
    old = world.disks[node].segments[3].certificate
    body = Commit(old.chain, context.round, old.epoch, old.view, context.head_hash, context.instance.committee_hash, old.digest)
    certificate = certificate_of([seal(body, world.identities[signer]) for signer, _ in old.signatures])
    with pytest.raises(Exception, match="has no seat in round 6"):
        verify_certificate(certificate, context.instance, world.verified.verify_once)
    before = world.disks[node].head
    world.feed(node, MessageReceived(Announcement(certificate), committee_of(world)[0]))
    figure(48, world.disks[node].head != before, 0, "accepted")
    assert [blame.rejection.value for blame in world.blames][-1] == "bad_certificate"


def test_row_25_a_node_that_is_shown_the_other_certificate_halts_and_keeps_the_proof(figure: Figure) -> None:
    """Given a quorum that signed two blocks in one view, when a node hears of the other, then it stops and names who signed both."""
    world = a_world()
    reach(world, 3, 60_000)
    node, liar = list(world.cores)[:2]
    core = world.cores[node]
    other = forged(world, 3, world.disks[node].segments[3].certificate).certificate
    wrong = replace(other, signatures=((other.signatures[0][0], Signature(bytes(64))), *other.signatures[1:]))
    refused = core.handle(MessageReceived(Announcement(wrong), liar), world.instant())
    assert [type(effect) for effect in refused] == [Blame], "a forged certificate stops nobody"
    effects = core.handle(MessageReceived(Announcement(other), liar), world.instant())
    accused = {r.operation.author for e in effects if isinstance(e, Persist) for r in e.records if isinstance(r, OperationRecord)}
    signers = {author for author, _ in other.signatures}
    assert accused == signers
    assert isinstance(effects[-1], Halt)
    assert all(short(author) in effects[-1].text for author in signers)
    figure(25, len(accused - signers), 0, "innocents blamed")


def test_row_25_a_contradiction_is_seen_while_the_decided_segment_is_still_on_its_way() -> None:
    """Given a certificate of the running round whose segment has not come, when its contradiction comes, then the node stops."""
    world = a_world()
    reach(world, 2, 60_000)
    late, liar = a_trainer(world), committee_of(world)[0]
    world.drop = lambda _s, r, _n: r == late
    reach(world, 3, 60_000, [node for node in world.cores if node != late])
    core, true = world.cores[late], world.disks[liar].segments[3].certificate
    assert core.context.round == 2
    core.handle(MessageReceived(Announcement(true), liar), world.instant())
    assert pending_certificate(core) == true
    assert core.handle(MessageReceived(Announcement(true), liar), world.instant()) == [], "the same again is no contradiction"
    effects = core.handle(MessageReceived(Announcement(forged(world, 3, true).certificate), liar), world.instant())
    assert isinstance(effects[-1], Halt)


def test_row_25_a_contradiction_in_a_recovered_round_is_seen() -> None:
    """Given a round that managers gave another committee, when that one certifies two blocks, then a node stops and blames no bearer."""
    world, dead = stuck()
    sign(world, a_recovery(world, dead))
    reach(world, 3, 60_000)
    node, liar = list(world.cores)[:2]
    ours = last_certificate(world.cores[node])
    assert ours is not None
    assert (ours.round, ours.epoch) == (2, 1)
    other = Announcement(forged(world, 3, ours).certificate)
    effects = world.cores[node].handle(MessageReceived(other, liar), world.instant())
    assert not [effect for effect in effects if isinstance(effect, Blame)]
    assert isinstance(effects[-1], Halt)


def test_row_25_who_stands_on_another_block_is_shown_our_certificate() -> None:
    """Given a member of the other branch, when its beacon comes, then the certificate that contradicts its own is said."""
    world = a_world()
    reach(world, 3, 60_000)
    node, other = list(world.cores)[:2]
    core = world.cores[node]
    world.drop = lambda _s, r, _n: r == node  # it answers at most once every T0
    world.run_until(lambda: False, 2 * 1_250)
    context = core.context
    round_of(core).collection.beacons.discard(other)  # on its branch it has said nothing that counts on ours
    body = Beacon(
        context.state.chain, core.context.round, context.state.epoch, Digest(bytes(32)), context.instance.committee_hash
    )
    effects = core.handle(MessageReceived(seal(body, world.identities[other]).envelope, other), world.instant())
    assert Send(Announcement(last_certificate(core))) in effects  # type: ignore[arg-type]


def punished(world: World, node: NodeId) -> int:
    """The round in which a node was punished, by the newest ledger; NEVER if it wasn't."""
    state = max((disk.head.state for disk in world.disks.values()), key=lambda state: state.round)
    return next(account.punished_round for account in state.accounts if account.node == node)


def test_row_44_two_offers_cost_seat_and_deposit_within_the_round(figure: Figure) -> None:
    """Given a trainer that signs two offers, when the committee has seen both, then the round's own block punishes it, and nobody else."""
    world = a_world()
    reach(world, 2, 60_000)
    context = world.cores[committee_of(world)[0]].context
    liar = world.identities[a_trainer(world)]
    world.kill(liar.node_id)
    label = update_label(context.state.chain, context.round, liar.node_id)
    size, place = payload_size(world.genesis.task.tensors, label), context.state
    for member in context.committee:
        for number in (1, 2):
            body = Offer(
                chain=place.chain,
                round=place.round,
                epoch=place.epoch,
                parent=context.head_hash,
                committee=context.instance.committee_hash,
                blob=BlobRef(Digest(bytes([number]) * 32), size),
                samples=100,
            )
            world.feed(member, MessageReceived(seal(body, liar).envelope, liar.node_id))
    reach(world, 4, 60_000)
    figure(44, punished(world, liar.node_id) - 2, 0, "rounds until the punishment")
    assert [node for node in world.identities if punished(world, node) != NEVER] == [liar.node_id]
    one_state(world)


def test_row_44_whoever_restarts_and_says_its_offer_and_card_again_is_never_punished(figure: Figure) -> None:
    """Given every node killed once after it spoke and started again, then nobody is punished."""
    world = a_world()
    reach(world, 1, 60_000)
    for node in list(world.identities):
        world.run_until(lambda: False, 270)
        world.kill(node)
        world.start(node)
    reach(world, max(world.rounds()) + 2, 60_000)
    figure(44, sum(punished(world, node) != NEVER for node in world.identities), 0, "honest nodes punished for a restart")


def test_row_5_a_leader_that_signs_two_pre_prepares_is_punished_by_an_honest_one(figure: Figure) -> None:
    """Given a leader that shows two proposals, then at most one is decided and the first block by an honest leader punishes it."""
    world = a_world()
    reach(world, 2, 60_000)
    leader = leader_in(world)
    identity, answer = world.identities[leader], world.answer

    def two(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        yield from answer(node, effect)
        if node == leader and isinstance(effect, Send) and isinstance(effect.message, JustifiedPrePrepare):
            body = open_envelope(effect.message.pre_prepare, (PrePrepare,)).body
            other = seal(replace(body, digest=Digest(bytes(32))), identity).envelope
            yield from answer(node, replace(effect, message=replace(effect.message, pre_prepare=other)))

    world.answer = two  # type: ignore[method-assign]
    reach(world, 5, 60_000)
    segments = world.disks[leader].segments
    assert punished(world, leader) != NEVER
    honest = next(
        r for r in range(3, 6) if segments[r].certificate.view > 0 or segments[r].certificate.round > 2
    )  # the first block that another leader made
    figure(5, punished(world, leader) + 1 - honest, 0, "blocks later than the first by an honest leader")
    one_state(world)

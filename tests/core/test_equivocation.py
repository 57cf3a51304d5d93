"""What a node does with a lie that it has found or was told of: checked, durable, said, carried on; and what a proposal needs."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bflcd.core.core import Core
from bflcd.core.effects import Blame, Effect, FetchOperations, Notice, Persist, Send
from bflcd.core.events import EnvelopesFetched, Event, MessageReceived, OperationsFetched, SegmentFetched, Started
from bflcd.core.node_events import EventKind
from bflcd.core.records import OperationRecord, RoundRecords
from bflcd.core.signing_guard import SigningGuard
from bflcd.errors import Rejection
from bflcd.ledger.operations.evidence import evidence_of
from bflcd.types import Digest, Epoch, Millis, NodeId, Round, Signature, View
from bflcd.wire.envelope import seal
from bflcd.wire.messages import Prepare, ScoreCard
from bflcd.wire.operation import Operation, operation_id
from bflcd.wire.proposal import Proposal, proposal_id
from tests.helpers.inside import pool_of
from tests.helpers.ledger import NO_PROOF
from tests.helpers.scenes import a_trainer, a_world, committee_of, leader_in, reach
from tests.helpers.world import World

NOTHING = RoundRecords(votes=(), prepared=(), own=(), proposals=())


def a_lie(world: World, liar: NodeId) -> Operation:
    """Two prepares of the running round, in one place."""
    core = next(iter(world.cores.values()))
    state, context = core.context.state, core.context
    place = (state.chain, state.round, state.epoch, View(3), context.head_hash, context.instance.committee_hash)
    pair = (seal(Prepare(*place, *(Digest(bytes([number]) * 32),) * 2), world.identities[liar]).envelope for number in (1, 2))
    return evidence_of(*pair)


def anew(world: World, node: NodeId) -> Core:
    """A fresh core on the node's disk; not started."""
    identity = world.identities[node]
    return Core(
        world.genesis,
        world.disks[node].head,
        identity,
        world.verified.verify_once,
        identity.seed,
        guard=SigningGuard(),
        train=True,
    )


def evidence_in(effects: list[Effect]) -> list[Effect]:
    """What of the effects is about evidence."""
    about = [e for e in effects if isinstance(e, Persist) and any(isinstance(r, OperationRecord) for r in e.records)]
    about += [e for e in effects if isinstance(e, Send) and isinstance(e.message, Operation)]
    return sorted(about, key=effects.index)


def test_what_a_peer_proves_is_durable_and_gossip_passes_it_on() -> None:
    """Nobody gossips anew what another has said: the mesh has passed that very message on."""
    world = a_world()
    node, peer, liar = sorted(world.cores)[:3]
    piece = a_lie(world, liar)
    effects = world.cores[node].handle(MessageReceived(piece, peer), world.instant())
    assert evidence_in(effects) == [Persist((OperationRecord(Round(0), piece),))]
    assert EventKind.EVIDENCE in [effect.type for effect in effects if isinstance(effect, Notice)]
    assert world.cores[node].handle(MessageReceived(piece, peer), world.instant()) == []
    other = evidence_of(
        piece.signed[0], seal(replace(a_prepare(world, liar), digest=Digest(b"c" * 32)), world.identities[liar]).envelope
    )
    assert evidence_in(world.cores[node].handle(MessageReceived(other, peer), world.instant())) == [], (
        "one against each is enough"
    )


def a_prepare(world: World, liar: NodeId) -> Prepare:
    context = world.cores[liar].context
    state = context.state
    place = (state.chain, state.round, state.epoch, View(3), context.head_hash, context.instance.committee_hash)
    return Prepare(*place, Digest(bytes(32)), Digest(bytes(32)))


@pytest.mark.parametrize("which", [0, 1])
def test_evidence_with_a_forged_message_convicts_nobody(which: int) -> None:
    """Given one true message and one that nobody signed, when a peer brings them, or gives them for a proposal, it is blamed."""
    world = a_world()
    node, peer, victim = sorted(world.cores)[:3]
    core, piece = world.cores[node], a_lie(world, victim)
    signed = list(piece.signed)
    signed[which] = replace(signed[which], signature=Signature(bytes(64)))
    forged = replace(piece, signed=tuple(signed))
    for event in (MessageReceived(forged, peer), OperationsFetched(Round(0), (forged,), peer)):
        effects = core.handle(event, world.instant())
        assert [(e.node, e.rejection) for e in effects if isinstance(e, Blame)] == [(peer, Rejection.BAD_SIGNATURE)]
        assert evidence_in(effects) == []
    assert len(pool_of(core)) == 0
    assert [e for e in core.handle(OperationsFetched(Round(0), (piece,), peer), world.instant()) if isinstance(e, Blame)] == []
    assert dict(pool_of(core)) == {operation_id(piece): piece}


def test_a_node_brings_no_evidence_against_itself() -> None:
    """Given two cards of our own key, as a peer gives them for a proposal, then we tell nobody; a second card of another is told."""
    world = a_world()
    me, other = committee_of(world)[:2]
    core = world.cores[me]
    state, context = core.context.state, core.context

    def cards(author: NodeId) -> EnvelopesFetched:
        place = (state.chain, state.round, state.epoch, context.head_hash, context.instance.committee_hash)
        lists = (tuple(sorted({author})), tuple(sorted({author, NodeId(a_trainer(world))})))
        sealed = (seal(ScoreCard(*place, None, None, (), present), world.identities[author]).envelope for present in lists)
        return EnvelopesFetched(Round(0), tuple(sealed), other)

    assert evidence_in(core.handle(cards(me), world.instant())) == []
    assert len(evidence_in(core.handle(cards(other), world.instant()))) == 2


def test_evidence_that_no_block_took_is_kept_and_said_in_the_next_round() -> None:
    world = a_world()
    node, peer, liar = a_trainer(world), *committee_of(world)[:2]
    piece, core = a_lie(world, liar), anew(world, node)
    reach(world, 1, 60_000)
    first = world.disks[peer].segments[1]
    core.handle(Started(NOTHING), world.instant())
    core.handle(MessageReceived(piece, peer), world.instant())
    effects = core.handle(SegmentFetched(first, peer), world.instant())
    assert core.context.round == 1
    assert evidence_in(effects) == [Persist((OperationRecord(Round(1), piece),)), Send(piece)]


def test_evidence_is_taken_up_again_after_a_restart() -> None:
    world = a_world()
    node, liar = sorted(world.cores)[:2]
    piece, core = a_lie(world, liar), anew(world, node)
    effects = core.handle(Started(replace(NOTHING, operations=(OperationRecord(Round(0), piece),))), world.instant())
    assert dict(pool_of(core)) == {operation_id(piece): piece}
    assert Send(piece) in effects


def told_the_leader_alone(world: World) -> Operation:
    """Evidence that the leader of the running round holds; all gossip of it is lost."""
    answer = world.answer

    def silent(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        return iter(()) if isinstance(effect, Send) and isinstance(effect.message, Operation) else answer(node, effect)

    world.answer = silent  # type: ignore[method-assign]
    piece = a_lie(world, a_trainer(world))
    world.feed(leader_in(world), MessageReceived(piece, piece.author))
    return piece


def test_a_member_without_the_evidence_of_a_proposal_gets_it_from_those_that_have_it() -> None:
    """Given evidence that reached the leader alone, then the others ask for it, and the leader's own view decides its block."""
    world = a_world()
    piece = told_the_leader_alone(world)
    asked: list[NodeId] = []
    answer = world.answer

    def listening(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        if isinstance(effect, FetchOperations):
            assert effect.ids == (operation_id(piece),)
            asked.append(node)
        return answer(node, effect)

    world.answer = listening  # type: ignore[method-assign]
    leader = leader_in(world)
    reach(world, 1, 60_000)
    certified = world.disks[leader].segments[1]
    assert (certified.segment.model.operations, certified.certificate.view) == ((piece,), 0)
    assert set(asked) >= set(world.genesis.committee[:1]) - {leader}
    assert leader not in asked


def test_a_block_with_evidence_that_was_found_right_outlives_a_restart() -> None:
    """Given a member that got a proposal's evidence for it and found the block right, when it restarts, then it holds it again."""
    world = a_world()
    piece = told_the_leader_alone(world)
    others = [node for node in committee_of(world) if node != leader_in(world)]

    def right() -> list[NodeId]:
        return [node for node in others if any(p.operations == (piece,) for p in world.disks[node].found(0).proposals)]

    assert world.run_until(lambda: bool(right()), 60_000)
    node = right()[0]
    assert world.disks[node].found(0).operations == (), "nobody told it, so its proposal has the only copy"
    world.kill(node)
    world.start(node)
    assert dict(pool_of(world.cores[node])) == {operation_id(piece): piece}


def test_proposals_that_differ_in_their_operations_are_two() -> None:
    one, other = (Digest(bytes([number]) * 32) for number in (1, 2))
    plain = Proposal(Epoch(0), View(0), NO_PROOF, Millis(1), (one,))
    keys = {proposal_id(replace(plain, operations=named)) for named in ((), (one,), (other,))}
    assert len(keys) == 3

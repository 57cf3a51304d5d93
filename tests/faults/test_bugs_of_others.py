"""Bugs that other chains had, under their names; docs/measurements/faults.md lists those whose test stands elsewhere."""

from dataclasses import replace

import pytest

from bflcd.consensus.effects import Decided
from bflcd.consensus.events import CardsReady
from bflcd.core.effects import Blame
from bflcd.core.events import MessageReceived, SegmentFetched, SyncChanged
from bflcd.ledger.quorum import faults, quorum
from bflcd.types import Round, Signature
from bflcd.wire.envelope import Envelope, seal
from bflcd.wire.messages import Beacon, Commit, Prepare
from tests.helpers.consensus import T0, Faults, Playbook, World, digest_of, make_instance, make_proposal, pre_prepare, vote
from tests.helpers.scenes import a_world, reach

I4 = make_instance()
A = make_proposal(1)
DA = digest_of(A)


@pytest.mark.parametrize("members", range(1, 65))
def test_celo_117_any_two_quorums_share_an_honest_member(members: int) -> None:
    """2f + 1 of a committee that isn't 3f + 1 lets two quorums share liars alone, or nobody."""
    q, f = quorum(members), faults(members)
    assert 2 * q - members > f, "what two quorums share is more than all liars"
    assert members - f >= q, "the honest are a quorum"


def test_celo_117_halves_of_six_decide_nothing() -> None:
    """Given six members split in halves, of which 2f + 1 = 3 would be a quorum, then neither half decides."""
    world = World(6, 1, Faults(heal=20_000, groups=(frozenset({0, 1, 2}), frozenset({3, 4, 5}))))
    world.run(19_000)
    assert world.decided == {}


def test_fisco_fib_127_a_certificate_is_verified_when_it_comes_by_catching_up() -> None:
    """Given a node that catches up, when a segment comes whose certificate has one wrong signature, then it isn't committed."""
    world = a_world()
    reach(world, 2, 60_000)
    behind = next(iter(world.cores))
    world.kill(behind)
    reach(world, 4, 60_000)
    other = next(iter(world.cores))
    world.start(behind)
    true = world.disks[other].segments[world.round_of(behind) + 1]
    (first, _), *rest = true.certificate.signatures
    wrong = replace(true.certificate, signatures=((first, Signature(bytes(64))), *rest))
    world.feed(behind, SyncChanged(active=True))
    before = world.round_of(behind)
    world.feed(behind, SegmentFetched(replace(true, certificate=wrong), other))
    assert world.round_of(behind) == before
    assert world.blames[-1].rejection.value == "bad_certificate"
    world.feed(behind, SegmentFetched(true, other))
    assert world.round_of(behind) == before + 1


def test_fisco_fib_136_an_exception_in_a_cryptographic_call_does_not_end_the_loop() -> None:
    """Given signatures and keys of any shape, when they come as gossip, then each is refused as a bad one and the node goes on."""
    world = a_world()
    reach(world, 1, 60_000)
    node, author = list(world.cores)[:2]
    core = world.cores[node]
    context = core.context
    round_, state = Round(context.round + 1), context.state
    body = Beacon(state.chain, round_, state.epoch, context.head_hash, context.instance.committee_hash)
    true = seal(body, world.identities[author]).envelope
    for signature in (bytes(64), b"\xff" * 64, true.signature[:32] + b"\xff" * 32):
        effects = core.handle(MessageReceived(Envelope(true.author, true.payload, Signature(signature)), author), world.instant())
        assert [effect.rejection.value for effect in effects if isinstance(effect, Blame)] == ["bad_signature"]
    reach(world, 3, 60_000)


@pytest.mark.parametrize("views", [1, 12, 40])
def test_hyperspace_1_3_8_no_timeout_lowers_the_quorum(views: int) -> None:
    """Given any number of views that expired, then q - 1 commits decide nothing and q do."""
    play = Playbook(0)
    play.give_all([CardsReady(), pre_prepare(I4, 0, A)])
    for _ in range(views):
        play.wait(16 * T0)
    votes = [vote(I4, seat, kind, 0, digest=DA) for kind in (Prepare, Commit) for seat in (1, 2)]
    assert not [effect for effect in play.give_all(votes) if isinstance(effect, Decided)]
    assert [effect for effect in play.give(vote(I4, 3, Commit, 0, digest=DA)) if isinstance(effect, Decided)]

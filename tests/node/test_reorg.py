"""A node that committed what a recovery then gave to another committee: it archives its blocks and follows (design 6.8)."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bflcd.core.events import Event
from bflcd.core.signing_guard import SigningGuard
from bflcd.errors import Rejection
from bflcd.ledger.operations.recovery import judged_from
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.ledger.transition import apply
from bflcd.net.verified import VerifiedEnvelopes
from bflcd.node.following import Follower, RoundClaims
from bflcd.node.recovery.reorg import SupersededError, find_other, state_at, take_back
from bflcd.scheduler import ASYNCIO
from bflcd.store.block_store import BlockStore
from bflcd.store.memory import MemoryStore
from bflcd.store.sqlite import SqliteStore
from bflcd.types import NodeId, Round
from bflcd.wire.blocks import CertifiedHeader, CertifiedSegment
from bflcd.wire.requests import GetHeaders, Headers
from tests.core.test_recovery import a_recovery, sign, stuck
from tests.helpers.world import World

VERIFY = VerifiedEnvelopes().verify_once
FORKED = 3
"""The first round whose model the two chains don't share."""


def chains() -> tuple[World, list[CertifiedSegment], list[CertifiedSegment]]:
    """What a lonely node has committed (rounds 1 to 4, epoch 0), and what the others have after a recovery of round 2 (to 6)."""
    lonely, _ = stuck()
    for node in lonely.identities:
        if node not in lonely.cores:
            lonely.start(node)  # here nobody died: the old committee's word got through
    assert lonely.run_until(lambda: min(lonely.rounds()) >= 4, 60_000)
    others, dead = stuck()
    sign(others, a_recovery(others, dead))
    assert others.run_until(lambda: min(others.rounds()) >= 6, 60_000)
    ours, theirs = (world.disks[next(iter(world.cores))].segments for world in (lonely, others))
    assert ours[2].certificate.digest == theirs[2].certificate.digest
    assert ours[FORKED].certificate.digest != theirs[FORKED].certificate.digest
    return others, [ours[r] for r in range(1, 5)], [theirs[r] for r in range(1, 7)]


class Peer:
    """Answers for headers of a chain."""

    def __init__(self, segments: list[CertifiedSegment]) -> None:
        self.segments = segments

    async def ask(self, _peer: NodeId, request: GetHeaders, *, deadline: float) -> Headers:
        assert deadline > 0
        found = self.segments[request.first - 1 : request.first - 1 + request.count]
        return Headers(tuple(CertifiedHeader(s.segment.model_header, s.certificate) for s in found))


async def filled(store: BlockStore, world: World, segments: list[CertifiedSegment]) -> None:
    await store.initialise(world.genesis, genesis_header(world.genesis), genesis_state(world.genesis))
    for segment in segments:
        await store.commit(segment, await _after(store, segment))


async def _after(store: BlockStore, segment: CertifiedSegment) -> object:
    head = await store.head()
    genesis = await store.genesis()
    assert genesis is not None
    return apply(genesis.params, judged_from(head.state, segment), head.header, segment.segment, lambda _: True)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path):
    made = MemoryStore() if request.param == "memory" else await SqliteStore.open(tmp_path)
    yield made
    await made.close()


async def test_the_higher_epoch_supersedes_and_the_blocks_are_archived_and_replaced(store: BlockStore) -> None:
    """Given blocks that a recovery superseded, when a peer proves it, then they are taken back and the others' take their place."""
    world, ours, theirs = chains()
    await filled(store, world, ours)
    before = await store.head()
    found = await find_other(Peer(theirs), store, NodeId(bytes(32)), world.genesis, VERIFY)
    assert found is not None
    assert found.supersedes
    assert found.theirs.header.round == FORKED
    error = await take_back(store, found.theirs)
    assert isinstance(error, SupersededError)
    assert "epoch 1" in str(error)
    head = await store.head()
    assert head.header.round == FORKED - 1
    assert head.state == await state_at(store, Round(FORKED - 1))
    assert await store.segment(Round(FORKED)) is None
    for segment in theirs[FORKED - 1 :]:
        await store.commit(segment, await _after(store, segment))
    assert (await store.head()).header.round == 6
    assert (await store.head()).hash != before.hash
    assert await store.check(deep=True) == ()


async def test_a_lower_epoch_and_forged_headers_take_nothing_back(store: BlockStore) -> None:
    world, ours, theirs = chains()
    await filled(store, world, theirs)
    found = await find_other(Peer(ours), store, NodeId(bytes(32)), world.genesis, VERIFY)
    assert found is not None
    assert (found.supersedes, found.contradicts) == (False, False)
    head = await store.head()
    recovery = theirs[FORKED - 1].certificate.recovery
    assert recovery is not None
    alone = replace(recovery, signatures=recovery.signatures[:1])
    forged = replace(theirs[FORKED - 1], certificate=replace(theirs[FORKED - 1].certificate, recovery=alone))
    other = MemoryStore()
    await filled(other, world, ours)
    liar = Peer([*theirs[: FORKED - 1], forged, *theirs[FORKED:]])
    assert await find_other(liar, other, NodeId(bytes(32)), world.genesis, VERIFY) is None
    assert (await store.head()) == head


async def test_the_same_chain_supersedes_nothing(store: BlockStore) -> None:
    world, ours, _ = chains()
    await filled(store, world, ours)
    assert await find_other(Peer(ours), store, NodeId(bytes(32)), world.genesis, VERIFY) is None


async def test_the_follower_finds_it_when_a_peers_headers_do_not_follow_ours(store: BlockStore) -> None:
    """Given a running core on superseded blocks, when it catches up from a peer, then it stops taking part and starts anew."""
    world, ours, theirs = chains()
    await filled(store, world, ours)
    core = next(iter(world.cores.values()))
    settled: list[Event] = []

    async def settle(event: Event) -> None:
        settled.append(event)

    punished: list[tuple[NodeId, Rejection]] = []
    claims = RoundClaims(lambda: None)
    claims.note(NodeId(bytes(32)), Round(6))
    follower = Follower(
        core,
        claims,
        inbox=SimpleNamespace(settle=settle),
        exchange=Peer(theirs),
        store=store,
        fetch=SimpleNamespace(),
        verify=VERIFY,
        scheduler=ASYNCIO,
        on_progress=lambda *_: None,
        signing=SigningGuard(),
        on_misbehaviour=lambda node, rejection, _text: punished.append((node, rejection)),
    )
    head = await store.head()
    with pytest.raises(SupersededError):
        await follower._chain_sync.run(head.header, claims.all)
    assert punished == [], "the peer told the truth"
    assert len(settled) == 1
    assert (await store.head()).header.round == FORKED - 1


async def test_the_ledger_is_computed_again_through_a_round_that_managers_gave_away() -> None:
    """Given a chain with a recovered round in it, then the ledger of any later model follows from the blocks alone."""
    world, _, theirs = chains()
    store = MemoryStore()
    await filled(store, world, theirs)
    assert await state_at(store, Round(6)) == (await store.head()).state


async def test_what_cannot_be_computed_again_is_refused(store: BlockStore) -> None:
    world, ours, _ = chains()
    await filled(store, world, ours[:2])
    with pytest.raises(ValueError, match="to return to"):
        await store.rewind(Round(7), (await store.head()).state)
    with pytest.raises(ValueError, match="state"):
        await store.rewind(Round(1), (await store.head()).state)

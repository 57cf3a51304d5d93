"""Managers that change while rounds run: a recovery by those who manage now, and whoever verifies it later, from whatever is held."""

from functools import cache

import pytest

from bflcd.core.events import RecoverySigned
from bflcd.core.signing_guard import SigningGuard
from bflcd.inspect.chain_check import VerifyReport, verify_store
from bflcd.ledger.operations.recovery import judged_from
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.ledger.transition import apply
from bflcd.net.sync import ChainSync, NotYetJudgedError
from bflcd.net.verified import VerifiedEnvelopes
from bflcd.node.following import Follower, RoundClaims
from bflcd.node.recovery.reorg import managers_at, state_at
from bflcd.scheduler import ASYNCIO
from bflcd.store.memory import MemoryStore
from bflcd.types import NodeId, Round
from bflcd.wire.blocks import CertifiedHeader
from bflcd.wire.governance import Appoint, Dismiss
from tests.core.test_alliance import ledger, says
from tests.core.test_recovery import a_recovery
from tests.helpers.ledger import make_genesis
from tests.helpers.scenes import T0, one_state, reach
from tests.helpers.world import World

VERIFY = VerifiedEnvelopes().verify_once


@cache
def changed() -> tuple[World, NodeId, NodeId, int]:
    """Ten members of whom one of four managers has gone and another member manages, then a round that these managers gave away; a node
    that slept through it all; who came, who went, the round."""
    genesis, identities = make_genesis(nodes=10, committee=4, places=6, view_timeout=T0)
    world = World(genesis, identities)
    world.start_all()
    reach(world, 2, 60_000)
    sleeper = identities[9].node_id
    world.kill(sleeper)
    says(world, identities[0], Dismiss, node=identities[0].node_id, reason="")
    for manager in identities[1:4]:
        says(world, manager, Appoint, node=identities[8].node_id)
    came, went = identities[8].node_id, identities[0].node_id
    assert ledger(world).managers == tuple(sorted((came, *(one.node_id for one in identities[1:4]))))
    round_ = one_round(world)
    committee = next(iter(world.cores.values())).context.committee
    managing = set(ledger(world).managers)
    dead = sorted((node for node in committee if node != went), key=lambda node: node in managing)[:2]
    for node in dead:
        world.kill(node)
    assert not world.run_until(lambda: min(world.rounds()) > round_, 60_000)
    recovery = a_recovery(world, dead)
    signers = sorted((node for node in managing if node in world.cores), key=lambda node: (node != came, node))
    world.feed(went, RecoverySigned(recovery, None))
    for node in signers[:3]:
        assert not world.cores[node].recovery_refusal(recovery)
        world.feed(node, RecoverySigned(recovery, None))
    assert any("is not signed" in text for _, node, text in world.notices if node == went), "who was dismissed signs none"
    assert world.run_until(lambda: min(world.rounds()) >= round_ + 3, 120_000)
    return world, came, went, round_


def one_round(world: World) -> int:
    """Let all reach one and the same round."""
    last = max(world.rounds())
    assert world.run_until(lambda: min(world.rounds()) >= last, 60_000)
    assert set(world.rounds()) == {last}
    return last


async def filled(world: World, until: int) -> MemoryStore:
    """What a node has that holds the rounds up to one."""
    store, genesis = MemoryStore(), world.genesis
    await store.initialise(genesis, genesis_header(genesis), genesis_state(genesis))
    segments = world.disks[next(iter(world.cores))].segments
    for number in range(1, until + 1):
        head = await store.head()
        before = judged_from(head.state, segments[number])
        state = apply(genesis.params, before, head.header, segments[number].segment, lambda _: True)
        await store.commit(segments[number], state)
    return store


def test_who_manages_now_gives_a_round_away_and_who_was_dismissed_does_not() -> None:
    world, came, went, round_ = changed()
    node = next(iter(world.cores))
    certified = world.disks[node].segments[round_ + 1].certificate
    assert certified.recovery is not None
    signers = {manager for manager, _ in certified.recovery.signatures}
    assert signers <= set(ledger(world).managers)
    assert came in signers
    assert went not in signers


def test_a_node_that_slept_follows_to_the_same_ledger() -> None:
    world, *_ = changed()
    sleeper = next(node for node in world.identities if node not in world.cores and world.round_of(node) < 4)
    world.start(sleeper)
    world.catch_up(sleeper)
    assert world.round_of(sleeper) == max(world.rounds())
    one_state(world)


async def test_verify_and_a_rewound_store_know_who_managed_when() -> None:
    world, came, went, round_ = changed()
    store = await filled(world, round_ + 2)
    report = [item async for item in verify_store(store, deep=False)][-1]
    assert isinstance(report, VerifyReport)
    assert (report.findings, report.round) == ((), round_ + 2)
    for number in (0, 2, round_, round_ + 2):
        assert await managers_at(store, Round(number)) == (await state_at(store, Round(number))).managers
    assert went in await managers_at(store, Round(0))
    assert came in await managers_at(store, Round(round_))


def test_headers_are_taken_up_to_a_recovery_by_managers_that_the_rounds_between_have_made() -> None:
    """Given a node whose ledger has other managers, when a peer shows all headers, then those before the recovery are proved, nobody is to
    blame, and the recovery is proved once the rounds before it are applied."""
    world, _, _, round_ = changed()
    fresh = World(world.genesis, list(world.identities.values()))
    node = next(iter(fresh.identities))
    fresh.start(node)
    core = fresh.cores[node]
    follower = Follower(
        core,
        RoundClaims(lambda: None),
        inbox=None,  # type: ignore[arg-type]
        exchange=None,  # type: ignore[arg-type]
        store=MemoryStore(),
        fetch=None,  # type: ignore[arg-type]
        verify=VERIFY,
        scheduler=ASYNCIO,
        on_misbehaviour=lambda *_: None,
        on_progress=lambda *_: None,
        signing=SigningGuard(),
    )
    syncing: ChainSync = follower._chain_sync
    segments = world.disks[next(iter(world.cores))].segments
    shown = [CertifiedHeader(segments[n].segment.model_header, segments[n].certificate) for n in range(1, round_ + 3)]
    proven, wrong = syncing._prove(core.context.head_header, shown)
    assert (len(proven), wrong) == (round_, None)
    with pytest.raises(NotYetJudgedError):
        follower._verify_header(shown[round_], shown[round_ - 1].header)
    fresh.disks[node].segments |= {n: segments[n] for n in range(1, round_ + 1)}
    fresh.decided = dict(world.decided)
    ahead = fresh.disks[next(other for other in fresh.identities if other != node)]
    ahead.segments, ahead.head = segments, world.disks[next(iter(world.cores))].head
    fresh.catch_up(node)
    assert fresh.round_of(node) == ahead.head.state.round, "as the chain goes on, each by its own managers"

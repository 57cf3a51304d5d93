"""Recovery by managers over whole cores in virtual time (design 6.8; row 23 of the fault catalogue)."""

from dataclasses import replace

import pytest

from bflcd.crypto.identity import Identity
from bflcd.node.effects import Halt, Notice, Persist
from bflcd.node.events import Heard, RecoverySigned
from bflcd.node.services import highest_proof
from bflcd.types import Epoch, NodeId
from bflcd.wire.envelope import seal
from bflcd.wire.recovery import PreparedProof, Recovery, RecoveryCertificate, claim_of
from tests.helpers.ledger import make_genesis
from tests.helpers.world import World

T0 = 1_250


def stuck(seed: int = 0, nodes: int = 10, stop_at: int = 2) -> tuple[World, list[NodeId]]:
    """A community of which f + 1 seats of round `stop_at` have died for ever, with three of its four managers alive."""
    genesis, identities = make_genesis(nodes=nodes, committee=4, places=6)
    world = World(genesis, identities, seed)
    world.start_all()
    assert world.run_until(lambda: min(world.rounds()) >= stop_at, 60_000)
    committee = next(iter(world.cores.values())).situation.committee
    dead = [node for node in committee if node not in genesis.managers][:2]
    dead += [node for node in committee if node not in dead][: 2 - len(dead)]
    for node in dead:
        world.kill(node)
    return world, dead


def a_recovery(world: World, dead: list[NodeId], epoch: int = 1, proof: PreparedProof | None = None) -> Recovery:
    situation = next(iter(world.cores.values())).situation
    alive = [node for node in sorted(world.cores) if node not in dead]
    return Recovery(
        chain=situation.state.chain,
        round=situation.round,
        epoch=Epoch(epoch),
        parent=situation.head_hash,
        committee=tuple(alive[:4]),
        retired=tuple(sorted(dead)),
        prepared=None if proof is None else claim_of(proof),
    )


def managers(world: World) -> list[NodeId]:
    return [node for node in world.genesis.managers if node in world.cores]


def sign(world: World, recovery: Recovery, proof: PreparedProof | None = None, by: list[NodeId] | None = None) -> None:
    for manager in managers(world)[:3] if by is None else by:
        world.feed(manager, RecoverySigned(recovery, proof))


@pytest.mark.parametrize("seed", range(10))
def test_row_23_more_than_f_leave_for_ever_and_a_quorum_of_managers_lets_the_round_go_on(seed: int) -> None:
    """Given f + 1 dead seats, when 3 of 4 managers sign a new committee, then the round closes within 3 T0 of the signing."""
    world, dead = stuck(seed)
    assert not world.run_until(lambda: min(world.rounds()) >= 3, 120_000), "without a quorum nothing is decided"
    sign(world, a_recovery(world, dead))
    before = world.now
    assert world.run_until(lambda: min(world.rounds()) >= 3, 3 * T0), world.notices[-20:]
    assert world.now - before <= 3 * T0
    assert world.run_until(lambda: min(world.rounds()) >= 8, 60_000), "and it goes on by itself"
    node = next(iter(world.cores))
    certified = world.disks[node].segments[3]
    assert certified.certificate.epoch == 1
    assert certified.certificate.recovery is not None
    for round_ in range(4, 9):
        header = world.disks[node].segments[round_].segment.model_header
        assert header.model is not None
        assert not set(header.model.committee) & set(dead), "who was declared gone gets no seat"
    assert {world.disks[n].segments[8].certificate.digest for n in world.cores} == {
        world.disks[node].segments[8].certificate.digest
    }


def test_two_of_four_managers_are_no_quorum() -> None:
    world, dead = stuck()
    sign(world, a_recovery(world, dead), by=managers(world)[:2])
    assert not world.run_until(lambda: max(world.rounds()) >= 3, 60_000)


def test_one_who_was_declared_gone_and_comes_back_gets_seats_again() -> None:
    world, dead = stuck()
    sign(world, a_recovery(world, dead))
    assert world.run_until(lambda: min(world.rounds()) >= 4, 30_000)
    for node in dead:
        world.start(node)
        world.catch_up(node)
    assert world.run_until(lambda: min(world.rounds()) >= 16, 120_000)
    seated = set()
    for round_ in range(8, 17):
        model = world.disks[dead[0]].segments[round_].segment.model_header.model
        assert model is not None
        seated |= set(model.committee)
    assert set(dead) <= seated


def prepared_and_stuck(seed: int) -> tuple[World, list[NodeId], PreparedProof]:
    """f + 1 seats die when somebody has prepared and no commit has arrived anywhere."""
    genesis, identities = make_genesis(nodes=10, committee=4, places=6)
    world = World(genesis, identities, seed)
    world.start_all()
    assert world.run_until(lambda: min(world.rounds()) >= 2, 60_000)

    def lost(_sender: NodeId, _receiver: NodeId, _now: int) -> bool:
        return False

    world.drop = lost
    post = world.post

    def no_commits(node: NodeId, event: object, after: int) -> None:
        message = getattr(event, "message", None)
        payload = getattr(message, "payload", b"")
        if isinstance(event, Heard) and payload[2:3] == bytes((35,)):
            return
        post(node, event, after)  # type: ignore[arg-type]

    world.post = no_commits  # type: ignore[method-assign]
    committee = next(iter(world.cores.values())).situation.committee

    def found() -> list[PreparedProof]:
        proofs = []
        for node in committee:
            if node in world.cores and world.round_of(node) == 2:
                proof = highest_proof(world.disks[node].head.state, world.disks[node].found(2))
                proofs += [proof] if proof is not None else []
        return proofs

    assert world.run_until(lambda: len(found()) >= 3, 60_000)
    proof = max(found(), key=lambda p: p.view)
    world.post = post  # type: ignore[method-assign]
    dead = [node for node in committee if node not in genesis.managers][:2]
    dead += [node for node in committee if node not in dead][: 2 - len(dead)]
    for node in dead:
        world.kill(node)
    return world, dead, proof


@pytest.mark.parametrize("seed", range(10))
def test_what_was_prepared_is_decided_as_it_stands_under_the_new_committee(seed: int) -> None:
    """Given a prepared segment and f + 1 dead seats, when managers name its proof, then exactly that segment is decided."""
    world, dead, proof = prepared_and_stuck(seed)
    if max(world.rounds()) > 2:
        pytest.skip("this seed decided it before")
    recovery = a_recovery(world, dead, proof=proof)
    sign(world, recovery, proof)
    assert world.run_until(lambda: min(world.rounds()) >= 3, 30_000), world.notices[-20:]
    for node in world.cores:
        certified = world.disks[node].segments[3]
        assert certified.certificate.digest == proof.digest
        assert certified.certificate.epoch == 1
        assert certified.segment.model_header.model is not None
        assert certified.segment.model_header.model.epoch == 0, "it keeps the epoch of its first proposal"


def test_the_old_epoch_is_dead_and_who_missed_the_recovery_is_told() -> None:
    """Given a node that was cut off while managers signed, when it is back, then it follows the new epoch."""
    world, dead = stuck()
    late = next(node for node in sorted(world.cores) if node not in managers(world))
    recovery = a_recovery(world, [*dead, late])
    recovery = replace(recovery, retired=tuple(sorted(dead)))
    world.drop = lambda sender, receiver, _: late in (sender, receiver)
    sign(world, recovery)
    assert world.run_until(lambda: max(world.rounds()) >= 3, 20_000)
    world.drop = lambda *_: False
    assert world.run_until(lambda: min(world.rounds()) >= 5, 60_000)
    assert not [blame for blame in world.blames if blame.node in world.cores]


def test_a_restart_in_the_new_epoch_keeps_to_it() -> None:
    world, dead = stuck(3)
    recovery = a_recovery(world, dead)
    sign(world, recovery)
    world.run_until(lambda: False, 40)
    for node in list(world.cores):
        world.kill(node)
        world.start(node)
    assert world.run_until(lambda: min(world.rounds()) >= 3, 60_000)
    assert world.disks[next(iter(world.cores))].segments[3].certificate.epoch == 1


def test_two_recoveries_of_one_epoch_halt_the_node_loudly_also_after_a_restart() -> None:
    world, dead = stuck()
    keys = world.identities
    one = a_recovery(world, dead)
    other = replace(one, committee=tuple(reversed(one.committee)))
    node = managers(world)[0]
    world.feed(node, Heard(certified(keys, one, managers(world)), node))
    core = world.cores[node]
    effects = core.handle(Heard(certified(keys, other, managers(world)), node), world.instant())
    assert [type(effect) for effect in effects] == [Persist, Halt]
    world.carry_out(node, effects)
    world.kill(node)
    seen: list[object] = []
    carry_out = world.carry_out
    world.carry_out = lambda node, effects: (seen.extend(effects), carry_out(node, effects))  # type: ignore[assignment, func-returns-value]
    world.start(node)
    assert any(isinstance(effect, Halt) for effect in seen)


def certified(keys: dict[NodeId, Identity], recovery: Recovery, by: list[NodeId]) -> RecoveryCertificate:
    signatures = tuple(sorted((manager, seal(recovery, keys[manager]).envelope.signature) for manager in by[:3]))
    return RecoveryCertificate(recovery, None, signatures)


def test_a_manager_signs_no_lower_or_equal_epoch_and_votes_no_more_in_the_old_one() -> None:
    world, dead = stuck()
    manager = managers(world)[0]
    core = world.cores[manager]
    recovery = a_recovery(world, dead, epoch=3)
    world.feed(manager, RecoverySigned(recovery, None))
    assert core.recoveries.signed == 3
    assert not core.may_sign
    for epoch in (1, 3):
        again = replace(recovery, epoch=Epoch(epoch), committee=tuple(reversed(recovery.committee)))
        effects = core.handle(RecoverySigned(again, None), world.instant())
        assert [effect.type for effect in effects if isinstance(effect, Notice)] == ["recovery_refused"]
        assert len(effects) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": Epoch(0)},
        {"committee": (NodeId(bytes(32)),)},
        {"retired": (NodeId(bytes(32)),)},
        {"parent": b"x" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_recovery_that_does_not_fit_is_refused(change: dict[str, object]) -> None:
    world, dead = stuck()
    node = managers(world)[0]
    recovery = replace(a_recovery(world, dead), **change)  # type: ignore[arg-type]
    world.feed(node, Heard(certified(world.identities, recovery, managers(world)), node))
    assert world.cores[node].situation.recovery is None


def test_a_proof_that_does_not_hold_is_refused() -> None:
    world, dead, proof = prepared_and_stuck(1)
    node = managers(world)[0]
    short_proof = replace(proof, prepares=proof.prepares[:2])
    another = replace(proof, epoch=Epoch(0), committee=tuple(reversed(proof.committee)))
    for bad in (short_proof, another, replace(proof, digest=b"d" * 32)):
        recovery = a_recovery(world, dead, proof=bad)
        signatures = certified(world.identities, recovery, managers(world)).signatures
        world.feed(node, Heard(RecoveryCertificate(recovery, bad, signatures), node))
        assert world.cores[node].situation.recovery is None

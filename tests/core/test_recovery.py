"""Recovery by managers over whole cores in virtual time (design 6.8; row 23 of the fault catalogue)."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bflcd.core.effects import Blame, Effect, Halt, Notice, Persist, Send, Train
from bflcd.core.events import Event, Instant, MessageReceived, RecoverySigned, SegmentFetched
from bflcd.core.node_events import EventKind
from bflcd.core.records import RecoveryRecord
from bflcd.core.round.recovery_signatures import MAX_HELD
from bflcd.crypto.identity import Identity
from bflcd.errors import Rejection
from bflcd.node.services import highest_proof
from bflcd.types import Epoch, Millis, NodeId, Round
from bflcd.wire.envelope import seal
from bflcd.wire.messages import Announcement
from bflcd.wire.recovery import PreparedProof, Recovery, RecoveryCertificate, claim_hash
from tests.helpers.inside import round_of
from tests.helpers.ledger import make_genesis
from tests.helpers.proofs import claiming
from tests.helpers.world import World

T0 = 1_250


def stuck(seed: int = 0, nodes: int = 10, stop_at: int = 2, name: str = "test") -> tuple[World, list[NodeId]]:
    """A community of which f + 1 seats of round `stop_at` have died for ever, with three of its four managers alive."""
    genesis, identities = make_genesis(nodes=nodes, committee=4, places=6)
    world = World(replace(genesis, name=name), identities, seed)
    world.start_all()
    assert world.run_until(lambda: min(world.rounds()) >= stop_at, 60_000)
    committee = next(iter(world.cores.values())).context.committee
    dead = [node for node in committee if node not in genesis.managers][:2]
    dead += [node for node in committee if node not in dead][: 2 - len(dead)]
    for node in dead:
        world.kill(node)
    return world, dead


def a_recovery(world: World, dead: list[NodeId], epoch: int = 1, proof: PreparedProof | None = None) -> Recovery:
    context = next(iter(world.cores.values())).context
    alive = [node for node in sorted(world.cores) if node not in dead]
    return Recovery(
        chain=context.state.chain,
        round=context.round,
        epoch=Epoch(epoch),
        parent=context.head_hash,
        committee=tuple(alive[:4]),
        retired=tuple(sorted(dead)),
        prepared=None if proof is None else claim_hash(proof.claim),
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


def test_what_was_trained_is_offered_in_the_new_epoch_and_not_trained_again() -> None:
    world, dead = stuck()
    world.run_until(lambda: False, 4 * T0)
    before = {node for node, core in world.cores.items() if round_of(core).work.trained is not None}
    assert before
    again: set[NodeId] = set()
    answer = world.answer

    def watching(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        if isinstance(effect, Train) and effect.round == 2:
            again.add(node)
        return answer(node, effect)

    world.answer = watching  # type: ignore[method-assign]
    recovery = a_recovery(world, dead)
    sign(world, recovery)
    assert world.run_until(lambda: min(world.rounds()) >= 3, 60_000)
    assert not again & before
    updates = world.disks[next(iter(world.cores))].segments[3].segment.updates
    authors = {update.offer.author for update in updates if update.offer is not None}
    assert before - set(recovery.committee) <= authors


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
        if isinstance(event, MessageReceived) and payload[2:3] == bytes((35,)):
            return
        post(node, event, after)  # type: ignore[arg-type]

    world.post = no_commits  # type: ignore[method-assign]
    committee = next(iter(world.cores.values())).context.committee

    def found() -> list[PreparedProof]:
        proofs = []
        for node in committee:
            if node in world.cores and world.round_of(node) == 2:
                proof = highest_proof(world.disks[node].head.state, world.disks[node].found(2))
                proofs += [proof] if proof is not None else []
        return proofs

    assert world.run_until(lambda: len(found()) >= 3, 60_000)
    proof = max(found(), key=lambda p: p.claim.view)
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
        assert certified.certificate.digest == proof.claim.digest
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
    world.feed(node, MessageReceived(certified(keys, one, managers(world)), node))
    core = world.cores[node]
    effects = core.handle(MessageReceived(certified(keys, other, managers(world)), node), world.instant())
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
    assert round_of(core).recoveries.signed == 3
    assert not round_of(core).may_sign
    for epoch in (1, 3):
        again = replace(recovery, epoch=Epoch(epoch), committee=tuple(reversed(recovery.committee)))
        effects = core.handle(RecoverySigned(again, None), world.instant())
        assert [effect.type for effect in effects if isinstance(effect, Notice)] == [EventKind.RECOVERY_REFUSED]
        assert len(effects) == 1


def test_who_adopts_a_recovery_makes_it_durable_and_tells_all() -> None:
    """Given a node that hears of a quorum's recovery, then it is on its disk before it speaks of it, and it speaks of it to all."""
    world, dead = stuck()
    node, peer = sorted(world.cores)[:2]
    certificate = certified(world.identities, a_recovery(world, dead), managers(world))
    effects = world.cores[node].handle(MessageReceived(certificate, peer), world.instant())
    assert effects[:2] == [Persist((RecoveryRecord(Round(2), certificate),)), Send(certificate)]
    assert world.cores[node].context.recovery == certificate
    assert world.cores[node].handle(MessageReceived(certificate, peer), world.instant()) == [], "and only once"


def test_a_manager_remembers_for_which_epoch_it_has_signed_when_another_is_adopted() -> None:
    """Given a manager that signed for epoch 3, when the others give the round to epoch 1, then it signs nothing there."""
    world, dead = stuck()
    manager, *others = managers(world)
    world.feed(manager, RecoverySigned(a_recovery(world, dead, epoch=3), None))
    keys = sorted([*others, *(node for node in world.genesis.managers if node not in managers(world))])
    world.feed(manager, MessageReceived(certified(world.identities, a_recovery(world, dead), keys), others[0]))
    core = world.cores[manager]
    assert (core.context.state.epoch, round_of(core).recoveries.signed, round_of(core).may_sign) == (1, 3, False)
    again = replace(a_recovery(world, dead, epoch=2), retired=())
    effects = core.handle(RecoverySigned(again, None), world.instant())
    assert [effect.type for effect in effects if isinstance(effect, Notice)] == [EventKind.RECOVERY_REFUSED]


def test_who_speaks_in_an_epoch_that_is_over_is_shown_the_recovery_once_every_t0() -> None:
    """Given a node in epoch 1, when a member that missed the recovery speaks in epoch 0, then it is told; epoch 2 tells itself."""
    world, dead = stuck()
    node, late = sorted(world.cores)[:2]
    core, certificate = world.cores[node], certified(world.identities, a_recovery(world, dead), managers(world))
    core.handle(MessageReceived(certificate, late), world.instant())

    def told(epoch: int, after: int, before: int = 0) -> list[Effect]:
        now = Instant(Millis(world.now + after), Millis(world.now + after))
        beacon = replace(world.cores[late]._beacon(), epoch=Epoch(epoch), round=Round(core.context.round - before))
        return core.handle(MessageReceived(seal(beacon, world.identities[late]).envelope, late), now)

    assert told(2, T0) == []
    (answer,) = told(0, T0, before=1)
    assert isinstance(answer, Send)
    assert isinstance(answer.message, Announcement)
    assert told(0, T0, before=1) == []
    assert told(0, T0) == [Send(certificate, (late,))], "what it heard of the round before does not stand for this"
    assert told(0, 2 * T0 - 1) == []
    assert told(0, 2 * T0) == [Send(certificate, (late,))]


def test_a_certificate_of_an_epoch_that_a_recovery_has_ended_closes_nothing() -> None:
    """Given a round that managers gave away twice, when what epoch 1 decided is shown to a node in epoch 2, then it stays there."""
    decided, dead = stuck()
    sign(decided, a_recovery(decided, dead))
    assert decided.run_until(lambda: min(decided.rounds()) >= 3, 60_000)
    node, peer = sorted(decided.cores)[:2]
    late = decided.disks[peer].segments[3]
    world, _ = stuck()
    for epoch in (1, 2):
        world.feed(
            node, MessageReceived(certified(world.identities, a_recovery(world, dead, epoch=epoch), managers(world)), peer)
        )
    core = world.cores[node]
    assert (core.context.state.epoch, late.certificate.epoch, late.certificate.round) == (2, 1, 2)
    for event in (MessageReceived(Announcement(late.certificate), peer), SegmentFetched(late, peer)):
        effects = core.handle(event, world.instant())
        assert [(e.node, e.rejection) for e in effects if isinstance(e, Blame)] == [(peer, Rejection.WRONG_EPOCH)]
    assert core.context.round == 2


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
    world.feed(node, MessageReceived(certified(world.identities, recovery, managers(world)), node))
    assert world.cores[node].context.recovery is None


def test_a_proof_that_does_not_hold_is_refused() -> None:
    world, dead, proof = prepared_and_stuck(1)
    node = managers(world)[0]
    short_proof = replace(proof, prepares=proof.prepares[:2])
    another = claiming(proof, epoch=Epoch(0), committee=tuple(reversed(proof.claim.committee)))
    for bad in (short_proof, another, claiming(proof, digest=b"d" * 32)):
        recovery = a_recovery(world, dead, proof=bad)
        signatures = certified(world.identities, recovery, managers(world)).signatures
        world.feed(node, MessageReceived(RecoveryCertificate(recovery, bad, signatures), node))
        assert world.cores[node].context.recovery is None


def test_a_manager_that_does_not_know_what_it_signed_signs_no_recovery() -> None:
    """Given a manager whose disk is lost and who has not heard yet where the others stand, then it signs nothing."""
    world, dead = stuck()
    manager = managers(world)[0]
    recovery = a_recovery(world, dead)
    assert world.cores[manager].recovery_refusal(recovery) == ""
    world.kill(manager)
    world.start(manager, fresh=True, told=False)
    assert "not known for sure" in world.cores[manager].recovery_refusal(recovery)
    before = len(world.disks[manager].records.get(2, []))
    world.feed(manager, RecoverySigned(recovery, None))
    assert len(world.disks[manager].records.get(2, [])) == before


def test_whoever_learns_of_a_recovery_by_its_certificate_announces_in_the_turn_of_the_new_committee() -> None:
    """Given a member that gets a seat by a recovery it has not heard of, when it is shown the closed round, then its turn counts."""
    world, dead = stuck()
    old = next(iter(world.cores.values())).context.committee
    late = next(node for node in sorted(world.cores) if node not in old and node not in managers(world)[:3])
    others = [node for node in sorted(world.cores) if node != late][:3]
    recovery = replace(a_recovery(world, dead), committee=tuple(sorted([late, *others])))
    world.drop = lambda _from, to, _now: to == late
    sign(world, recovery)
    assert world.run_until(lambda: max(world.rounds()) >= 3, 60_000)
    certified = world.disks[next(node for node in world.cores if world.round_of(node) >= 3)].segments[3]
    assert certified.certificate.recovery is not None
    core = world.cores[late]
    effects = core.handle(SegmentFetched(certified, managers(world)[0]), world.instant())
    assert core.context.round == 3
    seats = recovery.committee
    turn = (seats.index(late) - certified.certificate.view) % len(seats)
    announced = [effect for effect in effects if isinstance(effect, Send) and isinstance(effect.message, Announcement)]
    assert bool(announced) == (turn == 0)
    due = core._certificates.deadline()
    assert due == (None if turn == 0 else world.now + T0 * turn // 8)


@pytest.mark.parametrize("first", [False, True], ids=["before the honest ones", "after them"])
def test_one_manager_that_signs_many_epochs_pushes_out_no_other(first: bool) -> None:
    """Given a manager that signs recoveries of the highest epochs there are, then what the others signed is held, and the next epoch
    is a low one."""
    world, dead = stuck()
    liar, *honest = managers(world)
    world.kill(liar)
    key = world.identities[liar]

    def flood() -> None:
        for number in range(2 * MAX_HELD):
            recovery = replace(a_recovery(world, dead), epoch=Epoch(2**32 - number))
            envelope = seal(recovery, key).envelope
            certificate = RecoveryCertificate(recovery, None, ((liar, envelope.signature),))
            for node in tuple(world.cores):
                world.feed(node, MessageReceived(certificate, liar))

    if first:
        flood()
    sign(world, a_recovery(world, dead), by=honest[:1])
    flood()
    core = world.cores[honest[0]]
    assert a_recovery(world, dead) in [held.recovery for held in round_of(core).recoveries.held()]
    assert len(round_of(core).recoveries.held()) <= MAX_HELD
    assert round_of(core).recoveries.next_epoch(Epoch(0)) == 2

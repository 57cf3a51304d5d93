"""Managers go back to an older model while rounds run: whole cores in virtual time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from bflcd.core.effects import Effect, FetchBlob, FetchOperations, FindModel, Persist, Train
from bflcd.core.events import Event, MessageReceived, ModelFound, OperationSaid
from bflcd.core.operation_pool import OperationPool
from bflcd.core.records import Pin
from bflcd.core.round.old_models import OldModels
from bflcd.crypto.hashing import root_of
from bflcd.crypto.identity import Identity
from bflcd.errors import Rejection
from bflcd.ledger.operations.application import apply_operations
from bflcd.ledger.state import State, account_of
from bflcd.node.services import highest_proof
from bflcd.params import BlobRef
from bflcd.types import Digest, NodeId, Round, short
from bflcd.wire.blocks import Header
from bflcd.wire.codec import number_of, peek_number
from bflcd.wire.envelope import seal
from bflcd.wire.messages import Commit
from bflcd.wire.operation import Operation
from bflcd.wire.recovery import PreparedProof
from bflcd.wire.rollback import RULE, Rollback
from tests.core.test_recovery import a_recovery, sign
from tests.helpers.inside import pool_of, round_of
from tests.helpers.ledger import make_genesis
from tests.helpers.money import changed, with_terms
from tests.helpers.scenes import T0, elapsed, one_state, reach
from tests.helpers.world import World


class Held:
    """Nothing."""

    blobs: frozenset[Digest] = frozenset()


def signed_by(state: State, manager: Identity, target: int, model: BlobRef) -> Operation:
    """A manager's next word by a ledger."""
    account = account_of(state, manager.node_id)
    assert account is not None
    body = Rollback(state.chain, state.round, account.operations + 1, Round(target), model, "poisoned")
    return Operation("rollback", (seal(body, manager).envelope,))


class Community(World):
    """Ten members, of whom the first four manage. `given`: nobody gives these payloads to a node; what each node trains from is noted."""

    def __init__(self, seed: int = 0) -> None:
        genesis, identities = make_genesis(nodes=10, committee=4, places=6, view_timeout=T0)
        super().__init__(genesis, identities, seed)
        self.managers = identities[:4]
        self.members = identities
        self.trained_from: set[tuple[int, BlobRef]] = set()
        self.fetched: set[tuple[NodeId, BlobRef]] = set()
        self.pinned: set[tuple[NodeId, Pin]] = set()

    def answer(self, node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        if isinstance(effect, Train):
            self.trained_from.add((effect.round, effect.model))
        if isinstance(effect, FetchBlob):
            self.fetched.add((node, effect.blob))
        if isinstance(effect, Persist):
            self.pinned |= {(node, record) for record in effect.records if isinstance(record, Pin)}
        yield from super().answer(node, effect)

    @property
    def ledger(self) -> State:
        return max((disk.head.state for disk in self.disks.values()), key=lambda state: state.round)

    def header(self, round_: int) -> Header:
        disk = max(self.disks.values(), key=lambda disk: disk.head.state.round)
        return disk.segments[round_].segment.model_header

    def model(self, round_: int) -> BlobRef:
        blob = self.header(round_).blob if round_ else self.genesis.model
        assert blob is not None
        return blob

    def signs(self, manager: Identity, target: int, model: BlobRef | None = None) -> Operation:
        return signed_by(self.disks[manager.node_id].head.state, manager, target, self.model(target) if model is None else model)

    def say(self, managers: Sequence[Identity], target: int, model: BlobRef | None = None) -> None:
        """Their nodes sign it, all at once."""
        for manager in managers:
            self.feed(manager.node_id, OperationSaid(self.signs(manager, target, model)))

    def went_back(self) -> dict[int, BlobRef]:
        """Rounds whose blocks have an older model."""
        disk = max(self.disks.values(), key=lambda disk: disk.head.state.round)
        found = (certified.segment for certified in disk.segments.values() if certified.segment.model.rule == RULE)
        return {segment.model_header.round: segment.model_header.blob for segment in found if segment.model_header.blob}


def a_community(round_: int = 4, seed: int = 0) -> Community:
    world = Community(seed)
    world.start_all()
    reach(world, round_, 120_000)
    return world


@pytest.mark.parametrize("seed", range(2))
def test_three_managers_go_back_while_a_node_is_down_and_the_next_round_trains_from_there(seed: int) -> None:
    """Given a node that is down, when three of four managers go back to model 1, then one block has it, the next round trains from it,
    and the node that was down comes to the same ledger."""
    world = a_community(seed=seed)
    old, away = world.model(1), world.members[9].node_id
    world.kill(away)
    before = world.round_of(world.managers[0].node_id)
    world.say(world.managers[:3], 1)
    reach(world, before + 4, 200_000)
    ((round_, model),) = world.went_back().items()
    assert model == old
    assert {blob for at, blob in world.trained_from if at == round_} == {old}
    assert world.model(round_ + 1) != old, "the next round learns on"
    world.start(away)
    world.catch_up(away)
    reach(world, world.round_of(away) + 2, 200_000)
    one_state(world)
    assert len({disk.head.state for disk in world.disks.values() if disk.head.state.round == world.ledger.round}) == 1
    assert world.ledger.motions == ()
    assert world.blames == []
    assert all(len(pool_of(core)) == 0 for core in world.cores.values()), "nothing waits any more"
    told = [node for _, node, text in world.notices if "managers went back to the model of round 1" in text]
    assert set(told) == set(world.identities)


def test_words_in_different_rounds_make_one_rollback() -> None:
    """Given managers who sign one after the other, then each is carried alone, and only the last one's block goes back."""
    world = a_community()
    for count, manager in enumerate(world.managers[:3]):
        assert world.went_back() == {}, f"{count} of 3 managers are for it"
        world.say([manager], 2)
        reach(world, world.ledger.round + 2, 200_000)
    assert list(world.went_back().values()) == [world.model(2)]
    one_state(world)


def test_words_of_one_round_open_the_motion_first_so_that_everybody_has_a_round_to_get_the_model() -> None:
    """Given three managers who sign at once, then one block opens the motion and a later one decides it."""
    world = a_community()
    world.say(world.managers[:3], 1)
    reach(world, world.ledger.round + 4, 200_000)
    disk = world.disks[world.managers[0].node_id]
    carried = [round_ for round_, one in sorted(disk.segments.items()) if one.segment.model.operations]
    assert len(carried) == 2
    assert list(world.went_back()) == [carried[1]]


def test_every_node_gets_the_model_of_an_open_motion_and_pins_it_from_round_to_round() -> None:
    """Given a motion that lacks managers, then all nodes fetch its model in each round, and keep it in this round and the next."""
    world = a_community()
    old = world.model(1)
    world.fetched.clear()
    world.pinned.clear()
    world.say(world.managers[:1], 1)
    reach(world, world.ledger.round + 3, 200_000)
    assert {node for node, blob in world.fetched if blob == old} == set(world.identities)
    for node in world.identities:
        rounds = {pin.round for of, pin in world.pinned if of == node and pin.root == old.root}
        assert rounds == set(range(min(rounds), max(rounds) + 1)), "without a gap"
        assert max(rounds) >= world.round_of(node), "the round before has pinned it for this one"
    assert world.went_back() == {}


def test_a_model_that_nobody_has_stops_nothing() -> None:
    """Given a model whose payload nobody holds, when all managers go back to it, then rounds take no longer, and none of them has it."""
    world = a_community()
    old, usual = world.model(1), elapsed(world, world.ledger.round + 1)
    world.lacks = lambda _, blob: blob == old
    world.say(world.managers, 1)
    for _ in range(4):
        assert elapsed(world, max(world.rounds()) + 1) <= 2 * usual
    assert world.went_back() == {}
    one_state(world)
    waits = {operation.author for core in world.cores.values() for operation in pool_of(core).values()}
    assert len(waits) == 2, "what decides is carried by nobody, and the motion stands open"
    world.lacks = lambda _node, _blob: False
    reach(world, max(world.rounds()) + 3, 200_000)
    assert list(world.went_back().values()) == [old], "as soon as somebody gives it"


def test_a_leader_without_the_payload_leaves_it_to_the_next() -> None:
    """Given a model that half of the members can't get, then a leader that holds it proposes it, or none does; rounds close."""
    world = a_community()
    old = world.model(1)
    without = {member.node_id for member in world.members[:3]}
    world.lacks = lambda node, blob: blob == old and node in without
    world.say(world.managers[:3], 1)
    for _ in range(12):
        committee, before = world.ledger.committee, max(world.rounds())
        reach(world, before + 1, 200_000)
        if world.went_back():
            (round_,) = world.went_back()
            led = world.header(round_).model
            assert led is not None
            assert led.view == 0
            assert committee[0] not in without or round_ != before + 1
            break
    assert list(world.went_back().values()) == [old]
    one_state(world)


def test_what_too_few_members_hold_costs_a_round_one_view() -> None:
    """Given a model that only the first two leaders of a round hold, when the first proposes it, then its view fails, and the second
    leaves it out: the round closes in view 1."""
    world = a_community()
    old = world.model(1)
    world.lacks = lambda _, blob: blob == old
    world.say(world.managers[:2], 1)
    reach(world, world.ledger.round + 2, 200_000)
    before = world.ledger.round
    for leader in world.ledger.committee[:2]:
        round_of(world.cores[leader]).collection.blobs.add(old.root)
    world.say([world.managers[2]], 1)
    reach(world, before + 1, 200_000)
    header = world.header(before + 1)
    assert header.model is not None
    assert header.model.view == 1
    assert world.went_back() == {}
    one_state(world)


def test_what_names_another_model_than_the_headers_is_kept_by_nobody() -> None:
    """Given a manager whose word names a payload that is not the round's, then no pool keeps it, and no block carries it."""
    world = a_community()
    wrong = BlobRef(root_of(b"poison"), world.genesis.model.size)
    author = world.managers[0]
    world.say([author], 2, wrong)
    reach(world, world.ledger.round + 3, 200_000)
    assert world.ledger.motions == ()
    assert all(len(pool_of(core)) == 0 for core in world.cores.values())
    text = f"not kept: bad_operation: rollback: the model of round 2 is {short(world.model(2).root)}, not {short(wrong.root)}"
    assert {node for _, node, told in world.notices if told == text} == set(world.identities)
    assert account_of(world.ledger, author.node_id).operations == 0  # type: ignore[union-attr]


def test_a_proposal_that_carries_such_a_word_is_refused_by_every_member() -> None:
    """Given a leader that proposes it all the same, then its view fails, and the round closes without."""
    world = a_community()
    wrong = BlobRef(root_of(b"poison"), world.genesis.model.size)
    before = world.ledger
    liar = before.committee[0]
    forged = world.signs(world.managers[0], 2, wrong)
    pool = pool_of(world.cores[liar])
    round_of(world.cores[liar]).models.chosen = lambda _state, _view: (forged,)  # type: ignore[method-assign]
    answer = world.answer

    def keeping(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        """The liar keeps what an honest node drops, and gives it to whoever asks."""
        if isinstance(effect, FetchOperations) and effect.source == liar:
            pool.add(forged, wanted=True)
        yield from answer(node, effect)

    world.answer = keeping  # type: ignore[method-assign]
    pool.add(forged, wanted=True)
    reach(world, before.round + 1, 200_000)
    header = world.header(before.round + 1)
    assert header.model is not None
    assert header.model.view > 0, "view 0 has failed"
    refused = {blame.rejection for blame in world.blames}
    assert refused <= {Rejection.BAD_OPERATION, Rejection.BAD_SEGMENT}
    assert world.ledger.motions == ()
    one_state(world)


def test_a_crash_between_the_last_word_and_its_block_loses_nothing() -> None:
    """Given all nodes that die when three managers have signed, when they start again, then the model goes back."""
    world = a_community()
    old = world.model(1)
    world.say(world.managers[:3], 1)
    world.run_until(lambda: False, 60)
    assert world.went_back() == {}
    for node in tuple(world.cores):
        world.kill(node)
    world.start_all()
    reach(world, world.ledger.round + 4, 200_000)
    assert list(world.went_back().values()) == [old]
    one_state(world)


def test_a_segment_that_was_prepared_goes_back_though_its_leader_dies() -> None:
    """Given a rollback that is prepared, when the leader of view 0 dies before anybody commits, then a later view decides that segment."""
    world = a_community()
    old = world.model(1)
    world.say(world.managers[:3], 1)
    for _ in range(8):
        leader, round_ = world.ledger.committee[0], world.ledger.round

        def prepared(round_: int = round_, leader: NodeId = leader) -> bool:
            return any(
                (agreement := round_of(core).agreement) is not None
                and core.context.round == round_
                and agreement._candidates.prepared is not None
                for node, core in world.cores.items()
                if node != leader
            )

        world.run_until(lambda of=round_, ready=prepared: ready() or max(world.rounds()) > of, 60_000)  # type: ignore[misc]
        going = [core for core in world.cores.values() if core.context.round == round_]
        candidates = [c for core in going if (a := round_of(core).agreement) is not None for c in a._candidates]
        if max(world.rounds()) == round_ and any(c.outcome is not None and c.outcome.rollback == old for c in candidates):
            break
        reach(world, round_ + 1, 60_000)
    else:
        pytest.fail("no rollback was prepared")
    world.kill(leader)
    reach(world, round_ + 2, 200_000, who=tuple(world.cores))
    assert world.went_back() == {round_ + 1: old}
    one_state(world)


def test_managers_who_recover_a_round_that_had_prepared_a_rollback_get_that_segment() -> None:
    """Given a prepared rollback and f + 1 seats that die before anybody commits, when managers name its proof, then the new committee
    decides it, and all have the older model."""
    world = a_community()
    world.say(world.managers[:2], 1)
    reach(world, world.ledger.round + 2, 200_000)
    old, of = world.model(1), world.ledger.round
    post = world.post

    def no_commits(node: NodeId, event: Event, after: int) -> None:
        payload = getattr(getattr(event, "message", None), "payload", b"")
        if not (isinstance(event, MessageReceived) and payload and peek_number(payload) == number_of(Commit)):
            post(node, event, after)

    world.post = no_commits  # type: ignore[method-assign]
    world.say([world.managers[2]], 1)
    committee = world.ledger.committee

    def proofs() -> list[PreparedProof]:
        held = (highest_proof(world.disks[node].head.state, world.disks[node].found(of)) for node in committee)
        return [proof for proof in held if proof is not None]

    assert world.run_until(lambda: len(proofs()) >= 3, 60_000)
    proof = max(proofs(), key=lambda proof: proof.claim.view)
    world.post = post  # type: ignore[method-assign]
    dead = sorted(committee, key=lambda node: node in world.genesis.managers)[:2]
    for node in dead:
        world.kill(node)
    sign(world, a_recovery(world, dead, proof=proof), proof)
    reach(world, of + 1, 60_000)
    assert world.went_back() == {of + 1: old}
    assert world.header(of + 1) == world.disks[world.managers[0].node_id].segments[of + 1].segment.model_header
    assert world.disks[next(iter(world.cores))].segments[of + 1].certificate.digest == proof.claim.digest
    reach(world, of + 3, 200_000)
    one_state(world)


def test_old_models_are_fetched_in_advance_four_at_most_and_those_first_that_most_are_for() -> None:
    """Given a hostile manager's four motions, one of its own word that waits, and one that two others are for, then four are fetched,
    that of the two first, and a payload under a wrong name never."""
    world = a_community(round_=7)
    node = world.members[9].node_id
    context, state = world.cores[node].context, world.ledger
    hostile, honest = world.managers[0], world.managers[1:3]
    wrong = BlobRef(root_of(b"poison"), 1)
    for target in (2, 3, 4, 5):
        state = apply_operations(state, [signed_by(state, hostile, target, wrong if target == 5 else world.model(target))])
    for manager in honest:
        state = apply_operations(state, [signed_by(state, manager, 6, world.model(6))])
    pool = OperationPool()
    pool.add(signed_by(state, world.managers[3], 1, world.model(1)))
    models = OldModels(replace(context, head=replace(context.head, state=state)), pool, Held())
    asked = {effect.of for effect in models.advance() if isinstance(effect, FindModel)}
    assert asked == {1, 2, 3, 4, 5, 6}
    assert models.advance() == [], "each is asked for once"
    for target in asked:
        models.found(ModelFound(context.round, target, world.model(target)))
    wanted = [effect.blob for effect in models.advance() if isinstance(effect, FetchBlob)]
    assert wanted[0] == world.model(6)
    assert set(wanted) == {world.model(target) for target in (2, 3, 4, 6)}, "what is open before what only waits"
    assert models.advance() == [], "once a round"


def test_who_owes_asks_nobody_for_old_models() -> None:
    """Given a member that is left out because it owes, when a motion is open, then it finds out what that names and asks for no
    payload, which all would refuse it; the others get it."""
    world = a_community(round_=3)
    poor, rich = [member for member in world.members if member.node_id not in world.ledger.committee][-2:]
    state = apply_operations(world.ledger, [signed_by(world.ledger, world.managers[0], 2, world.model(2))])
    state = changed(with_terms(state), poor, paid_round=state.round - 1)
    for node, wanted in ((poor.node_id, []), (rich.node_id, [world.model(2)])):
        context = world.cores[node].context
        models = OldModels(replace(context, head=replace(context.head, state=state)), OperationPool(), Held())
        assert [effect.of for effect in models.advance() if isinstance(effect, FindModel)] == [2]
        models.found(ModelFound(context.round, Round(2), world.model(2)))
        assert [effect.blob for effect in models.advance() if isinstance(effect, FetchBlob)] == wanted


def test_two_rollbacks_at_once_are_one() -> None:
    """Given motions to models 1 and 2 that lack one manager each, when both last words wait at once, then one of them is done."""
    world = a_community()
    for manager in world.managers[:2]:
        for target in (1, 2):
            world.say([manager], target)
            reach(world, world.ledger.round + 2, 200_000)
    assert len(world.ledger.motions) == 2
    world.say([world.managers[2]], 1)
    world.say([world.managers[3]], 2)
    reach(world, world.ledger.round + 4, 200_000)
    assert len(world.went_back()) == 1
    assert world.ledger.motions == ()
    assert all(len(pool_of(core)) == 0 for core in world.cores.values())
    one_state(world)

"""What one liar must not be able to do to a round: regressions from a hostile review, over whole cores in virtual time."""

from collections.abc import Iterator

from bflcd.core.effects import Aggregate, Effect, FetchBlob, Persist
from bflcd.core.events import BlobLost, BlobMissing, Event, MessageReceived
from bflcd.core.round.context import RoundContext
from bflcd.crypto.identity import Identity
from bflcd.params import BlobRef
from bflcd.types import Digest, MicroNats, NodeId, PartsPerMillion
from bflcd.wire.blocks import committee_hash
from bflcd.wire.codec import number_of, peek_number
from bflcd.wire.envelope import Envelope, seal
from bflcd.wire.messages import CardEntry, Offer, Prepare, ScoreCard
from bflcd.wire.tensors import payload_size, update_label
from tests.helpers.inside import round_of
from tests.helpers.ledger import make_genesis
from tests.helpers.world import World

PREPARE = number_of(Prepare)


def a_world(**params: object) -> World:
    genesis, identities = make_genesis(nodes=10, committee=4, places=6, **params)
    world = World(genesis, identities)
    world.start_all()
    return world


def place(context: RoundContext) -> dict[str, object]:
    state = context.state
    return {
        "chain": state.chain,
        "round": state.round,
        "epoch": state.epoch,
        "parent": context.head_hash,
        "committee": committee_hash(state.epoch, state.committee),
    }


def an_offer(world: World, liar: Identity, number: int, context: RoundContext) -> Envelope:
    label = update_label(context.state.chain, context.round, liar.node_id)
    blob = BlobRef(Digest(bytes([255, number]) * 16), payload_size(world.genesis.task.tensors, label))
    return seal(Offer(**place(context), blob=blob, samples=100), liar).envelope  # type: ignore[arg-type]


def test_two_junk_offers_to_some_and_a_good_one_to_others_do_not_stall_the_round() -> None:
    """Given a trainer that uses up its places at half of the committee, when the others' cards make its third offer count,
    then those members take it because the proposal needs it, and the round is decided."""
    world = a_world()
    context = next(iter(world.cores.values())).context
    committee = context.committee
    good_at, junk_at = sorted(committee)[:2], sorted(committee)[2:]
    liar = world.identities[next(node for node in world.identities if node not in committee)]
    world.kill(liar.node_id)
    junk: set[Digest] = set()
    answer = world.answer

    def refusing(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        if isinstance(effect, FetchBlob) and effect.blob.root in junk:
            return iter([(BlobMissing(effect.blob.root, effect.label, refused=False, text="nobody has it"), 10)])
        return answer(node, effect)

    world.answer = refusing  # type: ignore[method-assign]
    for number, member in enumerate([*junk_at, *junk_at]):
        junk.add(Digest(bytes([255, number]) * 16))
        world.feed(member, MessageReceived(an_offer(world, liar, number, context), liar.node_id))
    for member in good_at:
        world.feed(member, MessageReceived(an_offer(world, liar, 99, context), liar.node_id))
    assert world.run_until(lambda: min(world.rounds()) >= 1, 30_000), world.rounds()


def test_three_different_cards_to_each_member_do_not_stall_the_round() -> None:
    """Given a member that signs three cards for each of the others, when one of them is packed, then all can still check it."""
    world = a_world()
    context = next(iter(world.cores.values())).context
    committee = context.committee
    liar = world.identities[min(committee)]
    world.kill(liar.node_id)
    others = [member for member in committee if member != liar.node_id]
    assert world.run_until(lambda: all(len(round_of(world.cores[member]).collection.offers) >= 6 for member in others), 5_000)
    gain = 0
    for member in others:
        offers = sorted(round_of(world.cores[member]).collection.offers.values(), key=lambda offer: (offer.author, offer.digest))
        for _ in range(3):
            gain += 1
            entries = tuple(
                CardEntry(o.author, o.digest, o.body.blob.root, MicroNats(1000 + gain), PartsPerMillion(500_000), 4096, 0)
                for o in offers
            )
            card = ScoreCard(
                **place(context),  # type: ignore[arg-type]
                base_loss=MicroNats(2_000_000),
                base_accuracy=PartsPerMillion(400_000),
                entries=entries,
                present=tuple(sorted(world.identities)),
            )
            world.feed(member, MessageReceived(seal(card, liar).envelope, liar.node_id))
    assert world.run_until(lambda: min(world.rounds()) >= 1, 30_000), world.rounds()


def test_many_views_without_prepares_do_not_use_up_the_proposals() -> None:
    """Given a network that loses every prepare for ten minutes, when it heals, then the round is decided."""
    world = a_world()
    assert world.run_until(lambda: min(world.rounds()) >= 2, 60_000)
    post, lossy = world.post, [True]

    def losing(node: NodeId, event: Event, after: int) -> None:
        message = event.message if isinstance(event, MessageReceived) else None
        if lossy[0] and isinstance(message, Envelope) and peek_number(message.payload) == PREPARE:
            return
        post(node, event, after)

    world.post = losing  # type: ignore[method-assign]
    before = max(world.rounds())
    world.run_until(lambda: False, 600_000)
    assert max(world.rounds()) == before
    lossy[0] = False
    assert world.run_until(lambda: min(world.rounds()) > before, 120_000), world.rounds()


def test_a_payload_damaged_on_the_disk_is_fetched_again_and_the_round_goes_on() -> None:
    """Given a judge and a trainer whose model is damaged in mid-round, then both ask for it again, and the chain goes on."""
    world = a_world()
    assert world.run_until(lambda: min(world.rounds()) >= 1, 60_000)
    asked: list[NodeId] = []
    answer = world.answer

    def watching(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        if isinstance(effect, FetchBlob) and effect.label is None:
            asked.append(node)
        return answer(node, effect)

    world.answer = watching  # type: ignore[method-assign]
    victims = list(world.cores)[:2]
    for victim in victims:
        world.feed(victim, BlobLost(world.cores[victim].context.head_blob.root))
    assert set(victims) <= set(asked)
    assert world.run_until(lambda: min(world.rounds()) >= 4, 60_000)


def test_the_aggregate_is_begun_before_the_proposal_arrives_and_computed_once() -> None:
    world = a_world()
    counted: list[tuple[NodeId, int]] = []
    limits: dict[int, int | None] = {}
    answer = world.answer

    def counting(node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        if isinstance(effect, Aggregate):
            counted.append((node, effect.round))
            limits[effect.round] = effect.limit
        return answer(node, effect)

    world.answer = counting  # type: ignore[method-assign]
    assert world.run_until(lambda: min(world.rounds()) >= 5, 60_000)
    assert len(counted) == len(set(counted)), "one aggregate for each member and round"
    written = {r - 1: segment.segment.model.step_limit for disk in world.disks.values() for r, segment in disk.segments.items()}
    assert {round_: limits[round_] for round_ in written} == written
    assert written[0] < 0
    assert None not in [limit for round_, limit in written.items() if round_]


def test_every_record_of_a_round_is_durable_before_anything_of_it_is_said() -> None:
    """The order that the runtime keeps: a vote's `Persist` stands before its `Send`."""
    world = a_world()
    seen: set[bytes] = set()
    carry_out = world.carry_out

    def checking(node: NodeId, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Persist):
                seen.update(r.envelope.payload for r in effect.records if hasattr(r, "envelope"))
            elif type(effect).__name__ == "Send" and isinstance(effect.message, Envelope):  # type: ignore[union-attr]
                payload = effect.message.payload  # type: ignore[union-attr]
                assert peek_number(payload) == 30 or payload in seen, peek_number(payload)
        carry_out(node, effects)

    world.carry_out = checking  # type: ignore[method-assign]
    assert world.run_until(lambda: min(world.rounds()) >= 4, 60_000)
    assert seen


def test_offers_that_cards_name_outlive_their_author_and_a_power_loss() -> None:
    """Given cards that name an offer, when its author is gone for ever and all others lose power, then the round still closes."""
    world = a_world()
    committee = next(iter(world.cores.values())).context.committee
    world.drop = lambda sender, _receiver, _now: sender in committee and carded(world, committee)
    assert world.run_until(lambda: carded(world, committee), 20_000)
    named = {entry.uploader for node in committee for entry in round_of(world.cores[node]).collection.own_card.body.entries}
    survivors = [node for node in world.cores if node not in named]
    for node in list(world.cores):
        world.kill(node)
    world.drop = lambda *_: False
    for node in survivors:
        world.start(node)
    assert set(committee) <= set(survivors)
    assert world.run_until(lambda: min(world.rounds()) >= 1, 60_000), world.notices[-10:]


def carded(world: World, committee: tuple[NodeId, ...]) -> bool:
    """Whether every member has made its card."""
    return all(round_of(world.cores[node]).collection.own_card is not None for node in committee if node in world.cores)

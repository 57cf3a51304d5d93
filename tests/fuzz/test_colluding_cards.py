"""More than f liars may decide what they like; they crash no honest daemon (regression of catalogue 26 and 43)."""

from bflcd.core.events import MessageReceived
from bflcd.types import MicroNats, PartsPerMillion
from bflcd.wire.envelope import seal
from bflcd.wire.messages import CardEntry, ScoreCard
from tests.helpers.hostile import hostile_world
from tests.helpers.inside import round_of
from tests.helpers.places import PLACE


def test_cards_that_give_one_trainer_the_offer_of_another_crash_nobody():
    """Given two liars of four, so that their word is the median, When their cards give a trainer the offer of another one,
    Then the honest judges precompute_aggregate no aggregate from them, and go on."""
    world = hostile_world(nodes=7)
    core = next(iter(world.cores.values()))
    seats = core.context.committee
    liars, honest = seats[:2], [world.cores[seat] for seat in seats[2:]]
    for liar in liars:
        world.kill(liar)
    assert world.run_until(
        lambda: all(len(round_of(judge).collection.offers) >= 3 and round_of(judge).work.model_here for judge in honest), 5_000
    )
    held = sorted(round_of(honest[0]).collection.offers.values(), key=lambda offer: offer.author)
    instance = core.context.instance
    values = (instance.chain, instance.round, instance.epoch, instance.parent, instance.committee_hash)
    entry = CardEntry(
        held[0].author, held[1].digest, held[1].body.blob.root, MicroNats(2**40), PartsPerMillion(10**6), 4096, 2**32 - 1
    )
    for liar in liars:
        card = ScoreCard(
            **dict(zip(PLACE, values, strict=True)),
            base_loss=MicroNats(1),
            base_accuracy=PartsPerMillion(1),
            entries=(entry,),
            present=tuple(sorted({liar, held[0].author})),
        )
        for judge in seats[2:]:
            world.feed(judge, MessageReceived(seal(card, world.identities[liar]).envelope, liar))
    world.run_until(lambda: False, 30_000)
    assert all(len(round_of(judge).collection.first_cards) == 4 for judge in honest)
    assert all(judge.context.round == 0 for judge in honest), "two of four decide nothing"

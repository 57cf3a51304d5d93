"""One judge: which payloads it asks for, and what its card then says of the offers."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bflcd.core.effects import (
    Effect,
    FetchBlob,
    Score,
    Send,
)
from bflcd.core.events import (
    BlobFetched,
    BlobLost,
    BlobMissing,
    Event,
    MessageReceived,
    Scored,
    WorkFailed,
)
from bflcd.core.round.context import update_label_of
from bflcd.core.round.offers import OfferProgress
from bflcd.learn.protocol import ScoreResult, UpdateScore
from bflcd.ledger.disclosure import REFUSED
from bflcd.types import Digest, MicroNats, Millis, PartsPerMillion, Round
from bflcd.wire.envelope import open_envelope, seal
from bflcd.wire.messages import (
    Offer,
    ScoreCard,
)
from tests.helpers.inside import quiet, round_of
from tests.helpers.one_core import T0, a_judge, a_world, is_card, later, offer_of
from tests.helpers.world import World


def test_an_update_that_nobody_gives_is_asked_for_three_times_and_a_refused_one_once():
    world = a_world()
    trainer = world.identities[list(world.identities)[-1]]
    for refused, times in ((False, 3), (True, 1)):
        core, _ = a_judge(world)
        effects = core.handle(MessageReceived(offer_of(core, trainer), trainer.node_id), world.instant())
        asked = 0
        while wanted := [e for e in effects if isinstance(e, FetchBlob)]:
            asked += len(wanted)
            assert asked <= times
            effects = core.handle(BlobMissing(wanted[0].blob.root, wanted[0].label, refused=refused, text="no"), world.instant())
        assert asked == times


@pytest.mark.parametrize("first", ["the copy", "the copied"])
def test_who_copies_an_offer_does_not_take_it_away(first):
    """Given a payload that a trainer offers, and another offers as its own, when the judge is told that it breaks the specification
    under the copier's name, in either order, then it scores the one that made it, and does not ask again for the other."""
    world = a_world()
    maker, copier = (world.identities[node] for node in list(world.identities)[-2:])
    core, _ = a_judge(world)
    core.handle(BlobFetched(core.context.head_blob.root), world.instant())
    made = offer_of(core, maker)
    blob = open_envelope(made, (Offer,)).body.blob
    taken = seal(replace(open_envelope(offer_of(core, copier), (Offer,)).body, blob=blob), copier).envelope
    asked = core.handle(MessageReceived(made, maker.node_id), world.instant())
    asked += core.handle(MessageReceived(taken, copier.node_id), world.instant())
    labels = [e.label for e in asked if isinstance(e, FetchBlob)]
    assert labels == [update_label_of(core.context, who.node_id) for who in (maker, copier)]
    refusal, delivery = BlobMissing(blob.root, labels[1], refused=True, text="another's"), BlobFetched(blob.root, 9)
    effects: list[Effect] = []
    for answer in (refusal, delivery) if first == "the copy" else (delivery, refusal):
        effects += core.handle(answer, world.instant())
    scored = [e for e in effects if isinstance(e, Score)]
    said = {slot.offer.author: slot.progress for slot in round_of(core).collection.slots.values()}
    assert said[maker.node_id] is OfferProgress.SCORING
    assert scored[0].offers[0][2] == labels[0]
    assert not [e for e in effects if isinstance(e, FetchBlob)]
    if first == "the copy":
        assert said[copier.node_id] is OfferProgress.FAILED


def card_about(world: World, answers: list[Callable[[Digest, str], Event]], gain: int = 5_000) -> ScoreCard:
    """A judge's card on one offer, after these events about its payload, of what its worker measured exactly."""
    trainer = world.identities[list(world.identities)[-1]]
    core, _ = a_judge(world)
    core.handle(BlobFetched(core.context.head_blob.root), world.instant())
    core.handle(MessageReceived(offer_of(core, trainer), trainer.node_id), world.instant())
    (slot,) = round_of(core).collection.slots.values()
    root = slot.offer.body.blob.root
    for answer in answers:
        core.handle(answer(root, update_label_of(core.context, trainer.node_id)), world.instant())
    core.tick(later(world, T0))
    score = UpdateScore(slot.offer.digest, MicroNats(gain), PartsPerMillion(6), 7)
    result = ScoreResult(MicroNats(1_300_001), PartsPerMillion(830_001), (score,), (), 0.0, 256, 256)
    effects = core.handle(Scored(Round(0), result), world.instant())
    for waited in (0, T0):  # it is sealed first, and shown soon after, though nobody else has sealed one
        effects += core.tick(later(world, core.context.params.collect_deadline + waited))
    cards = [open_envelope(e.message, (ScoreCard,)) for e in effects if isinstance(e, Send) and is_card(e.message)]
    assert {card.author for card in cards} == {core.context.me}
    assert {entry.uploader for entry in cards[0].body.entries} == {trainer.node_id}
    return cards[0].body


def test_a_card_names_the_first_of_what_is_alike_by_when_the_offers_came():
    """Given offers that came in one order and were scored in another, when the worker says which are one, and which repeats the
    last step, then the card names the one of which its author heard first, and the parent."""
    world = a_world(sealed_cards=False)
    core, _ = a_judge(world)
    core.handle(BlobFetched(core.context.head_blob.root), world.instant())
    trainers = [world.identities[node] for node in list(world.identities)[-4:]]
    offers = [offer_of(core, trainer, number) for number, trainer in enumerate(trainers)]
    for trainer, offer in zip(trainers, offers, strict=True):
        core.handle(MessageReceived(offer, trainer.node_id), world.instant())
    slots = list(round_of(core).collection.slots.values())
    first, copy, other, again = (slot.offer.digest for slot in slots)
    effects: list[Effect] = []
    for key, alike, repeats in ((copy, (), False), (other, (), False), (first, (copy,), False), (again, (), True)):
        core.handle(BlobFetched(round_of(core).collection.offers[key].body.blob.root), world.instant())
        score = UpdateScore(key, MicroNats(5), PartsPerMillion(6), 7, alike, repeats)
        result = ScoreResult(MicroNats(1), PartsPerMillion(2), (score,), (), 0.0, 1, 1)
        effects += core.handle(Scored(Round(0), result), world.instant())
    effects += core.tick(later(world, core.context.params.collect_deadline))
    (card,) = (open_envelope(e.message, (ScoreCard,)) for e in effects if isinstance(e, Send) and is_card(e.message))
    likes = {entry.offer: entry.like for entry in card.body.entries}
    assert likes == {first: None, copy: first, other: None, again: core.context.head_hash}


def came(rate: int) -> Callable[[Digest, str], Event]:
    return lambda root, _: BlobFetched(root, rate)


def nobody_gave(root: Digest, label: str) -> Event:
    return BlobMissing(root, label, refused=False, text="no")


def lost(root: Digest, _: str) -> Event:
    return BlobLost(root)


def failed(_root: Digest, _label: str) -> Event:
    return WorkFailed(Round(0), training=False, text="damaged")


@pytest.mark.parametrize(
    ("answers", "rate"),
    [
        ([came(4_321)], 4_321),
        ([came(0)], 0),
        ([nobody_gave, came(4_321)], 0),
        ([came(4_321), lost, failed, came(9_999)], 4_321),
        ([came(4_321), came(9_999)], 4_321),
    ],
    ids=["pulled", "held before", "pulled by the second try", "lost and pulled again", "told twice"],
)
def test_a_card_says_how_fast_the_update_was_pulled(answers, rate):
    """Given a judge that pulled an update, when its card is due, then the entry has the rate of the first pull, or none."""
    (entry,) = card_about(a_world(), answers).entries
    assert entry.rate == rate


@pytest.mark.parametrize(("gain", "said"), [(5_000, 4_000), (999, 250), (15, 0), (-30, 0), (-31, REFUSED), (-(10**9), REFUSED)])
def test_a_card_says_no_more_than_the_decision_needs(gain, said):
    """Given exact measurements, when the card is due, then it has levels, no accuracy, and one word below the margin."""
    card = card_about(a_world(), [came(9)], gain)
    (entry,) = card.entries
    assert (entry.gain, entry.accuracy, entry.norm) == (said, 0, 7)
    assert (card.base_loss, card.base_accuracy) == (1_250_000, 812_500)


@pytest.mark.parametrize(("limit", "said"), [(2_000_000, [4_000, 4_000, 4_000, 4_000, REFUSED]), (0, [4_000] * 5)])
def test_a_card_refuses_an_offer_that_costs_a_class_far_more_than_the_others_do(limit, said):
    """Given five offers of one gain, when the last costs some class a fifth of its confidence, then it gets the word for harm, and what
    it gains where the community does not look at classes.
    """
    world = a_world(odd_limit=limit)
    core, _ = a_judge(world)
    core.handle(BlobFetched(core.context.head_blob.root), world.instant())
    trainers = [identity for node, identity in world.identities.items() if node not in world.genesis.committee][:5]
    for number, trainer in enumerate(trainers):
        core.handle(MessageReceived(offer_of(core, trainer, number + 1), trainer.node_id), world.instant())
    collection = round_of(core).collection
    costs = {trainer.node_id: 1_000 * number for number, trainer in enumerate(trainers)} | {trainers[-1].node_id: 200_000}
    for key, slot in collection.slots.items():
        slot.score = UpdateScore(key, MicroNats(5_000), PartsPerMillion(6), 7, cost=costs[slot.offer.author])
    gains = {entry.uploader: entry.gain for entry in collection.card_body(quiet(core)).entries}
    assert [gains[trainer.node_id] for trainer in trainers] == said


def test_offers_are_measured_within_the_step_limit():
    """Given a community whose usual norm is 4096, when the second round's offers are scored, then none counts as longer than twice."""
    world = a_world()
    limits = []
    answer = world.answer

    def watched(node, effect):
        if isinstance(effect, Score):
            limits.append((effect.round, effect.limit))
        return answer(node, effect)

    world.answer = watched
    for node in world.identities:
        world.start(node)
    assert world.run_until(lambda: min(world.rounds()) >= 2, 60_000)
    assert {limit for round_, limit in limits if round_ == 0} == {None}
    assert {limit for round_, limit in limits if round_ == 1} == {8192}


def test_an_update_that_was_here_before_its_offer_has_no_rate():
    """Given a payload that a proposal had needed, when the offer comes, then nothing is pulled and nothing measured."""
    world = a_world()
    trainer = world.identities[list(world.identities)[-1]]
    core, _ = a_judge(world)
    envelope = offer_of(core, trainer)
    root = open_envelope(envelope, (Offer,)).body.blob.root
    core.handle(BlobFetched(root, 4_321), world.instant())
    assert not [e for e in core.handle(MessageReceived(envelope, trainer.node_id), world.instant()) if isinstance(e, FetchBlob)]
    assert [slot.rate for slot in round_of(core).collection.slots.values()] == [0]


def test_a_card_without_entries_waits_for_the_deadline():
    """Given a judge that hears of no trainer at all, then its empty card is due at the collect deadline and not before."""
    world = a_world(collect_deadline=100_000)
    core, _ = a_judge(world)
    opened = round_of(core).collection.opened
    assert [round_of(core).collection.card_due(Millis(opened + wait)) for wait in (0, 40 * T0, 99_999, 100_000)] == [
        False
    ] * 3 + [True]

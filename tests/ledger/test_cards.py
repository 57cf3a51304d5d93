"""What is refused of a beacon, an offer and a card, and with which rejection (design 5)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bflcd.crypto.identity import Identity
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.cards import CardRules, by_lot, check_beacon, check_offer, entry_key, fit_card
from bflcd.ledger.roles import seed_of, tie_break
from bflcd.types import MAX_MEMBERS, MAX_NORM, Digest, NodeId
from bflcd.wire.codec import decode, encode
from bflcd.wire.envelope import Signed, seal
from bflcd.wire.messages import MAX_ENTRIES, ScoreCard
from tests.helpers.ledger import Community, make_beacon, make_card, make_community, make_entry, make_offer, place_of

OTHER = Digest(b"o" * 32)
COMMUNITY = make_community()
SEAT, TRAINER, TRAINER_2 = COMMUNITY.members[0], COMMUNITY.outsiders[0], COMMUNITY.outsiders[1]
STRANGER = Identity(b"\x77" * 32)
WITH_STRANGER = replace(COMMUNITY, keys={**COMMUNITY.keys, STRANGER.node_id: STRANGER})

PLACE = [
    ({"chain": OTHER}, Rejection.WRONG_CHAIN),
    ({"round": 1}, Rejection.WRONG_ROUND),
    ({"epoch": 1}, Rejection.WRONG_EPOCH),
    ({"parent": OTHER}, Rejection.WRONG_PARENT),
    ({"committee": OTHER}, Rejection.WRONG_COMMITTEE),
]


def refusal_of(check: Callable[..., None], *arguments: Any) -> PeerError:
    with pytest.raises(PeerError) as caught:
        check(*arguments)
    return caught.value


def card_refusal(card: Signed[Any], community: Community = COMMUNITY) -> PeerError:
    return refusal_of(CardRules(community.params, community.state, community.head).check, card)


def test_what_is_right_passes() -> None:
    c = COMMUNITY
    offer = make_offer(c, TRAINER)
    check_beacon(c.state, c.head, make_beacon(c, TRAINER))
    check_beacon(c.state, c.head, make_beacon(c, SEAT))
    check_offer(c.params, c.state, c.head, offer)
    CardRules(c.params, c.state, c.head).check(make_card(c, SEAT))
    CardRules(c.params, c.state, c.head).check(make_card(c, SEAT, [make_entry(offer), make_entry(make_offer(c, TRAINER_2))]))
    CardRules(c.params, c.state, c.head).check(
        make_card(c, SEAT, [make_entry(offer), make_entry(make_offer(c, TRAINER, salt="2"))])
    )


@pytest.mark.parametrize(("change", "rejection"), PLACE)
def test_another_rounds_message_is_refused_by_its_field(change: dict[str, Any], rejection: Rejection) -> None:
    c = COMMUNITY
    refusals = (
        refusal_of(check_beacon, c.state, c.head, make_beacon(c, TRAINER, **change)),
        refusal_of(check_offer, c.params, c.state, c.head, make_offer(c, TRAINER, **change)),
        card_refusal(make_card(c, SEAT, **change)),
    )
    assert [refusal.rejection for refusal in refusals] == [rejection] * 3
    assert all(next(iter(change)) in str(refusal) for refusal in refusals)


def test_the_committee_hash_covers_the_order_of_the_seats() -> None:
    c = COMMUNITY
    turned = replace(c, state=replace(c.state, committee=c.state.committee[::-1]))
    assert card_refusal(make_card(c, SEAT), turned).rejection is Rejection.WRONG_COMMITTEE


def test_strangers_are_refused() -> None:
    c, node = WITH_STRANGER, STRANGER.node_id
    assert refusal_of(check_beacon, c.state, c.head, make_beacon(c, node)).rejection is Rejection.NOT_MEMBER
    assert refusal_of(check_offer, c.params, c.state, c.head, make_offer(c, node)).rejection is Rejection.NOT_MEMBER
    assert card_refusal(make_card(c, node), c).rejection is Rejection.NOT_COMMITTEE


def test_an_offer_needs_a_legal_trainer() -> None:
    c = COMMUNITY
    seated = refusal_of(check_offer, c.params, c.state, c.head, make_offer(c, SEAT))
    assert (seated.rejection, "holds a seat" in str(seated)) == (Rejection.NOT_TRAINER, True)
    idle = make_community(active_fraction=1)
    inactive = refusal_of(check_offer, idle.params, idle.state, idle.head, make_offer(idle, TRAINER))
    assert (inactive.rejection, "not active" in str(inactive)) == (Rejection.NOT_TRAINER, True)


def test_in_a_small_community_the_committee_offers_and_scores() -> None:
    c = make_community(2, 2, 2)
    offer = make_offer(c, c.members[0])
    check_offer(c.params, c.state, c.head, offer)
    CardRules(c.params, c.state, c.head).check(make_card(c, c.members[0], [make_entry(offer)]))


def test_a_trainers_card_is_refused() -> None:
    assert card_refusal(make_card(COMMUNITY, TRAINER)).rejection is Rejection.NOT_COMMITTEE


def bad_cards() -> list[tuple[str, Signed[Any]]]:
    c = WITH_STRANGER
    one, two = sorted((make_entry(make_offer(c, n)) for n in (TRAINER, TRAINER_2)), key=lambda e: e.uploader)
    everybody = c.members
    scored = {"base_loss": 1, "base_accuracy": 1}
    seat_entry = make_entry(make_offer(c, c.members[1]))
    return [
        ("sorted by uploader", raw_card(everybody, entries=(two, one), **scored)),
        ("sorted by uploader", make_card(c, SEAT, [one, one])),
        ("sorted by uploader", make_card(c, SEAT, [one, replace(one, gain=5)])),
        ("more than 2 entries", make_card(c, SEAT, [make_entry(make_offer(c, TRAINER, salt=str(n))) for n in range(3)])),
        ("present members are not sorted", raw_card(everybody[::-1])),
        ("present members are not sorted", raw_card((everybody[0], *everybody))),
        ("author is not among", raw_card(everybody[1:])),
        ("is no member", make_card(c, SEAT, present=(*everybody, STRANGER.node_id))),
        ("may not train", make_card(c, SEAT, [seat_entry])),
        ("is no member", make_card(c, SEAT, [make_entry(make_offer(c, STRANGER.node_id))])),
        ("not listed as present", raw_card((SEAT,), entries=(one,), **scored)),
        ("not both", make_card(c, SEAT, base_loss=1)),
        ("not both", make_card(c, SEAT, [one], base_accuracy=None)),
        ("exactly if there are entries", make_card(c, SEAT, **scored)),
        ("exactly if there are entries", make_card(c, SEAT, [one], base_loss=None, base_accuracy=None)),
    ]


def raw_card(present: tuple[bytes, ...], **changes: Any) -> Signed[Any]:
    """A card whose lists stand exactly as given."""
    fields = place_of(COMMUNITY) | {"base_loss": None, "base_accuracy": None, "entries": (), "present": present} | changes
    return seal(ScoreCard(**fields), COMMUNITY.keys[SEAT])


@pytest.mark.parametrize(("text", "card"), bad_cards())
def test_a_card_that_contradicts_itself_is_refused(text: str, card: Signed[Any]) -> None:
    refusal = card_refusal(card)
    assert (refusal.rejection, text in str(refusal)) == (Rejection.BAD_CARD, True), refusal


LARGE = make_community(100, 4, 6)


def crowded(entries: int, present: int) -> ScoreCard:
    """A card of a community that is larger than a card."""
    some = make_card(LARGE, LARGE.members[0], [make_entry(make_offer(LARGE, LARGE.outsiders[0]), -(2**53), norm=MAX_NORM)]).body
    nodes = [NodeId(number.to_bytes(32, "big")) for number in range(1, present + 1)]
    many = (
        replace(some.entries[0], uploader=nodes[number % present], offer=Digest(number.to_bytes(32, "big")))
        for number in range(entries)
    )
    return replace(some, entries=tuple(sorted(many, key=entry_key)), present=tuple(sorted({*nodes, LARGE.members[0]})))


@pytest.mark.parametrize(("entries", "present"), [(3, 5), (0, MAX_MEMBERS - 1), (MAX_ENTRIES, 12_000), (3 * MAX_ENTRIES, 4_000)])
def test_a_card_of_a_community_that_is_too_large_for_one_leaves_some_out(entries: int, present: int) -> None:
    author = LARGE.members[0]
    full = crowded(entries, present)
    card = fit_card(full, author, Digest(bytes(32)))
    assert decode(encode(card), ScoreCard) == card
    assert {entry.uploader for entry in card.entries} | {author} <= set(card.present) <= set(full.present)
    assert len(card.entries) == min(entries, MAX_ENTRIES)
    assert (card == full) is (entries == 3)


def test_a_card_on_which_all_offers_are_copies_names_as_many_as_fit() -> None:
    """Given so many copies that not all can be named, then most are, the card has an encoding, and each entry is still there."""
    full = crowded(MAX_ENTRIES, 12_000)
    first = full.entries[0].offer
    full = replace(full, entries=tuple(replace(e, like=first if e.offer != first else None) for e in full.entries))
    for number in range(3):
        card = fit_card(full, LARGE.members[0], Digest(bytes([number]) * 32))
        assert decode(encode(card), ScoreCard) == card
        assert len(card.entries) == MAX_ENTRIES
        assert MAX_ENTRIES * 3 // 4 < sum(entry.like == first for entry in card.entries) < MAX_ENTRIES - 1
    few = replace(full, entries=full.entries[:50])
    assert fit_card(few, LARGE.members[0], Digest(bytes(32))).entries == few.entries


def test_another_round_leaves_out_others() -> None:
    full = crowded(0, MAX_MEMBERS - 1)
    one, other = (fit_card(full, LARGE.members[0], Digest(bytes([number]) * 32)) for number in (1, 2))
    assert len(one.present) == len(other.present) > 11_000
    assert len(set(one.present) | set(other.present)) > 14_000


def lots_of(community: Community, cards: list[Signed[Any]]) -> list[NodeId]:
    """Authors in the order in which a leader takes their cards."""
    return [card.author for card in by_lot(cards, community.f, seed_of(community.state))]


def test_a_leader_takes_cards_by_the_lot_of_the_rounds_seed_however_full_they_are() -> None:
    """Given a card with two entries about each trainer, of offers that nobody made, beside honest ones, when the leader chooses,
    then each stands where its author's lot puts it: the full one goes first as rarely as any other."""
    c, first = COMMUNITY, 0
    offers = [make_entry(make_offer(c, node)) for node in c.outsiders]
    invented = [make_entry(make_offer(c, node, salt="invented")) for node in c.outsiders]
    lots = sorted(c.state.committee, key=lambda node: tie_break(seed_of(c.state), node))
    for liar in c.state.committee:
        cards = [make_card(c, seat, [*offers, *(invented if seat == liar else ())]) for seat in c.state.committee]
        assert lots_of(c, cards) == lots
        first += lots_of(c, cards)[0] == liar
    assert first == 1


def test_another_round_draws_another_order() -> None:
    c = COMMUNITY
    cards = [make_card(c, seat) for seat in c.state.committee]
    orders = {tuple(lots_of(replace(c, state=replace(c.state, round=number)), cards)) for number in range(20)}
    assert len(orders) > 5


@pytest.mark.parametrize("said", ["nothing", "invented offers", "an offer that f cards name"])
def test_a_card_that_says_nothing_that_others_say_goes_last(said: str) -> None:
    """Given honest cards and one that is empty, stuffed with inventions, or about what only f members name, then it goes last."""
    c = COMMUNITY
    offers = [make_entry(make_offer(c, node)) for node in c.outsiders[:3]]
    alone = {
        "nothing": [],
        "invented offers": [make_entry(make_offer(c, node, salt=salt)) for node in c.outsiders for salt in "ab"],
        "an offer that f cards name": [make_entry(make_offer(c, c.outsiders[5]))],
    }[said]
    for useless in c.state.committee:
        cards = [make_card(c, seat, alone if seat == useless else offers) for seat in c.state.committee]
        assert lots_of(c, cards)[-1] == useless

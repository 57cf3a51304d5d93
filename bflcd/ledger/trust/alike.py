"""Copies have no place: of offers that are one, the first alone counts, and the model's last step offered again not at all.

A card says of an offer that it is `like` an earlier one on the same card, or like the step that led to the parent. Every judge
compares payloads by the same integers (`learn.checks.alike`), so f + 1 equal words have an honest one among them: f liars can
neither make a copy of an honest offer nor hide one from the others. Which of two came first the cards say too, by the order in
which their authors heard of the offers: most voices decide, and f liars are fewer than the honest ones where these agree.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from bflcd.ledger.roles import tie_break
from bflcd.types import Digest
from bflcd.wire.messages import CardEntry, ScoreCard


def likes_of(parent: Digest, arrived: Sequence[Digest], alike: Mapping[Digest, frozenset[Digest]]) -> dict[Digest, Digest]:
    """What a card says that offers are like: `arrived` in the order in which they came, `alike` the others that each is one with.

    `parent` among those stands for the last step, and came before all. An offer is held against firsts only, so that no chain of
    small steps makes one of two that are not alike.
    """
    firsts, likes = [parent], dict[Digest, Digest]()
    for offer in arrived:
        near = alike.get(offer, frozenset())
        first = next((first for first in firsts if first in near or offer in alike.get(first, ())), None)
        if first is None:
            firsts.append(offer)
        else:
            likes[offer] = first
    return likes


def wrong_likes(entries: Iterable[CardEntry], parent: Digest) -> CardEntry | None:
    """The first entry that is like what is no first on the same card; None on a card as an honest member writes it."""
    held = tuple(entries)
    firsts = {entry.offer for entry in held if entry.like is None} | {parent}
    return next((entry for entry in held if entry.like is not None and entry.like not in firsts), None)


def copies(cards: Sequence[ScoreCard], f: int, seed: Digest, fine: frozenset[Digest] | None = None) -> frozenset[Digest]:
    """The offers that have no place, by all cards of a round, of which at most f are liars'; `fine`: those that would have one
    otherwise, None: all. What is refused for something else takes nobody's place: the next of those alike to it takes its own.

    Two offers are one if more than f cards say that one is like the other, or both like the same. What most cards have first is
    looked at first, ties by the round's seed, and stays unless it is one with what stays already. Costs a step for each pair that
    is named and each card.
    """
    said = [{entry.offer: entry.like or entry.offer for entry in card.entries} for card in cards]
    repeats = Counter(offer for card in cards for offer in {one.offer for one in card.entries if one.like == card.parent})
    gone = {offer for offer, count in repeats.items() if count > f}
    near = _pairs(said, f)
    votes = Counter(first for firsts in said for first in {first for offer, first in firsts.items() if first != offer})
    uploaders = {entry.offer: entry.uploader for card in cards for entry in card.entries if entry.offer in near}
    allowed = frozenset(near) if fine is None else fine
    order = sorted(uploaders, key=lambda o: (o not in allowed, -votes[o], tie_break(seed, uploaders[o]), o))
    _give_way(near, order, allowed, said, f)
    stay = set[Digest]()
    for offer in order:
        (gone if near[offer] & stay else stay).add(offer)
    return frozenset(gone)


def _give_way(
    near: dict[Digest, set[Digest]],
    order: Sequence[Digest],
    fine: frozenset[Digest],
    said: Sequence[Mapping[Digest, Digest]],
    f: int,
) -> None:
    """Let the first of the `fine` ones alike to each refused offer take its place before the others.

    Cards name firsts only, so its copies are not named beside each other. They are one if more than f cards put them together, as
    any two are: nobody bridges two honest offers by refused ones.
    """
    places = {offer: place for place, offer in enumerate(order)}
    for refused in order:
        heir, *others = sorted(near[refused], key=places.__getitem__)
        if refused in fine or heir not in fine:
            continue
        for other in others:
            if _together(said, heir, other) > f:
                near[heir].add(other)
                near[other].add(heir)


def _pairs(said: Sequence[Mapping[Digest, Digest]], f: int) -> dict[Digest, set[Digest]]:
    """Those that more than f cards hold for one with each offer; `said`: the first of each offer's group, card by card."""
    named = [{(offer, first) for offer, first in firsts.items() if first != offer} for firsts in said]
    grouped = Counter(offer for pairs in named for offer in {offer for pair in pairs for offer in pair})
    near = defaultdict[Digest, set[Digest]](set)
    for offer, first in set[tuple[Digest, Digest]]().union(*named):
        if min(grouped[offer], grouped[first]) <= f:
            continue  # the words of f liars alone: whatever they name costs no more than a look
        if _together(said, offer, first) > f:
            near[offer].add(first)
            near[first].add(offer)
    return near


def _together(said: Sequence[Mapping[Digest, Digest]], one: Digest, other: Digest) -> int:
    """How many cards put two offers into one group."""
    return sum(one in firsts and firsts[one] == firsts.get(other) for firsts in said)

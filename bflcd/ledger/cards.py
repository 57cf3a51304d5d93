"""Whether a beacon, an offer or a score card may count in a round: all that can be checked without its signature (design 5)."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Final

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.alliance.fees import owes
from bflcd.ledger.disclosure import REFUSED
from bflcd.ledger.roles import may_train, rests, tie_break, trainers
from bflcd.ledger.state import State, member_of, members_of
from bflcd.ledger.trust.alike import wrong_likes
from bflcd.params import Params
from bflcd.types import Digest, NodeId, short
from bflcd.wire.blocks import committee_hash
from bflcd.wire.envelope import MAX_PAYLOAD_BYTES, Signed
from bflcd.wire.messages import MAX_ENTRIES, Beacon, CardEntry, CardSeal, Offer, OffersClosed, ScoreCard

MAX_ENTRIES_EACH: Final = 2
"""Entries of a card about one uploader: nobody holds more offers of one, so more of them are invented."""

_ENTRY_BYTES: Final = 129
"""The largest entry of a card that is like nothing: three hashes of 34 bytes, four numbers of at most 9, 5, 5 and 5."""

_LIKE_BYTES: Final = 33
"""What another hash in it adds."""

_PRESENT_BYTES: Final = 34
"""A member on a card."""

_FIXED_BYTES: Final = 1024
"""The rest of a card."""


def check_beacon(state: State, head: Digest, beacon: Signed[Beacon]) -> None:
    """Raise PeerError unless a member says that it stands at the head of hash `head`, whose ledger is `state`."""
    _check_place(state, head, beacon.body, "beacon", beacon.author)
    _check_member(state, "beacon", beacon.author)


def check_offer(params: Params, state: State, head: Digest, offer: Signed[Offer]) -> None:
    """Raise PeerError unless `offer` belongs to this round and its author may train in it."""
    _check_place(state, head, offer.body, "offer", offer.author)
    _check_member(state, "offer", offer.author)
    if not may_train(params, state, offer.author):
        why = _why_not(state, offer.author)
        raise PeerError(Rejection.NOT_TRAINER, f"offer of {short(offer.author)}: may not train in round {state.round}: {why}")


def check_seal(state: State, head: Digest, seal: Signed[CardSeal]) -> None:
    """Raise PeerError unless a member that holds a seat binds itself to a card of this round."""
    _check_place(state, head, seal.body, "seal", seal.author)
    _check_seat(state, "seal", seal.author)


def check_closed(state: State, head: Digest, closed: Signed[OffersClosed]) -> None:
    """Raise PeerError unless a member that holds a seat says that it takes no further offers in this round."""
    _check_place(state, head, closed.body, "word that offers are closed", closed.author)
    _check_seat(state, "word that offers are closed", closed.author)


def fit_card(card: ScoreCard, author: NodeId, seed: Digest) -> ScoreCard:
    """`card` with as many entries and present members as have an encoding (design 5.3), its author and the uploaders first.

    In a community so large that not all fit, the round's seed decides whom an honest card leaves out, another round others; and
    where nearly all of so many offers are copies, which of these it names.
    """

    def lot(node: NodeId) -> Digest:
        return tie_break(seed, node)

    chosen = sorted(card.entries, key=lambda entry: (lot(entry.uploader), entry_key(entry)))[:MAX_ENTRIES]
    named = {author, *(entry.uploader for entry in chosen)} & set(card.present)
    room = MAX_PAYLOAD_BYTES - _FIXED_BYTES - len(chosen) * _ENTRY_BYTES - len(named) * _PRESENT_BYTES
    chosen = _with_likes(chosen, card.parent, room // _LIKE_BYTES)
    room = (room - sum(entry.like is not None for entry in chosen) * _LIKE_BYTES) // _PRESENT_BYTES
    others = sorted((node for node in card.present if node not in named), key=lot)[:room]
    return replace(card, entries=tuple(sorted(chosen, key=entry_key)), present=tuple(sorted([*named, *others])))


def _with_likes(entries: list[CardEntry], parent: Digest, most: int) -> list[CardEntry]:
    """The entries, of which so many at most say what they are like, and only what is among them or the parent."""
    here = {entry.offer for entry in entries} | {parent}
    said = frozenset([entry.offer for entry in entries if entry.like in here][:most])
    return [entry if entry.offer in said else replace(entry, like=None) for entry in entries]


def by_lot(cards: Iterable[Signed[ScoreCard]], f: int, seed: Digest) -> list[Signed[ScoreCard]]:
    """One card of each member in the order in which a leader takes them: by the lot of the round's seed (design 5.4).

    Those that say nothing go last: none of their entries is about an offer that f + 1 of the cards name. How much a card says
    beyond that is its author's choice, and so decides nothing.
    """
    held = tuple(cards)
    counts = Counter(entry_key(entry) for card in held for entry in card.body.entries)

    def says_nothing(card: Signed[ScoreCard]) -> bool:
        return not any(counts[entry_key(entry)] > f for entry in card.body.entries)

    return sorted(held, key=lambda card: (says_nothing(card), tie_break(seed, card.author)))


def _list_of_entries(entries: tuple[CardEntry, ...], parent: Digest) -> str | None:
    """What is wrong with the entries as a list, if anything; `parent` of the card."""
    if not _ascending(map(entry_key, entries)):
        return "its entries are not sorted by uploader, offer and root, or repeat one"
    for first, later in zip(entries, entries[MAX_ENTRIES_EACH:], strict=False):
        if first.uploader == later.uploader:
            return f"more than {MAX_ENTRIES_EACH} entries are about {short(first.uploader)}"
    if len({entry.offer for entry in entries}) < len(entries):
        return "two of its entries name one offer"
    for entry in entries:
        if entry.gain < REFUSED:
            return f"it says {entry.gain} of an offer of {short(entry.uploader)}, where {REFUSED} stands for all that harms"
    if wrong := wrong_likes(entries, parent):
        return f"the offer of {short(wrong.uploader)} is like one that has no entry, or is itself like another"
    return None


class CardRules:
    """What the cards of one round are held against, prepared once for all of them."""

    __slots__ = ("_head", "_members", "_state", "_trainers")

    def __init__(self, params: Params, state: State, head: Digest) -> None:
        self._state = state
        self._head = head
        self._members = frozenset(account.node for account in members_of(state))
        self._trainers = trainers(params, state)

    def check(self, card: Signed[ScoreCard]) -> None:
        """Raise PeerError unless `card` belongs to this round, its author holds a seat, and its contents agree with each other.

        WRONG_*, NOT_COMMITTEE, BAD_CARD; linear in the card.
        """
        _check_place(self._state, self._head, card.body, "card", card.author)
        _check_seat(self._state, "card", card.author)
        complaint = self._contradiction(card.author, card.body)
        if complaint is not None:
            raise PeerError(Rejection.BAD_CARD, f"card of {short(card.author)} for round {self._state.round}: {complaint}")

    def _contradiction(self, author: NodeId, card: ScoreCard) -> str | None:
        """The first thing on the card that no honest member writes.

        An uploader is present by definition, since its offer is held (design 5.3): a packed node is therefore always a
        present one.
        """
        if complaint := _list_of_entries(card.entries, card.parent):
            return complaint
        if not _ascending(card.present):
            return "its present members are not sorted, or repeat one"
        present = frozenset(card.present)
        if author not in present:
            return "its author is not among the present"
        strangers = present - self._members
        if strangers:
            return f"{short(min(strangers))} is listed as present and is no member"
        for entry in card.entries:
            if entry.uploader not in self._trainers:
                return f"{short(entry.uploader)} may not train in this round and has an entry"
            if entry.uploader not in present:
                return f"{short(entry.uploader)} has an entry and is not listed as present"
        if (card.base_loss is None) != (card.base_accuracy is None):
            return "the base has a loss or an accuracy, but not both"
        if (card.base_loss is None) != (not card.entries):
            return "the base is scored exactly if there are entries"
        return None


def entry_key(entry: CardEntry) -> tuple[NodeId, Digest, Digest]:
    """What makes two members' entries one offer's (design 5)."""
    return entry.uploader, entry.offer, entry.root


def _check_place(
    state: State, head: Digest, body: Beacon | Offer | OffersClosed | CardSeal | ScoreCard, what: str, author: NodeId
) -> None:
    """Raise PeerError at the first of the fields chain, round, epoch, parent, committee that is another round's."""
    expected = (
        (Rejection.WRONG_CHAIN, "chain", body.chain, state.chain),
        (Rejection.WRONG_ROUND, "round", body.round, state.round),
        (Rejection.WRONG_EPOCH, "epoch", body.epoch, state.epoch),
        (Rejection.WRONG_PARENT, "parent", body.parent, head),
    )
    for rejection, field, found, right in expected:
        if found != right:
            raise PeerError(rejection, f"{what} of {short(author)}: {field} is {_show(found)}, ours is {_show(right)}")
    right = committee_hash(state.epoch, state.committee)
    if body.committee != right:
        raise PeerError(
            Rejection.WRONG_COMMITTEE, f"{what} of {short(author)}: committee is {_show(body.committee)}, ours is {_show(right)}"
        )


def _check_seat(state: State, what: str, author: NodeId) -> None:
    if author not in state.committee:
        raise PeerError(Rejection.NOT_COMMITTEE, f"{what} of {short(author)}: its author holds no seat in round {state.round}")


def _check_member(state: State, what: str, author: NodeId) -> None:
    if member_of(state, author) is None:
        raise PeerError(Rejection.NOT_MEMBER, f"{what} of {short(author)}: its author is no member of the alliance")


def _why_not(state: State, node: NodeId) -> str:
    """Why a member may not train."""
    if node in state.committee:
        return "it holds a seat"
    if owes(state, node):
        return "it owes the community"
    return "it rests after offers that did harm" if rests(state, node) else "it is not active"


def _show(value: object) -> str:
    return short(value) if isinstance(value, bytes) else str(value)


def _ascending(keys: Iterable[object]) -> bool:
    """Whether each key is above the one before: sorted, and none twice."""
    return all(low < high for low, high in pairwise(keys))  # type: ignore[operator]

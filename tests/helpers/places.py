"""A judge that has heard nothing yet, valid messages of every signed kind for its round, and what it counts of what it hears."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from bflcd.core.core import Core
from bflcd.core.effects import Blame, Effect
from bflcd.core.events import Instant, MessageReceived, Started
from bflcd.core.records import Head
from bflcd.core.signing_guard import SigningGuard
from bflcd.crypto.identity import Identity
from bflcd.errors import PeerError
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.net.gossip import GossipChannel
from bflcd.net.verified import VerifiedEnvelopes
from bflcd.params import BlobRef, Genesis
from bflcd.types import Digest, Epoch, MicroNats, Millis, NodeId, PartsPerMillion, Round, View
from bflcd.wire.blocks import header_hash
from bflcd.wire.codec import encode
from bflcd.wire.envelope import Envelope, seal
from bflcd.wire.messages import (
    Beacon,
    CardSeal,
    Commit,
    Gossip,
    JustifiedPrePrepare,
    JustifiedViewChange,
    Offer,
    OffersClosed,
    Prepare,
    PrePrepare,
    Proposal,
    ScoreCard,
    SignedBody,
    ViewChange,
)
from bflcd.wire.tensors import payload_size, update_label
from tests.helpers.inside import pbft_of, pending_certificate, round_of
from tests.helpers.ledger import NO_PROOF, make_genesis
from tests.helpers.world import Disk

KINDS: tuple[type, ...] = get_args(SignedBody)

PLACE = ("chain", "round", "epoch", "parent", "committee")
"""What binds a message to its round."""

NOW = Instant(Millis(1_000), Millis(1_700_000_100_000))


@dataclass(frozen=True)
class Place:
    """Where a judge stands: its genesis, its head, everybody's keys."""

    genesis: Genesis
    head: Head
    keys: dict[NodeId, Identity]

    @property
    def instance(self) -> Any:
        """What the round's PBFT decides about."""
        return self.core().context.instance

    def core(self) -> Core:
        """A fresh judge: the third seat, so that others lead the first views."""
        identity = self.keys[self.head.state.committee[2]]
        core = Core(
            self.genesis, self.head, identity, VerifiedEnvelopes().verify_once, identity.seed, guard=SigningGuard(), train=True
        )
        core.handle(Started(Disk(self.head).found(self.head.state.round)), NOW)
        return core


def genesis_place(name: str = "test", nodes: int = 7) -> Place:
    """Round 0 of a community of four judges."""
    genesis, identities = make_genesis(nodes=nodes, committee=4, places=4, late_serving=True)
    genesis = replace(genesis, name=name)
    header, state = genesis_header(genesis), genesis_state(genesis)
    return Place(genesis, Head(header, header_hash(header), state), {key.node_id: key for key in identities})


def in_epoch(place: Place, epoch: int) -> Place:
    """The same round under a higher epoch."""
    return replace(place, head=replace(place.head, state=replace(place.head.state, epoch=Epoch(epoch))))


def in_round(place: Place, round_: int) -> Place:
    """The same head, as if it opened another round."""
    return replace(place, head=replace(place.head, state=replace(place.head.state, round=Round(round_))))


def at_head(place: Place, head: Head) -> Place:
    """The same community at another head."""
    return replace(place, head=head)


def body_at(place: Place, kind: type, author: NodeId) -> Any:
    """A valid body of `kind` for this place; votes are of view 0, the view-change of view 1."""
    instance = place.instance
    common = {
        "chain": instance.chain,
        "round": instance.round,
        "epoch": instance.epoch,
        "parent": instance.parent,
        "committee": instance.committee_hash,
    }
    digest = Digest(bytes([9]) * 32)
    label = update_label(instance.chain, instance.round, author)
    extra: dict[type, dict[str, Any]] = {
        Beacon: {},
        Offer: {"blob": BlobRef(Digest(bytes([8]) * 32), payload_size(place.genesis.task.tensors, label)), "samples": 9},
        OffersClosed: {},
        CardSeal: {"card": digest},
        ScoreCard: {"base_loss": None, "base_accuracy": None, "entries": (), "present": (author,)},
        PrePrepare: {
            "view": View(0),
            "digest": digest,
            "proposal": Proposal(instance.epoch, View(0), NO_PROOF, NOW.wall, (digest,) * 3),
        },
        Prepare: {"view": View(0), "digest": digest, "proposal": digest},
        Commit: {"view": View(0), "digest": digest},
        ViewChange: {"view": View(1), "prepared_view": None, "prepared_digest": None},
    }
    return kind(**common, **extra[kind])


RECEIVED: dict[type, Callable[[Envelope], Gossip]] = {
    Beacon: lambda envelope: envelope,
    Offer: lambda envelope: envelope,
    OffersClosed: lambda envelope: envelope,
    CardSeal: lambda envelope: envelope,
    ScoreCard: lambda envelope: envelope,
    PrePrepare: lambda envelope: JustifiedPrePrepare(envelope, (), ()),
    Prepare: lambda envelope: envelope,
    Commit: lambda envelope: envelope,
    ViewChange: lambda envelope: JustifiedViewChange(envelope, (), None),
}
"""How each kind is gossiped. A kind that is signed and missing here fails the matrix."""


def author_at(place: Place, kind: type) -> NodeId:
    """Who may say it: a trainer offers, the leader of view 0 proposes, a judge says the rest."""
    committee = place.head.state.committee
    if kind in (Beacon, Offer):
        return next(account.node for account in place.head.state.accounts if account.node not in committee)
    return place.instance.leader(View(0)) if kind is PrePrepare else committee[3]


def valid(place: Place, kind: type) -> Envelope:
    """A valid signed message of this kind."""
    author = author_at(place, kind)
    return seal(body_at(place, kind, author), place.keys[author]).envelope


def another(place: Place, kind: type) -> Envelope:
    """Another valid one: by another author, and of other contents where it has contents."""
    first = author_at(place, kind)
    committee = place.head.state.committee
    others = [node for node in place.keys if node != first and (node in committee) == (first in committee)]
    author = place.instance.leader(View(1)) if kind is PrePrepare else next(n for n in others if n != committee[2])
    body = body_at(place, kind, author)
    changes: dict[str, Any] = {
        "digest": Digest(bytes([7]) * 32),
        "samples": 10,
        "prepared_view": View(0),
        "prepared_digest": Digest(bytes([6]) * 32),
        "view": View(1),
        "base_loss": MicroNats(1),
        "base_accuracy": PartsPerMillion(1),
    }
    names = {field.name for field in fields(kind)}
    if kind is ViewChange:
        changes["view"] = View(2)
    body = replace(body, **{name: value for name, value in changes.items() if name in names})
    return seal(body, place.keys[author]).envelope


def counted(core: Core) -> dict[str, object]:
    """All that a core took from others for its round: what a refused message must leave as it is."""
    collection, pbft = round_of(core).collection, pbft_of(core)
    taken: dict[str, object] = {
        "round": core.context.round,
        "beacons": frozenset(collection.beacons),
        "offers": frozenset(collection.offers),
        "closed": frozenset(collection.closing.seats),
        "seals": frozenset(collection.sealing.seals),
        "cards": frozenset(collection.cards),
        "certificate": pending_certificate(core),
    }
    if pbft is not None:
        taken |= {
            "view": pbft.view,
            "decided": pbft.certificate,
            "pre-prepare": pbft._attempt.pre_prepare,
            "prepares": _votes(pbft._prepares._slots),
            "commits": _votes(pbft._commits._slots),
            "view-changes": _votes(pbft._view_changes._by_author),
        }
    return taken


def _votes(slots: dict[NodeId, dict[View, Any]]) -> frozenset[tuple[NodeId, View]]:
    return frozenset((author, view) for author, held in slots.items() for view in held)


class Door:
    """The cheap checks that stand before every core: a real channel over no network."""

    def __init__(self, place: Place) -> None:
        self._receive: Any = None
        members = frozenset(place.keys)
        self._time = 0
        self.channel = GossipChannel(
            self,
            chain=lambda: place.head.state.chain,
            is_member=members.__contains__,
            now=self._now,
            on_misbehaviour=lambda *_: None,
        )

    def _now(self) -> Millis:
        self._time += 60_000
        return Millis(self._time)

    def subscribe(self, _topic: str, handler: Any, **_: Any) -> None:
        """As a transport's."""
        self._receive = handler

    def serve(self, _protocol: str, handler: Any, **_: object) -> None:
        """As a transport's; pushes are checked like gossip."""

    def passes(self, message: Gossip, forwarder: NodeId) -> bool:
        """Whether the channel lets these bytes in."""
        passed: bool = self._receive(forwarder, encode(message))
        return passed


def deliver(core: Core, message: Gossip, peer: NodeId | None = None) -> list[Effect]:
    """Hand in a message as gossip does."""
    return core.handle(MessageReceived(message, peer or core.context.committee[0]), NOW)


def counts(core: Core, messages: Iterable[tuple[str, Gossip]]) -> list[str]:
    """The names of those messages that changed what the core counts. Whatever it raises is a failure of the test."""
    accepted, before = [], counted(core)
    for name, message in messages:
        deliver(core, message)
        after = counted(core)
        if after != before:
            accepted.append(name)
            before = after
    return accepted


def refused(effects: Iterable[Effect]) -> set[str]:
    """Why something was refused."""
    return {effect.rejection.name for effect in effects if isinstance(effect, Blame)}


def encodes(make: Callable[[], Any]) -> Any:
    """What `make` gives, None if the swapped field has another type or breaks its limits."""
    try:
        return make()
    except (ValueError, TypeError, PeerError):
        return None

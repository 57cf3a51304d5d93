"""The core at one moment, for whoever watches it: frozen, and nothing of it changes what the core does."""

from collections.abc import Mapping
from dataclasses import dataclass

from bflcd.consensus.status import Phase
from bflcd.core.events import Instant
from bflcd.core.round.context import RoundContext
from bflcd.core.round.offers import OfferProgress
from bflcd.core.round.state import RoundState
from bflcd.ledger.judgement import Judgement
from bflcd.types import Epoch, Millis, NodeId, View
from bflcd.wire.envelope import Signed
from bflcd.wire.messages import Offer
from bflcd.wire.operation import Operation
from bflcd.wire.recovery import RecoveryCertificate


@dataclass(frozen=True, slots=True)
class OfferSeen:
    """One offer of the running round. `held`: its payload is here; `scored`: it has its entry on our card to be."""

    offer: Signed[Offer]
    held: bool
    scored: bool


@dataclass(frozen=True, slots=True)
class LastDecision:
    """What the newest round that closed here decided; `weights` of its packed offers, in their order."""

    judgement: Judgement
    weights: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RecoveriesSeen:
    """What managers have signed for the running round.

    `signed`: the highest epoch for which we did, 0 for none; `needed`: how many must sign; `held`: highest epoch first; `next`:
    the lowest epoch that we may sign.
    """

    signed: Epoch
    needed: int
    held: tuple[RecoveryCertificate, ...]
    next: Epoch

    def complete(self, certificate: RecoveryCertificate) -> bool:
        """Whether a quorum of managers signed it."""
        return len(certificate.signatures) >= self.needed


@dataclass(frozen=True, slots=True)
class CoreSnapshot:
    """Times are of the core's clock; `at`: when this was taken, `opened`: when the round began here, `at` until the core starts.

    `model_held`: the round's model is here; `decided`: its certificate is, its segment is not; `view`, `phase`, `awaited`: of our
    part in the decision, phase None without a seat, awaited in seat order; `expected`: trainers whose offers our card waits for;
    `card_sent`, `scoring`, `training`: our own card and our jobs under way; `present`: heard of in this round; `cards`: how many
    entries each member's card has; `waiting`: operations that no block has carried yet.
    """

    context: RoundContext
    at: Millis
    opened: Millis
    started: bool
    syncing: bool
    may_sign: bool
    model_held: bool
    decided: bool
    view: View
    phase: Phase | None
    awaited: tuple[NodeId, ...]
    expected: frozenset[NodeId]
    card_sent: bool
    scoring: bool
    training: bool
    offers: tuple[OfferSeen, ...]
    cards: Mapping[NodeId, int]
    present: frozenset[NodeId]
    present_before: frozenset[NodeId]
    recoveries: RecoveriesSeen
    last: LastDecision | None
    waiting: tuple[Operation, ...]


def snapshot_of(
    round_: RoundState,
    now: Instant,
    *,
    started: bool,
    syncing: bool,
    before: frozenset[NodeId],
    last: LastDecision | None,
    waiting: tuple[Operation, ...],
) -> CoreSnapshot:
    """The running round, and what the core knows beyond it; `before`: who was present in the round before."""
    context, collection, recoveries = round_.context, round_.collection, round_.recoveries
    pbft = None if round_.agreement is None else round_.agreement.pbft
    scored = {digest for digest, slot in collection.slots.items() if slot.progress is OfferProgress.SCORED}
    return CoreSnapshot(
        context=context,
        at=now.mono,
        opened=collection.opened if started else now.mono,
        started=started,
        syncing=syncing,
        may_sign=round_.may_sign,
        model_held=round_.work.model_here,
        decided=round_.decision is not None,
        view=View(0) if pbft is None else pbft.view,
        phase=None if pbft is None else pbft.phase,
        awaited=() if pbft is None else pbft.missing,
        expected=frozenset(collection.expected(now.mono)),
        card_sent=collection.own_card is not None,
        scoring=collection.scoring,
        training=round_.work.training,
        offers=tuple(
            OfferSeen(offer, held=offer.body.blob.root in collection.blobs, scored=digest in scored)
            for digest, offer in sorted(collection.offers.items())
        ),
        cards={author: len(card.body.entries) for author, card in collection.first_cards.items()},
        present=frozenset(collection.beacons),
        present_before=before,
        recoveries=RecoveriesSeen(
            recoveries.signed, recoveries.needed, recoveries.held(), recoveries.next_epoch(context.state.epoch)
        ),
        last=last,
        waiting=waiting,
    )

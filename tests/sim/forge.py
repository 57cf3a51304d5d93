"""What a liar can make with its key and its knowledge: any body it likes, and second segments that are right in themselves."""

from dataclasses import replace
from typing import Any

from bflcd.errors import InvariantError, PeerError
from bflcd.ledger.lot import lot_input
from bflcd.ledger.transition import build_segment, decide, draw_of
from bflcd.params import BlobRef
from bflcd.types import Digest, Millis, Proof, View
from bflcd.wire.blocks import committee_hash, segment_digest
from bflcd.wire.envelope import Signed, seal
from bflcd.wire.messages import Beacon, CardEntry, Commit, Offer, Prepare, PrePrepare, ScoreCard, ViewChange
from bflcd.wire.tensors import payload_size, update_label
from tests.helpers.inside import round_of
from tests.sim import compute
from tests.sim.node import SimNode

MILLIS_APART = 7
"""How far the times of two rival proposals lie apart."""


def place(node: SimNode) -> dict[str, Any]:
    """The fields that every body of the running round has."""
    assert node.core is not None
    context = node.core.context
    state = context.state
    return {
        "chain": state.chain,
        "round": state.round,
        "epoch": state.epoch,
        "parent": context.head_hash,
        "committee": committee_hash(state.epoch, state.committee),
    }


def sign(node: SimNode, body: Any) -> Signed[Any]:
    return seal(body, node.signer)


def vote(node: SimNode, kind: type, view: int, digest: Digest, proposal: Digest | None = None) -> Signed[Any]:
    """A prepare or commit for whatever digest; `proposal`: the id that a prepare names, any if it is not known."""
    named = {"proposal": proposal or digest} if kind is Prepare else {}
    return sign(node, kind(**place(node), view=View(view), digest=digest, **named))


def view_change(node: SimNode, view: int, prepared_view: int | None = None, prepared: Digest | None = None) -> Signed[ViewChange]:
    shown = None if prepared_view is None else View(prepared_view)
    return sign(node, ViewChange(**place(node), view=View(view), prepared_view=shown, prepared_digest=prepared))


def offer(node: SimNode, root: Digest, samples: int) -> Signed[Offer]:
    """An offer of an update that may not exist."""
    assert node.core is not None
    label = update_label(node.core.context.state.chain, node.core.context.round, node.id)
    blob = BlobRef(root, payload_size(node.world.genesis.task.tensors, label))
    return sign(node, Offer(**place(node), blob=blob, samples=samples))


def beacon(node: SimNode, **changes: Any) -> Signed[Beacon]:
    return sign(node, Beacon(**(place(node) | changes)))


def own_proof(node: SimNode) -> Proof:
    """What a liar's own key says of the round's lot."""
    assert node.core is not None
    state = node.core.context.state
    return node.signer.prove(lot_input(state.chain, state.round, state.lot))


def card_without(card: ScoreCard, keep: int) -> ScoreCard:
    """The same card with its first entries only."""
    entries: tuple[CardEntry, ...] = card.entries[:keep]
    base = (card.base_loss, card.base_accuracy) if entries else (None, None)
    return replace(card, entries=entries, base_loss=base[0], base_accuracy=base[1])


def rival(node: SimNode, body: PrePrepare, number: int, *, lead: int = 0) -> PrePrepare | None:
    """Another proposal for the same view, with the digest that honest members will find for it; None if we can't make one.

    Its time differs, and where we hold more than q cards, so do the cards.
    """
    core = node.core
    if core is None or round_of(core).agreement is None:
        return None
    context, collection = core.context, round_of(core).collection
    first = sorted(collection.first_cards.values(), key=lambda card: card.author)
    cards = list(first[number % (len(first) - context.q + 1) :][: context.q]) if len(first) >= context.q else []
    if len(cards) < context.q:
        return None
    time = Millis(body.proposal.time + lead + MILLIS_APART * (number + 1))
    try:
        draw = draw_of(context.state, body.view, own_proof(node))
        outcome = decide(context.params, context.state, context.head_hash, tuple(cards), collection.offers, draw=draw, time=time)
    except (PeerError, InvariantError):
        return None
    model = context.head_blob
    if outcome.packed:
        updates = [(packed.weight, packed.offer.body.blob.root) for packed in outcome.packed]
        data = compute.aggregate_bytes(node.world.genesis, context.params.aggregation, model.root, updates, outcome.step_limit)
        model = node.disk.put_blob(data)
    segment = build_segment(context.params, context.state, context.head_header, outcome, model)
    chosen = tuple(card.digest for card in cards)
    proposal = replace(body.proposal, view=body.view, proof=draw.proof, time=time, cards=chosen)
    return replace(body, digest=segment_digest(segment), proposal=proposal)


VOTE_KINDS = (Prepare, Commit)

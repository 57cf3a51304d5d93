"""What the route of a node's privacy answers, and what blocks say that trainers claim of theirs."""

from bflcd.api.route import Backend, Call
from bflcd.api.schema.privacy import PrivacyClaimView, PrivacyView
from bflcd.types import NodeId
from bflcd.wire.blocks import Segment
from bflcd.wire.codec import decode
from bflcd.wire.messages import Offer
from bflcd.wire.privacy import PrivacyClaim


async def privacy(backend: Backend, _: Call) -> PrivacyView:
    """The budgets of this node."""
    return backend.node.privacy()


def claim_view(author: NodeId, claim: PrivacyClaim | None) -> PrivacyClaimView | None:
    """A claim for people; None of an offer without one."""
    if claim is None:
        return None
    return PrivacyClaimView(node_id=author.hex(), epsilon=claim.epsilon / 1000, delta_exponent=claim.exponent)


def claims_of(segment: Segment) -> list[PrivacyClaimView]:
    """What packed trainers claim, in the order of their places; those that claim nothing are left out."""
    offers = [update.offer for update in segment.updates if update.offer is not None]
    views = (claim_view(offer.author, decode(offer.payload, Offer).privacy) for offer in offers)
    return [view for view in views if view is not None]

"""The running round: offers, cards, votes, and what the last one decided."""

from bflcd.api.privacy import claim_view
from bflcd.api.schema.round import CardView, DecisionRow, OfferView, RoundView, VotesView
from bflcd.consensus.status import Phase
from bflcd.core.snapshot import CoreSnapshot
from bflcd.learn.health import WorkHealth
from bflcd.learn.protocol import NORM_SCALE_BITS
from bflcd.ledger.quorum import leader
from bflcd.node.views.status import activity, longest_collection, missing, waiting_for
from bflcd.params import MILLION


def round_view(core: CoreSnapshot, work: WorkHealth) -> RoundView:
    """The running round as this node sees it. `work`: how its own work goes."""
    context = core.context
    deadline = core.opened + longest_collection(core) - core.at
    return RoundView(
        round=context.round,
        view=core.view,
        phase=activity(core, work),
        leader=leader(context.committee, core.view).hex(),
        started_ms_ago=core.at - core.opened,
        deadline_ms=deadline if deadline > 0 and not core.card_sent and not context.finished else None,
        view_timeout_ms=context.view_timeout,
        collect_deadline_ms=context.collect_deadline,
        offers=[
            OfferView(
                uploader=seen.offer.author.hex(),
                samples=seen.offer.body.samples,
                size=seen.offer.body.blob.size,
                have=seen.held,
                scored=seen.scored,
                claim=claim_view(seen.offer.author, seen.offer.body.privacy),
            )
            for seen in core.offers
        ],
        cards=[
            CardView(member=member.hex(), entries=entries, mine=member == context.me) for member, entries in core.cards.items()
        ],
        votes=_votes(core),
        missing=[node.hex() for node in missing(core)],
        waiting_for=waiting_for(core),
        last_decision=_last_decision(core),
    )


def _votes(core: CoreSnapshot) -> VotesView:
    given = [node.hex() for node in core.context.committee if node not in core.awaited]
    return VotesView(
        prepare=given if core.phase is Phase.PREPARING else [],
        commit=given if core.phase is Phase.COMMITTING else [],
        view_change=given if core.phase is Phase.VIEW_CHANGE else [],
    )


def _last_decision(core: CoreSnapshot) -> list[DecisionRow]:
    if core.last is None:
        return []
    judgement = core.last.judgement
    weights = {packed.offer: weight for packed, weight in zip(judgement.packed, core.last.weights, strict=True)}
    return [
        DecisionRow(
            uploader=offer.uploader.hex(),
            score=offer.score,
            gain=offer.gain,
            accuracy=None if offer.accuracy is None else offer.accuracy / MILLION,
            norm=None if offer.norm is None else offer.norm / 2**NORM_SCALE_BITS,
            rate=offer.rate,
            weight=weights.get(offer.offer, 0),
            packed=offer.reason is None,
            reason="" if offer.reason is None else offer.reason.value,
        )
        for offer in judgement.offers
    ]

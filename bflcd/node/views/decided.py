"""What the newest round decided, read from its block: a node that was started since has not seen it close."""

from dataclasses import replace

from bflcd.api.history import judges_of
from bflcd.core.snapshot import LastDecision
from bflcd.ledger.alliance.parameters import in_force
from bflcd.ledger.judgement import judge
from bflcd.ledger.operations.setting import SET
from bflcd.ledger.quorum import quorum
from bflcd.ledger.state import genesis_header
from bflcd.params import MILLION, Genesis, Params
from bflcd.store.protocol import ChainStore
from bflcd.types import Round
from bflcd.wire.blocks import Header
from bflcd.wire.envelope import open_envelope
from bflcd.wire.messages import Offer, ScoreCard


async def last_decision(store: ChainStore) -> LastDecision | None:
    """None before the first round, and where the cards alone don't give what the block packed: nothing is better than wrong."""
    genesis, head = await store.genesis(), await store.head()
    certified = await store.segment(head.header.round) if head.header.round else None
    if genesis is None or certified is None:
        return None
    before = await _header_before(store, genesis, head.header.round)
    if before is None or before.model is None:
        return None
    segment = certified.segment
    if any(operation.kind == SET.name for operation in segment.model.operations):
        return None  # the head's ledger may have other parameters than the round was judged by
    params = in_force(genesis.params, head.state)
    state = replace(
        head.state,
        round=before.round,
        lot=before.model.lot,
        committee=judges_of(before.model, certified),
        usual_norm=_usual_norm(params, segment.model.step_limit),
    )
    cards = [open_envelope(card, (ScoreCard,)) for card in segment.model.cards]
    if len(cards) != quorum(len(state.committee)):
        return None
    judgement = judge(params, state, cards)
    packed = [open_envelope(update.offer, (Offer,)).digest for update in segment.updates if update.offer is not None]
    if [offer.offer for offer in judgement.packed] != packed:
        return None
    return LastDecision(judgement, segment.model.weights)


async def _header_before(store: ChainStore, genesis: Genesis, round_: Round) -> Header | None:
    if round_ == 1:
        return genesis_header(genesis)
    found = await store.segment(Round(round_ - 1))
    return None if found is None else found.segment.model_header


def _usual_norm(params: Params, limit: int | None) -> int:
    """The usual norm behind a block's step limit (`influence.step_limit`), to within its rounding; 0 where there was none."""
    clip = params.norm_clip
    return 0 if limit is None or limit < 0 or not clip else -(-limit * MILLION // clip)

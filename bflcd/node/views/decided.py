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
from bflcd.types import PartsPerMillion, Round
from bflcd.wire.blocks import Header
from bflcd.wire.envelope import open_envelope
from bflcd.wire.messages import Offer, ScoreCard


async def last_decision(store: ChainStore) -> LastDecision | None:
    """None before the first round, and where the cards alone don't give what the block packed: nothing is better than wrong."""
    genesis, head = await store.genesis(), await store.head()
    certified = await store.segment(head.header.round) if head.header.round else None
    if genesis is None or certified is None:
        return None
    before, limit_before = await _block_before(store, genesis, head.header.round)
    if before is None or before.model is None:
        return None
    segment = certified.segment
    if any(operation.kind == SET.name for operation in segment.model.operations):
        return None  # the head's ledger may have other parameters than the round was judged by
    params = in_force(genesis.params, head.state)
    limit = segment.model.step_limit
    state = replace(
        head.state,
        round=before.round,
        lot=before.model.lot,
        committee=judges_of(before.model, certified),
        known=PartsPerMillion(0 if limit is not None and limit < 0 else MILLION),
    )
    cards = [open_envelope(card, (ScoreCard,)) for card in segment.model.cards]
    if len(cards) != quorum(len(state.committee)):
        return None
    packed = [open_envelope(update.offer, (Offer,)).digest for update in segment.updates if update.offer is not None]
    for usual in _usual_norms(params, limit, limit_before):
        judgement = judge(params, replace(state, usual_norm=usual), cards)
        if [offer.offer for offer in judgement.packed] == packed:
            return LastDecision(judgement, segment.model.weights)
    return None


async def _block_before(store: ChainStore, genesis: Genesis, round_: Round) -> tuple[Header | None, int | None]:
    """The model header before a round's, and its step limit."""
    if round_ == 1:
        return genesis_header(genesis), None
    found = await store.segment(Round(round_ - 1))
    return (None, None) if found is None else (found.segment.model_header, found.segment.model.step_limit)


def _usual_norms(params: Params, limit: int | None, before: int | None) -> tuple[int, ...]:
    """What usual norms a block may have been judged by, to within rounding, the likeliest first; 0 for none.

    `limit`, `before`: its step limit and that of the block before it (`influence.step_limit`): below 0, while the model is young,
    what is usual after a round.
    """
    clip = params.norm_clip
    if limit is None or not clip:
        return (0,)
    if limit >= 0:
        return (-(-limit * MILLION // clip),)
    return (-before, -limit, 0) if before is not None and before < 0 else (-limit, 0)

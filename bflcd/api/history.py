"""Rows of the chain's history, from committed segments."""

from collections import Counter
from collections.abc import Sequence

from bflcd.api.schema.chain import MAX_HISTORY, HistoryRow
from bflcd.ledger.medians import lower_median
from bflcd.ledger.operations.rollback import rollbacks_of
from bflcd.params import MILLION, Genesis
from bflcd.store.protocol import ChainStore
from bflcd.types import MicroNats, Millis, NodeId, PartsPerMillion, Round
from bflcd.wire.blocks import CertifiedSegment, ModelBody
from bflcd.wire.codec import decode
from bflcd.wire.messages import ScoreCard
from bflcd.wire.rollback import RULE


def base_of(cards: Sequence[bytes]) -> tuple[MicroNats, PartsPerMillion] | None:
    """Lower medians of the base's loss and accuracy over card payloads; None if no card has them."""
    bodies = [decode(card, ScoreCard) for card in cards]
    losses = [body.base_loss for body in bodies if body.base_loss is not None]
    accuracies = [body.base_accuracy for body in bodies if body.base_accuracy is not None]
    if not losses or not accuracies:
        return None
    return lower_median(losses), lower_median(accuracies)


def judged_uploaders(certified: CertifiedSegment) -> frozenset[NodeId]:
    """Whose updates stand on a card of the round."""
    cards = [decode(card.payload, ScoreCard) for card in certified.segment.model.cards]
    return frozenset(entry.uploader for card in cards for entry in card.entries)


def not_judged(certified: CertifiedSegment, committee: tuple[NodeId, ...]) -> list[NodeId]:
    """Whom most cards saw in the round, without a seat in its `committee`, though none has an update of theirs: it came too late.

    A member that rests, was not drawn to train, or does not train, looks the same.
    """
    cards = [decode(card.payload, ScoreCard) for card in certified.segment.model.cards]
    seen = Counter(node for card in cards for node in card.present)
    there = {node for node, count in seen.items() if 2 * count > len(cards)}
    return sorted(there - judged_uploaders(certified) - set(committee))


def rolled_back_to(body: ModelBody) -> Round | None:
    """The round whose model managers put in the aggregate's place; None where they did not.

    The last word decided: the ledger takes none after it in the same block.
    """
    said = rollbacks_of(body.operations) if body.rule == RULE else ()
    return said[-1].target if said else None


def history_row(certified: CertifiedSegment, previous_time: Millis, committee: tuple[NodeId, ...]) -> HistoryRow:
    """One committed round for people. `committee`: who decided it; `previous_time`: of the model before."""
    segment, certificate = certified.segment, certified.certificate
    header = segment.model_header
    base = base_of([card.payload for card in segment.model.cards])
    return HistoryRow(
        round=header.round,
        height=header.height,
        time=header.time,
        packed=sum(update.offer is not None for update in segment.updates),
        places=len(segment.updates),
        accuracy=None if base is None else base[1] / MILLION,
        loss=None if base is None else base[0] / MILLION,
        committee=[node.hex() for node in committee],
        not_judged=[node.hex() for node in not_judged(certified, committee)],
        degraded=bool(header.model and header.model.degraded),
        rewards=sum(amount for _, amount in segment.model.rewards),
        view=certificate.view,
        rolled_back_to=rolled_back_to(segment.model),
        seconds=(header.time - previous_time) / 1000,
        hash=certificate.digest.hex(),
    )


async def history_rows(store: ChainStore, genesis: Genesis, first: int, count: int) -> list[HistoryRow]:
    """Models of rounds first, first + 1, ..., at most `MAX_HISTORY`; round 0 was never decided and has no row."""
    rows: list[HistoryRow] = []
    begin = max(1, first)
    before = await store.segment(Round(begin - 1)) if begin > 1 else None
    previous = genesis.time if before is None else before.segment.model_header.time
    committee = genesis.committee
    if before is not None and before.segment.model_header.model is not None:
        committee = before.segment.model_header.model.committee
    for round_ in range(begin, begin + min(count, MAX_HISTORY)):
        certified = await store.segment(Round(round_))
        if certified is None:
            break
        rows.append(history_row(certified, previous, committee))
        header = certified.segment.model_header
        previous = header.time
        committee = header.model.committee if header.model is not None else committee
    return rows

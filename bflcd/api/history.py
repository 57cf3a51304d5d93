"""Rows of the chain's history, from committed segments."""

from collections import Counter
from collections.abc import Mapping, Sequence

from bflcd.api.privacy import claims_of
from bflcd.api.schema.chain import MAX_HISTORY, HistoryRow
from bflcd.api.worst_site import WorstSite, proven_worst, worst_site
from bflcd.ledger.medians import lower_median
from bflcd.ledger.operations.rollback import rollbacks_of
from bflcd.ledger.quorum import faults
from bflcd.ledger.state import genesis_header
from bflcd.params import MILLION, Genesis
from bflcd.store.protocol import ChainStore
from bflcd.types import MicroNats, NodeId, PartsPerMillion, Round
from bflcd.wire.blocks import CertifiedSegment, Header, ModelBody, ModelFields
from bflcd.wire.codec import decode
from bflcd.wire.messages import ScoreCard
from bflcd.wire.rollback import RULE


def base_of(cards: Sequence[bytes]) -> tuple[MicroNats, PartsPerMillion] | None:
    """Lower medians of the base's loss and accuracy over card payloads; None if no card has them."""
    return _medians([decode(card, ScoreCard) for card in cards])


def _medians(bodies: Sequence[ScoreCard]) -> tuple[MicroNats, PartsPerMillion] | None:
    losses = [body.base_loss for body in bodies if body.base_loss is not None]
    accuracies = [body.base_accuracy for body in bodies if body.base_accuracy is not None]
    if not losses or not accuracies:
        return None
    return lower_median(losses), lower_median(accuracies)


def worst_of(certified: CertifiedSegment) -> WorstSite | None:
    """Where the model before the round is worst, by the word of one judge."""
    return worst_site(_said_of_base(_cards(certified)))


def _cards(certified: CertifiedSegment) -> dict[NodeId, ScoreCard]:
    return {card.author: decode(card.payload, ScoreCard) for card in certified.segment.model.cards}


def _said_of_base(cards: Mapping[NodeId, ScoreCard]) -> dict[NodeId, PartsPerMillion]:
    return {author: card.base_accuracy for author, card in cards.items() if card.base_accuracy is not None}


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


def judges_of(before: ModelFields, certified: CertifiedSegment) -> tuple[NodeId, ...]:
    """The seats whose cards the block has: the committee that the model `before` names, or that of a recovery in whose epoch it
    was first proposed."""
    model, recovery = certified.segment.model_header.model, certified.certificate.recovery
    if model is None or recovery is None or model.epoch == before.epoch:
        return before.committee
    if model.epoch == recovery.recovery.epoch or recovery.proof is None or recovery.proof.claim.basis is None:
        return recovery.recovery.committee
    return recovery.proof.claim.basis.committee


def decided_by(before: ModelFields, certified: CertifiedSegment) -> tuple[NodeId, ...]:
    """The committee that signed the certificate: a recovery's takes the place of the one that the model `before` names."""
    recovery = certified.certificate.recovery
    return before.committee if recovery is None else recovery.recovery.committee


def rolled_back_to(body: ModelBody) -> Round | None:
    """The round whose model managers put in the aggregate's place; None where they did not.

    The last word decided: the ledger takes none after it in the same block.
    """
    said = rollbacks_of(body.operations) if body.rule == RULE else ()
    return said[-1].target if said else None


def history_row(certified: CertifiedSegment, before: Header) -> HistoryRow:
    """One committed round for people. `before`: the header of the model that the round began with."""
    assert before.model is not None
    segment, certificate = certified.segment, certified.certificate
    header, cards = segment.model_header, _cards(certified)
    judges, said = judges_of(before.model, certified), _said_of_base(cards)
    base, worst, proven = _medians(list(cards.values())), worst_site(said), proven_worst(list(said.values()), faults(len(judges)))
    return HistoryRow(
        round=header.round,
        height=header.height,
        time=header.time,
        packed=sum(update.offer is not None for update in segment.updates),
        places=len(segment.updates),
        accuracy=None if base is None else base[1] / MILLION,
        worst=None if worst is None else worst.accuracy / MILLION,
        worst_at=[] if worst is None else [judge.hex() for judge in worst.judges],
        worst_proven=None if proven is None else proven / MILLION,
        loss=None if base is None else base[0] / MILLION,
        committee=[node.hex() for node in decided_by(before.model, certified)],
        not_judged=[node.hex() for node in not_judged(certified, judges)],
        claims=claims_of(segment),
        degraded=bool(header.model and header.model.degraded),
        rewards=sum(amount for _, amount in segment.model.rewards),
        view=certificate.view,
        rolled_back_to=rolled_back_to(segment.model),
        seconds=(header.time - before.time) / 1000,
        hash=certificate.digest.hex(),
    )


async def history_rows(store: ChainStore, genesis: Genesis, first: int, count: int) -> list[HistoryRow]:
    """Models of rounds first, first + 1, ..., at most `MAX_HISTORY`; round 0 was never decided and has no row."""
    rows: list[HistoryRow] = []
    begin = max(1, first)
    held = await store.segment(Round(begin - 1)) if begin > 1 else None
    before = genesis_header(genesis) if held is None else held.segment.model_header
    for round_ in range(begin, begin + min(count, MAX_HISTORY)):
        certified = await store.segment(Round(round_))
        if certified is None:
            break
        rows.append(history_row(certified, before))
        before = certified.segment.model_header
    return rows

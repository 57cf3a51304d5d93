"""Rows of history: how right the model was on the judges' rows in the middle and where it is worst, and by whose word."""

from dataclasses import replace
from typing import Any

import pytest

from bflcd.api.history import decided_by, history_rows, judges_of
from bflcd.ledger.state import genesis_header
from bflcd.node.views.facts import Measures
from bflcd.store.memory import MemoryStore
from bflcd.types import Epoch, Millis
from bflcd.wire.blocks import CertifiedSegment
from bflcd.wire.envelope import seal
from bflcd.wire.recovery import ProposalBasis
from tests.helpers import chains
from tests.helpers.chains import begin_chain, fill
from tests.helpers.store import make_proof, make_recovery

SIX: dict[str, Any] = {"nodes": 12, "committee": 6, "places": 6}
"""f = 1, q = 5: the lower median is the third lowest, the proven worst the second."""


def saying(monkeypatch: pytest.MonkeyPatch, accuracies: list[int | None]) -> None:
    """The i-th judge by id says the i-th accuracy of the base, None: nothing, as without an entry."""
    make_cards = chains.make_cards

    def made(community, gains, offers, present=None):
        cards = make_cards(community, gains, offers, present)
        return tuple(
            seal(
                replace(card.body, base_loss=None, base_accuracy=None, entries=())
                if accuracy is None
                else replace(card.body, base_accuracy=accuracy),
                community.keys[card.author],
            )
            for card, accuracy in zip(cards, accuracies, strict=True)
        )

    monkeypatch.setattr(chains, "make_cards", made)


@pytest.mark.parametrize(
    ("accuracies", "median", "worst", "judges", "proven"),
    [
        ([900_000, 800_000, 125_000, 700_000, 850_000], 0.8, 0.125, [2], 0.7),
        ([125_000, 0, 125_000, 0, 125_000], 0.125, 0.0, [1, 3], 0.0),
        ([500_000] * 5, 0.5, 0.5, [0, 1, 2, 3, 4], 0.5),
        ([900_000, None, None, 62_500, 800_000], 0.8, 0.0625, [3], 0.8),
    ],
)
async def test_a_row_says_where_the_model_is_worst(monkeypatch, accuracies, median, worst, judges, proven):
    saying(monkeypatch, accuracies)
    store, chain = MemoryStore(), begin_chain(**SIX)
    (certified,) = await fill(store, chain, 1)
    (row,) = await history_rows(store, chain.genesis, 1, 10)
    authors = [certified.segment.model.cards[judge].author for judge in judges]
    assert (row.accuracy, row.worst, row.worst_proven) == (median, worst, proven)
    assert row.worst_at == [author.hex() for author in authors]
    measures = Measures(store)
    await measures.recall(chain.community.header, Millis(0))
    assert measures.worst is not None
    assert (measures.accuracy, measures.worst.accuracy / 1e6, list(measures.worst.judges)) == ((median, 0), worst, authors)


async def test_of_four_seats_one_may_lie_though_three_cards_allow_for_none(monkeypatch):
    saying(monkeypatch, [750_000, 62_500, 875_000])
    store, chain = MemoryStore(), begin_chain()
    await fill(store, chain, 1)
    (row,) = await history_rows(store, chain.genesis, 1, 10)
    assert (row.accuracy, row.worst, row.worst_proven) == (0.75, 0.0625, 0.75)


async def test_of_cards_without_a_word_and_of_no_more_than_f_nothing_is_proven(monkeypatch):
    """Given cards of judges that scored nothing / Then no figure is made up; one word alone may be a liar's."""
    monkeypatch.setattr(chains, "TRAINERS", 0)
    store, chain = MemoryStore(), begin_chain(**SIX)
    await fill(store, chain, 1)
    saying(monkeypatch, [None, None, 250_000, None, None])
    monkeypatch.setattr(chains, "TRAINERS", 1)
    await fill(store, chain, 1)
    silent, alone = await history_rows(store, chain.genesis, 1, 10)
    assert (silent.accuracy, silent.worst, silent.worst_at, silent.worst_proven) == (None, None, [], None)
    assert (alone.worst, len(alone.worst_at), alone.worst_proven) == (0.25, 1, None)


def named(certified: CertifiedSegment, epoch: int) -> CertifiedSegment:
    """The same, first proposed in another epoch."""
    header = certified.segment.model_header
    assert header.model is not None
    other = replace(header, model=replace(header.model, epoch=Epoch(epoch)))
    return replace(certified, segment=replace(certified.segment, headers=(*certified.segment.headers[:-1], other)))


async def test_after_a_recovery_its_committee_decided_and_who_judged_is_a_matter_of_the_blocks_epoch():
    store, chain = MemoryStore(), begin_chain()
    before = genesis_header(chain.genesis).model
    (plain,) = await fill(store, chain, 1)
    free = make_recovery(0, epoch=2)
    bound = make_recovery(0, epoch=2, prepared=make_proof(0))
    assert before is not None
    assert bound.proof is not None
    opened, given = before.committee, free.recovery.committee
    earlier = given[::-1]
    claim = replace(bound.proof.claim, basis=ProposalBasis(earlier, ()))
    again = replace(bound, proof=replace(bound.proof, claim=claim))
    assert opened != given
    for recovery, epoch, judged, decided in (
        (None, 0, opened, opened),
        (free, 0, opened, given),
        (free, 2, given, given),
        (bound, 0, opened, given),
        (bound, 2, given, given),
        (bound, 1, given, given),
        (again, 0, opened, given),
        (again, 1, earlier, given),
        (again, 2, given, given),
    ):
        certified = named(replace(plain, certificate=replace(plain.certificate, recovery=recovery)), epoch)
        assert (judges_of(before, certified), decided_by(before, certified)) == (judged, decided), (recovery, epoch)

"""What every chain side must do as `RecordStore`, whatever it is made of."""

from dataclasses import replace
from typing import get_args

import pytest

from bflcd.core.records import Pin, Record, RoundRecords
from bflcd.errors import InvariantError
from bflcd.store.protocol import ChainSide
from bflcd.types import Digest, Epoch, Round, View
from bflcd.wire.messages import Commit
from tests.helpers.store import (
    all_kinds,
    begin_chain,
    extend_chain,
    make_prepared,
    make_vote,
    node,
    own_card,
    own_offer,
    own_recovery,
    recovery_record,
    ref,
)


@pytest.fixture
def store(chain_side: ChainSide) -> ChainSide:
    return chain_side


async def test_records_are_found_again(store: ChainSide) -> None:
    await begin_chain(store)
    records = all_kinds(0, ref(b"model"), ref(b"update"))
    await store.persist(records)
    prepare, commit, prepared, offer, card, own, proposal, other, evidence, recovery, held = records
    own_ones, proposals = (offer, card, own), (proposal, other)
    found = RoundRecords((commit, prepare), (prepared,), own_ones, proposals, (evidence,), (recovery,), (held,))  # type: ignore[arg-type]
    assert await store.records(Round(0)) == found
    assert {type(record) for record in (*records, Pin(Digest(bytes(32)), Round(0)))} == set(get_args(Record))
    assert await store.records(Round(1)) == RoundRecords((), (), (), ())


async def test_storing_again_changes_nothing(store: ChainSide) -> None:
    await begin_chain(store)
    records = all_kinds(0, ref(b"model"), ref(b"update"))
    await store.persist(records)
    before = await store.records(Round(0))
    await store.persist([*records, *records])
    assert await store.records(Round(0)) == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (make_vote(0), make_vote(0, b"e" * 32)),
        (make_vote(0, view=3, kind=Commit), make_vote(0, b"e" * 32, view=3, kind=Commit)),
        (own_offer(0, ref(b"a")), own_offer(0, ref(b"b"))),
        (own_offer(0, ref(b"a")), own_offer(0, ref(b"a"), samples=2)),
        (own_card(0), own_card(0, Digest(b"r" * 32))),
        (make_prepared(0), make_prepared(0, digest=b"e" * 32)),
        (own_recovery(0, epoch=2), replace(own_recovery(0, epoch=3), epoch=Epoch(2))),
    ],
)
@pytest.mark.parametrize("together", [True, False])
async def test_a_contradiction_stores_nothing(store: ChainSide, first, second, together: bool) -> None:
    await begin_chain(store)
    innocent = make_vote(0, view=7)
    if not together:
        await store.persist([first])
    before = await store.records(Round(0))
    with pytest.raises(InvariantError, match="contradicts"):
        await store.persist([innocent, *([first] if together else []), second])
    assert await store.records(Round(0)) == before


@pytest.mark.parametrize(
    "other",
    [
        make_vote(0, b"e" * 32, view=1),
        make_vote(0, b"e" * 32, epoch=1),
        make_vote(0, b"e" * 32, kind=Commit),
        make_vote(1, b"e" * 32),
    ],
)
async def test_another_place_is_no_contradiction(store: ChainSide, other) -> None:
    await begin_chain(store)
    await store.persist([make_vote(0), other])
    found = (await store.records(Round(0))).votes + (await store.records(Round(1))).votes
    assert set(found) == {make_vote(0), other}


async def test_what_a_manager_signed_alone_and_what_a_quorum_signed_are_both_kept(store: ChainSide) -> None:
    """Given a recovery on the disk with one signature, when it is complete, then a restart finds it complete."""
    await begin_chain(store)
    alone, other = recovery_record(0), recovery_record(0, epoch=2)
    signatures = tuple(sorted((node(number), alone.certificate.signatures[0][1]) for number in range(3)))
    complete = replace(alone, certificate=replace(alone.certificate, signatures=signatures))
    await store.persist([alone])
    await store.persist([complete, other])
    assert set((await store.records(Round(0))).recoveries) == {alone, complete, other}


async def test_a_commit_drops_the_records_of_its_round_only(store: ChainSide) -> None:
    chain = await begin_chain(store)
    await store.persist([make_vote(0), make_vote(1)])
    await extend_chain(store, chain, 1)
    assert (await store.records(Round(0))).votes == ()
    assert (await store.records(Round(1))).votes == (make_vote(1),)


@pytest.mark.parametrize("record", [make_vote(0), own_offer(0, ref(b"a")), Pin(Digest(b"p" * 32), Round(0))])
async def test_nothing_of_a_decided_round_is_stored(store: ChainSide, record) -> None:
    await extend_chain(store, await begin_chain(store), 1)
    with pytest.raises(InvariantError, match="decided"):
        await store.persist([make_vote(1), record])
    assert (await store.records(Round(1))).votes == ()


async def test_the_journal_has_the_votes_of_its_epoch_and_the_highest_prepared(store: ChainSide) -> None:
    await begin_chain(store)
    low, high, other = make_prepared(0, view=1), make_prepared(0, view=4), make_prepared(0, view=9, epoch=1)
    await store.persist([make_vote(0), make_vote(0, epoch=1), high, low, other])
    journal = (await store.records(Round(0))).journal(Epoch(0))
    assert (journal.votes, journal.prepared) == ((make_vote(0).envelope,), high.prepared)
    assert journal.prepared is not None
    assert journal.prepared.view == View(4)

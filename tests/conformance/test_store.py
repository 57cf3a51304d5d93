"""What every `BlockStore` must do, whatever it is made of."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from bflcd.core.records import Head, Pin, Record, RoundRecords
from bflcd.errors import InvariantError, OperatorError
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.store.blobs import manifest_of
from bflcd.store.block_store import BlockStore
from bflcd.store.memory import MemoryStore
from bflcd.store.protocol import MAX_ADDRESSES, PruneReport
from bflcd.store.sqlite import SqliteStore
from bflcd.types import CHUNK_BYTES, Amount, Digest, Epoch, Height, Round, View
from bflcd.wire.blocks import CertifiedHeader, header_hash
from bflcd.wire.messages import Commit
from tests.helpers.store import (
    Chain,
    all_kinds,
    begin,
    extend,
    make_genesis,
    make_prepared,
    make_proposal,
    make_vote,
    node,
    own_card,
    own_offer,
    own_recovery,
    payload,
    put_in_chunks,
    recovery_record,
    ref,
    round_payloads,
)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlockStore]:
    opened: BlockStore = MemoryStore() if request.param == "memory" else await SqliteStore.open(tmp_path)
    yield opened
    await opened.close()
    await opened.close()


async def held(store: BlockStore, *payloads: bytes) -> list[bool]:
    return [await store.has_blob(ref(data).root) for data in payloads]


class TestChain:
    async def test_an_empty_store_has_no_genesis_and_no_head(self, store: BlockStore) -> None:
        assert await store.genesis() is None
        with pytest.raises(LookupError):
            await store.head()

    async def test_block_0_is_the_first_head(self, store: BlockStore) -> None:
        chain = await begin(store)
        assert await store.genesis() == chain.genesis
        assert await store.head() == Head(chain.header, header_hash(chain.header), chain.state)
        assert await store.segment(Round(0)) is None
        assert await store.certificate(Round(0)) is None
        assert await store.headers(Round(1), 10) == ()

    async def test_initialise_again_is_fine_and_another_chain_is_refused(self, store: BlockStore) -> None:
        chain = await begin(store)
        chain, _ = await extend(store, chain, 1)
        await store.initialise(chain.genesis, genesis_header(chain.genesis), genesis_state(chain.genesis))
        assert (await store.head()).header == chain.header
        other = make_genesis("other")
        with pytest.raises(OperatorError) as caught:
            await store.initialise(other, genesis_header(other), genesis_state(other))
        assert caught.value.code == "wrong_chain"
        assert (await store.head()).header == chain.header

    async def test_block_0_of_another_genesis_is_refused(self, store: BlockStore) -> None:
        mine, other = make_genesis(), make_genesis("other")
        with pytest.raises(ValueError, match="does not belong"):
            await store.initialise(mine, genesis_header(other), genesis_state(other))
        with pytest.raises(ValueError, match="commits to"):
            await store.initialise(mine, genesis_header(mine), replace(genesis_state(mine), pool=Amount(1)))
        assert await store.genesis() is None

    async def test_commits_are_found_again(self, store: BlockStore) -> None:
        chain, committed = await extend(store, await begin(store), 3)
        assert await store.head() == Head(chain.header, header_hash(chain.header), chain.state)
        assert [await store.segment(Round(r)) for r in range(5)] == [None, *committed, None]
        assert [await store.certificate(Round(r)) for r in (1, 2, 3, 4)] == [*(c.certificate for c in committed), None]

    async def test_headers_come_without_gaps_and_at_most_as_many_as_asked(self, store: BlockStore) -> None:
        _, committed = await extend(store, await begin(store), 4)
        expected = tuple(CertifiedHeader(c.segment.model_header, c.certificate) for c in committed)
        assert await store.headers(Round(1), 100) == expected
        assert await store.headers(Round(2), 2) == expected[1:3]
        assert await store.headers(Round(5), 10) == ()
        assert await store.headers(Round(1), 0) == ()
        with pytest.raises(ValueError, match="round 1"):
            await store.headers(Round(0), 1)

    @pytest.mark.parametrize("fault", ["gap", "again", "parent", "certificate", "state"])
    async def test_only_the_successor_of_the_head_is_committed(self, store: BlockStore, fault: str) -> None:
        chain, committed = await extend(store, await begin(store), 1)
        after, certified = chain.next(*round_payloads(1))
        state = after.state
        if fault == "gap":
            later, certified = after.next(*round_payloads(2))
            state = later.state
        elif fault == "again":
            state, certified = chain.state, committed[0]
        elif fault == "parent":
            other = Chain(chain.genesis, replace(chain.header, time=chain.header.time + 1), chain.state)
            later, certified = other.next(*round_payloads(1))
            state = later.state
        elif fault == "certificate":
            certified = replace(certified, certificate=replace(certified.certificate, digest=Digest(b"x" * 32)))
        else:
            state = replace(state, pool=Amount(11))
        with pytest.raises(ValueError, match=r"round|certificate"):
            await store.commit(certified, state)
        assert (await store.head()).header == chain.header
        assert await store.segment(Round(2)) is None


class TestRecords:
    async def test_records_are_found_again(self, store: BlockStore) -> None:
        await begin(store)
        records = all_kinds(0, ref(b"model"), ref(b"update"))
        await store.persist(records)
        prepare, commit, prepared, offer, card, own, proposal, other, evidence, recovery, held = records
        own_ones, proposals = (offer, card, own), (proposal, other)
        found = RoundRecords((prepare, commit), (prepared,), own_ones, proposals, (evidence,), (recovery,), (held,))  # type: ignore[arg-type]
        assert await store.records(Round(0)) == found
        assert {type(record) for record in (*records, Pin(Digest(bytes(32)), Round(0)))} == set(get_args(Record))
        assert await store.records(Round(1)) == RoundRecords((), (), (), ())

    async def test_storing_again_changes_nothing(self, store: BlockStore) -> None:
        await begin(store)
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
    async def test_a_contradiction_stores_nothing(self, store: BlockStore, first, second, together: bool) -> None:
        await begin(store)
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
    async def test_another_place_is_no_contradiction(self, store: BlockStore, other) -> None:
        await begin(store)
        await store.persist([make_vote(0), other])
        found = (await store.records(Round(0))).votes + (await store.records(Round(1))).votes
        assert set(found) == {make_vote(0), other}

    async def test_what_a_manager_signed_alone_and_what_a_quorum_signed_are_both_kept(self, store: BlockStore) -> None:
        """Given a recovery on the disk with one signature, when it is complete, then a restart finds it complete."""
        await begin(store)
        alone, other = recovery_record(0), recovery_record(0, epoch=2)
        signatures = tuple(sorted((node(number), alone.certificate.signatures[0][1]) for number in range(3)))
        complete = replace(alone, certificate=replace(alone.certificate, signatures=signatures))
        await store.persist([alone])
        await store.persist([complete, other])
        assert set((await store.records(Round(0))).recoveries) == {alone, complete, other}

    async def test_a_commit_drops_the_records_of_its_round_only(self, store: BlockStore) -> None:
        chain = await begin(store)
        await store.persist([make_vote(0), make_vote(1)])
        await extend(store, chain, 1)
        assert (await store.records(Round(0))).votes == ()
        assert (await store.records(Round(1))).votes == (make_vote(1),)

    @pytest.mark.parametrize("record", [make_vote(0), own_offer(0, ref(b"a")), Pin(Digest(b"p" * 32), Round(0))])
    async def test_nothing_of_a_decided_round_is_stored(self, store: BlockStore, record) -> None:
        await extend(store, await begin(store), 1)
        with pytest.raises(InvariantError, match="decided"):
            await store.persist([make_vote(1), record])
        assert (await store.records(Round(1))).votes == ()

    async def test_the_journal_has_the_votes_of_its_epoch_and_the_highest_prepared(self, store: BlockStore) -> None:
        await begin(store)
        low, high, other = make_prepared(0, view=1), make_prepared(0, view=4), make_prepared(0, view=9, epoch=1)
        await store.persist([make_vote(0), make_vote(0, epoch=1), high, low, other])
        journal = (await store.records(Round(0))).journal(Epoch(0))
        assert (journal.votes, journal.prepared) == ((make_vote(0).envelope,), high.prepared)
        assert journal.prepared is not None
        assert journal.prepared.view == View(4)


class TestBlobs:
    @pytest.mark.parametrize("size", [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 7])
    async def test_a_blob_is_found_again_whole_and_by_chunks(self, store: BlockStore, size: int) -> None:
        data = payload("blob", size)
        blob = await store.put_blob(data)
        assert blob == ref(data)
        assert await store.put_blob(data) == blob
        assert await store.has_blob(blob.root)
        assert await store.blob(blob.root) == data
        assert await store.manifest(blob.root) == manifest_of(data)
        chunks = [await store.chunk(blob.root, index) for index in range(-(-size // CHUNK_BYTES))]
        assert b"".join(chunk for chunk in chunks if chunk is not None) == data
        assert await store.chunk(blob.root, len(chunks)) is None
        assert await store.chunk(blob.root, -1) is None

    async def test_chunks_come_in_any_order_and_twice(self, store: BlockStore) -> None:
        data = payload("blob", 2 * CHUNK_BYTES + 5)
        manifest, parts = manifest_of(data), [data[:CHUNK_BYTES], data[CHUNK_BYTES : 2 * CHUNK_BYTES], data[2 * CHUNK_BYTES :]]
        root = manifest.blob.root
        assert await store.start_blob(manifest) == (0, 1, 2)
        assert await store.put_chunk(root, 2, parts[2]) is False
        assert await store.put_chunk(root, 2, parts[2]) is False
        assert await store.start_blob(manifest) == (0, 1)
        assert (await store.has_blob(root), await store.blob(root), await store.chunk(root, 2), await store.manifest(root)) == (
            False,
            None,
            None,
            None,
        )
        assert await store.put_chunk(root, 0, parts[0]) is False
        assert await store.put_chunk(root, 1, parts[1]) is True
        assert await store.put_chunk(root, 1, parts[1]) is True
        assert await store.start_blob(manifest) == ()
        assert await store.blob(root) == data

    async def test_what_does_not_belong_to_a_blob_is_refused(self, store: BlockStore) -> None:
        manifest = manifest_of(payload("blob", CHUNK_BYTES + 5))
        with pytest.raises(KeyError):
            await store.put_chunk(manifest.blob.root, 0, bytes(CHUNK_BYTES))
        await store.start_blob(manifest)
        for index, size in ((0, 5), (1, 6), (1, CHUNK_BYTES), (2, 5), (-1, 5)):
            with pytest.raises(ValueError, match="chunk"):
                await store.put_chunk(manifest.blob.root, index, bytes(size))
        assert await store.start_blob(manifest) == (0, 1)

    async def test_an_unknown_blob_is_absent(self, store: BlockStore) -> None:
        root = Digest(b"u" * 32)
        found = (await store.has_blob(root), await store.manifest(root), await store.chunk(root, 0), await store.blob(root))
        assert found == (False, None, None, None)
        await store.drop_blob(root)

    async def test_a_dropped_blob_that_a_block_needs_is_missing_until_it_comes_again(self, store: BlockStore) -> None:
        await extend(store, await begin(store), 3)
        data = round_payloads(1)[0]
        assert (await store.stats()).oldest_payload == 0
        await store.drop_blob(ref(data).root)
        assert await held(store, data) == [False]
        assert (await store.stats()).oldest_payload == 3
        await put_in_chunks(store, data)
        assert (await store.stats()).oldest_payload == 0
        assert await store.blob(ref(data).root) == data

    async def test_a_segment_may_be_committed_without_its_payloads(self, store: BlockStore) -> None:
        chain = await begin(store)
        chain, certified = chain.next(*round_payloads(0))
        await store.commit(certified, chain.state)
        assert (await store.stats()).oldest_payload == 2
        for data in round_payloads(0):
            await put_in_chunks(store, data)
        stats = await store.stats()
        assert (stats.blobs, stats.payload_bytes, stats.oldest_payload) == (4, 4 * 300, 0)


class TestPruning:
    async def test_payloads_of_old_rounds_go_and_blocks_stay(self, store: BlockStore) -> None:
        chain, committed = await extend(store, await begin(store), 5)
        report = await store.prune(2, dry_run=True)
        assert report == PruneReport(Height(11), Round(4), 12, 12 * 300, 12 * 300)
        assert (await store.stats()).blobs == 16
        report = await store.prune(2, dry_run=False)
        assert (report.height, report.round, report.blobs, report.payload_bytes) == (11, 4, 12, 3600)
        assert await held(store, payload("model 0"), *(data for r in range(3) for data in round_payloads(r))) == [False] * 10
        # The model of round t + 1 is made in round t.
        assert await held(store, *round_payloads(3)) == [True, False, False]
        assert await held(store, *round_payloads(4)) == [True] * 3
        assert [await store.segment(Round(r)) for r in range(1, 6)] == committed
        assert len(await store.headers(Round(1), 9)) == 5
        assert (await store.stats()).oldest_payload == 4
        assert (await store.prune(2, dry_run=False)).blobs == 0
        assert (await store.head()).header == chain.header

    async def test_the_head_is_never_pruned(self, store: BlockStore) -> None:
        await extend(store, await begin(store), 3)
        await store.prune(1, dry_run=False)
        assert await held(store, *round_payloads(2)) == [True, False, False]
        for keep in (0, -1):
            with pytest.raises(ValueError, match="at least 1"):
                await store.prune(keep, dry_run=False)

    async def test_the_model_of_empty_rounds_stays(self, store: BlockStore) -> None:
        chain, _ = await extend(store, await begin(store), 2)
        for _ in range(4):
            chain, certified = chain.next(None)
            await store.commit(certified, chain.state)
        await store.prune(1, dry_run=False)
        assert await held(store, *round_payloads(1)) == [True, False, False]
        assert await store.blob((chain.header.blob or ref(b"")).root) == round_payloads(1)[0]

    async def test_pins_and_records_keep_blobs(self, store: BlockStore) -> None:
        await extend(store, await begin(store), 4)
        pinned, offered, carded, proposed, model = (round_payloads(r)[0] for r in (0, 1, 2, 1, 2))
        offered, proposed, model = (round_payloads(r)[1] for r in (0, 1, 2))
        records = [
            Pin(ref(pinned).root, Round(4)),
            own_offer(4, ref(offered)),
            own_card(4, ref(carded).root),
            make_proposal(4, ref(model), ref(proposed)),
        ]
        await store.persist(records)
        await store.prune(1, dry_run=False)
        assert await held(store, pinned, offered, carded, proposed, model, round_payloads(0)[2]) == [True] * 5 + [False]

    async def test_offers_that_lost_are_discarded(self, store: BlockStore) -> None:
        chain = await begin(store)
        lost, pinned, own, partial = (payload(name, 2 * CHUNK_BYTES) for name in ("lost", "pinned", "own", "partial"))
        for data in (lost, pinned, own):
            await store.put_blob(data)
        await store.start_blob(manifest_of(partial))
        await store.put_chunk(ref(partial).root, 0, partial[:CHUNK_BYTES])
        await store.discard_stale(Round(0))
        assert await held(store, lost, pinned, own) == [True] * 3
        await store.persist([Pin(ref(pinned).root, Round(1)), own_offer(1, ref(own))])
        await extend(store, chain, 1)
        fresh = payload("fresh")
        await store.put_blob(fresh)
        await store.discard_stale(Round(1))
        assert await held(store, lost, pinned, own, fresh, *round_payloads(0)) == [False, True, True, True, True, True, True]
        assert await store.start_blob(manifest_of(partial)) == (0, 1)

    async def test_a_pruned_blob_can_come_again(self, store: BlockStore) -> None:
        await extend(store, await begin(store), 3)
        await store.prune(1, dry_run=False)
        data = round_payloads(0)[1]
        await put_in_chunks(store, data)
        assert await store.blob(ref(data).root) == data
        assert (await store.prune(1, dry_run=False)).blobs == 1


async def test_a_sound_store_has_no_damage(store: BlockStore) -> None:
    chain, _ = await extend(store, await begin(store), 2)
    await store.persist(all_kinds(chain.round, ref(b"model"), ref(b"update")))
    await store.start_blob(manifest_of(payload("partial", 3 * CHUNK_BYTES)))
    assert await store.check(deep=False) == ()
    assert await store.check(deep=True) == ()


async def test_addresses_are_newest_first_and_bounded(store: BlockStore) -> None:
    await store.remember_address(node(1), "/one")
    await store.remember_address(node(2), "/two")
    await store.remember_address(node(1), "/one")
    assert await store.addresses() == ((node(1), "/one"), (node(2), "/two"))
    await store.remember_address(node(1), "/other")
    assert (await store.addresses())[0] == (node(1), "/other")


async def test_the_address_book_forgets_the_oldest(store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bflcd.store.memory.MAX_ADDRESSES", 3)
    monkeypatch.setattr("bflcd.store.sqlite_chain.MAX_ADDRESSES", 3)
    for number in range(5):
        await store.remember_address(node(number), "/a")
    assert await store.addresses() == tuple((node(number), "/a") for number in (4, 3, 2))
    assert MAX_ADDRESSES >= 1024

import asyncio
from random import Random
from types import SimpleNamespace

import pytest

from bflcd.crypto.hashing import blob_root, chunk_hash
from bflcd.errors import MachineError, PeerError, Rejection, RequestError
from bflcd.net.blobs.fetcher import BlobFetcher, FetchLimits
from bflcd.net.blobs.server import BlobServer
from bflcd.net.memory import MemoryNetwork, Weather
from bflcd.params import BlobRef
from bflcd.store.protocol import DamagedBlobError
from bflcd.types import CHUNK_BYTES
from bflcd.wire.requests import Chunk, GetChunk, GetManifest, Manifest
from tests.helpers.network import CHAIN, OTHER_CHAIN, ChunkStore, clique, real_now, until

MAX_BYTES = 32 * CHUNK_BYTES
QUICK = FetchLimits(chunk_deadline=1.0, patience=0.1, fetch_deadline=20.0)


def payload(chunks, extra=17, seed=1):
    return Random(seed).randbytes((chunks - 1) * CHUNK_BYTES + extra)


def server(store, may_serve=lambda *_: True, damage=None):
    return BlobServer(
        store,
        chain=lambda: CHAIN,
        may_serve=may_serve,
        on_damage=lambda root, _error: (damage if damage is not None else []).append(root),
    )


def counted(handlers, log):
    def wrap(handler):
        async def count(peer, request):
            log.append(request)
            return await handler(peer, request)

        return count

    return {kind: wrap(handler) for kind, handler in handlers.items()}


class Fetching:
    """A clique whose node 1 fetches into `store`; holders serve with the handlers given."""

    def __init__(self, *handlers, limits=QUICK, network=None, max_bytes=MAX_BYTES):
        self.context = clique([{}, *handlers], network=network)
        self.limits = limits
        self.max_bytes = max_bytes
        self.faults = []

    async def __aenter__(self):
        self.me, *holders = await self.context.__aenter__()
        self.holders = [node.id for node in holders]
        self.nodes = holders
        self.store = ChunkStore()
        self.fetcher = BlobFetcher(
            self.me.exchange,
            self.store,
            chain=lambda: CHAIN,
            max_bytes=self.max_bytes,
            now=real_now,
            on_misbehaviour=lambda peer, rejection, _text: self.faults.append((peer, rejection)),
            limits=self.limits,
        )
        return self

    async def __aexit__(self, *error):
        await self.context.__aexit__(*error)


@pytest.mark.parametrize("size", [1, 1000, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES, 5 * CHUNK_BYTES + 3])
async def test_a_blob_arrives_whole(size):
    data, source = Random(size).randbytes(size), ChunkStore()
    ref = await source.put_blob(data)
    async with Fetching(server(source).handlers()) as f:
        await f.fetcher.fetch(ref, f.holders)
        assert f.store.blob(ref) == data
        assert (f.fetcher.received_bytes, f.faults, f.fetcher._joins) == (size, [], {})


async def test_a_small_blob_costs_one_round_trip_and_a_held_one_none():
    source, log = ChunkStore(), []
    ref = await source.put_blob(b"a small update")
    async with Fetching(counted(server(source).handlers(), log)) as f:
        await f.fetcher.fetch(ref, f.holders)
        await f.fetcher.fetch(ref, f.holders)
        assert log == [GetChunk(CHAIN, ref.root, 0)]


async def test_several_holders_share_the_work_and_no_chunk_is_fetched_twice():
    source, logs = ChunkStore(), [[], [], []]
    ref = await source.put_blob(payload(24))
    network = MemoryNetwork(weather=Weather(0.001, 0.003))
    handlers = [counted(server(source).handlers(), log) for log in logs]
    async with Fetching(*handlers, network=network, limits=FetchLimits()) as f:
        await f.fetcher.fetch(ref, lambda: f.holders)
        assert f.store.blob(ref) == payload(24)
    chunks = [[request.index for request in log if isinstance(request, GetChunk)] for log in logs]
    assert sorted(index for indices in chunks for index in indices) == list(range(24))
    assert min(len(indices) for indices in chunks) >= 3


@pytest.mark.parametrize("chunks", [1, 6])
async def test_a_lying_chunk_costs_its_sender_and_is_fetched_elsewhere(chunks):
    source = ChunkStore()
    ref = await source.put_blob(payload(chunks))

    async def lie(_peer, _request):
        return Chunk(bytes(17 if chunks == 1 else CHUNK_BYTES))

    async with Fetching({**server(source).handlers(), GetChunk: lie}, server(source).handlers()) as f:
        await f.fetcher.fetch(ref, f.holders)
        assert f.store.blob(ref) == payload(chunks)
        assert (f.holders[0], Rejection.BAD_BLOB) in f.faults
        assert {peer for peer, _ in f.faults} == {f.holders[0]}


def manifests(ref, hashes):
    other = chunk_hash(b"other")
    return {
        "another blob's": Manifest(BlobRef(blob_root(10, [other]), 10), (other,)),
        "another size": Manifest(BlobRef(ref.root, ref.size - 1), hashes),
        "a wrong hash": Manifest(ref, (*hashes[:-1], other)),
        "too few": Manifest(ref, hashes[:-1]),
        "too many": Manifest(ref, (*hashes, other)),
        "swapped": Manifest(ref, hashes[::-1]),
    }


@pytest.mark.parametrize("kind", ["another blob's", "another size", "a wrong hash", "too few", "too many", "swapped"])
async def test_a_wrong_manifest_costs_its_sender_and_another_is_asked(kind):
    source = ChunkStore()
    ref = await source.put_blob(payload(3))
    wrong = manifests(ref, source.manifests[ref.root].chunks)[kind]

    async def lie(_peer, _request):
        return wrong

    async with Fetching({**server(source).handlers(), GetManifest: lie}, server(source).handlers()) as f:
        await f.fetcher.fetch(ref, f.holders)
        assert f.store.blob(ref) == payload(3)
        assert f.faults == [(f.holders[0], Rejection.BAD_BLOB)]
        assert f.store.manifests[ref.root].chunks == source.manifests[ref.root].chunks


@pytest.mark.parametrize("claimed", [5, CHUNK_BYTES + 5])
async def test_a_blob_whose_size_is_a_lie_is_refused_though_its_hashes_fit(claimed):
    """Given an offer whose root covers a size that its chunks don't have; Then no chunk reaches the store."""
    data = payload(1, extra=4000)
    hashes = (chunk_hash(data),) * (1 if claimed < CHUNK_BYTES else 2)
    ref = BlobRef(blob_root(claimed, hashes), claimed)

    async def chunk(_peer, _request):
        return Chunk(data)

    async def manifest(_peer, _request):
        return Manifest(ref, hashes)

    async with Fetching({GetChunk: chunk, GetManifest: manifest}) as f:
        with pytest.raises(RequestError, match="nobody gave it"):
            await f.fetcher.fetch(ref, f.holders)
        assert f.store.chunks == {}
        assert {rejection for _, rejection in f.faults} == {Rejection.BAD_BLOB}


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 2**34])
async def test_a_blob_above_the_limit_is_refused_before_anyone_is_asked(size):
    log = []
    async with Fetching(counted(server(ChunkStore()).handlers(), log)) as f:
        with pytest.raises(PeerError) as caught:
            await f.fetcher.fetch(BlobRef(CHAIN, size), f.holders)
        assert caught.value.rejection is Rejection.TOO_LARGE
        assert (log, f.store.manifests) == ([], {})


async def test_a_holder_that_dies_midway_is_replaced_and_what_arrived_is_kept():
    source, served, log = ChunkStore(), [], []
    ref = await source.put_blob(payload(12))
    gone = asyncio.Event()

    async def dies(peer, request):
        if len(served) >= 4:
            gone.set()
            await asyncio.sleep(30)
        served.append(request.index)
        return Chunk(await source.chunk(ref.root, request.index))

    first, second = {**server(source).handlers(), GetChunk: dies}, counted(server(source).handlers(), log)
    async with Fetching(first, second) as f:

        async def die():
            await gone.wait()
            await f.nodes[0].transport.close()

        with pytest.raises(RequestError, match="nobody gave it"):
            await asyncio.gather(f.fetcher.fetch(ref, f.holders[:1]), die())
        held = {index for _, index in f.store.chunks}
        assert held == set(served)
        await f.fetcher.fetch(ref, f.holders)
        assert f.store.blob(ref) == payload(12)
        assert {r.index for r in log if isinstance(r, GetChunk)} == set(range(12)) - held


async def test_a_holder_that_falls_silent_does_not_set_the_pace():
    source = ChunkStore()
    ref = await source.put_blob(payload(8))

    async def hangs(_peer, _request):
        await asyncio.sleep(60)

    slow = FetchLimits(chunk_deadline=30.0, patience=0.1, fetch_deadline=30.0)
    async with Fetching({**server(source).handlers(), GetChunk: hangs}, server(source).handlers(), limits=slow) as f:
        async with asyncio.timeout(5):
            await f.fetcher.fetch(ref, f.holders)
        assert f.store.blob(ref) == payload(8)


@pytest.mark.parametrize("chunks", [1, 8])
async def test_a_holder_that_answers_nothing_at_all_costs_the_patience_and_not_the_deadline(chunks):
    """Given a first holder that takes every request and is silent, When a blob is fetched, Then the next one gives it."""
    source = ChunkStore()
    ref = await source.put_blob(payload(chunks))

    async def hangs(_peer, _request):
        await asyncio.sleep(60)

    slow = FetchLimits(chunk_deadline=30.0, patience=0.1, fetch_deadline=30.0)
    async with Fetching({GetChunk: hangs, GetManifest: hangs}, server(source).handlers(), limits=slow) as f:
        async with asyncio.timeout(5):
            await f.fetcher.fetch(ref, f.holders)
        assert f.store.blob(ref) == payload(chunks)
        assert f.faults == []


async def test_nobody_has_it_names_everyone_and_what_each_said():
    async with Fetching(server(ChunkStore()).handlers(), server(ChunkStore(), lambda *_: False).handlers()) as f:
        with pytest.raises(RequestError) as caught:
            await f.fetcher.fetch(BlobRef(CHAIN, 10), f.holders)
        text = str(caught.value)
        assert all(node[:4].hex() in text for node in f.holders)
        assert "not held here" in text
        assert "not for you" in text
        with pytest.raises(RequestError, match="no holder is known"):
            await f.fetcher.fetch(BlobRef(CHAIN, 10), ())
        assert f.faults == []


async def test_a_busy_holder_is_asked_again():
    source, tries = ChunkStore(), []
    ref = await source.put_blob(b"worth waiting for")

    async def busy(peer, request):
        tries.append(request)
        if len(tries) < 3:
            raise PeerError(Rejection.BUSY, "later")
        return Chunk(await source.chunk(request.root, request.index))

    async with Fetching({GetChunk: busy}) as f:
        await f.fetcher.fetch(ref, f.holders)
        assert len(tries) == 3


async def test_fetches_of_one_blob_are_joined():
    source, log = ChunkStore(), []
    ref = await source.put_blob(payload(6))
    async with Fetching(counted(server(source).handlers(), log)) as f:
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(f.fetcher.fetch(ref, f.holders))
        assert len(log) == 7
        assert f.fetcher._joins == {}


async def test_a_joined_fetch_lends_its_holders_and_outlives_the_one_that_works():
    """Given a fetch whose holder hangs; When another with a good holder joins and the first is cancelled; Then the second succeeds."""
    source = ChunkStore()
    ref = await source.put_blob(b"small")

    async def hangs(_peer, _request):
        await asyncio.sleep(60)

    async with Fetching({GetChunk: hangs}, server(source).handlers()) as f, asyncio.TaskGroup() as group:
        first = group.create_task(f.fetcher.fetch(ref, f.holders[:1]))
        await asyncio.sleep(0.05)
        second = group.create_task(f.fetcher.fetch(ref, f.holders[1:]))
        await asyncio.sleep(0.05)
        first.cancel()
        await second
        assert f.store.blob(ref) == b"small"
        assert f.fetcher._joins == {}


@pytest.mark.parametrize("chunks", [1, 6])
async def test_who_is_silent_about_another_offer_of_the_same_holds_nobody_up(chunks):
    """Given fetches of a blob for two copiers that take every request and say nothing, when it is fetched for its maker too, apart
    from them, then it is here at once, and for all three."""
    source = ChunkStore()
    ref = await source.put_blob(payload(chunks))

    async def hangs(_peer, _request):
        await asyncio.sleep(60)

    silent = {GetChunk: hangs, GetManifest: hangs}
    patient = FetchLimits(patience=60.0, fetch_deadline=60.0)
    async with Fetching(silent, silent, server(source).handlers(), limits=patient) as f, asyncio.TaskGroup() as group:
        copies = [group.create_task(f.fetcher.fetch(ref, [f.holders[place]], apart=f"copier {place}")) for place in range(2)]
        await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            await f.fetcher.fetch(ref, f.holders[2:], apart="maker")
            await asyncio.gather(*copies)
        assert f.store.blob(ref) == payload(chunks)
        assert (f.fetcher._joins, f.fetcher._slots._value) == ({}, patient.slots)


@pytest.mark.parametrize("when", [1, 2], ids=["before who got it looks", "before the other looks"])
async def test_a_blob_that_is_dropped_as_soon_as_it_is_here_is_fetched_again(when):
    """Given a fetch whose holder is silent at first, and one apart that gets the blob, when it is dropped before the one or the other
    has seen it, then both return with it in the store all the same."""
    source, seen, release = ChunkStore(), [], asyncio.Event()
    ref = await source.put_blob(b"small")

    async def late(_peer, request):
        await release.wait()
        return Chunk(await source.chunk(request.root, request.index))

    limits = FetchLimits(patience=60.0, fetch_deadline=5.0)
    async with Fetching({GetChunk: late}, server(source).handlers(), limits=limits) as f:
        has_blob = f.store.has_blob

        async def forgetful(root):
            found = await has_blob(root)
            seen.extend([root] * found)
            if found and len(seen) == when:
                f.store.chunks.clear()
                release.set()
                return False
            return found

        async with asyncio.TaskGroup() as group:
            group.create_task(f.fetcher.fetch(ref, f.holders[:1], apart="first"))
            await asyncio.sleep(0.05)
            f.fetcher._store = SimpleNamespace(start_blob=f.store.start_blob, put_chunk=f.store.put_chunk, has_blob=forgetful)
            group.create_task(f.fetcher.fetch(ref, f.holders[1:], apart="second"))
        assert len(seen) > when
        assert (f.store.blob(ref), f.fetcher._joins) == (b"small", {})


async def test_cancelling_a_fetch_frees_everything():
    source = ChunkStore()
    ref = await source.put_blob(payload(20))
    release = asyncio.Event()

    async def waits(_peer, request):
        await release.wait()
        return Chunk(await source.chunk(ref.root, request.index))

    limits = FetchLimits(slots=4, reserved=1, patience=0.1)
    async with Fetching({**server(source).handlers(), GetChunk: waits}, limits=limits) as f:
        async with asyncio.TaskGroup() as group:
            fetch = group.create_task(f.fetcher.fetch(ref, f.holders))
            await until(lambda: f.fetcher._slots._value == 1)
            fetch.cancel()
        assert (f.fetcher._slots._value, f.fetcher._ordinary._value, f.fetcher._joins) == (4, 3, {})
        release.set()
        await f.fetcher.fetch(ref, f.holders)
        assert f.store.blob(ref) == payload(20)


async def test_the_deadline_ends_a_fetch_with_its_story():
    async def hangs(_peer, _request):
        await asyncio.sleep(60)

    async with Fetching({GetChunk: hangs}) as f:
        with pytest.raises(RequestError, match="within 0 s"):
            await f.fetcher.fetch(BlobRef(CHAIN, 10), f.holders, deadline=0.1)
        assert f.fetcher._slots._value == QUICK.slots


async def test_memory_is_bounded_by_slots_and_priority_has_its_reserve():
    source = ChunkStore()
    refs = [await source.put_blob(payload(6, seed=seed)) for seed in range(4)]
    urgent = await source.put_blob(b"urgent")
    release, now_open, most = asyncio.Event(), 0, 0

    async def waits(_peer, request):
        nonlocal now_open, most
        now_open += 1
        most = max(most, now_open)
        if request.root != urgent.root:
            await release.wait()
        now_open -= 1
        return Chunk(await source.chunk(request.root, request.index))

    limits = FetchLimits(slots=5, reserved=1)
    holder = {**server(source).handlers(), GetChunk: waits}
    async with Fetching(holder, holder, limits=limits) as f, asyncio.TaskGroup() as group:
        for ref in refs:
            group.create_task(f.fetcher.fetch(ref, f.holders))
        await until(lambda: now_open == 4)
        await asyncio.wait_for(f.fetcher.fetch(urgent, f.holders, priority=True), 2)
        release.set()
    assert most == 5


async def test_a_store_that_fails_ends_the_fetch_with_its_own_error():
    source = ChunkStore()
    ref = await source.put_blob(payload(4))
    async with Fetching(server(source).handlers()) as f:

        async def full(_root, _index, _data):
            raise MachineError("disk full", code="disk_full")

        f.store.put_chunk = full
        with pytest.raises(MachineError, match="disk full"):
            await f.fetcher.fetch(ref, f.holders)


@pytest.mark.parametrize("kind", [GetChunk, GetManifest])
async def test_the_server_tells_who_may_not_see_nothing_at_all(kind):
    source = ChunkStore()
    ref = await source.put_blob(b"secret")
    request = (
        (lambda root, chain=CHAIN: GetChunk(chain, root, 0))
        if kind is GetChunk
        else (lambda root, chain=CHAIN: GetManifest(chain, root))
    )
    committee = set()
    async with clique([server(source, lambda peer, _root, _closed: peer in committee).handlers(), {}]) as (a, b):

        async def refusal(*arguments):
            with pytest.raises(PeerError) as caught:
                await b.exchange.ask(a.id, request(*arguments), deadline=2.0)
            return caught.value

        held, absent = await refusal(ref.root), await refusal(CHAIN)
        assert held.rejection is absent.rejection is Rejection.REFUSED
        assert str(held).replace(ref.root[:4].hex(), "X") == str(absent).replace(CHAIN[:4].hex(), "X")
        committee.add(b.id)
        assert (await refusal(CHAIN)).rejection is Rejection.UNAVAILABLE
        assert (await refusal(ref.root, OTHER_CHAIN)).rejection is Rejection.WRONG_CHAIN
        assert await b.exchange.ask(a.id, request(ref.root), deadline=2.0) is not None


async def test_a_damaged_blob_is_reported_and_never_served():
    source, damage = ChunkStore(), []
    ref = await source.put_blob(b"good bytes")

    async def damaged(root, index):
        raise DamagedBlobError(root, index)

    good_chunk, source.chunk = source.chunk, damaged
    assert await good_chunk(ref.root, 0) == b"good bytes"
    async with clique([server(source, damage=damage).handlers(), {}]) as (a, b):
        with pytest.raises(PeerError) as caught:
            await b.exchange.ask(a.id, GetChunk(CHAIN, ref.root, 0), deadline=2.0)
        assert caught.value.rejection is Rejection.UNAVAILABLE
        assert (damage, a.failures) == ([ref.root], [])

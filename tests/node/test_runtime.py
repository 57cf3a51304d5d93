"""The runtime against a scripted core: what it does with effects whose answers the core's life hangs on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from bflcd.core.effects import (
    Aggregate,
    CancelWork,
    Effect,
    FetchBlob,
    FetchEnvelopes,
    FetchSegment,
    FindModel,
    Persist,
    Send,
    Train,
)
from bflcd.core.events import (
    Aggregated,
    BlobFetched,
    BlobMissing,
    EnvelopesFetched,
    Event,
    ModelFound,
    SegmentFetched,
    Started,
    Trained,
)
from bflcd.core.records import Head, OwnRecord, Pin, RoundRecords
from bflcd.core.round.context import RoundContext
from bflcd.core.signing_guard import Mark, SigningGuard, mark_of
from bflcd.core.trust.judging_account import Told
from bflcd.errors import RequestError
from bflcd.learn.protocol import TrainJob, TrainResult
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.ledger.trust.accounting import Answers
from bflcd.node.runtime.clock import instant
from bflcd.node.runtime.fetch import rate_of
from bflcd.node.runtime.inbox import QueueInbox
from bflcd.node.runtime.loop import Ports, Runtime, _joined
from bflcd.node.runtime.network import PeerNetwork
from bflcd.node.runtime.numbers import WorkerNumbers
from bflcd.node.runtime.payloads import LostPayloadError
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.params import BlobRef
from bflcd.scheduler import ASYNCIO
from bflcd.store.blobs import manifest_of
from bflcd.store.marks import MarkFile, read
from bflcd.store.memory import MemoryStore
from bflcd.store.protocol import DamagedBlobError
from bflcd.types import Digest, Epoch, NodeId, Round
from bflcd.wire.blocks import committee_hash, header_hash
from bflcd.wire.codec import number_of
from bflcd.wire.envelope import Envelope, open_envelope, payload_digest, seal
from bflcd.wire.messages import Beacon, ScoreCard
from bflcd.wire.requests import Envelopes, SegmentReply
from bflcd.wire.tensors import join_payload, update_label
from tests.helpers.chains import begin_chain, certify, fill
from tests.helpers.ledger import make_community, make_genesis, play_gains
from tests.helpers.store import make_vote, ref

GENESIS, IDENTITIES = make_genesis()
NOTHING = RoundRecords((), (), (), ())
SPEC = GENESIS.task.tensors


def payload(value: float, label: str | None) -> bytes:
    return join_payload(np.zeros(0, np.int64), np.full(8, value, np.float32), SPEC, label=label)


class ScriptedCore:
    """Gives the next effects of its script for each event, and remembers the events."""

    def __init__(self, script: list[list[Effect]]) -> None:
        header, state = genesis_header(GENESIS), genesis_state(GENESIS)
        self.context = RoundContext(GENESIS, Head(header, header_hash(header), state), IDENTITIES[0].node_id)
        self.script = script
        self.events: list[Event] = []

    def handle(self, event: Event, now: object) -> list[Effect]:
        self.events.append(event)
        return self.script.pop(0) if self.script else []

    def tick(self, now: object) -> list[Effect]:
        return []

    def deadline(self, now: object) -> None:
        return None


class Hands:
    """Fetcher, channel, asker, worker and observer in one; a fetch finds what lies in the store."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.fetches = 0
        self.hold_first = False

    async def count(self, told: Told) -> None:
        """Nothing to keep."""

    def members(self) -> tuple[NodeId, ...]:
        return ()

    def connection(self, _peer: NodeId) -> int | None:
        return None

    async def fetch(self, blob: BlobRef, holders: object, *, apart: str | None = None) -> None:
        self.fetches += 1
        if self.hold_first and self.fetches == 1:
            await asyncio.Event().wait()
        if not await self.store.has_blob(blob.root):
            raise RequestError("nobody has it")


class Running:
    """A runtime and its ports."""

    def __init__(self, core: ScriptedCore, store: MemoryStore, hands: Hands, guard: SigningGuard, marks: MarkFile) -> None:
        self.inbox = QueueInbox()
        self.unpublished = Unpublished((), Round(0))
        context = core.context
        ports = Ports(
            clock=instant,
            scheduler=ASYNCIO,
            inbox=self.inbox,
            store=store,
            marks=marks,
            network=PeerNetwork(hands, hands),
            asker=hands,
            fetcher=hands,
            numbers=WorkerNumbers(hands, SPEC),
            observer=hands,
            spending=hands,
        )
        self.runtime = Runtime(
            core,
            ports,
            chain=context.state.chain,
            me=context.me,
            params=lambda: context.params,
            guard=guard,
            unpublished=self.unpublished,
        )


@asynccontextmanager
async def running(
    tmp_path, core: ScriptedCore, store: MemoryStore, hands: Hands, guard: SigningGuard | None = None
) -> AsyncIterator[Running]:
    marks = MarkFile(tmp_path / "marks")
    made = Running(core, store, hands, guard or SigningGuard(), marks)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(made.runtime.run(Started(NOTHING)))
        yield made
        task.cancel()
    marks.close()


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def store() -> MemoryStore:
    found = MemoryStore()
    await found.initialise(GENESIS, genesis_header(GENESIS), genesis_state(GENESIS))
    return found


async def test_a_fetch_that_was_cancelled_with_its_round_is_answered_when_it_is_asked_again(tmp_path, store) -> None:
    """Given an empty round, whose next model is the same blob, when its fetch is cancelled and asked for in one step, it is answered."""
    model = await store.put_blob(payload(1.0, None))
    again = [CancelWork(Round(1)), FetchBlob(model, (), Round(1), None, anyone=False)]
    core = ScriptedCore([[FetchBlob(model, (), Round(0), None, anyone=False)], again])
    hands = Hands(store)
    hands.hold_first = True
    async with running(tmp_path, core, store, hands) as runtime:
        await until(lambda: hands.fetches == 1)
        await runtime.inbox.put(BlobFetched(Digest(bytes(32))))
        await until(lambda: BlobFetched(model.root) in core.events)


async def test_an_offer_that_names_a_payload_held_for_another_reason_does_not_delete_it(tmp_path, store) -> None:
    kept = await store.put_blob(payload(2.0, "somebody else's"))
    core = ScriptedCore([[FetchBlob(kept, (), Round(0), "the liar's", anyone=False)]])
    async with running(tmp_path, core, store, Hands(store)):
        await until(lambda: any(isinstance(event, BlobMissing) and event.refused for event in core.events))
    assert await store.has_blob(kept.root)


@pytest.mark.parametrize(
    ("size", "nanoseconds", "rate"),
    [
        (1024, 1_000_000_000, 1),
        (10 * 1024 * 1024, 500_000_000, 20_480),
        (1536, 1_000_000, 1_500),
        (1, 3_600_000_000_000, 1),
        (2**34, 0, 2**32 - 1),
        (2**34, 1, 2**32 - 1),
        (1024 * (2**32 - 1), 1_000_000_000, 2**32 - 1),
    ],
)
def test_a_rate_is_whole_kib_a_second_at_least_one_and_no_more_than_a_card_can_say(size, nanoseconds, rate) -> None:
    assert rate_of(size, nanoseconds) == rate


async def test_the_rate_of_an_update_that_came_here_is_told_and_of_nothing_else(tmp_path, store, monkeypatch) -> None:
    """Given a clock that a pull of 20 ms moves, when an update, one that is here, and a model are fetched, then one has a rate."""
    here, model = await store.put_blob(payload(2.0, "b")), await store.put_blob(payload(3.0, None))
    data = payload(1.0, "a")
    update = manifest_of(data).blob

    class Clock(Hands):
        time = 0

        async def fetch(self, blob: BlobRef, holders: object, *, apart: str | None = None) -> None:
            self.time += 20_000_000
            if blob == update:
                await self.store.put_blob(data)

    hands = Clock(store)
    monkeypatch.setattr("bflcd.scheduler.time.monotonic_ns", lambda: hands.time)
    blobs = ((update, "a"), (here, "b"), (model, None))
    script = [FetchBlob(blob, (), Round(0), label, anyone=False) for blob, label in blobs]
    core = ScriptedCore([[], *([effect] for effect in script)])
    async with running(tmp_path, core, store, hands) as runtime:
        for blob, _ in blobs:
            await runtime.inbox.put(BlobFetched(Digest(bytes(32))))
            await until(lambda root=blob.root: any(isinstance(e, BlobFetched) and e.root == root for e in core.events))
    found = {event.root: event.rate for event in core.events if isinstance(event, BlobFetched) and event.root != bytes(32)}
    assert found == {update.root: rate_of(update.size, 20_000_000), here.root: 0, model.root: 0}
    assert found[update.root] > 1


async def test_damage_on_the_disk_is_an_answer_not_the_end(tmp_path, store, monkeypatch) -> None:
    blob = await store.put_blob(payload(3.0, None))

    async def damaged(root: Digest) -> bytes:
        raise DamagedBlobError(root, 0)

    monkeypatch.setattr(store, "blob", damaged)
    core = ScriptedCore([[FetchBlob(blob, (), Round(0), None, anyone=False)]])
    async with running(tmp_path, core, store, Hands(store)):
        await until(lambda: any(isinstance(event, BlobMissing) for event in core.events))
    assert not await store.has_blob(blob.root)


def test_neighbouring_records_are_made_durable_together_and_before_what_they_stood_before() -> None:
    one, two = Pin(Digest(bytes(32)), Round(1)), Pin(Digest(bytes([1]) * 32), Round(1))
    state = genesis_state(GENESIS)
    zero = Digest(bytes(32))
    said = Send(seal(Beacon(state.chain, Round(0), state.epoch, zero, zero), IDENTITIES[0]).envelope)
    assert _joined([said, Persist((one,)), said, Persist((two,))]) == [said, Persist((one, two)), said]
    a, b = BlobRef(Digest(b"a" * 32), 1), BlobRef(Digest(b"b" * 32), 1)
    assert _joined([Persist((one,), (a,)), Persist((two,), (b, a))]) == [Persist((one, two), (a, b))]


def an_own_record() -> tuple[OwnRecord, Envelope]:
    """A score card without entries by the first member, as it is stored and said."""
    state = genesis_state(GENESIS)
    head = header_hash(genesis_header(GENESIS))
    me = IDENTITIES[0]
    committee = committee_hash(state.epoch, state.committee)
    body = ScoreCard(state.chain, state.round, state.epoch, head, committee, None, None, (), (me.node_id,))
    envelope = seal(body, me).envelope
    return OwnRecord(Round(0), state.epoch, number_of(ScoreCard), envelope), envelope


async def test_the_record_is_durable_before_its_mark_and_the_mark_before_it_is_said(tmp_path, store, monkeypatch) -> None:
    """Design 6.3: what is told of our rows, database, mark file, then the network; each waits for the one before."""
    order: list[str] = []
    record, envelope = an_own_record()
    persist, write = store.persist, MarkFile.write

    async def slowly(records: object, relies_on: object) -> None:
        await asyncio.sleep(0.02)
        await persist(records, relies_on)
        order.append("record")

    async def marking(self: MarkFile, mark: Mark) -> None:
        await asyncio.sleep(0.02)
        await write(self, mark)
        order.append("mark")

    class Voice(Hands):
        async def publish(self, message: object) -> None:
            order.append("said")

        async def count(self, told: Told) -> None:
            await asyncio.sleep(0.02)
            order.append("told")

    monkeypatch.setattr(store, "persist", slowly)
    monkeypatch.setattr(MarkFile, "write", marking)
    told = Told(Round(0), Epoch(0), Answers(4_000, 3, 10, 10))
    core = ScriptedCore([[Persist(()), Persist((record,), tells=told), Send(envelope)]])
    async with running(tmp_path, core, store, Voice(store)):
        await until(lambda: "said" in order)
    assert order == ["told", "record", "mark", "said"]
    (kept,) = (await store.records(Round(0))).own
    mark = read(tmp_path / "marks")[1]
    assert mark is not None
    assert (mark.round, mark.phase, mark.digest) == (0, kept.phase, payload_digest(envelope))


async def test_a_payload_that_a_record_relies_on_is_fetched_again_if_it_has_gone(tmp_path, store) -> None:
    """Given a payload that was dropped since the core heard of it, when a record relies on it, then it is here first."""
    record, _ = an_own_record()
    data = payload(4.0, "theirs")
    blob = ref(data)

    class Giver(Hands):
        async def fetch(self, blob: BlobRef, holders: object, *, apart: str | None = None) -> None:
            assert (await self.store.records(Round(0))).own == ()
            await self.store.put_blob(data)

    core = ScriptedCore([[Persist((record,), (blob,))]])
    async with running(tmp_path, core, store, Giver(store)) as runtime:
        await runtime.inbox.settle(BlobFetched(blob.root))
    assert await store.has_blob(blob.root)
    assert (await store.records(Round(0))).own == (record,)


async def test_nothing_is_signed_that_relies_on_a_payload_that_nobody_gives(tmp_path, store) -> None:
    record, envelope = an_own_record()
    core = ScriptedCore([[Persist((record,), (ref(b"gone"),)), Send(envelope)]])
    with pytest.raises(ExceptionGroup) as caught:
        async with running(tmp_path, core, store, Hands(store)):
            await until(lambda: False)
    assert caught.group_contains(LostPayloadError)
    assert (await store.records(Round(0))).own == ()
    assert read(tmp_path / "marks")[1] is None


async def test_what_is_stored_again_does_not_take_the_mark_back(tmp_path, store) -> None:
    """Given a vote signed after a card, when the card is stored again as a journal is after a restart, then the mark stays."""
    record, _ = an_own_record()
    vote = make_vote(0)
    await store.persist((record, vote))
    core = ScriptedCore([[Persist((vote,))], [Persist((record,))]])
    known = mark_of(record)
    assert known is not None
    async with running(tmp_path, core, store, Hands(store), SigningGuard(marked=(known,))) as runtime:
        await runtime.inbox.settle(BlobFetched(GENESIS.model.root))
        await runtime.inbox.settle(BlobFetched(GENESIS.model.root))
    mark = read(tmp_path / "marks")[1]
    assert mark is not None
    assert (mark.view, mark.phase, mark.digest) == (vote.view, vote.phase, vote.digest)


async def test_an_update_is_restricted_from_its_first_byte_here_until_it_stands_in_a_block(tmp_path, store) -> None:
    """Row 47: what was trained here and what was fetched to be scored is for this round's committee."""
    model = await store.put_blob(payload(1.0, None))
    mine = update_label(genesis_state(GENESIS).chain, Round(0), IDENTITIES[0].node_id)
    theirs = await store.put_blob(payload(4.0, "theirs"))

    class Worker(Hands):
        async def train(self, job: TrainJob) -> TrainResult:
            return TrainResult(update=payload(5.0, mine), samples=10, loss=0.5, seconds=0.0)

    core = ScriptedCore([[Train(Round(0), model, 1), FetchBlob(theirs, (), Round(0), "theirs", anyone=False)]])
    async with running(tmp_path, core, store, Worker(store)) as runtime:
        await until(lambda: len(core.events) >= 3)
        trained = next(event for event in core.events if isinstance(event, Trained))
        kept = runtime.unpublished
        assert [kept.round_of(root) for root in (trained.blob.root, theirs.root, model.root)] == [0, 0, None]
        kept.forget(Round(1))
        assert [kept.round_of(root) for root in (trained.blob.root, theirs.root)] == [None, None]


async def test_of_what_a_peer_answers_only_what_was_asked_for_is_taken(tmp_path, store) -> None:
    _, wanted = an_own_record()
    other = seal(open_envelope(wanted, (ScoreCard,)).body, IDENTITIES[1]).envelope

    class Asked(Hands):
        async def ask(self, peer: object, request: object, *, deadline: float) -> Envelopes:
            return Envelopes((other, wanted))

    core = ScriptedCore([[FetchEnvelopes(Round(0), (payload_digest(wanted),), IDENTITIES[1].node_id)]])
    async with running(tmp_path, core, store, Asked(store)):
        await until(lambda: any(isinstance(event, EnvelopesFetched) for event in core.events))
    (found,) = (event.envelopes for event in core.events if isinstance(event, EnvelopesFetched))
    assert found == (wanted,)


async def test_a_segment_comes_from_the_next_holder_while_the_first_is_silent(tmp_path, store, monkeypatch) -> None:
    """Given a holder that takes the request and answers nothing, when another has the segment, then its deadline isn't waited for."""
    monkeypatch.setattr("bflcd.node.runtime.fetch.PATIENCE_SECONDS", 0.05)
    community = make_community()
    certified = certify(community, play_gains(community, {community.outsiders[0]: 1000}).segment)
    silent, giver = IDENTITIES[1].node_id, IDENTITIES[2].node_id

    class Asked(Hands):
        async def ask(self, peer: object, request: object, *, deadline: float) -> SegmentReply:
            if peer == silent:
                await asyncio.sleep(60)
            return SegmentReply(certified)

    core = ScriptedCore([[FetchSegment(Round(1), (silent, giver))]])
    async with running(tmp_path, core, store, Asked(store)):
        await until(lambda: any(isinstance(event, SegmentFetched) for event in core.events))
    (found,) = (event for event in core.events if isinstance(event, SegmentFetched))
    assert (found.certified, found.source) == (certified, giver)


async def test_the_model_of_an_earlier_round_is_the_one_that_the_own_header_names(tmp_path) -> None:
    chain, held = begin_chain(), MemoryStore()
    made = await fill(held, chain, 2)
    core = ScriptedCore([[FindModel(Round(2), Round(1))]])
    async with running(tmp_path, core, held, Hands(held)):
        await until(lambda: len(core.events) > 1)
    assert core.events[1] == ModelFound(Round(2), Round(1), made[0].segment.model_header.blob)


async def test_an_update_that_breaks_the_specification_is_refused_and_dropped(tmp_path, store) -> None:
    """Row 37: what was fetched for an offer is held against the genesis before anything is computed with it."""

    class Giver(Hands):
        async def fetch(self, blob: BlobRef, holders: object, *, apart: str | None = None) -> None:
            await store.put_blob(wrong)

    wrong = payload(6.0, "theirs")[:-4] + np.float32(np.nan).tobytes()
    ref = manifest_of(wrong).blob
    core = ScriptedCore([[FetchBlob(ref, (), Round(0), "theirs", anyone=False)]])
    async with running(tmp_path, core, store, Giver(store)):
        await until(lambda: any(isinstance(event, BlobMissing) and event.refused for event in core.events))
    assert not await store.has_blob(ref.root)


@pytest.mark.parametrize("labels", [("theirs", "the liar's"), ("the liar's", "theirs"), ("the liar's", "another liar's")])
async def test_a_payload_that_two_offer_at_once_is_kept_if_it_is_good_for_one_of_them(tmp_path, store, labels) -> None:
    """Given that none of it was here when both were asked for, in either order; what is good for neither is dropped."""
    asked, asked_for = asyncio.Event(), []

    class Giver(Hands):
        async def fetch(self, blob: BlobRef, holders: object, *, apart: str | None = None) -> None:
            asked_for.append(apart)
            if len(asked_for) == len(labels):  # it comes once, for both
                await store.put_blob(update)
                asked.set()
            await asked.wait()

    update = payload(6.0, "theirs")
    ref = manifest_of(update).blob
    core = ScriptedCore([[FetchBlob(ref, (), Round(0), label, anyone=False) for label in labels]])
    async with running(tmp_path, core, store, Giver(store)):
        await until(lambda: sum(isinstance(event, BlobMissing | BlobFetched) for event in core.events) == len(labels))
    assert asked_for == list(labels), "each is asked for by itself: who is silent holds nobody else up"
    good = "theirs" in labels
    assert sum(isinstance(event, BlobFetched) for event in core.events) == good
    assert await store.has_blob(ref.root) == good


async def test_an_aggregate_of_anothers_payload_ends_no_node(tmp_path, store) -> None:
    """Given judges of which more than f pack a payload as a copier's, when it is to be aggregated so, then the core is told that it
    can't be, and the node goes on; as its maker's it is aggregated."""
    model, update = await store.put_blob(payload(1.0, None)), await store.put_blob(payload(6.0, "theirs"))
    jobs = [
        Aggregate(Digest(bytes([number]) * 32), Round(0), "fedavg", model, ((1, update, label),), None)
        for number, label in enumerate(("others", "theirs"))
    ]
    core = ScriptedCore([list(jobs)])
    async with running(tmp_path, core, store, Hands(store)):
        await until(lambda: sum(isinstance(event, Aggregated) for event in core.events) == len(jobs))
    told = {event.key: event for event in core.events if isinstance(event, Aggregated)}
    assert told[jobs[0].key].model is None
    assert "'others'" in told[jobs[0].key].text
    assert told[jobs[1].key].model == manifest_of(payload(7.0, None)).blob


async def test_nothing_is_signed_that_relies_on_a_payload_that_goes_again_at_once(tmp_path, store) -> None:
    """Given a payload that is fetched again and is gone once more, then the node says which, and signs nothing."""
    record, envelope = an_own_record()

    class Sieve(Hands):
        async def fetch(self, blob: BlobRef, holders: object, *, apart: str | None = None) -> None:
            return

    core = ScriptedCore([[Persist((record,), (ref(b"gone"),)), Send(envelope)]])
    with pytest.raises(ExceptionGroup) as caught:
        async with running(tmp_path, core, store, Sieve(store)):
            await until(lambda: False)
    assert caught.group_contains(LostPayloadError)
    assert (await store.records(Round(0))).own == ()

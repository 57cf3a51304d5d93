import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.errors import MachineError, PeerError, Rejection, RequestError
from bflcd.net.exchange import (
    LIMITS,
    MEMBER_REQUESTS,
    PATIENCE,
    STRANGER_REQUESTS,
    STRANGERS_REQUESTS,
    WORK_BYTES,
    large_chunk,
)
from bflcd.net.limits import PeerBuckets, Rate
from bflcd.net.memory import MemoryNetwork
from bflcd.net.protocol import Service
from bflcd.types import CHUNK_BYTES, ZERO_DIGEST, Height, NodeId, Round
from bflcd.wire.codec import decode, decode_any, encode, limit_of, registered
from bflcd.wire.requests import (
    REQUESTS,
    Addresses,
    Chunk,
    GenesisReply,
    GetAddresses,
    GetChunk,
    GetEnvelopes,
    GetGenesis,
    GetHeaders,
    GetManifest,
    GetMembership,
    GetOperations,
    GetPrepared,
    GetSegment,
    GetStatus,
    Headers,
    Lane,
    MembershipReply,
    Refused,
    Request,
    Status,
)
from bflcd.wire.training import Training
from tests.helpers.ledger import make_genesis
from tests.helpers.network import CHAIN, ManualClock, Node, build_node, clique, identity, real_now, status, until

ASKED = {
    GetStatus: GetStatus(CHAIN, Round(1), Height(7), CHAIN, (), Training.TRAINS),
    GetGenesis: GetGenesis(ZERO_DIGEST),
    GetHeaders: GetHeaders(CHAIN, Round(1), 5),
    GetSegment: GetSegment(CHAIN, Round(1)),
    GetEnvelopes: GetEnvelopes(CHAIN, Round(1), (CHAIN,)),
    GetManifest: GetManifest(CHAIN, CHAIN),
    GetChunk: GetChunk(CHAIN, CHAIN, 0),
    GetAddresses: GetAddresses(CHAIN),
    GetOperations: GetOperations(CHAIN, (CHAIN,)),
    GetPrepared: GetPrepared(CHAIN, Round(1), CHAIN),
    GetMembership: GetMembership(CHAIN, None),
}


async def answer_status(_peer: NodeId, _request: GetStatus) -> Status:
    return status(3)


async def refused_with(asker: Node, other: Node, request: object) -> PeerError:
    with pytest.raises(PeerError) as caught:
        await asker.exchange.ask(other.id, request, deadline=2.0)
    return caught.value


def test_every_request_is_registered_with_a_reply_of_its_own_and_a_lane():
    assert list(REQUESTS) == [kind for kind in registered().values() if issubclass(kind, Request)]
    assert set(ASKED) == set(REQUESTS)
    replies = [kind.reply for kind in REQUESTS]
    assert len(set(replies)) == len(replies)
    assert set(replies) <= set(registered().values())
    assert set(LIMITS) == set(Lane) == {kind.lane for kind in REQUESTS}


async def test_a_reply_that_is_larger_than_any_can_be_here_is_not_read(monkeypatch):
    """Given a community in which no answer has more than a few bytes, when one has more, then it is refused unread."""

    async def answer(_peer, _request):
        return Addresses(((identity(1).node_id, "/ip4/192.0.2.1/tcp/1" + "0" * 200),) * 40)

    async with clique([{GetAddresses: answer}, {}]) as (a, b):
        assert isinstance(await b.exchange.ask(a.id, ASKED[GetAddresses], deadline=2.0), Addresses)
        monkeypatch.setattr(b.exchange, "_largest", lambda kind: 8_000 if kind is Addresses else limit_of(kind))
        with pytest.raises(RequestError, match="8000"):
            await b.exchange.ask(a.id, ASKED[GetAddresses], deadline=2.0)


async def test_a_request_gets_its_reply_and_the_handler_learns_who_asks():
    asked = []

    async def answer(peer, request):
        asked.append((peer, request))
        return status(3)

    async with clique([{GetStatus: answer}, {}]) as (a, b):
        assert await b.exchange.ask(a.id, ASKED[GetStatus], deadline=2.0) == status(3)
        assert asked == [(b.id, ASKED[GetStatus])]


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
async def test_a_stranger_gets_only_what_is_open_to_strangers(kind):
    touched = []
    membership = MembershipReply(Round(1), "unknown", "", (identity(1).node_id,), 1)
    replies = {GetStatus: status(1), GetGenesis: GenesisReply(make_genesis()[0]), GetMembership: membership}

    async def answer(_peer, request):
        touched.append(type(request))
        return replies[type(request)]

    async with clique([dict.fromkeys(REQUESTS, answer), {}]) as (a, b):
        a.members.discard(b.id)
        if kind.for_strangers:
            assert await b.exchange.ask(a.id, ASKED[kind], deadline=2.0) == replies[kind]
        else:
            assert (await refused_with(b, a, ASKED[kind])).rejection is Rejection.NOT_MEMBER
            assert touched == []
            assert a.faults == [(b.id, Rejection.NOT_MEMBER)]


@pytest.mark.parametrize(
    ("payload", "rejection"),
    [
        (b"", Rejection.MALFORMED),
        (b"\xff" * 100, Rejection.MALFORMED),
        (b"\xdd\xff\xff\xff\xff", Rejection.MALFORMED),
        (b"\x91" * 2000, Rejection.MALFORMED),
        (encode(ASKED[GetStatus])[:-1], Rejection.MALFORMED),
        (encode(ASKED[GetStatus]) + b"\x00", Rejection.MALFORMED),
        (encode(ASKED[GetChunk]), Rejection.UNKNOWN_KIND),
        (encode(status(1)), Rejection.UNKNOWN_KIND),
    ],
    ids=["empty", "garbage", "lying length", "deep nesting", "cut", "longer", "another lane's", "a reply"],
)
async def test_garbage_is_refused_and_costs_its_sender(payload, rejection):
    async with clique([{GetStatus: answer_status}, {}]) as (a, b):
        reply = await b.transport.request(a.id, GetStatus.lane.value, payload, deadline=2.0, max_response=4096)
        assert isinstance(reply, bytes)
        assert encode(Refused(rejection.value, ""))[:4] == reply[:4]
        assert a.faults == [(b.id, rejection)]
        assert a.failures == []
        assert await b.exchange.ask(a.id, ASKED[GetStatus], deadline=2.0) == status(3)


@pytest.mark.parametrize(
    ("answer", "rejection"),
    [
        (encode(Addresses(())), Rejection.MALFORMED),
        (b"\xc1garbage", Rejection.MALFORMED),
        (encode(Refused("no such reason", "x")), Rejection.MALFORMED),
        (encode(Refused("busy", "later, forged line")).replace(b", ", b"\n\x1b"), Rejection.MALFORMED),
    ],
    ids=["another reply", "garbage", "unknown refusal", "control characters"],
)
async def test_an_illegal_reply_is_the_peers_fault(answer, rejection):
    network = MemoryNetwork()
    liar, asker = (build_node(network, number, {identity(1).node_id, identity(2).node_id}) for number in (1, 2))

    async def lie(_peer: NodeId, _payload: bytes) -> bytes:
        return answer

    liar.transport.serve(GetStatus.lane.value, lie, max_request=4096, max_concurrent=4)
    asker.exchange.serve({})
    for node in (liar, asker):
        await node.transport.start()
    await asker.dial(liar)
    error = await refused_with(asker, liar, ASKED[GetStatus])
    assert error.rejection is rejection
    assert "\n" not in str(error)
    assert "\x1b" not in str(error)
    assert asker.faults == ([(liar.id, rejection)] if rejection is Rejection.MALFORMED else [])
    for node in (liar, asker):
        await node.transport.close()


async def test_what_a_refusal_quotes_is_printable():
    """Given a handler whose refusal quotes an escape code, then who asked hears the refusal, and not the code."""

    async def answer(_peer: NodeId, _request: GetStatus) -> Status:
        raise PeerError(Rejection.UNAVAILABLE, "no file \x1b[31mred\n")

    async with clique([{GetStatus: answer}, {}]) as (a, b):
        error = await refused_with(b, a, ASKED[GetStatus])
    assert error.rejection is Rejection.UNAVAILABLE
    assert str(error).endswith("no file ?[31mred?")


async def test_a_reply_above_its_limit_is_a_request_error():
    async with clique([{}, {}]) as (a, b):
        a.transport._services[GetStatus.lane.value] = Service(_huge, 4096, 1)
        with pytest.raises(RequestError):
            await b.exchange.ask(a.id, ASKED[GetStatus], deadline=2.0)


async def _huge(_peer: NodeId, _payload: bytes) -> bytes:
    return bytes(5 * 2**20)


async def test_refusals_of_a_handler_reach_the_asker_with_their_reason():
    async def refuse(_peer, _request):
        raise PeerError(Rejection.UNAVAILABLE, "not here " + "x" * 1000)

    async with clique([{GetSegment: refuse}, {}]) as (a, b):
        error = await refused_with(b, a, ASKED[GetSegment])
        assert error.rejection is Rejection.UNAVAILABLE
        assert "not here" in str(error)
        assert a.failures == []
        assert (await refused_with(b, a, ASKED[GetStatus])).rejection is Rejection.UNAVAILABLE


@pytest.mark.parametrize(
    "raised", [ZeroDivisionError("a bug"), MachineError("disk full", code="disk_full")], ids=["bug", "machine"]
)
async def test_our_own_fault_is_logged_and_reported_but_not_told_in_detail(raised, caplog):
    async def fail(_peer, _request):
        raise raised

    async with clique([{GetStatus: fail}, {}]) as (a, b):
        error = await refused_with(b, a, ASKED[GetStatus])
        assert error.rejection is Rejection.UNAVAILABLE
        assert str(raised) not in str(error)
        assert a.failures == [raised]
        assert "Traceback" in caplog.text


async def test_a_reply_of_the_wrong_kind_by_our_handler_is_our_bug():
    async def wrong(_peer, _request):
        return Addresses(())

    async with clique([{GetStatus: wrong}, {}]) as (a, b):
        assert (await refused_with(b, a, ASKED[GetStatus])).rejection is Rejection.UNAVAILABLE
        assert [type(error) for error in a.failures] == [TypeError]


@pytest.mark.parametrize(("member", "rate"), [(True, MEMBER_REQUESTS), (False, STRANGER_REQUESTS)], ids=["member", "stranger"])
async def test_a_flood_of_requests_is_told_busy_until_its_bucket_fills_again(member, rate):
    clock = ManualClock()
    async with clique([{GetStatus: answer_status}, {}, {}], now=clock) as (a, b, other):
        if not member:
            a.members.discard(b.id)
        a.exchange._pace[GetStatus.lane] = PeerBuckets(rate, clock)  # which would make it wait long before
        lane = GetStatus.lane.value
        request = encode(ASKED[GetStatus])
        handler = a.transport._services[lane].handler
        for _ in range(int(rate.burst)):
            assert await handler(b.id, request) == encode(status(3))
        assert a.faults == []
        assert (await refused_with(b, a, ASKED[GetStatus])).rejection is Rejection.BUSY
        assert a.faults == [(b.id, Rejection.BUSY)]
        assert await other.exchange.ask(a.id, ASKED[GetStatus], deadline=2.0) == status(3)
        clock.time += 1000
        assert await b.exchange.ask(a.id, ASKED[GetStatus], deadline=2.0) == status(3)


async def test_strangers_share_an_allowance_however_many_they_are():
    """Given strangers that each ask little, when all of them together have asked for much, then strangers are refused for a while,
    none is blamed, and members are answered."""
    clock = ManualClock()
    async with clique([{GetStatus: answer_status}, {}], now=clock) as (a, member):
        handler = a.transport._services[GetStatus.lane.value].handler
        request, asked = encode(ASKED[GetStatus]), int(STRANGERS_REQUESTS.burst)

        async def answers(first, count):
            return [decode_any(await handler(identity(first + n).node_id, request), (Status, Refused)) for n in range(count)]

        assert await answers(1_000, asked) == [status(3)] * asked
        assert [type(answer) for answer in await answers(5_000, 3)] == [Refused] * 3
        assert a.faults == []
        assert await member.exchange.ask(a.id, ASKED[GetStatus], deadline=2.0) == status(3)
        clock.time += 1000
        assert await answers(6_000, 1) == [status(3)]


async def test_the_genesis_is_encoded_once(monkeypatch):
    encoded = []
    genesis = GenesisReply(make_genesis()[0])
    monkeypatch.setattr("bflcd.net.exchange.encode", lambda message: encoded.append(type(message)) or encode(message))

    async def answer(_peer, _request):
        return genesis

    async with clique([{GetGenesis: answer}, {}]) as (a, b):
        for _ in range(3):
            assert await b.exchange.ask(a.id, ASKED[GetGenesis], deadline=2.0) == genesis
    assert encoded.count(GenesisReply) == 1


async def test_who_asks_without_end_waits_before_any_work_is_done_for_it():
    """Given a member that has used up its work, when it asks again, then its handler runs when the rate allows it, another's at once;
    and when it would wait too long it is refused."""
    handled = []

    async def answer(peer, _request):
        handled.append(peer)
        return status(3)

    async with clique([{GetStatus: answer}, {}, {}]) as (a, b, other):
        a.exchange._pace[Lane.SMALL] = PeerBuckets(Rate(per_second=4, burst=2), real_now)
        for _ in range(2):
            await b.exchange.ask(a.id, ASKED[GetStatus], deadline=2.0)
        async with asyncio.TaskGroup() as group:
            late = group.create_task(b.exchange.ask(a.id, ASKED[GetStatus], deadline=2.0))
            await other.exchange.ask(a.id, ASKED[GetStatus], deadline=2.0)
            await asyncio.sleep(0.05)
            assert handled == [b.id, b.id, other.id]
        assert late.result() == status(3)
        a.exchange._pace[Lane.SMALL].charge(b.id, 4 * PATIENCE)
        assert (await refused_with(b, a, ASKED[GetStatus])).rejection is Rejection.BUSY
        assert handled[3:] == [b.id]


async def test_large_answers_count_as_more_work():
    async def answer(_peer, _request):
        return Chunk(bytes(WORK_BYTES[Lane.BLOB]))

    async with clique([{GetChunk: answer}, {}]) as (a, b):
        pace = a.exchange._pace[Lane.BLOB] = PeerBuckets(Rate(per_second=1, burst=100), ManualClock())
        await b.exchange.ask(a.id, ASKED[GetChunk], deadline=2.0)
        assert pace.charge(b.id, 97) == 0
        assert pace.charge(b.id, 1) > 0


async def test_a_flood_of_chunks_does_not_delay_heartbeats():
    """Given a peer whose chunk requests all hang; When a status is asked; Then it comes at once."""
    release = asyncio.Event()

    async def slow(_peer, _request):
        await release.wait()
        return Chunk(b"x")

    async with clique([{GetChunk: slow, GetStatus: answer_status}, {}]) as (a, b), asyncio.TaskGroup() as group:
        asks = [group.create_task(b.exchange.ask(a.id, ASKED[GetChunk], deadline=5.0)) for _ in range(100)]
        await until(lambda: a.exchange._open[Lane.BLOB] > 0)
        assert await b.exchange.ask(a.id, ASKED[GetStatus], deadline=1.0) == status(3)
        release.set()
        assert [await ask for ask in asks] == [Chunk(b"x")] * 100


async def test_at_most_the_lanes_limit_of_handlers_runs_at_once_and_the_queue_is_bounded():
    release = asyncio.Event()
    now_running, most = 0, 0

    async def slow(_peer, _request):
        nonlocal now_running, most
        now_running += 1
        most = max(most, now_running)
        await release.wait()
        now_running -= 1
        return Headers(())

    lane, limits = GetHeaders.lane, LIMITS[GetHeaders.lane]
    async with clique([{GetHeaders: slow}, {}]) as (a, b):
        handler = a.transport._services[lane.value].handler
        async with asyncio.TaskGroup() as group:
            room = limits.at_once + limits.waiting
            asks = [group.create_task(handler(b.id, encode(ASKED[GetHeaders]))) for _ in range(room)]
            await until(lambda: a.exchange._open[lane] == room)
            assert (await refused_with(b, a, ASKED[GetHeaders])).rejection is Rejection.BUSY
            release.set()
            assert {await ask for ask in asks} == {encode(Headers(()))}
        assert most == limits.at_once
        assert a.exchange._open[lane] == 0
        assert a.faults == []


@given(st.binary(max_size=300), st.sampled_from([encode(request) for request in ASKED.values()]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_bytes_arrive_they_are_answered_and_nothing_breaks(garbage, request, as_tail):
    async def deliver():
        node = build_node(MemoryNetwork(), 1, {identity(2).node_id}, ManualClock())
        node.exchange.serve({GetStatus: answer_status})
        for lane in Lane:
            handler = node.transport._services[lane.value].handler
            for peer in (2, 3):
                payload = request[: len(request) // 2] + garbage if as_tail else garbage
                reply = await handler(identity(peer).node_id, payload)
                assert type(decode_any(reply, (Refused, Status))) in (Refused, Status)
        assert node.failures == []

    asyncio.run(deliver())


@pytest.mark.parametrize("size", [1, 255, 2**16 - 1, 2**16, 2**16 + 1, CHUNK_BYTES])
def test_a_large_chunk_is_read_exactly_as_the_codec_reads_it(size):
    encoded = encode(Chunk(bytes(range(256)) * (size // 256) + bytes(size % 256)))
    assert large_chunk(encoded) == (decode(encoded, Chunk) if size >= 2**16 else None)
    for damaged in (
        encoded[:-1],
        encoded + b"x",
        b"\x92" + encoded[1:],
        encoded[:1] + b"\x02" + encoded[2:],
        encoded[:4] + b"\x01" + encoded[5:],
    ):
        assert large_chunk(damaged) is None
    assert large_chunk(encoded[:4] + (CHUNK_BYTES + 1).to_bytes(4, "big") + bytes(CHUNK_BYTES + 1)) is None


async def test_serving_what_is_no_request_is_refused_at_once():
    node = build_node(MemoryNetwork(), 1, set())
    with pytest.raises(ValueError, match="Status"):
        node.exchange.serve({Status: answer_status})


async def test_an_unconnected_peer_is_a_request_error():
    async with clique([{}]) as (a,):
        with pytest.raises(RequestError):
            await a.exchange.ask(identity(9).node_id, ASKED[GetStatus], deadline=1.0)

"""A protocol is agreed on in one round trip, and what a stream starts with does not wait for that."""

from typing import Any

import pytest
import trio

from bflcd.errors import RequestError
from bflcd.net.libp2p.budget import Negotiator
from bflcd.net.libp2p.connection import Connection
from bflcd.net.libp2p.library import MULTISELECT_PROTOCOL_ID, MultiselectClientError, encode_delim
from bflcd.net.protocol import ConnectionInfo
from bflcd.types import NodeId
from tests.helpers.transports import SECONDS, community, eventually

PROTOCOL = "/test/echo/1"
PROPOSAL = encode_delim(MULTISELECT_PROTOCOL_ID.encode()) + encode_delim(PROTOCOL.encode())


class Stream:
    """Answers as it was told to; `early` is what had been written when something was read first."""

    muxed_conn = None

    def __init__(self, *answers: str) -> None:
        self.unread = b"".join(encode_delim(answer.encode()) for answer in answers)
        self.written: list[bytes] = []
        self.early: list[bytes] | None = None
        self.was_reset = False

    async def write(self, data: bytes) -> None:
        self.written.append(bytes(data))

    async def read(self, count: int) -> bytes:
        self.early = list(self.written) if self.early is None else self.early
        found, self.unread = self.unread[:count], self.unread[count:]
        return found

    async def reset(self) -> None:
        self.was_reset = True


class Muxer:
    """Opens one stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    async def open_stream(self) -> Stream:
        return self.stream


async def agreed(stream: Stream) -> None:
    negotiator = Negotiator(stream)  # type: ignore[arg-type]
    await negotiator.propose(PROTOCOL)
    await negotiator.agree(PROTOCOL)


async def opened(stream: Stream, first: bytes) -> Any:
    async def begin(begun: Any) -> None:
        await begun.write(first)

    info = ConnectionInfo(NodeId(bytes(32)), "/ip4/127.0.0.1/tcp/1", inbound=False)
    connection = Connection(info, Muxer(stream), None, NodeId(bytes(32)), 0.0)  # type: ignore[arg-type]
    return await connection.open(PROTOCOL, begin)


def test_greeting_and_protocol_are_one_packet_that_waits_for_nothing() -> None:
    stream = Stream(MULTISELECT_PROTOCOL_ID, PROTOCOL)
    trio.run(agreed, stream)
    assert (stream.early, stream.unread) == ([PROPOSAL], b"")


def test_what_a_stream_starts_with_travels_with_the_proposal() -> None:
    stream = Stream(MULTISELECT_PROTOCOL_ID, PROTOCOL)
    assert trio.run(opened, stream, b"the question") is stream
    assert stream.early == [PROPOSAL, b"the question"]
    assert not stream.was_reset


@pytest.mark.parametrize(
    "answers", [(MULTISELECT_PROTOCOL_ID, "na"), ("/multistream/2.0.0", PROTOCOL), (MULTISELECT_PROTOCOL_ID,)]
)
def test_who_agrees_to_something_else_or_to_nothing_loses_the_stream(answers: tuple[str, ...]) -> None:
    stream = Stream(*answers)
    with pytest.raises(MultiselectClientError):
        trio.run(opened, stream, b"the question")
    assert stream.was_reset


async def test_a_protocol_that_nobody_serves_is_named_and_the_connection_stays() -> None:
    async with community("libp2p") as members:
        one, other = await members.start(1), await members.start(2)
        await one.transport.dial(other.address, SECONDS)
        await eventually(lambda: other.node_id in one.peers and one.node_id in other.peers)
        with pytest.raises(RequestError, match="does not answer /test/nothing/1"):
            await one.transport.request(other.node_id, "/test/nothing/1", b"?" * 1_000, deadline=SECONDS, max_response=10)
        question = bytes(600_000)
        asked = one.transport.request(other.node_id, PROTOCOL, question, deadline=SECONDS, max_response=1024 * 1024)
        assert await asked == question

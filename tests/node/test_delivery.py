"""What is said goes to whom it concerns until each has confirmed it; gossip is the last way."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from bflcd.core.effects import Send
from bflcd.core.events import Instant
from bflcd.node.runtime.delivery import MAX_PUSHES, TRUSTED, Delivery
from bflcd.node.runtime.jobs import Jobs
from bflcd.node.runtime.ports import Answers
from bflcd.scheduler import ASYNCIO
from bflcd.types import Millis, NodeId, Signature
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import Gossip

T0 = Millis(1_000)
ANN, BOB, CEM = (NodeId(letter * 32) for letter in (b"a", b"b", b"c"))
JUDGES = (ANN, BOB, CEM)
SAID = Envelope(NodeId(bytes(32)), b"what was signed", Signature(bytes(64)))


class Net:
    """Peers with connections, who confirm what is pushed to them, lose it, or say that they have no use for it now."""

    def __init__(self) -> None:
        self.connections = {peer: number for number, peer in enumerate(JUDGES)}
        self.loses: set[NodeId] = set()
        self.defers: set[NodeId] = set()
        self.answers = asyncio.Event()
        self.answers.set()
        self.pushed: list[tuple[NodeId, ...]] = []
        self.published: list[Gossip] = []
        self.now = Millis(0)

    def __call__(self) -> Instant:
        return Instant(self.now, self.now)

    def connected(self) -> tuple[NodeId, ...]:
        return tuple(self.connections)

    def connection(self, peer: NodeId) -> int | None:
        return self.connections.get(peer)

    async def publish(self, message: Gossip) -> None:
        self.published.append(message)

    async def push(self, _message: Gossip, to: Sequence[NodeId]) -> Answers:
        self.pushed.append(tuple(to))
        await self.answers.wait()
        return Answers(frozenset(to) - self.loses - self.defers, frozenset(to) & self.loses)


class Sender:
    """A delivery over a net. `say` returns what was pushed, once nothing is left to do."""

    def __init__(self, net: Net, delivery: Delivery) -> None:
        self.net = net
        self.delivery = delivery

    async def say(self, to: tuple[NodeId, ...] = JUDGES, message: Gossip = SAID) -> list[tuple[NodeId, ...]]:
        before = len(self.net.pushed)
        await self.delivery.send(Send(message, to))
        for _ in range(5):
            await asyncio.sleep(0)
        return self.net.pushed[before:]


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    net, jobs = Net(), Jobs(ASYNCIO)
    async with jobs.opened():
        yield Sender(net, Delivery(net, jobs, net, T0))


async def test_what_concerns_all_is_gossiped(sender: Sender) -> None:
    assert await sender.say(()) == []
    assert sender.net.published == [SAID]


async def test_who_has_confirmed_gets_it_no_second_time_but_one_in_turn(sender: Sender) -> None:
    assert await sender.say() == [JUDGES]
    assert [await sender.say() for _ in range(3)] == [[(BOB,)], [(CEM,)], [(ANN,)]]
    assert sender.net.published == []


async def test_only_who_has_not_confirmed_gets_it_again(sender: Sender) -> None:
    sender.net.defers = {BOB}
    assert await sender.say() == [JUDGES]
    assert await sender.say() == [(BOB,)]
    sender.net.defers = set()
    assert await sender.say() == [(BOB,)]
    assert len((await sender.say())[0]) == 1
    assert sender.net.published == [], "who has no use for it now would have none for gossip"


async def test_what_no_answer_came_to_is_gossiped_each_time(sender: Sender) -> None:
    sender.net.loses = {CEM}
    assert await sender.say() == [JUDGES]
    assert sender.net.published == [SAID]
    assert await sender.say() == [(CEM,)]
    assert sender.net.published == [SAID, SAID]


async def test_who_is_not_connected_is_reached_by_gossip_and_the_others_straight(sender: Sender) -> None:
    del sender.net.connections[ANN]
    assert await sender.say() == [(BOB, CEM)]
    assert sender.net.published == [SAID]


async def test_over_a_new_connection_it_goes_again(sender: Sender) -> None:
    await sender.say()
    sender.net.connections[BOB] = 77
    assert await sender.say() == [(BOB,)]


async def test_a_confirmation_counts_for_some_time_only(sender: Sender) -> None:
    await sender.say()
    sender.net.now = Millis(TRUSTED * T0 - 1)
    assert len((await sender.say())[0]) == 1
    sender.net.now = Millis(TRUSTED * T0)
    assert set((await sender.say())[0]) >= {ANN, CEM}


async def test_what_is_under_way_is_not_sent_beside(sender: Sender) -> None:
    sender.net.answers.clear()
    assert await sender.say() == [JUDGES]
    assert await sender.say() == []
    sender.net.answers.set()
    await asyncio.sleep(0)
    assert sender.net.published == []


async def test_what_was_lost_of_a_round_that_is_over_is_not_gossiped(sender: Sender) -> None:
    sender.net.loses = set(JUDGES)
    sender.net.answers.clear()
    await sender.say()
    sender.delivery.round_closed()
    sender.net.answers.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert sender.net.published == []
    assert await sender.say() == [JUDGES], "in the next round it is another matter"


async def test_with_too_much_under_way_what_is_new_is_gossiped_and_what_is_said_again_waits(sender: Sender) -> None:
    sender.net.answers.clear()
    await sender.say()
    others = [Envelope(SAID.author, bytes([number]), SAID.signature) for number in range(MAX_PUSHES)]
    for message in others[:-1]:
        assert await sender.say(message=message) == [JUDGES]
    assert await sender.say(message=others[-1]) == []
    assert sender.net.published == [others[-1]]
    sender.net.connections = dict.fromkeys(JUDGES, 99)
    assert await sender.say() == []
    assert sender.net.published == [others[-1]]
    sender.net.answers.set()

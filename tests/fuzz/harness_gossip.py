"""What a peer gossips or pushes: the channel's cheap checks on raw bytes, then a judge's and a trainer's core."""

from collections.abc import Iterator
from functools import cache

from bflcd.core.events import MessageReceived
from bflcd.net.gossip import GossipChannel
from bflcd.types import Millis, NodeId
from bflcd.wire.codec import encode
from bflcd.wire.messages import Gossip
from tests.fuzz.target import Loop, Target
from tests.helpers.hostile import Recorder, hostile_world
from tests.helpers.world import World

ROUNDS = 2


class Wire:
    """A transport that keeps the handlers."""

    def subscribe(self, _topic: str, handler: object, **_: object) -> None:
        self.receive = handler

    def serve(self, _protocol: str, handler: object, **_: object) -> None:
        self.pushed = handler


class Station:
    """A world two rounds old, of whose nodes one judge and one trainer hear what comes through a real channel."""

    def __init__(self) -> None:
        self.world, self.said = recorded()
        self.wire = Wire()
        self.time = 0
        core = next(iter(self.world.cores.values()))
        self.members = tuple(account.node for account in core.context.state.accounts)
        self.channel = GossipChannel(
            self.wire,
            chain=lambda: core.context.state.chain,
            is_member=frozenset(self.members).__contains__,
            now=self._now,
            on_misbehaviour=lambda *_: None,
        )
        self.hearers = (self._where(judges=True), self._where(judges=False))

    def _now(self) -> Millis:
        self.time += 60_000
        return Millis(self.time)

    def _where(self, *, judges: bool) -> NodeId:
        return next(node for node, core in self.world.cores.items() if core.context.judges is judges)

    async def hear(self, data: bytes) -> None:
        self.wire.receive(self.members[0], data)
        while len(self.channel._inbox):
            heard = await self.channel.receive()
            for node in self.hearers:
                self.world.cores[node].handle(MessageReceived(heard.message, heard.forwarder), self.world.instant())
        for node in self.hearers:
            self.world.cores[node].tick(self.world.instant())


def recorded() -> tuple[World, tuple[Gossip, ...]]:
    """A world at work, and all that its nodes said so far."""
    world = hostile_world()
    said = Recorder(world)
    assert world.run_until(lambda: min(world.rounds()) >= ROUNDS, 60_000)
    world.run_until(lambda: False, 400)
    return world, said.messages


LOOP = Loop()


@cache
def station() -> Station:
    return Station()


def seeds() -> Iterator[bytes]:
    yield from dict.fromkeys(encode(message) for message in station().said[-80:])


def one(data: bytes) -> None:
    LOOP.run(station().hear(data))


TARGET = Target("gossip", seeds, one, share=0.7, longest=16_384)

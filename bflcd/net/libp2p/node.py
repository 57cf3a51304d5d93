"""The trio thread's composition: switch, requests and gossip."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio
from trio_typing import TaskStatus

from bflcd.crypto.identity import Identity
from bflcd.net.libp2p.courtesy import offer_courtesies
from bflcd.net.libp2p.gossip import Deliver, Flooded, Gossip
from bflcd.net.libp2p.requests import Requests
from bflcd.net.libp2p.switch import Switch
from bflcd.net.protocol import ConnectionInfo, Gate, PeerEvent, Relay


@dataclass(frozen=True, slots=True)
class Told:
    """What the other side is told of, in the trio thread: a connection, a message, a message too many."""

    event: Callable[[PeerEvent], None]
    message: Deliver
    flood: Flooded


class Node:
    """All of libp2p that one transport uses; only `connections` may be called from another thread."""

    def __init__(
        self,
        identity: Identity,
        gate: Gate,
        topics: Mapping[str, Relay],
        told: Told,
        *,
        hears: Gate,
    ) -> None:
        """`topics` with what is passed on of each; `hears`: who is a member."""
        self._switch = Switch(identity, gate, told.event, hears)
        self._requests = Requests(self._switch)
        offer_courtesies(self._switch)
        self._gossip = Gossip(identity, self._switch, topics, deliver=told.message, flooded=told.flood, hears=hears)
        self.serve = self._requests.serve
        self.request = self._requests.request
        self.publish = self._gossip.send
        self.strike = self._gossip.strike
        self.dial = self._switch.dial
        self.disconnect = self._switch.disconnect

    def connections(self) -> tuple[ConnectionInfo, ...]:
        """The open connections, as of now."""
        return self._switch.snapshot

    async def run(self, listeners: list[trio.SocketListener], stop: trio.Event, ready: Callable[[], None]) -> None:
        """Serve until `stop`; a failure of any part ends it."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._keep_mesh)
            await nursery.start(self._serve, listeners)
            ready()
            await stop.wait()
            self._switch.abort_all()
            nursery.cancel_scope.cancel()

    async def _keep_mesh(self, task_status: TaskStatus[None]) -> None:
        await self._gossip.run_gossip(task_status=task_status)

    async def _serve(self, listeners: list[trio.SocketListener], task_status: TaskStatus[None]) -> None:
        await self._switch.run(listeners, task_status=task_status)

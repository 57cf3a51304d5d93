"""A libp2p transport that lives in a thread of its own, with the real channel and exchange on it, for harnesses that use sockets."""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from typing import Any, ClassVar

from bflcd.crypto.identity import Identity, peer_id_of
from bflcd.net.exchange import Exchange
from bflcd.net.gossip import GossipChannel
from bflcd.net.libp2p import Libp2pTransport
from bflcd.types import Digest, Height, Round
from bflcd.wire.requests import GetStatus
from bflcd.wire.training import Training
from tests.helpers.network import CHAIN, real_now, status

SECONDS = 10.0
LOOPBACK = "/ip4/127.0.0.1/tcp/0"


class Living:
    """Serves status requests and takes gossip until the process ends; `check` sees that it still does."""

    identity: ClassVar = Identity(bytes([41]) * 32)
    attacker: ClassVar = Identity(bytes([42]) * 32)
    friend: ClassVar = Identity(bytes([43]) * 32)
    peer_id: ClassVar = peer_id_of(identity.node_id)

    def __init__(self) -> None:
        logging.getLogger("bflcd.net").setLevel(logging.CRITICAL)
        self._loop = asyncio.new_event_loop()
        self.failures: list[Exception] = []
        self.unhandled: list[dict[str, Any]] = []
        self._loop.set_exception_handler(lambda _loop, context: self.unhandled.append(context))
        threading.Thread(target=self._loop.run_forever, name="living", daemon=True).start()
        self._transport = self._make(self.identity)
        self._call(self._start())
        self.port = int(self._transport.addresses()[0].split("/")[4])

    def _make(self, identity: Identity) -> Libp2pTransport:
        return Libp2pTransport(identity, (LOOPBACK,), lambda _: True)

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(3 * SECONDS)

    async def _start(self) -> None:
        members = {self.attacker.node_id, self.friend.node_id}
        exchange = Exchange(self._transport, is_member=members.__contains__, now=real_now, on_failure=self.failures.append)

        async def answer(_peer: object, _request: object) -> object:
            return status()

        exchange.serve({GetStatus: answer})
        channel = GossipChannel(
            self._transport, chain=lambda: CHAIN, is_member=members.__contains__, now=real_now, on_misbehaviour=lambda *_: None
        )
        self._channel = channel
        await self._transport.start()

    def check(self) -> None:
        """A friend still gets an answer, nothing failed on this side, and nobody is left in a handshake."""
        self._call(self._ask())
        assert not self.failures, self.failures
        assert not self.unhandled, self.unhandled

    async def _ask(self) -> None:
        friend = self._make(self.friend)
        exchange = Exchange(friend, is_member=lambda _: True, now=real_now)
        await friend.start()
        try:
            peer = await friend.dial(self._transport.addresses()[0], SECONDS)
            zero = Digest(bytes(32))
            await exchange.ask(peer, GetStatus(zero, Round(0), Height(0), zero, (), Training.TRAINS), deadline=SECONDS)
        finally:
            await friend.close()

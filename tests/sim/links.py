"""Who reaches whom in the simulated world, and how messages and questions travel; a part of `World`."""

from collections.abc import Callable
from typing import Any, Final

from bflcd.core.events import MessageReceived
from bflcd.core.relaying import chain_of
from bflcd.errors import PeerError, Rejection, RequestError
from bflcd.net.gossip import author_of
from bflcd.node.runtime.ports import Pushed
from bflcd.types import NodeId
from bflcd.wire.codec import decode_any, encode
from bflcd.wire.messages import GOSSIP
from bflcd.wire.requests import GetChunk
from tests.sim.node import SimNode

HEARTBEAT: Final = 5_000
"""As `PeerSettings.heartbeat_period`."""

PUSH_FAILS: Final = (50, 12_000)
"""Milliseconds until a push that did not arrive is known to have failed."""


class Links:
    """Connections, gossip, pushes, streams."""

    def connected(self, node: SimNode) -> tuple[NodeId, ...]:
        """Members with a working stream to `node`."""
        return tuple(
            other.id
            for other in self.nodes
            if other.running and other is not node and self.net.connected(node.index, other.index)
        )

    def greet(self, node: SimNode) -> None:
        """Connections come up: both sides tell where they stand."""
        for other in self.nodes:
            if other is not node:
                self.after(self.rng.randint(5, 200), self._hello, node, other)

    def _hello(self, node: SimNode, other: SimNode) -> None:
        if node.running and other.running and self.net.connected(node.index, other.index):
            self._tells(other, node)
            self._tells(node, other)

    def _heartbeat(self, node: SimNode) -> None:
        if node.running and not node.paused:
            for other in self.nodes:
                if other is node or not other.running:
                    continue
                if self.net.connected(node.index, other.index) and not other.paused:
                    self._tells(other, node)
                else:
                    node.claims.forget(other.id)
                    node.words.forget(other.id)
        self.after(HEARTBEAT, self._heartbeat, node)

    def _tells(self, node: SimNode, other: SimNode) -> None:
        other.claim(node.id, node.status())
        other.words.note(node.id, node.training())

    def say_training(self, node: SimNode) -> None:
        """As `PeerManager.say_anew`."""
        for other in self.nodes:
            if other is not node:
                self.after(self.rng.randint(5, 50), self._hears_training, node, other)

    def _hears_training(self, node: SimNode, other: SimNode) -> None:
        if node.running and other.running and self.net.connected(node.index, other.index):
            other.words.note(node.id, node.training())

    def connection(self, node: SimNode, peer: NodeId) -> int | None:
        """A number that changes with each life of the other side."""
        other = self.by_id.get(peer)
        up = other is not None and other.running and other is not node and self.net.connected(node.index, other.index)
        return other.life if up and other is not None else None

    def push(self, node: SimNode, message: Any, peer: NodeId) -> tuple[Pushed, int]:
        """Straight to whom it concerns; what becomes of it, and milliseconds until the answer, or its deadline."""
        other = self.by_id[peer]
        delay = self.net.transit(node.index, other.index)
        if delay is None:
            return Pushed.LOST, self.rng.randint(*PUSH_FAILS)
        self._send(node, node, other, message, delay)
        return Pushed.NOT_NOW if self._is_catching_up(other) else Pushed.TAKEN_IN, 2 * delay

    @staticmethod
    def _is_catching_up(node: SimNode) -> bool:
        return node.core is None or node.core.syncing

    def tell(self, node: SimNode, message: Any, to: tuple[NodeId, ...]) -> None:
        """A liar's way: to exactly these, by gossip or push, and to nobody else."""
        self.record_said(node, message, to)
        for target in to:
            other = self.by_id.get(target)
            if other is not None and other is not node:
                delay = self.net.transit(node.index, other.index)
                if delay is not None:
                    self._send(node, node, other, message, delay)

    def publish(self, node: SimNode, message: Any) -> None:
        """Gossip: to everybody that it reaches, straight or through another."""
        running = [other.index for other in self.nodes if other.running]
        for index in running:
            if index == node.index:
                continue
            other = self.nodes[index]
            delay = self.net.transit(node.index, index)
            if delay is not None:
                self._send(node, node, other, message, delay)
                continue
            around = self.net.around(node.index, index, running)
            if around is not None:
                self._send(node, self.nodes[around[0]], other, message, around[1])

    def _send(self, author: SimNode, forwarder: SimNode, other: SimNode, message: Any, delay: int) -> None:
        if self.net.swallow is not None and self.net.swallow(other.index, message):
            return
        self.after(delay, self._deliver, author.honest, forwarder, other, message)
        if self.net.duplicates and self.rng.random() < self.net.duplicates:
            self.after(delay + self.rng.randint(0, 2_000), self._deliver, author.honest, forwarder, other, message)

    def _deliver(self, honest: bool, forwarder: SimNode, other: SimNode, message: Any) -> None:
        if not other.running:
            return
        if self.setup.codec or not honest:
            try:
                message = self._decoded(forwarder, message)
            except (PeerError, ValueError):  # refused; or a liar's message that has no encoding
                return
        if other.liar is not None:
            other.liar.hears(message)
        other.post(MessageReceived(message, forwarder.id))

    def _decoded(self, forwarder: SimNode, message: Any) -> Any:
        """As `GossipChannel._check`. Raises PeerError."""
        found: Any = decode_any(message if isinstance(message, bytes) else encode(message), GOSSIP)
        author, chain = author_of(found, forwarder.id), chain_of(found)
        if chain != self.chain or author not in self.by_id:
            raise PeerError(Rejection.WRONG_CHAIN, "another chain, or no member")
        return found

    def ask(self, node: SimNode, asked: NodeId, request: Any, deadline: int, answer: Callable[[object], None]) -> None:
        """A request over a stream: what is lost is sent again below us, a closed link or a dead peer fails it."""
        peer = self.by_id.get(asked)
        if peer is None or not peer.running or not self.net.connected(node.index, peer.index):
            self.after(self.rng.randint(1, 200), answer, RequestError("not connected"))
            return
        self.after(self._stream(node, peer), self._serve, node, peer, request, deadline, answer)

    def _stream(self, a: SimNode, b: SimNode) -> int:
        delay = self.net.transit(a.index, b.index)
        return self.rng.randint(200, 1_000) if delay is None else min(delay, 1_000)

    def _serve(self, node: SimNode, peer: SimNode, request: Any, deadline: int, answer: Callable[[object], None]) -> None:
        reply: object
        if not peer.running or peer.paused or not self.net.connected(node.index, peer.index):
            self.after(self.rng.choice([100, deadline]), answer, RequestError("the stream broke"))
            return
        try:
            reply = peer.answer(node.id, request)
            if peer.liar is None and isinstance(request, GetChunk):
                self.safety.served(peer, node.id, request.root)
            if peer.liar is not None:
                reply = peer.liar.reply(node.id, request, reply)
            if reply is not None and (self.setup.codec or peer.liar is not None):
                reply = decode_any(encode(reply), (type(reply),))
        except PeerError as error:
            reply = error
        except ValueError:  # a liar's answer that has no encoding
            reply = None
        if reply is None:
            self.after(deadline, answer, RequestError("no answer in time"))
        else:
            self.after(self._stream(peer, node), answer, reply)

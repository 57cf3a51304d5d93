"""What the library's GossipSub asks of its surroundings: somewhere to run tasks, and the little that it needs of a host."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from bflcd.crypto.identity import peer_id_of
from bflcd.net.libp2p.connection import Connection
from bflcd.net.libp2p.library import ID, BaseLibp2pError, NetStream, SwarmException
from bflcd.net.libp2p.switch import Switch
from bflcd.types import PUBLIC_KEY_BYTES, NodeId

_log = logging.getLogger(__name__)

_PEER_ID_PREFIX: Final = bytes.fromhex("002408011220")
"""What the peer id of an Ed25519 key begins with; the key follows."""


class Tasks:
    """What the library's GossipSub asks of its service manager: tasks whose failure is logged, not fatal."""

    is_running = True

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def run_task(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run `function` beside the rest."""
        self._nursery.start_soon(self._run, function, args)

    @staticmethod
    async def _run(function: Callable[..., Awaitable[None]], args: tuple[object, ...]) -> None:
        try:
            await function(*args)
        except Exception:  # noqa: BLE001 - the library's own tasks; one that fails must not end the network
            _log.exception("gossip task %s failed", getattr(function, "__name__", function))


class Host:
    """The little that the library's GossipSub asks of its host."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch

    def get_id(self) -> Any:
        """Our peer id."""
        return self._switch.handshaker.peer_id

    def get_network(self) -> "Host":
        """The network, which is this object too."""
        return self

    def register_notifee(self, notifee: object) -> None:
        """Ignored: `Gossip.greet` and `Gossip.gone` are called directly, in order."""

    def set_stream_handler(self, protocol: str, handler: object) -> None:
        """Ignored: `Gossip.serve` reads the streams."""

    def get_connections(self, peer_id: Any) -> list[Connection]:
        """The live connection to a peer, if any."""
        connection = self._switch.connections.get(node_of(peer_id))
        return [] if connection is None else [connection]

    async def new_stream(self, peer_id: Any, protocols: tuple[str, ...]) -> Any:
        """Open our sending stream. Raises the library's SwarmException."""
        connection = self._switch.connections.get(node_of(peer_id))
        if connection is None:
            raise SwarmException("not connected")
        try:
            stream = NetStream(await connection.open(protocols[0]), None, None)
        except BaseLibp2pError as error:
            raise SwarmException(f"no gossip stream: {error}") from error
        stream.set_protocol(protocols[0])
        return stream


def peer_of(node_id: NodeId) -> Any:
    """The library's id of a node."""
    return ID.from_base58(peer_id_of(node_id))


def node_of(peer_id: Any) -> NodeId:
    """The key that a peer id spells out. Raises ValueError for any other kind of id."""
    raw: bytes = peer_id.to_bytes()
    if len(raw) != len(_PEER_ID_PREFIX) + PUBLIC_KEY_BYTES or not raw.startswith(_PEER_ID_PREFIX):
        raise ValueError("not the peer id of an Ed25519 key")
    return NodeId(raw[len(_PEER_ID_PREFIX) :])

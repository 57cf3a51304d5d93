"""One authenticated connection: what is known of it, and the streams that we open on it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from bflcd.net.libp2p.budget import Negotiator
from bflcd.net.libp2p.handshake import TcpStream
from bflcd.net.libp2p.library import NetStream
from bflcd.net.libp2p.yamux import LeanYamux, PatientStream
from bflcd.net.protocol import ConnectionInfo
from bflcd.types import NodeId

Begin = Callable[[PatientStream], Awaitable[None]]
"""Writes what a stream starts with; raises the library's errors."""


@dataclass(eq=False, slots=True)
class Connection:
    """One authenticated connection. `muxed_conn` is the name under which the library's GossipSub asks for it."""

    info: ConnectionInfo
    muxed_conn: LeanYamux
    stream: TcpStream
    initiator: NodeId
    opened: float
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    gone: trio.Event = field(default_factory=trio.Event)
    inbound_streams: int = 0
    state: dict[object, Any] = field(default_factory=dict)
    """What the request protocols keep for this connection; it goes with it."""

    @property
    def peer(self) -> NodeId:
        """Who is at the other end."""
        return self.info.peer

    def abort(self) -> None:
        """End it now. The socket goes first: frames are written shielded, and a silent peer would hold them (P4)."""
        self.stream.abort()
        self.scope.cancel()

    async def open(self, protocol: str, begin: Begin | None = None) -> PatientStream:
        """Open a stream and agree on `protocol`. Raises the library's errors.

        What `begin` writes travels with the proposal: an answer to it takes one round trip and not two.
        """
        stream: PatientStream = await self.muxed_conn.open_stream()
        try:
            # NetStream translates the muxer's errors for the negotiation; its locks would slow every later read.
            negotiator = Negotiator(NetStream(stream, None, None))
            await negotiator.propose(protocol)
            if begin is not None:
                await begin(stream)
            await negotiator.agree(protocol)
        except BaseException:
            with trio.CancelScope(shield=True):
                await stream.reset()
            raise
        return stream

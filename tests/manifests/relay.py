"""A network between daemons that can be cut and slowed: each is announced at a port of ours, which passes the bytes on.

Nothing of the host is touched: a cut is a relay that stops passing bytes, a long way one that passes them later. Who dialled is found from the owner of the connection's
other end, so that a cut can name both ends and a direction.
"""

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Final, Self

import psutil

CHUNK_BYTES: Final = 64 * 1024

IN_FLIGHT: Final = 64
"""Chunks on their way in one direction of a connection, at most: TCP's window."""

READY_SECONDS: Final = 10.0

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset."""

Link = tuple[int, int]
"""From one node to another: the direction in which bytes go."""


class Cut(StrEnum):
    """How a link fails."""

    HOLD = "hold"
    """A black hole: connections stay open, no byte passes until the cut is over."""
    RESET = "reset"
    """Connections are reset, and so is every new one."""


@dataclass(frozen=True, slots=True)
class Lag:
    """A long way, times in seconds: each chunk comes `delay` later, and of the share `loss` another `resent` later.

    A stream loses nothing: what is lost on the way is sent again, and what was sent after it waits for it.
    """

    delay: float
    loss: float = 0.0
    resent: float = 0.0

    def due(self, now: float, before: float, drawn: float) -> float:
        """When a chunk comes that was sent at `now`, behind one that comes at `before`; `drawn`: from 0 to below 1."""
        return max(before, now + self.delay + (self.resent if drawn < self.loss else 0.0))


NO_LAG: Final = Lag(0.0)


@dataclass(slots=True)
class _Connection:
    """One connection that a node made to another, and our own to that other."""

    dialler: int
    target: int
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def uses(self, links: Iterable[Link]) -> bool:
        """Whether one of `links` is a direction of it."""
        wanted = set(links)
        return (self.dialler, self.target) in wanted or (self.target, self.dialler) in wanted

    def reset(self) -> None:
        for writer in self.writers:
            raw = writer.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class Relay:
    """Relays for `ports`, the real listening port of each node by its index; as a context manager it runs in a thread of its own.

    `owners` gives the process ids of the nodes that run, by index; it is asked whenever a connection comes in. `otherwise`: the
    node that a dialler counts as who is none of these; None turns it away.
    """

    def __init__(self, ports: Mapping[int, int], owners: Callable[[], Mapping[int, int]], otherwise: int | None = None) -> None:
        self._ports = dict(ports)
        self._owners = owners
        self._otherwise = otherwise
        self._cuts: dict[Cut, Counter[Link]] = {cut: Counter() for cut in Cut}
        self._lags: dict[Link, Lag] = {}
        self._rng = Random(0)
        self._connections: list[_Connection] = []
        self._changed = asyncio.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="relay", daemon=True)
        self._ready: Future[None] = Future()
        self._done = asyncio.Event()
        self.ports: dict[int, int] = {}
        """Where each node is announced."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(READY_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(READY_SECONDS)

    def cut(self, links: Iterable[Link], how: Cut) -> None:
        """Cut `links` until `heal` is called with the same; cuts of one link add up."""
        self._run(self._cut(tuple(links), how))

    def heal(self, links: Iterable[Link], how: Cut) -> None:
        """End that cut."""
        self._run(self._heal(tuple(links), how))

    def slow(self, links: Iterable[Link], lag: Lag) -> None:
        """From now on bytes take so long on `links`; `NO_LAG` for no time, as at first."""
        self._run(self._slow(tuple(links), lag))

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(READY_SECONDS)

    # -- in the relay's thread ----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._main())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _main(self) -> None:
        servers = []
        for node in self._ports:
            server = await asyncio.start_server(self._accept_for(node), "127.0.0.1", 0)
            self.ports[node] = server.sockets[0].getsockname()[1]
            servers.append(server)
        self._ready.set_result(None)
        await self._done.wait()
        for server in servers:
            server.close()
        for cuts in self._cuts.values():
            cuts.clear()
        for connection in self._connections:
            connection.reset()
        async with self._changed:
            self._changed.notify_all()
            await self._changed.wait_for(lambda: not self._connections)

    def _accept_for(self, target: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            dialler = await asyncio.to_thread(self._owner_of, writer.get_extra_info("peername")[1])
            if dialler is None:  # gone again before it could be asked for
                writer.transport.abort()
                return
            connection = _Connection(dialler, target, [writer])
            self._connections.append(connection)
            try:
                await self._carry(connection, reader, writer)
            except OSError:
                connection.reset()
            finally:
                for each in connection.writers:
                    each.close()
                async with self._changed:
                    self._connections.remove(connection)
                    self._changed.notify_all()

        return accept

    async def _carry(self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = (connection.dialler, connection.target), (connection.target, connection.dialler)
        if any(self._cuts[Cut.RESET][link] for link in (there, back)):
            connection.reset()
            return
        await self._open(there)
        await self._open(back)  # a handshake needs both directions
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._ports[connection.target])
        connection.writers.append(far_writer)
        if self._done.is_set():
            connection.reset()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(reader, far_writer, there))
            group.create_task(self._pump(far_reader, writer, back))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link) -> None:
        """Pass bytes on in one direction; a failed connection ends both directions, as the kernel's would."""
        on_their_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._arrive(on_their_way, writer, link))
            due = 0.0
            try:
                while data := await reader.read(CHUNK_BYTES):
                    due = self._lags.get(link, NO_LAG).due(self._loop.time(), due, self._rng.random())
                    await on_their_way.put((due, data))
            except OSError:
                pass  # reset by one side: the other is told by the end of its connection
            await on_their_way.put((due, b""))

    async def _arrive(self, on_their_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, link: Link) -> None:
        """Write each chunk when it is due; after one that could not be written, none."""
        broken = False
        while True:
            due, data = await on_their_way.get()
            wait = due - self._loop.time()
            if wait > 0 and not broken:
                await asyncio.sleep(wait)
            await self._open(link)
            if not data:
                break
            try:
                if not broken:
                    writer.write(data)
                    await writer.drain()
            except OSError:
                broken = True  # as above
        with suppress(OSError, RuntimeError):
            writer.write_eof() if writer.can_write_eof() and not writer.is_closing() else writer.close()

    async def _open(self, link: Link) -> None:
        """Until bytes pass on `link`."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._cuts[Cut.HOLD][link])

    async def _cut(self, links: tuple[Link, ...], how: Cut) -> None:
        self._cuts[how].update(links)
        if how is Cut.RESET:
            for connection in self._connections:
                if connection.uses(links):
                    connection.reset()

    async def _slow(self, links: tuple[Link, ...], lag: Lag) -> None:
        self._lags.update(dict.fromkeys(links, lag))

    async def _heal(self, links: tuple[Link, ...], how: Cut) -> None:
        self._cuts[how].subtract(links)
        async with self._changed:
            self._changed.notify_all()

    def _owner_of(self, port: int) -> int | None:
        """The node whose process holds the loopback port `port` as its own end of a connection."""
        for node, pid in self._owners().items():
            with suppress(psutil.Error):
                if any(c.laddr and c.laddr.port == port for c in psutil.Process(pid).net_connections("tcp4")):
                    return node
        return self._otherwise

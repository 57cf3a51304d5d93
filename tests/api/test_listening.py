"""Where the API listens, and what it costs when others of the same machine come in numbers."""

import asyncio
import gc
import os
import resource
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
import uvloop

from bflcd.api.connection import MAX_HEAD_BYTES, Connection
from bflcd.api.listener import Limits
from bflcd.api.metrics import Metrics
from bflcd.api.place import MAX_NAME_BYTES, SocketName, listen_at
from bflcd.api.server import LOOK_SECONDS, ApiServer
from bflcd.config.port import Port
from bflcd.errors import MachineError
from tests.helpers.fake_node import FakeNode

ANY_PORT = Port("127.0.0.1", 0)
PATIENT = Limits(connections=4, idle=60.0)
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
SECONDS = 10
"""Within which what is awaited comes, or the test fails."""


@asynccontextmanager
async def serving(
    datadir: Path,
    *,
    port: Port | None = None,
    port_limits: Limits = PATIENT,
    socket_limits: Limits = PATIENT,
    look: float = LOOK_SECONDS,
):
    server = ApiServer(FakeNode(), Metrics(), datadir, port=port, port_limits=port_limits, socket_limits=socket_limits, look=look)
    await server.start()
    try:
        async with asyncio.timeout(SECONDS):
            yield server
    finally:
        await server.close()


async def status_at(path: Path) -> int:
    with SocketName(path) as name:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(name.name)) as session,
            session.get("http://localhost/v1/status") as answer,
        ):
            return answer.status


@asynccontextmanager
async def caller(server: ApiServer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def port_of(server: ApiServer) -> int:
    return int(server.url.rpartition(":")[2])


async def health(server: ApiServer) -> bytes:
    async with caller(server) as (reader, writer):
        writer.write(HEALTH % port_of(server))
        return await reader.read()


async def gone(reader: asyncio.StreamReader) -> bytes:
    """What came until the other end closed, however it did."""
    with suppress(ConnectionError):
        return await reader.read()
    return b""


async def test_the_socket_is_the_owners_alone_and_needs_no_token(tmp_path):
    async with serving(tmp_path) as server:
        assert server.url == ""
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        assert await status_at(server.path) == 200
    assert not server.path.exists()


@pytest.mark.parametrize("length", [MAX_NAME_BYTES, MAX_NAME_BYTES + 1, 400])
async def test_a_data_directory_of_any_length_serves(tmp_path, length):
    folder = tmp_path
    while len(os.fsencode(folder / "api.sock")) < length:
        folder /= "d" * max(1, min(100, length - len(os.fsencode(folder / "api.sock")) - 1))
    folder.mkdir(parents=True, exist_ok=True)
    async with serving(folder) as server:
        assert await status_at(server.path) == 200


def test_where_a_long_name_has_no_way_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("bflcd.api.place._DESCRIPTORS", tmp_path / "none")
    with pytest.raises(MachineError) as refused:
        SocketName(tmp_path / ("d" * 200) / "api.sock")
    assert (refused.value.code, "shorter path" in refused.value.hint) == ("long_path", True)


async def test_a_socket_that_a_killed_daemon_left_gives_way(tmp_path):
    listen_at(tmp_path / "api.sock").close()
    async with serving(tmp_path) as server:
        assert await status_at(server.path) == 200


async def test_what_is_no_socket_is_left_alone(tmp_path):
    (tmp_path / "api.sock").write_text("mine")
    with pytest.raises(MachineError, match="is there and no socket"):
        await ApiServer(FakeNode(), Metrics(), tmp_path, port=ANY_PORT).start()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("api.sock", "mine")]


async def test_who_idles_longest_makes_room_and_the_socket_has_places_of_its_own(tmp_path):
    """Given a port whose places are all taken by who sends nothing, When more come, Then those that have idled longest are closed, a
    request is answered, and the owner's socket has seen nothing of it.
    """
    async with serving(tmp_path, port=ANY_PORT) as server:
        idle = [await asyncio.open_connection("127.0.0.1", port_of(server)) for _ in range(3 * PATIENT.connections)]
        closed = [await gone(reader) for reader, _ in idle[: 2 * PATIENT.connections]]
        assert closed == [b""] * (2 * PATIENT.connections)
        assert b'"health":"ok"' in await health(server)
        assert await status_at(server.path) == 200
        for _, writer in idle:
            writer.close()


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "a word", "no end"]
)
async def test_who_does_not_bring_a_whole_head_is_closed(tmp_path, sent):
    async with serving(tmp_path, port=ANY_PORT, port_limits=Limits(4, 0.05)) as server, caller(server) as (reader, writer):
        writer.write(sent)
        assert await gone(reader) == b""


async def test_who_has_no_right_gets_one_answer_a_connection(tmp_path):
    async with serving(tmp_path, port=ANY_PORT) as server, caller(server) as (reader, writer):
        writer.write((b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port_of(server)) * 1000)
        assert (await gone(reader)).count(b"HTTP/1.1 401") == 1


class Scripted:
    """Takes down what a connection hands on."""

    def __init__(self) -> None:
        self.taken = b""

    def data_received(self, data: bytes) -> None:
        self.taken += data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


class Wire(asyncio.Transport):
    reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def test_of_a_stranger_no_more_than_a_head_is_looked_at_until_it_may_ask():
    handler, wire = Scripted(), Wire()
    connection = Connection(handler, trusted=False, now=lambda: 0.0, ended=lambda: None)
    connection.connection_made(wire)
    connection.data_received(b"a" * MAX_HEAD_BYTES)
    connection.data_received(b"b" * 100)
    assert (handler.taken, wire.reading) == (b"a" * MAX_HEAD_BYTES, False)
    connection.begin(trusted=True)
    assert (handler.taken, wire.reading) == (b"a" * MAX_HEAD_BYTES + b"b" * 100, True)
    connection.data_received(b"c")
    assert handler.taken.endswith(b"bc")


@contextmanager
def no_descriptors_left() -> Iterator[Callable[[], None]]:
    """Inside, the process can open nothing more; what is yielded ends that earlier."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []

    def free() -> None:
        while taken:
            os.close(taken.pop())
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield free
    finally:
        free()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_lack_of_descriptors_turns_callers_away_and_passes(tmp_path, caplog, loop):
    """Given a process without a free descriptor, When somebody calls, Then it is turned away at once instead of waiting, the operator is
    warned once, and the next is served as soon as there are descriptors again.
    """

    async def scene() -> None:
        async with serving(tmp_path, port=ANY_PORT) as server:
            assert b'"health":"ok"' in await health(server)  # what is imported late is there from now on
            callers = [socket.socket() for _ in range(3)]
            with no_descriptors_left() as free:
                for one in callers:
                    one.connect(("127.0.0.1", port_of(server)))
                    one.setblocking(False)
                for one in callers:
                    with suppress(ConnectionError):
                        assert await asyncio.get_running_loop().sock_recv(one, 1) == b""
                free()
                assert b'"health":"ok"' in await health(server)
            for one in callers:
                one.close()

    with closing(loop()) as running:
        running.run_until_complete(scene())
    warned = [record.message.split()[3] for record in caplog.records if "turns callers away" in record.message]
    assert len(warned) == len(set(warned)) > 0


@pytest.mark.parametrize("removed", [("api.sock",), ("api.json",), ("api.sock", "api.json")])
async def test_a_way_in_that_is_removed_from_outside_is_there_again(tmp_path, caplog, removed):
    """Given who tidies up in a data directory, or a backup that is laid over it / Then the running node can be steered as before."""
    async with serving(tmp_path, look=0.02) as server, asyncio.TaskGroup() as group:
        before = (tmp_path / "api.json").read_bytes()
        ended = group.create_task(server.wait_closed())
        for _ in range(2):
            for name in removed:
                (tmp_path / name).unlink()
            while not all((tmp_path / name).exists() for name in removed):
                await asyncio.sleep(0.01)
            assert await status_at(tmp_path / "api.sock") == 200
        assert (tmp_path / "api.json").read_bytes() == before
        assert stat.S_IMODE((tmp_path / "api.sock").stat().st_mode) == 0o600
        await server.close()
        await ended
    assert caplog.text.count("was removed from outside, and is there again") == 2 * len(removed)
    assert list(tmp_path.iterdir()) == []


async def test_a_way_in_that_cannot_be_made_anew_is_told_once_and_ends_no_node(tmp_path, caplog):
    async with serving(tmp_path, look=0.02) as server, asyncio.TaskGroup() as group:
        ended = group.create_task(server.wait_closed())
        (tmp_path / "api.sock").unlink()
        (tmp_path / "api.sock").mkdir()
        await asyncio.sleep(0.2)
        assert not ended.done()
        assert caplog.text.count("the way in can't be made anew") == 1
        (tmp_path / "api.sock").rmdir()
        while not (tmp_path / "api.sock").exists():
            await asyncio.sleep(0.01)
        assert await status_at(tmp_path / "api.sock") == 200
        await server.close()
        await ended


async def test_a_socket_that_is_another_one_is_no_way_in(tmp_path):
    """Given a backup, with the socket's name in it, that is laid over the data directory / Then the node is reachable again."""
    async with serving(tmp_path, look=0.02) as server, asyncio.TaskGroup() as group:
        ended = group.create_task(server.wait_closed())
        (tmp_path / "api.sock").unlink()
        with closing(socket.socket(socket.AF_UNIX)) as left:
            left.bind(str(tmp_path / "api.sock"))
        try:
            await asyncio.sleep(0.3)
            assert await status_at(tmp_path / "api.sock") == 200
        finally:
            await server.close()
            await ended


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_who_is_accepted_in_the_moment_of_the_end_is_closed_and_not_lost(tmp_path, new_loop, recwarn):
    """Given callers, when the server closes some turns of its loop after one of them has connected, then no socket is left behind."""

    async def turns(count: int, datadir: Path) -> None:
        datadir.mkdir()
        async with serving(datadir) as server:
            with SocketName(server.path) as name, socket.socket(socket.AF_UNIX) as client:
                client.connect(name.name)
                for _ in range(count):
                    await asyncio.sleep(0)

    for count in range(8):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(turns(count, tmp_path / str(count)))
    gc.collect()
    assert [str(one.message) for one in recwarn if one.category is ResourceWarning] == []

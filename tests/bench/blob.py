"""One blob from one process to another, beside a raw libp2p stream (TCP, Noise, Yamux) carrying as many bytes (design 12).

`python -m tests.bench.blob` prints the rows. Every run has the sender in a process of its own; the raw stream's receiver keeps the
bytes, as ours does in memory. Ours hashes each chunk, and runs on uvloop, as the daemon does.
"""

import asyncio
import logging
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

import psutil
import trio
import uvloop

# Without it the library's Yamux sends a window update on every small read: the floor would be four times too easy to reach.
os.environ["PY_YAMUX_RELEASE_ON_READ"] = "0"

from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr

from bflcd.net.blobs.fetcher import BlobFetcher
from bflcd.net.blobs.server import BlobServer
from bflcd.net.exchange import Exchange
from bflcd.net.libp2p import Libp2pTransport
from bflcd.params import BlobRef
from bflcd.store.sqlite import SqliteStore
from tests.bench.turns import Rows, paired, report
from tests.helpers.network import CHAIN, ChunkStore, identity, real_now

logging.getLogger("libp2p").setLevel(logging.WARNING)

SIZE = 64 * 2**20
READ = 2**20
TURNS = 7
LISTEN = "/ip4/127.0.0.1/tcp/0"
RAW = TProtocol("/bench/raw/1")


def payload():
    return Random(7).randbytes(SIZE)


# The floor


async def serve_raw():
    host, data = new_host(key_pair=create_new_key_pair(bytes([1]) * 32)), payload()

    async def handle(stream):
        await stream.read(1)
        for start in range(0, SIZE, READ):
            await stream.write(data[start : start + READ])
        await stream.close()

    host.set_stream_handler(RAW, handle)
    async with host.run(listen_addrs=[Multiaddr(LISTEN)]):
        print(host.get_addrs()[0], flush=True)
        await trio.sleep_forever()


async def fetch_raw(address):
    """Seconds of SIZE bytes over one stream of a fresh connection."""
    host = new_host(key_pair=create_new_key_pair(bytes([2]) * 32))
    async with host.run(listen_addrs=[Multiaddr(LISTEN)]):
        info = info_from_p2p_addr(Multiaddr(address))
        await host.connect(info)
        stream = await host.new_stream(info.peer_id, [RAW])
        started, kept, received = time.perf_counter(), [], 0
        await stream.write(b"x")
        while received < SIZE:
            kept.append(await stream.read(READ))
            received += len(kept[-1])
        seconds = time.perf_counter() - started
        await host.disconnect(info.peer_id)
    return seconds


# Ours


def exchange_on(transport):
    return Exchange(transport, is_member=lambda _peer: True, now=real_now)


async def serve_blob():
    transport, store = Libp2pTransport(identity(1), (LISTEN,), lambda _peer: True), ChunkStore()
    await store.put_blob(payload())
    server = BlobServer(store, chain=lambda: CHAIN, may_serve=lambda *_: True, on_damage=lambda *_: None)
    exchange_on(transport).serve(server.handlers())
    await transport.start()
    print(transport.addresses()[0], flush=True)
    await asyncio.Event().wait()


async def fetch_blob(address, ref, open_store):
    """Seconds of the same bytes as a blob, over a fresh connection."""
    transport = Libp2pTransport(identity(2), (LISTEN,), lambda _peer: True)
    exchange = exchange_on(transport)
    exchange.serve({})
    await transport.start()
    holder, store = await transport.dial(address, 10), await open_store()
    fetcher = BlobFetcher(exchange, store, chain=lambda: CHAIN, max_bytes=SIZE, now=real_now, on_misbehaviour=lambda *_: None)
    started = time.perf_counter()
    await fetcher.fetch(ref, [holder])
    seconds = time.perf_counter() - started
    if isinstance(store, SqliteStore):
        await store.close()
    await transport.close()
    return seconds


class Kept:
    """A sink that keeps what it is given: the fetcher has verified it, and the tests' `ChunkStore` would hash it once more."""

    def __init__(self):
        self.chunks = {}

    async def start_blob(self, manifest):
        return tuple(range(len(manifest.chunks)))

    async def put_chunk(self, _root, index, data):
        self.chunks[index] = data
        return False

    async def has_blob(self, _root):
        return False


async def in_memory():
    return Kept()


@contextmanager
def sender(role):
    command = [sys.executable, "-m", "tests.bench.blob", role]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.kill()


class Runs:
    """Runs of one kind but the first, which warms up: seconds of the transfer, and processor seconds of both ends with the dial."""

    def __init__(self, pid):
        self._ends = psutil.Process(pid), psutil.Process()
        self._found = []

    def add(self, fetch):
        before = self._cpu_seconds()
        self._found.append((fetch(), self._cpu_seconds() - before))

    def _cpu_seconds(self):
        return sum(times.user + times.system for times in (end.cpu_times() for end in self._ends))

    @property
    def seconds(self):
        return [seconds for seconds, _ in self._found[1:]]

    @property
    def cpu(self):
        return [cpu for _, cpu in self._found[1:]]


async def blob_ref():
    return await ChunkStore().put_blob(payload())


def run() -> Rows:
    """Two rows: seconds of a 64 MiB blob into memory and into the store, each beside the raw stream; the ratio is that of their
    speeds, `cpu_ratio` that of the processor time of both ends. All three take turns, each with one process that sends and one that
    receives."""
    ref: BlobRef = asyncio.run(blob_ref())
    with sender("serve-raw") as (raw_address, raw_pid), sender("serve-blob") as (address, pid), TemporaryDirectory() as folder:
        raw, memory, sqlite = Runs(raw_pid), Runs(pid), Runs(pid)
        for number in range(1 + TURNS):
            directory = Path(folder) / str(number)
            raw.add(lambda: trio.run(fetch_raw, raw_address))
            memory.add(lambda: uvloop.run(fetch_blob(address, ref, in_memory)))
            sqlite.add(lambda at=directory: uvloop.run(fetch_blob(address, ref, partial(SqliteStore.open, at))))
    sinks = {"sink in memory": memory, "into SQLite": sqlite}
    return [
        {
            "row": f"one blob of {SIZE >> 20} MiB, one peer to another, {sink}",
            "value": median(ours.seconds),
            "floor": median(raw.seconds),
            "floor_is": "a raw libp2p stream",
            **paired(raw.seconds, ours.seconds),
            "cpu_ratio": paired(ours.cpu, raw.cpu)["ratio"],
            "budget": ">= 0.8",
            "unit": "s",
            "mb_per_s": SIZE / 1e6 / median(ours.seconds),
        }
        for sink, ours in sinks.items()
    ]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve-raw"]:
            trio.run(serve_raw)
        case ["serve-blob"]:
            uvloop.run(serve_blob())
        case _:
            report(run)

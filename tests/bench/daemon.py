"""A daemon alone: seconds from start to API, resident memory without torch; and a decision beside a gossip hop (design 12)."""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bflcd.crypto.identity import Identity
from bflcd.net.libp2p import Libp2pTransport
from tests.bench.work_w import Running, ask_text, status, testnet

STARTS = 5
HOPS = 200
ROUNDS = 20
TOPIC = "/bench/hop"


def run() -> list[dict[str, Any]]:
    """The rows of a lone daemon, then of a community of five on the digits."""
    return [*_alone(), *_deciding()]


def _alone() -> list[dict[str, Any]]:
    seconds, memory = [], []
    with tempfile.TemporaryDirectory(prefix="bflc-bench-") as folder:
        directory = Path(folder) / "net"
        command = [sys.executable, "-m", "bflcd", "testnet", "--nodes", "5", "--output", str(directory)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for _ in range(STARTS):
            running = Running(directory, 1)
            begun = time.monotonic()
            running.start(running.datadirs[0])
            while status(running.datadirs[0]) is None:
                time.sleep(0.01)
            seconds.append(time.monotonic() - begun)
            time.sleep(6)
            memory.append(psutil.Process(running.processes[running.datadirs[0]].pid).memory_info().rss >> 20)
            running.stop()
    return [
        {"row": "daemon: start to API, s", "value": round(median(seconds), 2), "budget": "<= 3"},
        {"row": "daemon without torch: resident memory, MiB", "value": max(memory), "budget": "<= 150"},
    ]


def _deciding() -> list[dict[str, Any]]:
    hop = asyncio.run(gossip_hop())
    with testnet(5, "--task", "digits", "--rounds", str(ROUNDS)) as running:
        running.wait(ROUNDS, 120)
        decided = sum(_metric(d, "bflc_decision_seconds_sum") for d in running.datadirs)
        count = sum(_metric(d, "bflc_decision_seconds_count") for d in running.datadirs)
    value = decided / count
    return [
        {
            "row": "deciding a segment, 4 members, ms (mean, from q cards to the certificate stored)",
            "value": round(value * 1e3, 1),
            "floor": round(hop * 1e3, 2),
            "floor_is": "one gossip hop (median)",
            "ratio": round(value / hop, 1),
            "budget": "<= 6 hops",
        }
    ]


def _metric(datadir: Path, name: str) -> float:
    for line in ask_text(datadir, "/metrics").splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    return 0.0


async def gossip_hop() -> float:
    """Median seconds from publishing 1 KB to its arrival at a neighbour, two transports in one process."""
    here, there = (Libp2pTransport(Identity(bytes([n]) * 32), ("/ip4/127.0.0.1/tcp/0",), lambda _: True) for n in (1, 2))
    arrived = asyncio.Event()

    def heard(_node: bytes, _message: bytes) -> bool:
        arrived.set()
        return True

    for transport in (here, there):
        transport.subscribe(TOPIC, heard)
        transport.on_peer_event(lambda _: None)
    await here.start()
    await there.start()
    try:
        await here.dial(there.addresses()[0], 10)
        await asyncio.sleep(2)
        seconds = []
        for number in range(HOPS):
            arrived.clear()
            begun = time.perf_counter()
            await here.publish(TOPIC, number.to_bytes(4, "big") * 256)
            async with asyncio.timeout(5):
                await arrived.wait()
            seconds.append(time.perf_counter() - begun)
        return median(seconds)
    finally:
        await here.close()
        await there.close()

"""Addresses that are not a member's own: what do others connect to?"""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

from bflcd.crypto.identity import peer_id_of
from bflcd.types import ZERO_DIGEST, Height, Round
from bflcd.wire.requests import GetStatus
from bflcd.wire.training import Training
from tests.border.attack import Net, attack
from tests.border.raw_peer import raw_peer, until

SERVICES = 8
ANNOUNCE_SECONDS = 10.0
"""How often the member comes back with other places."""

HOSTS = ("ip4/127.0.0.1", "dns4/localhost", "ip4/127.0.0.1", "dns4/localhost.")


@asynccontextmanager
async def services(count: int):
    """Services on this machine that are no peers: their ports, and how often each was connected to."""
    hits: Counter[int] = Counter()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hits[writer.get_extra_info("sockname")[1]] += 1
        writer.close()

    servers = [await asyncio.start_server(serve, "127.0.0.1", 0) for _ in range(count)]
    try:
        yield [server.sockets[0].getsockname()[1] for server in servers], hits
    finally:
        for server in servers:
            server.close()


@attack("internal-addresses", row=9, who="member", what="names other services of the machine as its own places, again and again")
async def internal(net: Net, seconds: float) -> list[str]:
    identity, left, turn = net.member(), until(seconds), 0
    tail = peer_id_of(identity.node_id)
    async with services(SERVICES) as (ports, hits):
        while left():
            said = tuple(f"/{host}/tcp/{ports[(turn + index) % SERVICES]}/p2p/{tail}" for index, host in enumerate(HOSTS))
            async with raw_peer(identity) as peer:
                for victim in net.running:
                    if await peer.dial(victim):
                        await peer.ask(victim, GetStatus(net.chain, Round(0), Height(0), ZERO_DIGEST, said, Training.TRAINS))
            turn += len(HOSTS)
            await asyncio.sleep(min(ANNOUNCE_SECONDS, seconds / 2))
    # A node that listens on loopback looks once where the member is seen, and not again for a minute.
    most = len(net.running) * (1 + int(seconds // 60))
    found = sum(hits.values())
    return [] if found <= most else [f"{found} connections to internal services in {seconds:.0f} s, allowed are {most}"]

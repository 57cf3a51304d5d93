"""Gossip packets that cost more to look at than to send."""

import asyncio
from typing import Any

from bflcd.crypto.identity import Identity
from bflcd.net.libp2p.library import PROTOCOL_ID_V11
from tests.border.attack import Net, Victim, attack
from tests.border.raw_peer import raw_peer, until, varint, write_for

PACKET = 2**20 - 16

PACKETS = {
    "empty messages": b"\x12\x00" * (PACKET // 2),
    "empty subscriptions": b"\x0a\x00" * (PACKET // 2),
    "unknown fields": b"\x78\x01" * (PACKET // 2),
    "grafts": b"".join(b"\x1a" + varint(len(part)) + part for part in [b"\x1a\x00" * 8_000] * 60),
}
"""One of each kind that has many items in few bytes."""


async def _send_to(victim: Victim, identity: Identity | None, seconds: float) -> None:
    left = until(seconds)
    async with raw_peer(identity) as peer:
        while left():
            for packet in PACKETS.values():

                async def send(connection: Any, packet: bytes = packet) -> None:
                    stream = await connection.open(PROTOCOL_ID_V11)
                    await write_for(stream, varint(len(packet)) + packet, 1.0)

                if left() and await peer.dial(victim):
                    await peer.with_connection(victim, send)
            await asyncio.sleep(0.2)


@attack("packet-bomb", row=1, who="stranger", what="gossip packets of half a million empty items, to three of seven")
async def strangers(net: Net, seconds: float) -> list[str]:
    async with asyncio.TaskGroup() as group:
        for victim in net.victims:
            group.create_task(_send_to(victim, None, seconds))
    return []


@attack("packet-bomb-member", row=1, who="member", what="the same from a member")
async def member(net: Net, seconds: float) -> list[str]:
    for victim in net.victims:
        await _send_to(victim, net.member(), seconds / len(net.victims))
    return []

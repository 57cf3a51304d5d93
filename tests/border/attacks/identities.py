"""Identities that cost nothing: keys that are dear to look at, and so many of them that one more ban is a line of the log."""

import asyncio
import os
from contextlib import suppress
from typing import Any

import trio
from Crypto.Util.asn1 import DerSequence

from bflcd.crypto.identity import Identity
from bflcd.errors import BflcError
from bflcd.net.libp2p.handshake import Handshaker, TcpStream
from bflcd.wire.requests import Lane
from tests.border.attack import Net, Victim, attack
from tests.border.raw_peer import DIAL_SECONDS, raw_peer, until

SHOWN_AT_ONCE = 8

BANNED_AT_ONCE = 4

GARBAGE = b"\x93\x01\x32garbage"

FAULTS = 6
"""More than it takes to be banned."""


class RsaKey:
    """What the handshake asks of a key: one of 4,096 bits, with an exponent as long, and a signature that has to be tried."""

    def __init__(self) -> None:
        modulus = int.from_bytes(os.urandom(512), "big") | 1 << 4095 | 1
        self._data = DerSequence([modulus, modulus - 2]).encode()

    def get_public_key(self) -> "RsaKey":
        return self

    def serialize(self) -> bytes:
        return b"\x08\x00\x12" + bytes([len(self._data) & 127 | 128, len(self._data) >> 7]) + self._data

    def sign(self, _data: bytes) -> bytes:
        return b"\x01" * 512


async def _show(victim: Victim, handshaker: Handshaker) -> None:
    with trio.socket.socket() as sock, trio.move_on_after(DIAL_SECONDS), suppress(Exception):  # a refusal has many names
        await sock.connect(("127.0.0.1", victim.port))
        await handshaker.outbound(TcpStream(trio.SocketStream(sock)))


async def _show_all(net: Net, seconds: float) -> None:
    left = until(seconds)

    async def work(victim: Victim) -> None:
        handshaker = Handshaker(Identity.generate())
        handshaker._noise.libp2p_privkey = RsaKey()
        while left():
            await _show(victim, handshaker)

    async with trio.open_nursery() as nursery:
        for victim in net.victims * SHOWN_AT_ONCE:
            nursery.start_soon(work, victim)


@attack("rsa-keys", row=0, who="stranger", what="handshakes with keys whose signatures take 18 ms to check", quick=False)
async def rsa_keys(net: Net, seconds: float) -> list[str]:
    await asyncio.to_thread(trio.run, _show_all, net, seconds)
    return []


async def _misbehave(victim: Victim, left: Any) -> None:
    while left():
        async with raw_peer() as peer:
            if not await peer.dial(victim):
                continue
            for _ in range(FAULTS):
                with suppress(BflcError):
                    asked = peer.transport.request(victim.node_id, Lane.SMALL.value, GARBAGE, deadline=1.0, max_response=4096)
                    await asked


@attack("banned-strangers", row=0, who="stranger", what="one new identity after the other that is banned", quick=False)
async def banned(net: Net, seconds: float) -> list[str]:
    left = until(seconds)
    async with asyncio.TaskGroup() as group:
        for _ in range(BANNED_AT_ONCE):
            group.create_task(_misbehave(net.victims[0], left))
    return []

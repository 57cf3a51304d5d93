"""A member's daemon that lies in one thing and is honest in the rest, so that it has a seat and is heard."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bflcd.types import ZERO_DIGEST, Height, Round
from bflcd.wire.codec import encode
from bflcd.wire.requests import GetSegment, GetStatus
from bflcd.wire.training import Training
from tests.border.attack import Net, attack
from tests.border.raw_peer import raw_peer

STOP_SECONDS = 20.0

LARGER = 4
"""Times the usual size that a segment may have: updates and seats vary, a stuffed card alone is fifty times as large."""


@asynccontextmanager
async def liar(net: Net, lie: str) -> AsyncIterator[None]:
    """The daemon, for the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.border.liar",
        lie,
        "--datadir",
        str(net.datadir()),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
        assert process.returncode is None, "the liar's daemon ended by itself: nothing was shown"
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), STOP_SECONDS)


async def head(net: Net) -> int:
    """The round that the first victim has reached."""
    async with raw_peer(net.member()) as peer:
        await peer.dial(net.victims[0])
        status = await peer.ask(net.victims[0], GetStatus(net.chain, Round(0), Height(0), ZERO_DIGEST, (), Training.TRAINS))
    assert status is not None, "the victim gives no status: nothing was shown"
    return status.round


async def largest_segment(net: Net, first: int, last: int) -> int:
    """Bytes of the largest segment of some rounds."""
    found = [0]
    async with raw_peer(net.member()) as peer:
        await peer.dial(net.victims[0])
        for number in range(max(1, first), last):
            reply = await peer.ask(net.victims[0], GetSegment(net.chain, Round(number)))
            found.append(0 if reply is None else len(encode(reply)))
    return max(found)


@attack("stuffed-card", row=7, who="member", what="a seat's cards name two thousand offers that nobody made", quick=False)
async def stuffed(net: Net, seconds: float) -> list[str]:
    before = await head(net)
    usual = await largest_segment(net, before - 10, before)
    async with liar(net, "stuff"):
        await asyncio.sleep(seconds)
    found = await largest_segment(net, before + 1, await head(net))
    return [] if found <= LARGER * usual else [f"a segment has {found // 1024} KiB, usual are {usual // 1024}"]

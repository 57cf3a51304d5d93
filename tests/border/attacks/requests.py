"""More requests than anybody answers."""

import asyncio

from bflcd.types import ZERO_DIGEST, Height, Round
from bflcd.wire.requests import GetGenesis, GetStatus
from bflcd.wire.training import Training
from tests.border.attack import Net, Victim, attack
from tests.border.raw_peer import raw_peer, until

PEERS = 6
AT_ONCE = 8


async def _flood(net: Net, victim: Victim, seconds: float) -> None:
    left = until(seconds)
    status = GetStatus(net.chain, Round(0), Height(0), ZERO_DIGEST, ("/ip4/192.168.0.1/tcp/22",) * 16, Training.TRAINS)
    while left():
        async with raw_peer() as peer:
            if not await peer.dial(victim):
                continue
            for _ in range(50):
                asked = [peer.ask(victim, request, 1.0) for request in (status, GetGenesis(net.chain)) for _ in range(AT_ONCE)]
                answers = await asyncio.gather(*asked)
                if not left() or not any(answers):
                    break


@attack("request-flood", row=0, who="stranger", what=f"{PEERS} strangers that ask for status and genesis without a pause")
async def strangers(net: Net, seconds: float) -> list[str]:
    async with asyncio.TaskGroup() as group:
        for _ in range(PEERS):
            group.create_task(_flood(net, net.victims[0], seconds))
    return []

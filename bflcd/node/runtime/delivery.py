"""Sending: straight to those whom a message concerns, by gossip where that fails or all are meant."""

from typing import Final

from bflcd.core.effects import Send
from bflcd.node.runtime.jobs import Jobs
from bflcd.node.runtime.ports import Network

MAX_PUSHES: Final = 64
"""Messages that are being pushed at a time; what is above is gossiped."""


class Delivery:
    """Carries out `Send`."""

    def __init__(self, network: Network, jobs: Jobs) -> None:
        self._network = network
        self._jobs = jobs
        self._pushes = 0

    async def send(self, effect: Send) -> None:
        """Push to those it concerns while the core goes on; gossip what concerns all, or can't be pushed."""
        if effect.to and self._pushes < MAX_PUSHES and set(effect.to) <= set(self._network.connected()):
            self._pushes += 1
            self._jobs.beside(self._push(effect))
        else:
            await self._network.publish(effect.message)

    async def _push(self, effect: Send) -> None:
        try:
            if not await self._network.push(effect.message, effect.to):
                await self._network.publish(effect.message)
        finally:
            self._pushes -= 1

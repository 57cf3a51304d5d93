"""A bell: whoever waits for news is woken, however many wait."""

import asyncio


class Bell:
    """Rings for everybody who waits; whoever was busy meanwhile asks for what came after what it knows."""

    def __init__(self) -> None:
        self.rings = 0
        self._next = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody."""
        self.rings += 1
        self._next.set()
        self._next = asyncio.Event()

    async def after(self, rings: int) -> None:
        """Return once it has rung more than `rings` times."""
        while self.rings <= rings:
            await self._next.wait()

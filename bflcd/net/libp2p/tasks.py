"""What the library's GossipSub runs beside its messages."""

import logging
from collections.abc import Awaitable, Callable

import trio

_log = logging.getLogger(__name__)


class Tasks:
    """What the library's GossipSub asks of its service manager: tasks whose failure is logged, not fatal."""

    is_running = True

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def run_task(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run `function` beside the rest."""
        self._nursery.start_soon(self._run, function, args)

    @staticmethod
    async def _run(function: Callable[..., Awaitable[None]], args: tuple[object, ...]) -> None:
        try:
            await function(*args)
        except Exception:  # noqa: BLE001 - the library's own tasks; one that fails must not end the network
            _log.exception("gossip task %s failed", getattr(function, "__name__", function))

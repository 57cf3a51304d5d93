"""One question that any of several peers can answer: the next is asked while the last is late, and the first good answer counts.

Who was late or wrong stands behind everybody else for the questions after it, so a peer that takes every request and answers
none costs its patience once, not at each of a thousand segments.
"""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, TypeVar

from bflcd.scheduler import ASYNCIO, Scheduler, Task, TaskScope
from bflcd.types import NodeId

T = TypeVar("T")

LANES: Final = 3
"""Peers that may owe the same answer at a time: what a slow network pays at most, as a multiple of its traffic."""


class Race:
    """Remembers between questions who was late. It refuses nobody: whoever is alone is asked, however often it failed."""

    def __init__(self, patience: float, lanes: int = LANES, *, scheduler: Scheduler = ASYNCIO) -> None:
        """`patience`: seconds that a peer may take before the next is asked too; `lanes`: those that are asked at a time."""
        self.patience = patience
        self.lanes = lanes
        self._scheduler = scheduler
        self._failures: dict[NodeId, int] = {}

    def order(self, nodes: Iterable[NodeId]) -> list[NodeId]:
        """`nodes` as they should be asked: those that never failed first, otherwise as they come."""
        return sorted(nodes, key=lambda node: self._failures.get(node, 0))

    def reliable(self, node: NodeId) -> bool:
        """Whether `node` has not failed since its last good answer."""
        return node not in self._failures

    def failed(self, node: NodeId) -> None:
        """Note that `node` gave no good answer, or none while another did."""
        self._failures[node] = self._failures.get(node, 0) + 1

    def answered(self, node: NodeId) -> None:
        """Note that `node` gave a good answer: what it failed before is forgotten."""
        self._failures.pop(node, None)

    async def run(self, who: Callable[[], Sequence[NodeId]], ask: Callable[[NodeId], Coroutine[Any, Any, T | None]]) -> T | None:
        """The first good answer, or None once everybody that `who` names was asked and none is owed any more.

        `who` is called again for each next peer: those that come meanwhile are asked too. `ask` returns None for an answer that
        is none, and must bound its own time; what it raises ends the race and is raised here. No task outlives the call.
        """
        owing: dict[Task[T | None], NodeId] = {}
        async with self._scheduler.scope() as scope:
            answer = await self._first(scope, who, ask, owing)
        for late in owing.values():
            self.failed(late)
        return answer

    async def _first(
        self,
        scope: TaskScope,
        who: Callable[[], Sequence[NodeId]],
        ask: Callable[[NodeId], Coroutine[Any, Any, T | None]],
        owing: dict[Task[T | None], NodeId],
    ) -> T | None:
        """As `run`; leaves in `owing` who has not answered yet."""
        asked: set[NodeId] = set()
        while True:
            fresh = [node for node in self.order(who()) if node not in asked]
            if fresh and len(owing) < self.lanes:
                asked.add(fresh[0])
                owing[scope.start(ask(fresh[0]))] = fresh[0]
            elif not owing:
                return None
            await self._scheduler.first_done(owing, self.patience)
            for task in [task for task in owing if task.done()]:
                node, answer = owing.pop(task), task.result()
                if answer is not None:
                    self.answered(node)
                    return answer
                self.failed(node)

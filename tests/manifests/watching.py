"""What is seen of a running community: rounds closing, how long none did, who came back and when."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.helpers.daemons import Community, Daemon, UnreachableError
from tests.manifests.choosing import Standing

ANSWER_SECONDS = 3.0
"""A daemon that needs longer for its status counts as silent in this look."""


@dataclass(slots=True)
class Return:
    """A node whose disturbance has ended, and that is not back yet."""

    node: int
    action: str
    since: float
    round: int
    """The foremost round at that time: to have a later one, the node must have heard from others since."""


@dataclass(frozen=True, slots=True)
class Back:
    """A node that came back: it has a round that closed since, and is at most a round behind the look before."""

    node: int
    action: str
    seconds: float


@dataclass(slots=True)
class Progress:
    """Rounds over time, pure: told of each look, it knows stalls and returns. Times in seconds."""

    round: int = 0
    moved: float = 0.0
    longest_stall: float = 0.0
    stall_round: int = 0
    halted: bool = False
    """A halt is on, or has ended and no round has closed since."""
    resumes: list[float] = field(default_factory=list)
    healed: float | None = None
    back: list[Back] = field(default_factory=list)
    awaited: list[Return] = field(default_factory=list)

    def look(self, now: float, statuses: dict[int, dict[str, Any]]) -> None:
        """Take in the answers of one look, by node."""
        before = self.round  # nodes are asked one after the other: the last may be rounds ahead of what the first told
        foremost = max((status["round"] for status in statuses.values()), default=0)
        if foremost > self.round:
            if self.halted and self.healed is not None:
                self.resumes.append(now - self.healed)
                self.halted, self.healed = False, None
            elif not self.halted:
                self._stalled(now)
            self.round, self.moved = foremost, now
        for awaited in list(self.awaited):
            status = statuses.get(awaited.node)
            if status is not None and (status["done"] or self._follows(status, awaited, before)):
                self.awaited.remove(awaited)
                self.back.append(Back(awaited.node, awaited.action, now - awaited.since))

    @staticmethod
    def _follows(status: dict[str, Any], awaited: Return, foremost: int) -> bool:
        return not status["syncing"] and status["round"] >= max(foremost - 1, awaited.round + 1)

    def finish(self, now: float) -> None:
        """The time since the last round is a stall too."""
        if not self.halted:
            self._stalled(now)

    def halt(self) -> None:
        """From now on no round is expected."""
        self.halted, self.healed = True, None

    def heal(self, now: float) -> None:
        """From now on rounds are expected again."""
        self.healed = now

    def disturbed(self, node: int) -> None:
        """A node is hit again before it was back: nobody waits for it any more."""
        self.awaited = [awaited for awaited in self.awaited if awaited.node != node]

    def released(self, node: int, action: str, now: float) -> None:
        """A node's disturbance has ended."""
        self.awaited.append(Return(node, action, now, self.round))

    def _stalled(self, now: float) -> None:
        if now - self.moved > self.longest_stall:
            self.longest_stall, self.stall_round = now - self.moved, self.round


class Watcher:
    """Asks the daemons for their status."""

    def __init__(self, net: Community, observers: Sequence[int]) -> None:
        self._net = net
        self._observers = frozenset(observers)
        self._index = {node.node_id: index for index, node in enumerate(net)}
        self._foremost: dict[str, Any] | None = None

    def statuses(self) -> dict[int, dict[str, Any]]:
        """The status of every daemon that answers."""
        found = {}
        for index, node in enumerate(self._net):
            status = self._status(node) if node.running and not node.paused else None
            if status is not None:
                found[index] = status
        if found:
            self._foremost = max(found.values(), key=lambda status: (status["round"], status["view"]))
        return found

    def standing(self, disturbed: set[int]) -> Standing:
        """Roles as of the last look."""
        nodes = len(self._net.nodes)
        free = frozenset(range(nodes)) - disturbed
        if self._foremost is None:
            return Standing(nodes, free, observers=self._observers)
        seats = tuple(self._index[node] for node in self._foremost["committee"])
        leader = self._index.get(self._foremost["leader"])
        return Standing(nodes, free, self._foremost["round"], seats, leader, self._observers)

    def _status(self, node: Daemon) -> dict[str, Any] | None:
        try:
            answer = node.request("GET", "/v1/status", timeout=ANSWER_SECONDS)
        except UnreachableError:
            return None
        if answer.status_code != 200:
            return None  # it is still starting
        status: dict[str, Any] = answer.json()["data"]
        return status


def clock() -> float:
    """Seconds of a clock that never jumps."""
    return time.monotonic()

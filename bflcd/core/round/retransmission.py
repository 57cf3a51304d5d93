"""Own messages are repeated until the round closes: the transport loses messages silently (design 5.1 and 6.7).

The core doesn't know who has confirmed what. `node.runtime.delivery` does, and brings a repeated message only to those who have
not; so the first pause may be short.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bflcd.core.effects import Send
from bflcd.types import Millis, NodeId
from bflcd.wire.messages import Gossip


@dataclass(slots=True)
class _Entry:
    send: Send
    due: Millis
    pause: Millis
    ours: bool


class Retransmissions:
    """Messages of the running round, each due again after a pause that doubles up to 8 T0.

    The first is T0 / 2 for what goes to a few, who wait at least T0 for whoever they expect; T0 for what is gossiped. What a seat
    says goes to all once the pause is at its longest, so that in a round which stands everybody sees which seats are alive.
    """

    def __init__(self, view_timeout: Millis, *, judges: bool) -> None:
        """`judges`: whether we hold a seat."""
        self._view_timeout = view_timeout
        self._judges = judges
        self._most = Millis(8 * view_timeout)
        self._entries: list[_Entry] = []

    def add(self, message: Gossip, now: Millis, *, to: tuple[NodeId, ...] = (), urgent: bool = True) -> None:
        """Say `message` again from now on, `to` whom it concerns, or to all; what is not urgent starts with a pause of 2 T0."""
        if all(entry.send.message != message for entry in self._entries):
            pause = Millis(2 * self._view_timeout if not urgent else self._view_timeout // 2 if to else self._view_timeout)
            self._entries.append(_Entry(Send(message, to), Millis(now + pause), pause, ours=True))

    def pass_on(self, messages: Iterable[Gossip], to: NodeId, now: Millis) -> None:
        """Bring these, which others have said, to one node from T0 / 2 on; nothing else of others any more."""
        self.pass_on_nothing()
        pause = Millis(self._view_timeout // 2)
        for message in messages:
            self._entries.append(_Entry(Send(message, (to,), alone=True), Millis(now + pause), pause, ours=False))

    def pass_on_nothing(self) -> None:
        """Say only what is ours again."""
        self._entries = [entry for entry in self._entries if entry.ours]

    def due(self, now: Millis) -> list[Send]:
        """What is to be said now."""
        said = []
        for entry in self._entries:
            if entry.due <= now:
                entry.pause = Millis(min(2 * entry.pause, self._most))
                to_all = self._judges and entry.ours and entry.pause == self._most
                said.append(Send(entry.send.message) if to_all else entry.send)
                entry.due = Millis(now + entry.pause)
        return said

    def deadline(self) -> Millis | None:
        """When something is due next."""
        return min((entry.due for entry in self._entries), default=None)

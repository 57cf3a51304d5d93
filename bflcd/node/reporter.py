"""The one way by which people hear what happens: log, warnings of `status`, metric, event stream, as the table of kinds says."""

import logging
from collections import deque
from typing import Final, Protocol

from bflcd.api.event_bus import EventBus, Field
from bflcd.core.node_events import EventKind, Severity
from bflcd.log import by_peers

logger = logging.getLogger(__name__)

LEVELS: Final = {
    Severity.DETAIL: logging.DEBUG,
    Severity.NOTE: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ALARM: logging.WARNING,
}
"""How loudly a severity is logged. Errors are faults of this software, which no kind stands for."""

BY_PEERS: Final = frozenset(
    {EventKind.PEER_UP, EventKind.PEER_DOWN, EventKind.SYNC, EventKind.CONFLICT, EventKind.ANSWER_FAILED, EventKind.OPERATION}
)
"""What a peer can bring about as often as it likes; everything else happens a few times a round at most."""

MAX_ALARMS: Final = 10
"""Alarms that `status` shows."""


class Tell(Protocol):
    """As `EventReporter.tell`."""

    def __call__(self, kind: EventKind, round_: int, text: str, **fields: Field) -> None:
        """Something happened."""
        ...


class EventReporter:
    """Tells what happened. Never blocks."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._alarms: deque[str] = deque(maxlen=MAX_ALARMS)

    def alarms(self) -> list[str]:
        """What `status` goes on warning of: the newest few alarms, each text once."""
        return list(self._alarms)

    def tell(self, kind: EventKind, round_: int, text: str, **fields: Field) -> None:
        """Something happened. `round_`: the round that it belongs to, 0 if it belongs to none."""
        logger.log(LEVELS[kind.severity], "%s", text, extra=by_peers(kind) if kind in BY_PEERS else None)
        if kind.severity is Severity.ALARM and text not in self._alarms:
            self._alarms.append(text)
        self._bus.publish(kind, round_, text, **fields)

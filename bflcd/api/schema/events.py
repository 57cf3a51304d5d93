"""What happens while somebody looks: events and log lines."""

from msgspec import field

from bflcd.api.schema.answer import Answer
from bflcd.core.node_events import EventKind


class Event(Answer, frozen=True, kw_only=True):
    """Something that happened; `seq` rises by one. The type `gap` stands for events that were dropped."""

    seq: int
    time: int
    """Unix milliseconds."""
    type: EventKind
    round: int
    """The round that it belongs to; 0 if it belongs to none."""
    text: str
    fields: dict[str, str | int | float | bool | None] = field(default_factory=dict)


class LogView(Answer, frozen=True, kw_only=True):
    """The newest lines of the log; `last` is the number of the last one, to go on from."""

    last: int
    lines: list[str]

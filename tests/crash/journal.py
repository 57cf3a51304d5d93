"""What a daemon under test did and heard, one line each, written at once: it outlives kill -9 and says what must be true after it."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bflcd.core.effects import Commit, Send
from bflcd.core.events import Event, MessageReceived, Started
from bflcd.node.runtime.delivery import Delivery
from bflcd.node.runtime.inbox import QueueInbox
from bflcd.node.runtime.loop import Runtime
from bflcd.wire.codec import decode_any
from bflcd.wire.envelope import Envelope, payload_digest
from bflcd.wire.messages import (
    Beacon,
    CardSeal,
    JustifiedPrePrepare,
    JustifiedViewChange,
    Offer,
    OffersClosed,
    Prepare,
    PrePrepare,
    ScoreCard,
    ViewChange,
)
from bflcd.wire.messages import Commit as CommitVote

MAX_SEEN: Final = 20_000
"""Messages that are remembered so that re-sent ones are written once."""

_BODIES: Final = (Beacon, Offer, OffersClosed, CardSeal, ScoreCard, PrePrepare, Prepare, CommitVote, ViewChange)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one author may sign one thing."""

    author: str
    kind: str
    round: int
    epoch: int
    view: int


class Journal:
    """Appends lines: time, kind, fields."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._seen: dict[tuple[str, Place, str], None] = {}
        self.me = b""
        """Of the node that runs."""

    def line(self, kind: str, *fields: object) -> None:
        """One line, in the kernel's hands when this returns."""
        os.write(self._descriptor, f"{time.monotonic():.3f} {kind} {' '.join(map(str, fields))}\n".encode())

    def message(self, kind: str, envelope: Envelope) -> None:
        """A signed message that was `said` or `heard`, once."""
        place, digest = placed(envelope)
        key = (kind, place, digest)
        if key in self._seen:
            return
        self._seen[key] = None
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        self.line(kind, place.author, place.kind, place.round, place.epoch, place.view, digest)


def placed(envelope: Envelope) -> tuple[Place, str]:
    """The place that a signed message takes, and what it says there."""
    body: Any = decode_any(envelope.payload, _BODIES)
    said = body.digest if isinstance(body, PrePrepare | Prepare | CommitVote) else payload_digest(envelope)
    place = Place(envelope.author.hex(), type(body).__name__, body.round, body.epoch, getattr(body, "view", 0))
    return place, said.hex()


def _envelopes(message: object) -> tuple[Envelope, ...]:
    """Every signed message in something gossiped, justifications too: they are signed by others than who sends them."""
    match message:
        case Envelope():
            return (message,)
        case JustifiedPrePrepare():
            return (message.pre_prepare, *message.view_changes, *message.prepares)
        case JustifiedViewChange():
            return (message.view_change, *message.prepares)
    return ()


def install(journal: Journal) -> None:
    """Have every runtime of this process write down what it starts with, says, hears and has committed."""
    run, send, commit, put = Runtime.run, Delivery.send, Runtime._commit, QueueInbox.put

    async def journal_run(self: Runtime, first: Started) -> None:
        journal.me, head = self._core.context.me, self._core.context
        journal.line("started", head.round, head.head_hash.hex(), self._guard.floor, self._guard.in_doubt)
        await run(self, first)

    async def journal_send(self: Delivery, effect: Send) -> None:
        for envelope in _envelopes(effect.message):
            if envelope.author == journal.me:
                journal.message("said", envelope)
        await send(self, effect)

    async def journal_commit(self: Runtime, effect: Commit) -> None:
        await commit(self, effect)
        certificate = effect.certified.certificate
        journal.line("committed", effect.certified.segment.model_header.round, certificate.digest.hex())

    async def journal_put(self: QueueInbox, event: Event) -> None:
        if isinstance(event, MessageReceived):
            for envelope in _envelopes(event.message):
                journal.message("heard", envelope)
        await put(self, event)

    Runtime.run = journal_run  # type: ignore[assignment,method-assign]
    Delivery.send = journal_send  # type: ignore[method-assign]
    Runtime._commit = journal_commit  # type: ignore[method-assign]
    QueueInbox.put = journal_put  # type: ignore[method-assign]

"""Messages of the next round, or of a later epoch of this one, that came before that began here: kept in bounds (design 6.6)."""

from collections import Counter
from dataclasses import replace
from typing import Final

from bflcd.core.events import MessageReceived
from bflcd.types import Digest, NodeId, Round
from bflcd.wire.envelope import Envelope, open_envelope, payload_digest
from bflcd.wire.messages import Gossip, JustifiedPrePrepare, PrePrepare

MAX_EARLY: Final = 512
"""Messages that are kept until their round or epoch begins."""

MAX_EARLY_BYTES: Final = 32 * 2**20
"""Their payloads together: 80 of the largest cards."""

MAX_EARLY_EACH: Final = 16
"""Of them, by one author."""


class EarlyMessages:
    """What was signed, verified by whoever keeps it, each message once: nobody fills another's share.

    What travels beside a signature can't be judged before its round is open, and whoever passes a message on could put anything
    there. So a proposal of view 0 is kept without, as it has to be, and what needs a justification is not: it is said again.
    """

    def __init__(self) -> None:
        self._held: list[tuple[Round, Digest, MessageReceived]] = []

    def __len__(self) -> int:
        return len(self._held)

    def by_author(self) -> Counter[NodeId]:
        """How many are held of whom."""
        return Counter(_signed(message.message).author for _, _, message in self._held)

    def keep(self, round_: Round, event: MessageReceived) -> None:
        """Keep a verified message until `round_` opens, or a new epoch of it, if it is new and its author has room."""
        message = _signed_alone(event.message)
        if message is None:
            return
        envelope = _signed(message)
        said = payload_digest(envelope)
        known = any((said, envelope.author) == (digest, _signed(held.message).author) for _, digest, held in self._held)
        if not known and self.by_author()[envelope.author] < MAX_EARLY_EACH:
            self._held.append((round_, said, replace(event, message=message)))
            while len(self._held) > MAX_EARLY or self._bytes() > MAX_EARLY_BYTES:
                self._drop()

    def _bytes(self) -> int:
        return sum(len(_signed(message.message).payload) for _, _, message in self._held)

    def _drop(self) -> None:
        """The oldest of the author that has most here, in bytes: many who say much take nothing from those who say little."""
        sizes: Counter[NodeId] = Counter()
        for _, _, message in self._held:
            envelope = _signed(message.message)
            sizes[envelope.author] += len(envelope.payload)
        most = max(sizes, key=lambda author: (sizes[author], author))
        place = next(n for n, (_, _, message) in enumerate(self._held) if _signed(message.message).author == most)
        del self._held[place]

    def take(self, round_: Round) -> tuple[MessageReceived, ...]:
        """Those of `round_`, in the order in which they came: neither they nor what is older is kept any longer."""
        taken = tuple(message for of, _, message in self._held if of == round_)
        self._held = [held for held in self._held if held[0] > round_]
        return taken


def _signed_alone(message: Gossip) -> Envelope | JustifiedPrePrepare | None:
    """A message without what nobody signed; None if it is nothing without."""
    if isinstance(message, Envelope):
        return message
    if not isinstance(message, JustifiedPrePrepare):
        return None
    body = open_envelope(message.pre_prepare, (PrePrepare,)).body
    return JustifiedPrePrepare(message.pre_prepare, (), ()) if body.view == 0 else None


def _signed(message: object) -> Envelope:
    part = message.pre_prepare if isinstance(message, JustifiedPrePrepare) else message
    assert isinstance(part, Envelope), "nothing else is kept"
    return part

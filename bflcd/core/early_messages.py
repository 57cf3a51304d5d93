"""Messages of the next round that came before it opened here: kept within bounds (design 6.6)."""

from collections import Counter, deque
from typing import Final

from bflcd.core.events import MessageReceived
from bflcd.types import NodeId, Round

MAX_EARLY: Final = 512
"""Messages of the next round that are kept until it opens."""

MAX_EARLY_EACH: Final = 16
"""Of them, by one author."""


class EarlyMessages:
    """Their signatures were verified: nobody fills another's share."""

    def __init__(self) -> None:
        self._held: deque[tuple[Round, NodeId, MessageReceived]] = deque(maxlen=MAX_EARLY)

    def __len__(self) -> int:
        return len(self._held)

    def by_author(self) -> Counter[NodeId]:
        """How many are held of whom."""
        return Counter(author for _, author, _ in self._held)

    def keep(self, round_: Round, author: NodeId, message: MessageReceived) -> None:
        """Keep a message until `round_` opens, if its author has room."""
        if self.by_author()[author] < MAX_EARLY_EACH:
            self._held.append((round_, author, message))

    def of(self, round_: Round) -> tuple[MessageReceived, ...]:
        """Those of `round_`, in the order in which they came."""
        return tuple(message for of, _, message in self._held if of == round_)

    def forget_up_to(self, round_: Round) -> None:
        """`round_` has opened, and has taken what is of it."""
        self._held = deque((held for held in self._held if held[0] > round_), maxlen=MAX_EARLY)

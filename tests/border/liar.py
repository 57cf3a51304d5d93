"""A daemon that keeps every rule of the protocol but one: `python -m tests.border.liar LIE --datadir DIRECTORY`."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bflcd.__main__ import main
from bflcd.core.round.collection import Collection
from bflcd.ledger.cards import entry_key
from bflcd.ledger.trust.noise import Noise
from bflcd.types import Digest, MicroNats, PartsPerMillion
from bflcd.wire.messages import MAX_ENTRIES, CardEntry, ScoreCard


def stuff() -> None:
    """Fill every card with offers that nobody made."""
    honest = Collection.card_body

    def card_body(self: Collection, noise: Noise, *, silent: bool = False) -> ScoreCard:
        card = honest(self, noise, silent=silent)
        if not card.entries:
            return card  # it has no base to compare with, and would be refused for that
        invented = [_entry(card.present[number % len(card.present)]) for number in range(MAX_ENTRIES - len(card.entries))]
        return replace(card, entries=tuple(sorted((*card.entries, *invented), key=entry_key)))

    Collection.card_body = card_body  # type: ignore[method-assign]


def _entry(uploader: bytes) -> CardEntry:
    offer, root = Digest(os.urandom(32)), Digest(os.urandom(32))
    return CardEntry(uploader, offer, root, MicroNats(-(2**50)), PartsPerMillion(999_999), 2**22 - 1, 2**32 - 1)  # type: ignore[arg-type]


LIES: Final[dict[str, Callable[[], None]]] = {"stuff": stuff}

if __name__ == "__main__":
    LIES[sys.argv[1]]()
    sys.argv = ["bflcd", "start", *sys.argv[2:]]
    main()

"""Canary: a trainer shows that it was drawn to offer what harms, once the round is closed and no word can change."""

from typing import Final

from bflcd.ledger.operations.base import Limits, refused
from bflcd.ledger.operations.signed_kind import OPERATION_BYTES, SignedKind
from bflcd.ledger.state import State
from bflcd.ledger.trust.canaries import is_drawn, shown, words_of
from bflcd.ledger.trust.words import SHOWN_ROUNDS
from bflcd.types import Round, short
from bflcd.wire.canary import Canary
from bflcd.wire.operation import Operation


class CanaryKind(SignedKind[Canary]):
    """One offer of the last rounds. Who was not drawn has no proof; nobody else can sign for it."""

    name = "canary"
    body_type = Canary
    limits = Limits(per_block=16, per_author=SHOWN_ROUNDS, max_bytes=OPERATION_BYTES, rounds=SHOWN_ROUNDS - 1)

    def since(self, operation: Operation) -> Round:
        """The round after the one that it names: before that one is closed, nobody shows anything."""
        return Round(self.body(operation).round + 1)

    def is_settled(self, state: State, operation: Operation) -> bool:
        """Whether a block has shown it."""
        words = words_of(state, self.body(operation).round)
        offer = None if words is None else words.of(operation.author)
        return offer is not None and offer.shown

    def describe(self, operation: Operation) -> str:
        """Whose, of which round."""
        return f"what {short(operation.author)} offered in round {self.body(operation).round} was a canary"

    def check(self, state: State, operation: Operation) -> None:
        """Raise PeerError(BAD_OPERATION)."""
        body, author = self.body(operation), short(operation.author)
        # 1. Of a round that is closed, and of which words are kept.
        words = words_of(state, body.round)
        if body.round >= state.round or words is None:
            raise refused(self.name, f"nothing of round {body.round} can be shown in round {state.round}")
        # 2. Of an offer that is among those, once.
        offer = words.of(operation.author)
        if offer is None:
            raise refused(self.name, f"no words are kept of an offer of {author} in round {body.round}")
        if offer.shown:
            raise refused(self.name, f"what {author} offered in round {body.round} was shown already")
        # 3. By who was drawn.
        if not is_drawn(state.chain, words, operation.author, body.proof):
            raise refused(self.name, f"the proof does not show that {author} was drawn in round {body.round}")

    def apply(self, state: State, operation: Operation) -> State:
        """What follows for its judges and its author."""
        return shown(state, self.body(operation).round, operation.author)


CANARY: Final = CanaryKind()

"""Who was there and got no word in: by the cards on the chain, so that a restart forgets nothing and every node says the same."""

from typing import Final

from bflcd.api.history import judged_uploaders, not_judged
from bflcd.core.round.context import RoundContext
from bflcd.ledger.roles import trainers
from bflcd.params import MILLION, Genesis
from bflcd.store.protocol import ChainStore
from bflcd.types import NodeId, Round, short
from bflcd.wire.blocks import CertifiedSegment

MISSED: Final = 8
"""Rounds in a row after which a member is warned of: one of as many waits for the slow, and it was not in that either."""

MAX_NAMED: Final = 4
"""Members that are warned of."""


class LeftOut:
    """In how many rounds in a row each member was present and its update on no card. Rounds with a seat don't count."""

    def __init__(self) -> None:
        self._committee: tuple[NodeId, ...] = ()
        self._missed: dict[NodeId, int] = {}

    async def recall(self, store: ChainStore, round_: Round) -> None:
        """Read the rounds before `round_` that matter."""
        first = max(1, round_ - MISSED + 1)
        genesis: Genesis | None = await store.genesis()
        before = await store.segment(Round(first - 1)) if first > 1 else None
        if before is not None:
            self._note_committee(before)
        elif genesis is not None:
            self._committee = genesis.committee
        for number in range(first, round_ + 1):
            certified = await store.segment(Round(number))
            if certified is not None:
                self.closed(certified)

    def closed(self, certified: CertifiedSegment) -> None:
        """Take in a committed round."""
        missed = not_judged(certified, self._committee)
        seated = {node: self._missed[node] for node in self._committee if node in self._missed}
        self._missed = {**seated, **{node: self._missed.get(node, 0) + 1 for node in missed}}
        for node in judged_uploaders(certified):
            self._missed.pop(node, None)
        self._note_committee(certified)

    def _note_committee(self, certified: CertifiedSegment) -> None:
        model = certified.segment.model_header.model
        if model is not None:
            self._committee = model.committee

    def warnings(self, context: RoundContext) -> list[str]:
        """Of members that may train and have been left out for long."""
        if context.params.active_fraction < MILLION:
            return []  # who may train is drawn anew in each round: most are left out of most
        able = trainers(context.params, context.state) | set(context.state.committee)
        late = sorted((node for node, count in self._missed.items() if count >= MISSED and node in able))
        texts = [
            f"{short(node)} was present in the last {self._missed[node]} rounds and its update was judged in none: "
            "it is too slow, or does not train"
            for node in late[:MAX_NAMED]
        ]
        return [*texts, f"so were {len(late) - MAX_NAMED} more members"] if len(late) > MAX_NAMED else texts

"""Evidence on its way into a block: equivocations that no block has punished yet (design 6.9)."""

from collections.abc import Iterator, Mapping
from typing import Final

from bflcd.errors import PeerError
from bflcd.ledger.evidence import check_evidence
from bflcd.ledger.state import State
from bflcd.types import Digest
from bflcd.wire.evidence import MAX_EVIDENCE, Evidence, evidence_id

MAX_HELD: Final = 64
"""Pieces held at a time; two score cards of the largest community make 0.8 MB. What is above waits until some are in a block."""


class EvidencePool(Mapping[Digest, Evidence]):
    """Evidence by its id, all of it checked and its signatures verified by whoever adds it."""

    def __init__(self) -> None:
        self._held: dict[Digest, Evidence] = {}

    def __getitem__(self, key: Digest) -> Evidence:
        return self._held[key]

    def __iter__(self) -> Iterator[Digest]:
        return iter(tuple(self._held))

    def __len__(self) -> int:
        return len(self._held)

    def add(self, evidence: Evidence, *, wanted: bool = False) -> bool:
        """Keep a verified piece; True if it is the first against its accused. `wanted`: a proposal names this very piece."""
        known = any(held.accused == evidence.accused for held in self._held.values())
        if (known and not wanted) or (len(self._held) >= MAX_HELD and not wanted):
            return False
        self._held[evidence_id(evidence)] = evidence
        while len(self._held) > 2 * MAX_HELD:
            del self._held[next(iter(self._held))]
        return not known

    def settle(self, state: State) -> None:
        """Forget what a block has punished."""
        self._held = {id_: piece for id_, piece in self._held.items() if _counts(state, piece)}

    def chosen(self, state: State) -> tuple[Digest, ...]:
        """What a leader puts into its proposal: one piece against each accused, at most MAX_EVIDENCE, sorted by id."""
        by_accused = {piece.accused: id_ for id_, piece in sorted(self._held.items(), reverse=True) if _counts(state, piece)}
        return tuple(sorted(by_accused.values())[:MAX_EVIDENCE])


def _counts(state: State, evidence: Evidence) -> bool:
    try:
        check_evidence(state, evidence)
    except PeerError:
        return False
    return True

"""Operations on their way into a block: what a node holds that no block has carried yet."""

from collections.abc import Iterator, Mapping
from typing import Final

from bflcd.ledger.operations.application import is_pending, place_of, select_operations
from bflcd.ledger.operations.registry import kind_of
from bflcd.ledger.state import State
from bflcd.types import Digest
from bflcd.wire.operation import Operation, operation_id

MAX_HELD: Final = 64
"""Operations held at a time; as evidence, with two score cards of the largest community each, 50 MB. What is above waits until
some are in a block."""


class OperationPool(Mapping[Digest, Operation]):
    """Operations by their ids, first come first, all of them checked and their signatures verified by whoever adds them."""

    def __init__(self) -> None:
        self._held: dict[Digest, Operation] = {}

    def __getitem__(self, key: Digest) -> Operation:
        return self._held[key]

    def __iter__(self) -> Iterator[Digest]:
        return iter(tuple(self._held))

    def __len__(self) -> int:
        return len(self._held)

    def add(self, operation: Operation, *, wanted: bool = False) -> bool:
        """Keep a verified operation; True if it is the first in its place. `wanted`: a proposal names this very one.

        Raises PeerError for an unknown kind.
        """
        place, author = place_of(operation), operation.author
        places = {place_of(held) for held in self._held.values()}
        known = place in places
        authors = sum(other[0] == author and other[2] == operation.kind for other in places)
        full = len(self._held) >= MAX_HELD or authors >= kind_of(operation).limits.per_author
        if (known or full) and not wanted:
            return False
        self._held[operation_id(operation)] = operation
        while len(self._held) > 2 * MAX_HELD:
            del self._held[next(iter(self._held))]
        return not known

    def settle(self, state: State) -> None:
        """Forget what no block can carry any more."""
        self._held = {id_: operation for id_, operation in self._held.items() if is_pending(state, operation)}

    def chosen(self, state: State) -> tuple[Operation, ...]:
        """What a leader puts into its proposal, in order."""
        return select_operations(state, self._held.values())

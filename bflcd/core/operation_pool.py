"""Operations on their way into a block: what a node holds that no block has carried yet."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from bflcd.ledger.operations.application import has_its_turn, is_pending, place_of, select_operations
from bflcd.ledger.operations.registry import kind_of
from bflcd.ledger.roles import seed_of, tie_break
from bflcd.ledger.state import State
from bflcd.types import Digest, NodeId
from bflcd.wire.operation import Operation, operation_id

MAX_HELD: Final = 64
"""Operations held at a time; as evidence, with two score cards of the largest community each, 50 MB. What is above waits until
some are in a block."""


def _turn(operation: Operation) -> tuple[NodeId, int, str]:
    """Of which no block carries two: a member's numbers are one row for all kinds."""
    author, number, kind = place_of(operation)
    return author, number, "" if number else kind


class OperationPool(Mapping[Digest, Operation]):
    """Operations by their ids, first come first, all of them checked and their signatures verified by whoever adds them."""

    def __init__(self) -> None:
        self._held: dict[Digest, Operation] = {}
        self._own: set[Digest] = set()
        self._later: set[Digest] = set()
        """What waits for another of its author's, which may never come: it makes room for what has its turn."""

    def __getitem__(self, key: Digest) -> Operation:
        return self._held[key]

    def __iter__(self) -> Iterator[Digest]:
        return iter(tuple(self._held))

    def __len__(self) -> int:
        return len(self._held)

    def add(self, operation: Operation, *, wanted: bool = False, own: bool = False, later: bool = False) -> bool:
        """Keep a verified operation; True if it is the first in its place.

        `wanted`: a proposal names this very one; `own`: it was found here, so it is this node that says it. Where all is
        full, who holds the fewest places gets one of who holds the most, and what has its turn gets that of what has not;
        `later`: a block can carry it only after another of its author's.

        Raises PeerError for an unknown kind.
        """
        author, limits = operation.author, kind_of(operation).limits
        known = _turn(operation) in map(_turn, self._held.values())
        same = [held.author for held in self._held.values() if held.kind == operation.kind]
        full = same.count(author) >= limits.per_author or (limits.waiting is not None and len(same) >= limits.waiting)
        if (known or full or not self._has_room(author, later=later)) and not wanted:
            return False
        id_ = operation_id(operation)
        self._held[id_] = operation
        if own:
            self._own.add(id_)
        if later:
            self._later.add(id_)
        while len(self._held) > 2 * MAX_HELD:
            del self._held[next(iter(self._held))]
        return not known

    def _has_room(self, author: NodeId, *, later: bool) -> bool:
        """Whether one more of `author` may come; another's makes room if that one holds more even so."""
        if len(self._held) < MAX_HELD:
            return True
        held = Counter(operation.author for operation in self._held.values())
        most = max(held.values())
        if held[author] + 1 >= most:
            gives_way = next((id_ for id_ in self._held if id_ in self._later - self._own), None)
            if later or gives_way is None:
                return False
            del self._held[gives_way]
            return True
        of_them = [id_ for id_, operation in self._held.items() if held[operation.author] == most]
        del self._held[max(of_them, key=lambda id_: place_of(self._held[id_])[1])]
        return True

    def discard(self, operation: Operation) -> None:
        """Forget one that no block can carry, though the ledger does not say so."""
        id_ = operation_id(operation)
        self._held.pop(id_, None)
        self._own.discard(id_)

    def settle(self, state: State) -> None:
        """Forget what no block can carry any more."""
        self._held = {id_: operation for id_, operation in self._held.items() if is_pending(state, operation)}
        self._own &= self._held.keys()
        self._later = {id_ for id_, operation in self._held.items() if not has_its_turn(state, operation)}

    def own(self) -> tuple[Operation, ...]:
        """What was found here."""
        return tuple(operation for id_, operation in self._held.items() if id_ in self._own)

    def repeated(self, state: State) -> tuple[Operation, ...]:
        """What this node says again at the opening of a round: all that it found, and of what others did one by the round's lot.

        Gossip has brought theirs to everybody but for losses, and a member's whole pool in each round would be megabytes of each.
        """
        seed = seed_of(state)
        others = [id_ for id_ in self._held if id_ not in self._own]
        drawn = min(others, key=lambda id_: tie_break(seed, NodeId(id_)), default=None)
        return tuple(operation for id_, operation in self._held.items() if id_ in self._own or id_ == drawn)

    def chosen(self, state: State, may: Callable[[Operation], bool] = lambda _: True) -> tuple[Operation, ...]:
        """What a leader puts into its proposal, in order; of those that `may` lets pass."""
        return select_operations(state, filter(may, self._held.values()))

"""A block's operations against the rules that hold for every kind, and what they make of the ledger.

One order for all: by author, an author's by their numbers. Each is checked against the ledger that those before it left.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from bflcd.errors import PeerError
from bflcd.ledger.alliance.fees import deposits_freed
from bflcd.ledger.operations.base import refused
from bflcd.ledger.operations.motion import without_expired
from bflcd.ledger.operations.registry import chain_of, kind_of
from bflcd.ledger.roles import seed_of, tie_break
from bflcd.ledger.state import NEVER, State, account_of, is_member, member_of, with_accounts
from bflcd.types import Digest, NodeId, Round, short
from bflcd.wire.codec import encode
from bflcd.wire.operation import MAX_OPERATIONS, MAX_OPERATIONS_BYTES, Operation, operation_id

Place = tuple[NodeId, int, str]
"""Author, number, kind: a block carries at most one operation in a place."""


def place_of(operation: Operation) -> Place:
    """Where an operation stands in its block. Raises PeerError for an unknown kind, or what is none of its kind."""
    kind = kind_of(operation)
    return kind.author(operation), kind.number(operation) or 0, kind.name


def check_form(state: State, operation: Operation) -> None:
    """Raise PeerError for what no block of this chain could carry, in whatever round; signatures aside."""
    kind = kind_of(operation)
    if (chain := chain_of(operation)) != state.chain:
        raise refused(kind.name, f"it is of chain {short(chain)}")
    size = len(encode(operation))
    if size > kind.limits.max_bytes:
        raise refused(kind.name, f"it has {size} bytes, at most {kind.limits.max_bytes} are allowed")
    kind.check_form(operation)


def check_operation(state: State, operation: Operation) -> None:
    """Raise PeerError unless the next block could begin with this operation; signatures aside."""
    kind = kind_of(operation)
    # 1. Of this chain, and not too large.
    check_form(state, operation)
    # 2. The next of its author's.
    number = kind.number(operation)
    if number is not None and number != (following := _last_number(state, operation, kind.name) + 1):
        raise refused(kind.name, f"it is number {number} of {short(operation.author)}, whose next is number {following}")
    # 3. Of a round that has come; kinds without numbers say that themselves.
    if number is not None and (since := kind.since(operation)) > state.round:
        raise refused(kind.name, f"it is of round {since}, we are in round {state.round}")
    # 4. Not run out.
    _check_age(state, operation)
    # 5. What its kind asks for.
    kind.check(state, operation)


def expires(operation: Operation) -> Round | None:
    """The last round whose block may carry it; None for what never runs out. Raises PeerError for an unknown kind."""
    kind = kind_of(operation)
    return None if kind.limits.rounds is None else Round(kind.since(operation) + kind.limits.rounds)


def has_expired(state: State, operation: Operation) -> bool:
    """Whether no block may carry it any more, whatever the ledger says. Raises PeerError for an unknown kind."""
    last = expires(operation)
    return last is not None and state.round > last


def is_settled(state: State, operation: Operation) -> bool:
    """Whether a block has carried it, or what it is for has happened already."""
    kind, account = kind_of(operation), account_of(state, operation.author)
    number = kind.number(operation)
    if number is not None and account is not None and number <= account.operations:
        return True
    return kind.is_settled(state, operation)


def check_pending(state: State, operation: Operation) -> None:
    """Raise PeerError unless a block may carry it, at once or after its author's earlier ones: what is worth keeping.

    What its kind asks for is checked when its turn has come.
    """
    kind = kind_of(operation)
    number = kind.number(operation)
    if number is not None and 1 < number - _last_number(state, operation, kind.name) <= kind.limits.per_author:
        check_form(state, operation)
        _check_age(state, operation)
    else:
        check_operation(state, operation)


def has_its_turn(state: State, operation: Operation) -> bool:
    """Whether a block may carry it at once, by its number: not only after another of its author's."""
    return _gap(state, operation) == 0


def is_pending(state: State, operation: Operation) -> bool:
    """Whether `check_pending` lets it pass."""
    try:
        check_pending(state, operation)
    except PeerError:
        return False
    return True


def apply_operations(state: State, operations: Sequence[Operation]) -> State:
    """The ledger after a block's operations, without what has run out by then, deposits given back whose time is over.

    Raises PeerError: BAD_OPERATION for one that is refused, out of order, or too much.
    """
    room = _Room()
    for operation in operations:
        room.take(operation)
    places = [place_of(operation) for operation in operations]
    if any(low >= high for low, high in pairwise(places)):
        raise refused("operations", "those of a block are not in order, or two of them are in one place")
    for operation in operations:
        state = _applied(state, operation)
    return deposits_freed(without_expired(state, Round(state.round + 1)))


def select_operations(state: State, waiting: Iterable[Operation]) -> tuple[Operation, ...]:
    """What a leader puts into a block, in order: as many of those that wait as fit and are valid.

    Whoever holds the same operations chooses the same. Where not all fit, each author's next one goes before anybody's second, of
    which nobody has seen whether it is valid; then the round's seed decides whose. What waits for another of its author's that is
    not among them takes no room.
    """
    seed, room, before = seed_of(state), _Room(), Counter[NodeId]()

    def turn(operation: Operation) -> tuple[int, Digest, Place, Digest]:
        author = operation.author
        return _gap(state, operation), tie_break(seed, author), place_of(operation), operation_id(operation)

    chosen: dict[Place, Operation] = {}
    for operation in sorted(waiting, key=turn):
        if place_of(operation) in chosen or has_expired(state, operation):
            continue
        if _gap(state, operation) > before[operation.author]:
            continue
        try:
            room.take(operation)
        except PeerError:
            continue
        chosen[place_of(operation)] = operation
        before[operation.author] += kind_of(operation).number(operation) is not None
    valid: list[Operation] = []
    for _, operation in sorted(chosen.items()):
        try:
            state = _applied(state, operation)
        except PeerError:
            continue  # it needs another that did not fit, or its time has not come: it waits, or `is_pending` drops it
        valid.append(operation)
    return tuple(valid)


def operation_ids(operations: Iterable[Operation]) -> tuple[Digest, ...]:
    """What a proposal names."""
    return tuple(operation_id(operation) for operation in operations)


class _Room:
    """What a block still has room for."""

    def __init__(self) -> None:
        self._count = self._bytes = 0
        self._kinds: Counter[str] = Counter()

    def take(self, operation: Operation) -> None:
        """Give an operation its room. Raises PeerError(BAD_OPERATION), and takes nothing, where there is none."""
        kind, size = kind_of(operation), self._bytes + len(encode(operation))
        if self._count == MAX_OPERATIONS or size > MAX_OPERATIONS_BYTES:
            text = f"more than {MAX_OPERATIONS} in one block, or more than {MAX_OPERATIONS_BYTES} bytes of them"
            raise refused("operations", text)
        if self._kinds[kind.name] == kind.limits.per_block:
            raise refused(kind.name, f"more than {kind.limits.per_block} in one block")
        self._count, self._bytes = self._count + 1, size
        self._kinds[kind.name] += 1


def _applied(state: State, operation: Operation) -> State:
    check_operation(state, operation)
    kind = kind_of(operation)
    number = kind.number(operation)
    state = kind.apply(state, operation)
    if not any(is_member(one) and one.punished_round == NEVER for one in state.accounts):
        raise refused(kind.name, "it would leave nobody to hold a seat")
    account = account_of(state, operation.author)
    if number is None or account is None:
        return state
    return with_accounts(state, replace(account, operations=number))


def _gap(state: State, operation: Operation) -> int:
    """How many of its author's have to be carried before it, by its number."""
    number, account = kind_of(operation).number(operation), member_of(state, operation.author)
    return 0 if number is None or account is None else max(0, number - account.operations - 1)


def _check_age(state: State, operation: Operation) -> None:
    if has_expired(state, operation):
        raise refused(operation.kind, f"it ran out with round {expires(operation)}, we are in round {state.round}")


def _last_number(state: State, operation: Operation, kind: str) -> int:
    account = member_of(state, operation.author)
    if account is None:
        raise refused(kind, f"its author {short(operation.author)} is no member")
    return account.operations

"""Bounds of operations that planted mutants showed unwatched: the bytes of a block, what one author may have waiting."""

from collections.abc import Iterator

import pytest

from bflcd.core.operation_pool import OperationPool
from bflcd.errors import PeerError
from bflcd.ledger.operations.application import apply_operations, select_operations
from bflcd.wire.codec import encode
from tests.helpers.dues import DuesKind, dues, dues_registered
from tests.helpers.ledger import make_community

START = make_community(10, 4, 6)
CHAIN = START.state.chain
ONE, OTHER, THIRD = (START.keys[node] for node in START.members[:3])


@pytest.fixture(autouse=True)
def _dues() -> Iterator[None]:
    with dues_registered():
        yield


def test_a_block_has_room_for_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given room for two operations and all but a byte of a third, then a leader chooses two, and a block of three is refused."""
    three = tuple(dues(key, CHAIN) for key in (ONE, OTHER, THIRD))
    room = sum(len(encode(operation)) for operation in three) - 1
    monkeypatch.setattr("bflcd.ledger.operations.application.MAX_OPERATIONS_BYTES", room)
    chosen = select_operations(START.state, three)
    assert len(chosen) == 2
    apply_operations(START.state, chosen)
    with pytest.raises(PeerError, match=f"more than {room} bytes"):
        apply_operations(START.state, three)


def test_one_author_has_room_for_so_many_that_wait() -> None:
    pool, most = OperationPool(), DuesKind.limits.per_author
    assert [pool.add(dues(ONE, CHAIN, number)) for number in range(1, most + 2)] == [True] * most + [False]
    assert pool.add(dues(OTHER, CHAIN))
    assert pool.add(dues(ONE, CHAIN, most + 1), wanted=True), "what a proposal names is held all the same"

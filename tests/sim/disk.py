"""A node's disk: the store's real rules over memory, a mark file written after it, and the ways in which both fail."""

from collections import deque
from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

from bflcd.core.records import Head, Record, RoundRecords
from bflcd.core.signing_guard import Mark, mark_of
from bflcd.errors import InvariantError
from bflcd.ledger.state import State, genesis_header, genesis_state
from bflcd.params import BlobRef, Genesis
from bflcd.store.memory import MemoryStore
from bflcd.store.protocol import DamagedBlobError
from bflcd.types import Digest, Round
from bflcd.wire.blocks import CertifiedSegment
from tests.sim.compute import GENESIS_MODEL

T = TypeVar("T")

MAX_TORN = 12
"""Transactions that a torn log can lose."""


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never has to wait: the memory store's, and the services over it."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    work.close()
    raise AssertionError("a coroutine of the memory store waits for something")


class Disk:
    """Database and mark file. `torn_logs`: keep what is needed to lose the last transactions."""

    def __init__(self, genesis: Genesis, *, torn_logs: bool) -> None:
        self._genesis = genesis
        self._torn_logs = torn_logs
        self.full = False
        self.format()

    def format(self) -> None:
        """An empty disk with the genesis and model 0: a first start, or everything was lost."""
        self.store = MemoryStore()
        self.mark: Mark | None = None
        self.newest: frozenset[Mark] = frozenset()
        """The places that the last transaction with a signature took: the mark must name one of them."""
        self._unsynced: list[Digest] = []
        self._snapshots: deque[dict[str, Any]] = deque(maxlen=MAX_TORN)
        run_now(self.store.initialise(self._genesis, genesis_header(self._genesis), genesis_state(self._genesis)))
        run_now(self.store.put_blob(GENESIS_MODEL))

    # -- what the runtime does ----------------------------------------------------------------------------------------

    @property
    def head(self) -> Head:
        return run_now(self.store.head())

    def persist(self, records: tuple[Record, ...]) -> None:
        self._remember()
        held = run_now(self.store.records(self.head.state.round))
        known = {mark_of(record) for record in (*held.votes, *held.own)}
        run_now(self.store.persist(records))
        self.newest = frozenset(m for record in records if (m := mark_of(record)) is not None and m not in known) or self.newest
        self._unsynced.clear()

    def commit(self, certified: CertifiedSegment, state: State) -> None:
        self._remember()
        run_now(self.store.commit(certified, state))
        self._unsynced.clear()

    def write_mark(self, mark: Mark) -> None:
        """As `MarkFile.write_now`."""
        if self.mark is not None and (mark.round, mark.epoch) < (self.mark.round, self.mark.epoch):
            raise InvariantError(f"the mark goes back from {self.mark} to {mark}")
        self.mark = mark

    def records(self, round_: Round) -> RoundRecords:
        return run_now(self.store.records(round_))

    def segment(self, round_: int) -> CertifiedSegment | None:
        return run_now(self.store.segment(Round(round_)))

    def put_blob(self, data: bytes) -> BlobRef:
        blob = run_now(self.store.put_blob(data))
        self._unsynced.append(blob.root)
        return blob

    def has_blob(self, root: Digest) -> bool:
        return run_now(self.store.has_blob(root))

    def blob(self, root: Digest) -> bytes | None:
        """Raises DamagedBlobError."""
        return run_now(self.store.blob(root))

    def drop_blob(self, root: Digest) -> None:
        run_now(self.store.drop_blob(root))

    def holds_record(self, round_: Round, digest: Digest) -> bool:
        """Whether a vote, offer or card of this digest is durable."""
        return any(key[0] == round_ and row.digest == digest for key, row in self.store._records.items())

    # -- how it fails -------------------------------------------------------------------------------------------------

    def lose_power(self) -> None:
        """Blobs that no transaction followed are gone."""
        for root in self._unsynced:
            self.store._blobs.pop(root, None)
        self._unsynced.clear()

    def tear(self, transactions: int) -> int:
        """Lose the last transactions, but not the mark file; returns how many were lost."""
        lost = min(transactions, len(self._snapshots))
        for _ in range(lost):
            snapshot = self._snapshots.pop()
        if lost:
            self.newest = snapshot.pop("newest")
            for name, value in snapshot.items():
                setattr(self.store, name, value)
            self._unsynced.clear()
        return lost

    def intact(self, root: Digest) -> bool:
        """Whether a payload is here and whole."""
        try:
            return self.blob(root) is not None
        except DamagedBlobError:
            return False

    def damage(self, rng: Random, others: list["Disk"]) -> Digest | None:
        """Flip a bit in one payload of which another disk has a whole copy; returns its root."""
        complete = sorted(root for root, blob in self.store._blobs.items() if blob.complete)
        roots = [root for root in complete if any(other.intact(root) for other in others)]
        if not roots:
            return None
        root = rng.choice(roots)
        chunks = self.store._blobs[root].chunks
        chunks[0] = bytes((chunks[0][0] ^ 1,)) + chunks[0][1:]
        return root

    def _remember(self) -> None:
        if not self._torn_logs:
            return
        names = ("_head", "_segments", "_placed", "_records", "_pins", "_blobs")
        held = {name: getattr(self.store, name) for name in names}
        copies = {name: value.copy() if hasattr(value, "copy") else value for name, value in held.items()}
        self._snapshots.append(copies | {"newest": self.newest})

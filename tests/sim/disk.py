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
from bflcd.store.block_store import BlockStore
from bflcd.store.memory import MemoryChain
from bflcd.store.protocol import DamagedBlobError, MissingPayloadError
from bflcd.types import Digest, Round
from bflcd.wire.blocks import CertifiedSegment
from tests.helpers.forgetful_payloads import ForgetfulPayloads
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
        self.chain = MemoryChain()
        self.payloads = ForgetfulPayloads()
        self.store = BlockStore(self.chain, self.payloads)
        self.mark: Mark | None = None
        self.newest: frozenset[Mark] = frozenset()
        """The places that the last transaction with a signature took: the mark must name one of them."""
        self._snapshots: deque[tuple[frozenset[Mark], dict[tuple[Any, str], Any]]] = deque(maxlen=MAX_TORN)
        run_now(self.store.initialise(self._genesis, genesis_header(self._genesis), genesis_state(self._genesis)))
        run_now(self.store.make_durable([run_now(self.store.put_blob(GENESIS_MODEL)).root]))

    # -- what the runtime does ----------------------------------------------------------------------------------------

    @property
    def head(self) -> Head:
        return run_now(self.store.head())

    def persist(self, records: tuple[Record, ...], relies_on: tuple[Digest, ...] = ()) -> None:
        """Raises MissingPayloadError."""
        self._remember()
        held = run_now(self.store.records(self.head.state.round))
        known = {mark_of(record) for record in (*held.votes, *held.own)}
        run_now(self.store.persist(records, relies_on))
        self.newest = frozenset(m for record in records if (m := mark_of(record)) is not None and m not in known) or self.newest

    def require(self, roots: tuple[Digest, ...]) -> None:
        """Raises MissingPayloadError unless all these payloads are complete here; makes none of them durable."""
        lacking = [root for root in roots if not self.has_blob(root)]
        if lacking:
            raise MissingPayloadError(lacking)

    def commit(self, certified: CertifiedSegment, state: State) -> None:
        self._remember()
        run_now(self.store.commit(certified, state))

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
        return run_now(self.store.put_blob(data))

    def has_blob(self, root: Digest) -> bool:
        return run_now(self.store.has_blob(root))

    def blob(self, root: Digest) -> bytes | None:
        """Raises DamagedBlobError."""
        return run_now(self.store.blob(root))

    def drop_blob(self, root: Digest) -> None:
        run_now(self.store.drop_blob(root))

    def holds_record(self, round_: Round, digest: Digest) -> bool:
        """Whether a vote, offer or card of this digest is durable."""
        return any(key[0] == round_ and row.digest == digest for key, row in self.chain._records.items())

    # -- how it fails -------------------------------------------------------------------------------------------------

    def lose_power(self) -> None:
        """Payloads that nobody relies on are gone: a store may keep more, and need not."""
        self.payloads.lose_power()

    def tear(self, transactions: int) -> int:
        """Lose the last transactions, but not the mark file; returns how many were lost."""
        lost = min(transactions, len(self._snapshots))
        for _ in range(lost):
            self.newest, snapshot = self._snapshots.pop()
        if lost:
            for (part, name), value in snapshot.items():
                setattr(part, name, value)
        return lost

    def intact(self, root: Digest) -> bool:
        """Whether a payload is here and whole."""
        try:
            return self.blob(root) is not None
        except DamagedBlobError:
            return False

    def damage(self, rng: Random, others: list["Disk"]) -> Digest | None:
        """Flip a bit in one payload of which another disk has a whole copy; returns its root."""
        complete = sorted(root for root, blob in self.payloads._blobs.items() if blob.complete)
        roots = [root for root in complete if any(other.intact(root) for other in others)]
        if not roots:
            return None
        root = rng.choice(roots)
        chunks = self.payloads._blobs[root].chunks
        chunks[0] = bytes((chunks[0][0] ^ 1,)) + chunks[0][1:]
        return root

    def _remember(self) -> None:
        if not self._torn_logs:
            return
        chain = [(self.chain, name) for name in ("_head", "_segments", "_placed", "_records", "_pins")]
        held = {
            (part, name): getattr(part, name) for part, name in (*chain, (self.payloads, "_blobs"), (self.payloads, "_durable"))
        }
        copies = {place: value.copy() if hasattr(value, "copy") else value for place, value in held.items()}
        self._snapshots.append((self.newest, copies))

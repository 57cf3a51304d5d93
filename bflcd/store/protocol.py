"""What the node needs of its block store (design 9). Every implementation passes `tests/conformance/test_store.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bflcd.core.records import Head, Record, RoundRecords
from bflcd.errors import MachineError
from bflcd.ledger.state import State
from bflcd.params import BlobRef, Genesis
from bflcd.types import Digest, Height, NodeId, Round, short
from bflcd.wire.blocks import Certificate, CertifiedHeader, CertifiedSegment, Header
from bflcd.wire.requests import Manifest

MAX_ADDRESSES: Final = 4096
"""Entries of the address book."""


class DamagedBlobError(MachineError):
    """A stored chunk does not hash to what its manifest says. Drop the blob and fetch it again."""

    def __init__(self, root: Digest, index: int) -> None:
        super().__init__(
            f"chunk {index} of blob {short(root)} is damaged on disk",
            hint="it is fetched again from a peer; if this repeats, check the disk",
            code="damaged_blob",
        )
        self.root = root
        self.index = index


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What a prune did or (dry run) would do.

    `height`: last height whose payload is gone, 0 if `round` is 0; `round`: first one whose payloads stay; `blobs` and
    `payload_bytes`: dropped by this prune; `freed`: bytes returned to the disk (a dry run's estimate is the payloads' size).
    """

    height: Height
    round: Round
    blobs: int
    payload_bytes: int
    freed: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Sizes for status and metrics."""

    size_on_disk: int
    blobs: int
    payload_bytes: int
    oldest_payload: Round
    """First round from which on every payload is held; what `prune_height` shows."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One finding of a check: where, what, and whether fetching it again mends it."""

    where: str
    text: str
    blob: Digest | None
    """The blob to fetch again, or None if the store itself is broken."""


class BlockStore(Protocol):
    """Durable chain, records of the undecided round, blobs. Methods raise MachineError when disk or file fail (code: disk_full,
    io_error, damaged_store, locked). Whatever returned without raising survives kill -9 and power loss."""

    async def close(self) -> None:
        """Finish the running write and close. Idempotent."""
        ...

    async def genesis(self) -> Genesis | None:
        """The genesis of this data directory, if it has one."""
        ...

    async def initialise(self, genesis: Genesis, header: Header, state: State) -> None:
        """Store genesis and block 0. Idempotent for the same genesis; OperatorError(code="wrong_chain") for another."""
        ...

    async def head(self) -> Head:
        """The newest model block. LookupError before `initialise`."""
        ...

    async def commit(self, certified: CertifiedSegment, state: State) -> None:
        """In one transaction: segment, certificate, state, the index of its blobs by round; and drop the records of its round
        and earlier ones.

        The segment must be the head's successor, certificate and state its own (ValueError). Its blobs need not be there: a
        node that catches up fetches them later, or never. Returns when it is durable, and with it every blob stored before.
        """
        ...

    async def rewind(self, round_: Round, state: State) -> None:
        """Return to the model of `round_`, whose ledger is `state`: every later block is archived and no longer served, with its
        records and pins. In one durable transaction. ValueError if there is no such model, or `state` is not its own."""
        ...

    async def segment(self, round_: Round) -> CertifiedSegment | None:
        """The committed segment whose model header says `round_` (>= 1)."""
        ...

    async def certificate(self, round_: Round) -> Certificate | None:
        """The certificate of `segment(round_)`."""
        ...

    async def headers(self, first: Round, count: int) -> tuple[CertifiedHeader, ...]:
        """Certified model headers of rounds first, first + 1, ... without a gap, at most `count`."""
        ...

    async def persist(self, records: Sequence[Record]) -> None:
        """All of `records` in one durable transaction (synchronous FULL), and with it every blob stored before.

        A record that contradicts a stored one of the same place, or belongs to a decided round, raises InvariantError and
        stores nothing; the identical one is fine. An own offer or card pins the blobs that it names, a proposal its model and
        the blobs of its offers, without a Pin of their own.
        """
        ...

    async def records(self, round_: Round) -> RoundRecords:
        """Records of an undecided round."""
        ...

    async def start_blob(self, manifest: Manifest) -> tuple[int, ...]:
        """Make room for a blob whose manifest was verified against its root; returns the chunk indices still missing."""
        ...

    async def put_chunk(self, root: Digest, index: int, data: bytes) -> bool:
        """Store a chunk that was verified against the manifest; True once the blob is complete.

        It survives kill -9 at once and power loss from the next `persist` or `commit` on. KeyError for a root that
        was not started, ValueError for an index or a length that its size rules out.
        """
        ...

    async def put_blob(self, data: bytes) -> BlobRef:
        """Store a whole payload made here; durable once a later `persist` or `commit` returns. Idempotent."""
        ...

    async def has_blob(self, root: Digest) -> bool:
        """Whether the blob is complete."""
        ...

    async def manifest(self, root: Digest) -> Manifest | None:
        """The manifest of a complete blob."""
        ...

    async def chunk(self, root: Digest, index: int) -> bytes | None:
        """A chunk of a complete blob, its hash verified on this read; None if absent. A damaged one raises DamagedBlobError."""
        ...

    async def blob(self, root: Digest) -> bytes | None:
        """A whole blob, every chunk verified; None if absent. A damaged one raises DamagedBlobError."""
        ...

    async def unpublished(self) -> tuple[Digest, ...]:
        """Roots of blobs, complete or not, that no committed block names: updates of the running round, and leftovers."""
        ...

    async def drop_blob(self, root: Digest) -> None:
        """Drop a blob's bytes (refused by its specification, or damaged). If a committed block needs it, it counts as missing
        (`StoreStats.oldest_payload`) until it is fetched again."""
        ...

    async def prune(self, keep: int, *, dry_run: bool) -> PruneReport:
        """Drop payloads of rounds before head - keep + 1 (keep >= 1, else ValueError), never the head's model, a pinned blob, or
        anything of an undecided round; in small steps, so that other calls go on; return the space to the disk."""
        ...

    async def discard_stale(self, round_: Round) -> None:
        """Drop blobs that no block names, no record of `round_` or later pins, and that were begun before the head was of
        `round_`: offers that lost. Those begun since then may be on their way into an offer or a card."""
        ...

    async def stats(self) -> StoreStats:
        """Sizes."""
        ...

    async def check(self, *, deep: bool) -> tuple[Damage, ...]:
        """Look for damage: SQLite's own integrity check, and with `deep` the hash of every chunk."""
        ...

    async def addresses(self) -> tuple[tuple[NodeId, str], ...]:
        """The address book, newest first."""
        ...

    async def remember_address(self, node: NodeId, address: str) -> None:
        """Add to the address book (bounded; the oldest goes)."""
        ...

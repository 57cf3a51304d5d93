"""What the node needs of its store (design 9): a chain, records, payloads, each behind a narrow protocol of its own.

Who knows what: the chain side (`ChainSide`) knows blocks, records, and which payloads these name or pin; it knows nothing of
bytes. The payload store knows roots, sizes and bytes, and nothing of blocks; the round that it keeps with a payload it is told
and tells again. `bflcd.store.block_store.BlockStore` puts the two together, and what crosses them (pruning, sizes) is written
there and in `bflcd.store.pruner`, once. Conformance suites: `tests/conformance/test_*_store.py`.

Methods raise MachineError when disk or file fail (code: disk_full, io_error, damaged_store, locked). What the chain side returned
from without raising survives kill -9 and power loss. What the payload store returned from survives kill -9; power loss only once
`PayloadStore.make_durable` has named it (docs/adr/0015-durable-payloads.md).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bflcd.core.records import Head, Record, RoundRecords
from bflcd.errors import MachineError
from bflcd.ledger.state import State
from bflcd.params import BlobRef, Genesis
from bflcd.store.chain import Placed
from bflcd.store.pruning import Needs
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


class MissingPayloadError(LookupError):
    """Payloads that were to be made durable, or that a record relies on, are not complete: `roots`."""

    def __init__(self, roots: Sequence[Digest]) -> None:
        super().__init__(f"not complete here: payload {', '.join(map(short, roots))}")
        self.roots = tuple(roots)


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


@dataclass(frozen=True, slots=True)
class HeldPayload:
    """A payload held in full or in part.

    `number`: grows with each payload that comes, and is given once while the store is open; `begun`: the round that its last
    `start_blob` or `put_blob` named.
    """

    number: int
    root: Digest
    size: int
    begun: Round


class ChainStore(Protocol):
    """The chain and the ledger at its head."""

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

        The segment must be the head's successor, certificate and state its own (ValueError). It relies on no payload: a node
        that catches up fetches them later, or never. Returns when it is durable.
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


class RecordStore(Protocol):
    """What this node said and found in the undecided round."""

    async def persist(self, records: Sequence[Record]) -> None:
        """All of `records` in one durable transaction.

        A record that contradicts a stored one of the same place, or belongs to a decided round, raises InvariantError and
        stores nothing; the identical one is fine. An own offer or card pins the blobs that it names, a proposal its model and
        the blobs of its offers, without a Pin of their own. It knows nothing of whether these are held: see
        `BlockStore.persist`.
        """
        ...

    async def records(self, round_: Round) -> RoundRecords:
        """Records of an undecided round."""
        ...


class PayloadIndex(Protocol):
    """Which payloads blocks name and records pin, held or not: what pruning asks of the chain side."""

    async def needs(self) -> Needs:
        """Head, undecided rounds, and every pin."""
        ...

    async def pinned(self, first: Round) -> frozenset[Digest]:
        """Roots that a record of `first` or a later round pins."""
        ...

    async def named(self, roots: Sequence[Digest]) -> dict[Digest, Round]:
        """The newest round whose blocks name each of `roots`; those that no block names are left out."""
        ...

    async def placed(self, above: Height, below: Height | None, count: int) -> tuple[Placed, ...]:
        """Up to `count` payloads with heights above `above` and below `below`, the newest first, as the blocks name them."""
        ...

    async def height_before(self, round_: Round) -> Height:
        """The last height before `round_` whose block names a payload; 0 if there is none."""
        ...


class AddressBook(Protocol):
    """Where peers were met."""

    async def addresses(self) -> tuple[tuple[NodeId, str], ...]:
        """The address book, newest first."""
        ...

    async def remember_address(self, node: NodeId, address: str) -> None:
        """Add to the address book (bounded; the oldest goes)."""
        ...


class ChainSide(ChainStore, RecordStore, PayloadIndex, AddressBook, Protocol):
    """Everything but payloads. One object, since a commit drops the records and pins of its round in its own transaction."""

    def size_on_disk(self) -> int:
        """Bytes."""
        ...

    async def check(self, *, deep: bool) -> tuple[Damage, ...]:
        """Look for damage; `deep` reads every segment."""
        ...

    async def close(self) -> None:
        """Finish the running write and close. Idempotent."""
        ...


class PayloadReader(Protocol):
    """Payloads that are complete."""

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


class PayloadStore(PayloadReader, Protocol):
    """Payloads by their roots. Whatever it returned from survives kill -9; power loss takes all but what was made durable."""

    async def start_blob(self, manifest: Manifest, begun: Round) -> tuple[int, ...]:
        """Make room for a blob whose manifest was verified against its root, or note that it was begun anew; returns the chunk
        indices still missing."""
        ...

    async def put_chunk(self, root: Digest, index: int, data: bytes) -> bool:
        """Store a chunk that was verified against the manifest; True once the blob is complete. KeyError for a root that was
        not started, ValueError for an index or a length that its size rules out."""
        ...

    async def put_blob(self, data: bytes, begun: Round) -> BlobRef:
        """Store a whole payload made here. Idempotent."""
        ...

    async def make_durable(self, roots: Iterable[Digest]) -> None:
        """Return once every one of these payloads survives power loss, manifest and all chunks; until it is dropped, also
        if it is begun anew.

        MissingPayloadError, a LookupError, if one is not complete here: then nothing may be said that relies on it.
        """
        ...

    async def complete(self, roots: Sequence[Digest]) -> frozenset[Digest]:
        """Those of `roots` that are complete."""
        ...

    async def held(self, after: int = 0) -> tuple[HeldPayload, ...]:
        """All payloads whose number is above `after`, complete or not, by number."""
        ...

    async def entry(self, root: Digest) -> HeldPayload | None:
        """One payload, complete or not."""
        ...

    async def drop_some(self, payload: HeldPayload) -> bool:
        """Take away a part of what was listed as `payload`: incomplete from the first call on, so that a crash between leaves a
        payload to be fetched or dropped again. True if there is nothing more to do: it is gone, or was begun anew since."""
        ...

    async def return_space(self) -> int:
        """Give the space of dropped payloads back to the disk: bytes."""
        ...

    async def totals(self) -> tuple[int, int]:
        """Complete payloads, and their bytes."""
        ...

    def size_on_disk(self) -> int:
        """Bytes of files of its own."""
        ...

    async def check(self, *, deep: bool) -> tuple[Damage, ...]:
        """Look for damage; `deep` hashes every chunk."""
        ...

    async def close(self) -> None:
        """Finish the running write and close. Idempotent."""
        ...


class Upkeep(Protocol):
    """What crosses chain and payloads: dropping what nothing needs, and what is held of what blocks name."""

    async def unpublished(self) -> tuple[Digest, ...]:
        """Roots of blobs, complete or not, that no committed block names: updates of the running round, and leftovers."""
        ...

    async def drop_blob(self, root: Digest) -> None:
        """Drop a blob's bytes (refused by its specification, or damaged). If a committed block needs it, it counts as missing
        (`StoreStats.oldest_payload`) until it is fetched again. Idempotent."""
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

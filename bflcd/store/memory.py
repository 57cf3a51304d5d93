"""The block store in memory: the same semantics without a disk, for tests and simulations."""

from collections.abc import Sequence

from bflcd.core.records import Head, Pin, Record, RoundRecords
from bflcd.ledger.state import State, genesis_header
from bflcd.params import Genesis
from bflcd.store.block_store import BlockStore
from bflcd.store.chain import Placed, check_state, genesis_head, placed_payloads, successor, wrong_chain
from bflcd.store.memory_payloads import MemoryPayloads
from bflcd.store.protocol import MAX_ADDRESSES, Damage
from bflcd.store.pruning import Needs
from bflcd.store.records import Kind, Row, check_round, contradiction, pins_of, round_records, row_of
from bflcd.types import Digest, Height, NodeId, Round
from bflcd.wire.blocks import Certificate, CertifiedHeader, CertifiedSegment, Header, header_hash


class MemoryStore(BlockStore):
    """`BlockStore` in memory. What is durable in another store survives here as long as the object does."""

    def __init__(self) -> None:
        """An empty store."""
        super().__init__(MemoryChain(), MemoryPayloads())


class MemoryChain:
    """`ChainSide` in memory."""

    def __init__(self) -> None:
        """No chain yet."""
        self._genesis: Genesis | None = None
        self._head: Head | None = None
        self._segments: dict[Round, CertifiedSegment] = {}
        self._placed: list[Placed] = []
        self._records: dict[tuple[Round, Kind, bytes], Row] = {}
        self._pins: set[tuple[Round, Digest]] = set()
        self._addresses: dict[tuple[NodeId, str], None] = {}

    async def close(self) -> None:
        """See `ChainSide`. Nothing is lost: a restart in a simulation goes on with the same object."""

    def size_on_disk(self) -> int:
        """See `ChainSide`."""
        return 0

    async def check(self, *, deep: bool) -> tuple[Damage, ...]:  # noqa: ARG002 - memory is taken at its word
        """See `ChainSide`."""
        return ()

    async def genesis(self) -> Genesis | None:
        """See `ChainStore`."""
        return self._genesis

    async def initialise(self, genesis: Genesis, header: Header, state: State) -> None:
        """See `ChainStore`."""
        if self._genesis is not None:
            if self._genesis != genesis:
                raise wrong_chain("this store", self._genesis, genesis)
            return
        self._head = genesis_head(genesis, header, state)
        self._genesis = genesis
        if header.blob is not None:
            self._placed.append(Placed(header.height, header.round, header.blob.root))

    async def head(self) -> Head:
        """See `ChainStore`."""
        if self._head is None:
            raise LookupError("the store holds no chain yet: initialise it with a genesis")
        return self._head

    async def commit(self, certified: CertifiedSegment, state: State) -> None:
        """See `ChainStore`."""
        head = successor(await self.head(), certified, state)
        round_ = head.header.round
        self._segments[round_] = certified
        self._placed.extend(placed_payloads(certified))
        self._records = {key: row for key, row in self._records.items() if row.round >= round_}
        self._pins = {pin for pin in self._pins if pin[0] >= round_}
        self._head = head

    async def rewind(self, round_: Round, state: State) -> None:
        """See `ChainStore`."""
        if self._genesis is None or (round_ != 0 and round_ not in self._segments):
            raise ValueError(f"there is no model of round {round_} to return to")
        header = self._segments[round_].segment.model_header if round_ else genesis_header(self._genesis)
        check_state(header, state)
        self._segments = {number: held for number, held in self._segments.items() if number <= round_}
        self._placed = [item for item in self._placed if item.height <= header.height]
        self._records = {key: row for key, row in self._records.items() if row.round <= round_}
        self._pins = {pin for pin in self._pins if pin[0] <= round_}
        self._head = Head(header, header_hash(header), state)

    async def segment(self, round_: Round) -> CertifiedSegment | None:
        """See `ChainStore`."""
        return self._segments.get(round_)

    async def certificate(self, round_: Round) -> Certificate | None:
        """See `ChainStore`."""
        found = self._segments.get(round_)
        return None if found is None else found.certificate

    async def headers(self, first: Round, count: int) -> tuple[CertifiedHeader, ...]:
        """See `ChainStore`."""
        if first < 1 or count < 0:
            raise ValueError(f"certified headers begin with round 1, not {first}; count {count}")
        last = min(first + count - 1, len(self._segments))
        found = (self._segments[Round(round_)] for round_ in range(first, last + 1))
        return tuple(CertifiedHeader(item.segment.model_header, item.certificate) for item in found)

    async def persist(self, records: Sequence[Record]) -> None:
        """See `RecordStore`."""
        head = await self.head()
        rows: dict[tuple[Round, Kind, bytes], Row] = {}
        for record in records:
            check_round(record, head.header.round)
        for row in (row_of(record) for record in records if not isinstance(record, Pin)):
            key = (row.round, row.kind, row.place)
            held = self._records.get(key) or rows.get(key)
            if held is None:
                rows[key] = row
            elif held.digest != row.digest:
                raise contradiction(row, held.digest)
        pins = {(record.round, root) for record in records for root in pins_of(record)}
        self._records.update(rows)
        self._pins |= pins

    async def records(self, round_: Round) -> RoundRecords:
        """See `RecordStore`."""
        return round_records(row for row in self._records.values() if row.round == round_)

    async def needs(self) -> Needs:
        """See `PayloadIndex`."""
        undecided = frozenset(round_ for round_, _, _ in self._records) | {round_ for round_, _ in self._pins}
        return Needs((await self.head()).header.round, undecided, await self.pinned(Round(0)))

    async def pinned(self, first: Round) -> frozenset[Digest]:
        """See `PayloadIndex`."""
        return frozenset(root for round_, root in self._pins if round_ >= first)

    async def named(self, roots: Sequence[Digest]) -> dict[Digest, Round]:
        """See `PayloadIndex`."""
        newest: dict[Digest, Round] = {}
        for item in self._placed:
            newest[item.root] = max(item.round, newest.get(item.root, Round(0)))
        return {root: newest[root] for root in roots if root in newest}

    async def placed(self, above: Height, below: Height | None, count: int) -> tuple[Placed, ...]:
        """See `PayloadIndex`."""
        found = (item for item in reversed(self._placed) if item.height > above and (below is None or item.height < below))
        return tuple(found)[:count]

    async def height_before(self, round_: Round) -> Height:
        """See `PayloadIndex`."""
        return max((item.height for item in self._placed if item.round < round_), default=Height(0))

    async def addresses(self) -> tuple[tuple[NodeId, str], ...]:
        """See `AddressBook`."""
        return tuple(reversed(self._addresses))

    async def remember_address(self, node: NodeId, address: str) -> None:
        """See `AddressBook`."""
        self._addresses.pop((node, address), None)
        self._addresses[node, address] = None
        if len(self._addresses) > MAX_ADDRESSES:
            del self._addresses[next(iter(self._addresses))]

"""A small world of real cores in virtual time: network, disk and compute are the fakes, everything that decides is real."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from bflcd.core.core import Core
from bflcd.core.effects import (
    Aggregate,
    Blame,
    CatchUp,
    Commit,
    Effect,
    FetchBlob,
    FetchEnvelopes,
    FetchOperations,
    FetchSegment,
    FindModel,
    Notice,
    Persist,
    Score,
    Send,
    Train,
)
from bflcd.core.events import (
    Aggregated,
    BlobFetched,
    BlobMissing,
    Confirmed,
    EnvelopesFetched,
    Event,
    Instant,
    MessageReceived,
    ModelFound,
    OperationsFetched,
    Scored,
    SegmentFetched,
    Started,
    SyncChanged,
    Trained,
)
from bflcd.core.records import (
    Head,
    OfferRecord,
    OperationRecord,
    OwnRecord,
    PreparedRecord,
    ProposalRecord,
    RecoveryRecord,
    RoundRecords,
    VoteRecord,
)
from bflcd.core.signing_guard import SigningGuard
from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.crypto.identity import Identity
from bflcd.errors import InvariantError
from bflcd.learn.protocol import ScoreResult, UpdateScore
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.net.verified import VerifiedEnvelopes
from bflcd.params import BlobRef, Genesis
from bflcd.types import Digest, MicroNats, Millis, NodeId, PartsPerMillion, Round
from bflcd.wire.blocks import CertifiedSegment, header_hash
from bflcd.wire.operation import Operation
from bflcd.wire.tensors import payload_size, update_label

EPOCH_WALL = 1_700_000_000_000
KINDS = (VoteRecord, PreparedRecord, OwnRecord, ProposalRecord, OperationRecord, RecoveryRecord, OfferRecord)


@dataclass
class Disk:
    """What one node has made durable."""

    head: Head
    segments: dict[int, CertifiedSegment] = field(default_factory=dict)
    records: dict[int, list[object]] = field(default_factory=dict)

    def persist(self, records: tuple[object, ...]) -> None:
        for record in records:
            kept = self.records.setdefault(record.round, [])
            if isinstance(record, VoteRecord):
                place = [
                    r
                    for r in kept
                    if isinstance(r, VoteRecord) and (r.epoch, r.view, r.phase) == (record.epoch, record.view, record.phase)
                ]
                if any(r.digest != record.digest for r in place):
                    raise InvariantError("a second vote in one place")
            if isinstance(record, OwnRecord) and any(
                isinstance(r, OwnRecord) and (r.epoch, r.phase) == (record.epoch, record.phase) and r.envelope != record.envelope
                for r in kept
            ):
                raise InvariantError("a second offer or card in one round")
            kept.append(record)

    def found(self, round_: int) -> RoundRecords:
        kept = self.records.get(round_, [])
        return RoundRecords(*(tuple(r for r in kept if isinstance(r, kind)) for kind in KINDS))


class World:
    """Nodes, a seeded event heap, virtual milliseconds. `drop(sender, receiver, now)` decides what is lost."""

    def __init__(self, genesis: Genesis, identities: list[Identity], seed: int = 0) -> None:
        self.genesis = genesis
        self.identities = {identity.node_id: identity for identity in identities}
        self.rng = Random(seed)
        self.now = 0
        self.heap: list[tuple[int, int, NodeId, Event]] = []
        self.count = 0
        self.drop: Callable[[NodeId, NodeId, int], bool] = lambda _s, _r, _n: False
        self.train_ms: Callable[[NodeId], int] = lambda _: 200
        self.rate: Callable[[NodeId], int] = lambda _: 1_000
        """KiB/s at which an uploader's update is pulled."""
        self.lacks: Callable[[NodeId, BlobRef], bool] = lambda _node, _blob: False
        """Whether nobody gives a node this payload."""
        self.delay: Callable[[], int] = lambda: self.rng.randint(2, 30)
        self.following: frozenset[NodeId] = frozenset()
        """Who only follows the chain."""
        self.blames: list[Blame] = []
        self.notices: list[tuple[int, NodeId, str]] = []
        self.disks: dict[NodeId, Disk] = {}
        self.cores: dict[NodeId, Core] = {}
        self.decided: dict[int, Digest] = {}
        self.verified = VerifiedEnvelopes()
        header, state = genesis_header(genesis), genesis_state(genesis)
        for node in self.identities:
            self.disks[node] = Disk(Head(header, header_hash(header), state))

    # -- life and death -----------------------------------------------------------------------------------------------

    def wipe(self, node: NodeId) -> None:
        """Lose everything that the node had made durable."""
        header, state = genesis_header(self.genesis), genesis_state(self.genesis)
        self.disks[node] = Disk(Head(header, header_hash(header), state))

    def catch_up(self, node: NodeId) -> None:
        """Feed a node every segment that the others have, as its runtime would."""
        self.feed(node, SyncChanged(active=True))
        ahead = max(self.disks.values(), key=lambda disk: disk.head.state.round)
        for round_ in range(self.round_of(node) + 1, ahead.head.state.round + 1):
            self.feed(node, SegmentFetched(ahead.segments[round_], node))
        self.feed(node, SyncChanged(active=False))

    def start(self, node: NodeId, *, fresh: bool = False, told: bool = True) -> None:
        """`fresh`: it knows nothing of what it signed; `told`: but hears at once where the others stand."""
        disk, identity = self.disks[node], self.identities[node]
        round_ = disk.head.state.round
        core = Core(
            self.genesis,
            disk.head,
            identity,
            self.verified.verify_once,
            identity.seed,
            guard=SigningGuard(in_doubt=fresh),
            last=disk.segments[round_].certificate if round_ else None,
            train=node not in self.following,
        )
        self.cores[node] = core
        self.feed(node, Started(disk.found(round_)))
        if fresh and told:
            self.feed(node, Confirmed(Round(max(self.rounds()))))

    def start_all(self) -> None:
        for node in self.identities:
            self.start(node)

    def kill(self, node: NodeId) -> None:
        self.cores.pop(node, None)
        self.heap = [item for item in self.heap if item[2] != node]
        heapq.heapify(self.heap)

    # -- time ---------------------------------------------------------------------------------------------------------

    def instant(self) -> Instant:
        return Instant(Millis(self.now), Millis(EPOCH_WALL + self.now))

    def post(self, node: NodeId, event: Event, after: int) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.now + after, self.count, node, event))

    def feed(self, node: NodeId, event: Event) -> None:
        core = self.cores.get(node)
        if core is not None:
            self.carry_out(node, core.handle(event, self.instant()))

    def run_until(self, done: Callable[[], bool], limit: int) -> bool:
        """Run until `done`, at most `limit` virtual milliseconds from now; whether it was reached."""
        end = self.now + limit
        while not done():
            deadlines = [(d, node) for node, core in self.cores.items() if (d := core.deadline(self.instant())) is not None]
            next_tick = max(self.now + 1, min(deadlines)[0]) if deadlines else None
            next_event = self.heap[0][0] if self.heap else None
            times = [t for t in (next_tick, next_event) if t is not None]
            if not times or min(times) > end:
                self.now = end
                return done()
            if next_event is not None and (next_tick is None or next_event <= next_tick):
                at, _, node, event = heapq.heappop(self.heap)
                self.now = max(self.now, at)
                self.feed(node, event)
            else:
                assert next_tick is not None
                self.now = next_tick
                for at, node in deadlines:
                    if at <= self.now and node in self.cores:
                        self.carry_out(node, self.cores[node].tick(self.instant()))
        return True

    def round_of(self, node: NodeId) -> int:
        return self.disks[node].head.state.round

    def rounds(self) -> list[int]:
        return [self.round_of(node) for node in self.cores]

    # -- effects ------------------------------------------------------------------------------------------------------

    def carry_out(self, node: NodeId, effects: list[Effect]) -> None:
        for effect in effects:
            if node not in self.cores:
                return
            for event, after in self.answer(node, effect):
                self.post(node, event, after)

    def answer(self, node: NodeId, effect: Effect) -> Iterator[tuple[Event, int]]:
        disk, core = self.disks[node], self.cores[node]
        match effect:
            case Persist(records):
                disk.persist(records)
            case Send(message, to):
                for other in to or tuple(self.cores):
                    if other in self.cores and other != node and not self.drop(node, other, self.now):
                        self.post(other, MessageReceived(message, node), self.delay())
            case Commit(certified, state):
                header = certified.segment.model_header
                assert state.round == disk.head.state.round + 1, "the chain grows by one"
                hash_ = header_hash(header)
                assert self.decided.setdefault(state.round, hash_) == hash_, f"fork at round {state.round}"
                disk.segments[state.round] = certified
                disk.head = Head(header, hash_, state)
                disk.records.pop(state.round - 1, None)
            case Train(round_, model, seed):
                label = update_label(core.context.state.chain, round_, node)
                root = digest(Domain.PRIVATE, b"update", node, integer(round_), model.root)
                size = payload_size(self.genesis.task.tensors, label)
                yield Trained(round_, BlobRef(root, size), 100 + seed % 7, 0.5), self.train_ms(node)
            case Score(round_, _, offers, _):
                scores = tuple(
                    UpdateScore(key, MicroNats(1000 * 4 ** (blob.root[0] % 5)), PartsPerMillion(500_000), 4096)
                    for key, blob, _ in offers
                )
                yield (
                    Scored(round_, ScoreResult(MicroNats(2_000_000), PartsPerMillion(400_000), scores, (), 0.0, 256, 256)),
                    20 * len(offers),
                )
            case FetchBlob(blob, _, _, label) if self.lacks(node, blob):
                yield BlobMissing(blob.root, label, refused=False, text="nobody gave it"), self.delay()
            case FetchBlob(blob, _, _, label):
                uploader = None if label is None else NodeId(bytes.fromhex(label.rpartition(":")[2]))
                yield BlobFetched(blob.root, 0 if uploader is None else self.rate(uploader)), self.delay()
            case FetchEnvelopes(round_, digests, source):
                other = self.cores.get(source)
                found: tuple[object, ...] = ()
                if other is not None and not self.drop(node, source, self.now) and other.context.round == round_:
                    found = tuple(held for d in digests if (held := other.signed_message(d)) is not None)
                yield EnvelopesFetched(round_, found, source), self.delay()
            case FetchOperations(round_, ids, source):
                other = self.cores.get(source)
                pieces: tuple[Operation, ...] = ()
                if other is not None and not self.drop(node, source, self.now):
                    pieces = tuple(piece for id_ in ids if (piece := other.operation(id_)) is not None)
                yield OperationsFetched(round_, pieces, source), self.delay()
            case FindModel(round_, of):
                yield ModelFound(round_, of, disk.segments[of].segment.model_header.blob), 0
            case FetchSegment(round_, holders):
                for other in (*holders, *self.cores):
                    certified = self.disks[other].segments.get(round_) if other in self.cores else None
                    if certified is not None and not self.drop(node, other, self.now) and not self.drop(other, node, self.now):
                        yield SegmentFetched(certified, other), self.delay()
                        return
            case Aggregate(key, _, _, _, updates, _):
                root = digest(Domain.BLOB, *[blob.root for _, blob, _ in updates], *[integer(w) for w, _, _ in updates])
                yield Aggregated(key, BlobRef(root, self.genesis.model.size)), 5
            case CatchUp(round_, peer):
                target = self.round_of(node) + 1
                certified = self.disks[peer].segments.get(target) if peer in self.cores else None
                if certified is not None:
                    yield SegmentFetched(certified, peer), self.delay()
            case Blame():
                self.blames.append(effect)
            case Notice(_, text):
                self.notices.append((self.now, node, text))


def leader_of(world: World) -> NodeId:
    """Leader of view 0 of the round that the first node stands in."""
    core = next(iter(world.cores.values()))
    return core.context.instance.leader(0)  # type: ignore[arg-type]


def newest(world: World) -> Round:
    return Round(max(world.rounds()))

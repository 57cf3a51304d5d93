"""Chains for store tests: genesis, segments and records built from the wire's classes. Nothing of it obeys the rules of a round."""

from dataclasses import dataclass, replace
from hashlib import shake_256
from typing import Self

from bflcd.consensus.events import Prepared
from bflcd.core.records import (
    OfferRecord,
    OperationRecord,
    OwnRecord,
    PreparedRecord,
    ProposalRecord,
    Record,
    RecoveryRecord,
    VoteRecord,
)
from bflcd.crypto.hashing import Domain, digest, root_of
from bflcd.crypto.identity import Identity
from bflcd.ledger.operations.evidence import evidence_of
from bflcd.ledger.state import State, genesis_header, genesis_state, state_hash
from bflcd.params import BlobRef, Genesis, GenesisMember, Params, TaskSpec, TensorSpec
from bflcd.store.blobs import manifest_of
from bflcd.store.block_store import BlockStore
from bflcd.store.protocol import ChainStore
from bflcd.types import Amount, Digest, Epoch, Height, Millis, NodeId, Round, View
from bflcd.wire.blocks import (
    KIND_MODEL,
    KIND_UPDATE,
    Certificate,
    CertifiedSegment,
    Header,
    ModelBody,
    ModelFields,
    Segment,
    UpdateBody,
    body_hash,
    chain_id_of,
    header_hash,
    segment_digest,
)
from bflcd.wire.codec import number_of
from bflcd.wire.envelope import Envelope, Signed, payload_digest, seal
from bflcd.wire.messages import CardEntry, Commit, Offer, Prepare, Proposal, ScoreCard
from bflcd.wire.operation import Operation
from bflcd.wire.recovery import PreparedClaim, PreparedProof, Recovery, RecoveryCertificate
from tests.helpers.ledger import NO_PROOF

IDENTITIES = tuple(sorted((Identity(bytes([number]) * 32) for number in range(1, 6)), key=lambda identity: identity.node_id))
PLACES = 2
COMMITTEE_HASH = Digest(b"c" * 32)
VACANT = UpdateBody(None, None, None, None)


def payload(name: str, size: int = 300) -> bytes:
    """Bytes of which no stretch occurs twice, in this payload or in one of another name."""
    return shake_256(name.encode()).digest(size)


def ref(data: bytes) -> BlobRef:
    return BlobRef(root_of(data), len(data))


def make_genesis(name: str = "store") -> Genesis:
    ids = tuple(identity.node_id for identity in IDENTITIES)
    return Genesis(
        name=name,
        time=Millis(1_000),
        params=Params(places=PLACES, small_community=True),
        task=TaskSpec(factory="digits", options=(), tensors=(TensorSpec("w", (2,), "F32"),)),
        managers=ids[:1],
        members=tuple(GenesisMember(node, Amount(100)) for node in ids),
        committee=ids[:4],
        pool=Amount(10),
        model=ref(payload("model 0")),
    )


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain as seen from its newest model block: what it takes to make the next segment."""

    genesis: Genesis
    header: Header
    state: State

    @classmethod
    def start(cls, name: str = "store") -> Self:
        genesis = make_genesis(name)
        return cls(genesis, genesis_header(genesis), genesis_state(genesis))

    @property
    def round(self) -> Round:
        return self.header.round

    def next(self, model: bytes | None, *updates: bytes) -> tuple["Chain", CertifiedSegment]:
        """The chain one round later, and the certified segment between. No model: an empty round, which keeps the parent's."""
        blobs = [ref(data) for data in updates] + [None] * (PLACES - len(updates))
        headers: list[Header] = []
        parent, height = header_hash(self.header), self.header.height
        time = Millis(self.header.time + 1)
        for blob in blobs:
            height = Height(height + 1)
            header = Header(self.header.chain, height, self.round, KIND_UPDATE, parent, body_hash(VACANT), blob, time, None)
            headers.append(header)
            parent = header_hash(header)
        lot = digest(Domain.LOT, self.state.lot)
        state = replace(self.state, round=Round(self.round + 1), time=time, lot=lot)
        body = ModelBody((make_card(self.round).envelope,), "fedavg", tuple(1 for _ in updates), ())
        fields = ModelFields(Epoch(0), View(0), NO_PROOF, lot, state_hash(state), state.committee, degraded=False)
        blob = self.header.blob if model is None else ref(model)
        header = Header(
            self.header.chain, Height(height + 1), state.round, KIND_MODEL, parent, body_hash(body), blob, time, fields
        )
        segment = Segment((*headers, header), tuple(VACANT for _ in blobs), body)
        certificate = Certificate(
            self.header.chain,
            self.round,
            Epoch(0),
            View(0),
            header_hash(self.header),
            COMMITTEE_HASH,
            segment_digest(segment),
            tuple((identity.node_id, identity.sign(b"commit")) for identity in IDENTITIES[:3]),
        )
        return Chain(self.genesis, header, state), CertifiedSegment(segment, certificate)


def round_payloads(round_: int, size: int = 300) -> tuple[bytes, bytes, bytes]:
    """Model after the round, then its two updates."""
    return tuple(payload(f"{kind} {round_}", size) for kind in ("model after", "update a", "update b"))  # type: ignore[return-value]


async def begin_chain(store: ChainStore, name: str = "store") -> Chain:
    """A chain side with block 0."""
    chain = Chain.start(name)
    await store.initialise(chain.genesis, chain.header, chain.state)
    return chain


async def extend_chain(store: ChainStore, chain: Chain, rounds: int, size: int = 300) -> tuple[Chain, list[CertifiedSegment]]:
    """Commit that many full rounds, whose payloads are nowhere."""
    committed = []
    for _ in range(rounds):
        chain, certified = chain.next(*round_payloads(chain.round, size))
        await store.commit(certified, chain.state)
        committed.append(certified)
    return chain, committed


async def begin(store: BlockStore, name: str = "store") -> Chain:
    """A store with block 0 and the model of round 0."""
    await store.put_blob(payload("model 0"))
    return await begin_chain(store, name)


async def extend(store: BlockStore, chain: Chain, rounds: int, size: int = 300) -> tuple[Chain, list[CertifiedSegment]]:
    """Commit that many full rounds with all their blobs."""
    committed = []
    for _ in range(rounds):
        for data in round_payloads(chain.round, size):
            await store.put_blob(data)
        chain, certified = await extend_chain(store, chain, 1, size)
        committed += certified
    return chain, committed


def make_card(round_: Round, *roots: Digest) -> Signed[ScoreCard]:
    entries = tuple(CardEntry(IDENTITIES[4].node_id, Digest(root[::-1]), root, 0, 0, 1, 0) for root in roots)  # type: ignore[arg-type]
    chain = chain_id_of(make_genesis())
    card = ScoreCard(chain, round_, Epoch(0), Digest(bytes(32)), COMMITTEE_HASH, None, None, entries, ())
    return seal(card, IDENTITIES[0])


def make_offer(round_: Round, blob: BlobRef, samples: int = 1) -> Signed[Offer]:
    chain = chain_id_of(make_genesis())
    return seal(Offer(chain, round_, Epoch(0), Digest(bytes(32)), COMMITTEE_HASH, blob, samples), IDENTITIES[4])


def make_vote(
    round_: int, digest: bytes = b"d" * 32, *, view: int = 0, epoch: int = 0, kind: type[Prepare | Commit] = Prepare
) -> VoteRecord:
    """The first identity's vote."""
    chain = chain_id_of(make_genesis())
    made_from = (Digest(digest),) if kind is Prepare else ()
    body = kind(chain, Round(round_), Epoch(epoch), View(view), Digest(bytes(32)), COMMITTEE_HASH, Digest(digest), *made_from)
    envelope = seal(body, IDENTITIES[0]).envelope
    return VoteRecord(Round(round_), Epoch(epoch), View(view), number_of(kind), Digest(digest), envelope)


def make_prepared(round_: int, *, view: int = 0, epoch: int = 0, digest: bytes = b"d" * 32) -> PreparedRecord:
    proposal = Proposal(Epoch(epoch), View(view), NO_PROOF, Millis(5), (Digest(b"1" * 32), Digest(b"2" * 32)))
    prepares = tuple(make_vote(round_, digest, view=view, epoch=epoch).envelope for _ in range(3))
    return PreparedRecord(Round(round_), Epoch(epoch), Prepared(View(view), Digest(digest), proposal, prepares))


def own_offer(round_: int, blob: BlobRef, samples: int = 1) -> OwnRecord:
    return OwnRecord(Round(round_), Epoch(0), number_of(Offer), make_offer(Round(round_), blob, samples).envelope)


def own_card(round_: int, *roots: Digest) -> OwnRecord:
    return OwnRecord(Round(round_), Epoch(0), number_of(ScoreCard), make_card(Round(round_), *roots).envelope)


def make_recovery(round_: int, *, epoch: int = 1, prepared: PreparedProof | None = None) -> RecoveryCertificate:
    """One manager's recovery of a round."""
    committee = tuple(identity.node_id for identity in IDENTITIES[:4])
    chain, gone = chain_id_of(make_genesis()), (IDENTITIES[4].node_id,)
    named = None if prepared is None else prepared.claim.digest
    body = Recovery(chain, Round(round_), Epoch(epoch), Digest(bytes(32)), committee, gone, named)
    return RecoveryCertificate(body, prepared, ((IDENTITIES[0].node_id, seal(body, IDENTITIES[0]).envelope.signature),))


def make_proof(round_: int, digest: bytes = b"d" * 32) -> PreparedProof:
    """As managers carry the prepared certificate of `make_prepared`."""
    prepared = make_prepared(round_, digest=digest).prepared
    committee = tuple(identity.node_id for identity in IDENTITIES[:4])
    pairs = tuple(sorted({(vote.author, vote.signature) for vote in prepared.prepares}))
    return PreparedProof(PreparedClaim(Epoch(0), committee, prepared.view, prepared.digest, prepared.proposal), pairs)


def own_recovery(round_: int, *, epoch: int = 1) -> OwnRecord:
    """What a manager has signed."""
    body = make_recovery(round_, epoch=epoch).recovery
    return OwnRecord(Round(round_), Epoch(epoch), number_of(Recovery), seal(body, IDENTITIES[0]).envelope)


def recovery_record(round_: int, *, epoch: int = 1, prepared: PreparedProof | None = None) -> RecoveryRecord:
    return RecoveryRecord(Round(round_), make_recovery(round_, epoch=epoch, prepared=prepared))


def make_evidence(round_: int, *digests: bytes) -> Operation:
    """Two votes of the first identity in one place."""
    one, other = digests or (b"d" * 32, b"e" * 32)
    return evidence_of(make_vote(round_, one).envelope, make_vote(round_, other).envelope)


def evidence_record(round_: int, *digests: bytes) -> OperationRecord:
    return OperationRecord(Round(round_), make_evidence(round_, *digests))


def make_proposal(round_: int, model: BlobRef, *offered: BlobRef, digest: bytes = b"d" * 32) -> ProposalRecord:
    cards = (make_card(Round(round_)).envelope,)
    offers = tuple(make_offer(Round(round_), blob).envelope for blob in offered)
    proposal = Proposal(Epoch(0), View(0), NO_PROOF, Millis(5), tuple(payload_digest(card) for card in cards))
    return ProposalRecord(Round(round_), Digest(digest), proposal, cards, offers, model)


def all_kinds(round_: int, model: BlobRef, update: BlobRef) -> tuple[Record, ...]:
    """One record of every kind."""
    return (
        make_vote(round_),
        make_vote(round_, kind=Commit),
        make_prepared(round_),
        own_offer(round_, update),
        own_card(round_, update.root),
        own_recovery(round_),
        make_proposal(round_, model, update),
        replace(make_proposal(round_, model, update, digest=b"e" * 32), operations=(make_evidence(round_),)),
        evidence_record(round_),
        recovery_record(round_, prepared=make_proof(round_)),
        OfferRecord(Round(round_), make_offer(Round(round_), update, 2).envelope),
    )


async def put_in_chunks(store: BlockStore, data: bytes) -> BlobRef:
    """Store a blob as if it came from a peer."""
    manifest = manifest_of(data)
    for index in await store.start_blob(manifest):
        await store.put_chunk(manifest.blob.root, index, data[index * 2**20 : (index + 1) * 2**20])
    return manifest.blob


def envelope_of(record: VoteRecord | OwnRecord) -> Envelope:
    return record.envelope


def node(number: int) -> NodeId:
    return NodeId(number.to_bytes(32, "big"))

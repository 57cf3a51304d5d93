"""The walk over a chain that is held here: everything that can be checked without asking anyone (design 11).

From the genesis on, for each round: links and numbering, the certificate under the committee that the header before it names,
the segment applied to the ledger anew, its state hash, and where managers went back that the model is that of the round that they
named. Then the payloads that are held: their hashes, and, where a round's model and updates are all there, the aggregate itself.
The first thing in the chain that doesn't hold ends the walk, since
nothing above it can be believed; a damaged payload is named and the walk goes on.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Final, Protocol

from bflcd.api.history import base_of, rolled_back_to
from bflcd.consensus.certificate import verify_chain
from bflcd.crypto.hashing import root_of
from bflcd.errors import MachineError, PeerError
from bflcd.inspect.deciding import check_proved, decide_anew
from bflcd.learn.aggregate import WeightedUpdate, aggregate
from bflcd.ledger.state import State, genesis_header, genesis_state
from bflcd.params import MILLION, BlobRef, Genesis
from bflcd.store.protocol import Damage
from bflcd.types import ZERO_DIGEST, Digest, NodeId, Round, short
from bflcd.wire.blocks import CertifiedHeader, CertifiedSegment, Header, ModelBody, Segment, chain_id_of, header_hash
from bflcd.wire.envelope import open_envelope, verify_envelope
from bflcd.wire.messages import Offer
from bflcd.wire.rollback import RULE
from bflcd.wire.tensors import update_label

MAX_FINDINGS: Final = 100
"""Findings that are reported; a disk that is lost has millions."""


class ChainReader(Protocol):
    """What the walk reads: parts of the protocols in `bflcd.store.protocol`."""

    async def genesis(self) -> Genesis | None:
        """The chain's genesis."""
        ...

    async def segment(self, round_: Round) -> CertifiedSegment | None:
        """The segment whose model header says `round_`."""
        ...

    async def headers(self, first: Round, count: int) -> tuple[CertifiedHeader, ...]:
        """Certified model headers."""
        ...

    async def blob(self, root: Digest) -> bytes | None:
        """A payload, its hash verified; a damaged one raises MachineError."""
        ...

    async def check(self, *, deep: bool) -> tuple[Damage, ...]:
        """The store's own check."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be."""

    where: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """How far the walk is."""

    step: str
    round: int


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What the walk found. `round` and `height` are those of the last block that holds.

    `payloads` were held and read, `missing` are named by blocks and not held; `model_held`: the newest model's payload is held.
    `aggregates` were computed anew and agree; `rollbacks`: rounds in which managers went back to an older model; `headers_only`
    rounds are proved by their certificates alone, since their segments are not held.
    """

    chain_id: str
    round: int
    height: int
    head_hash: str
    state_hash: str
    model_hash: str
    accuracy: float | None
    accuracy_round: int | None
    headers_only: int
    payloads: int
    payload_bytes: int
    missing: int
    model_held: bool
    aggregates: int
    rollbacks: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Nothing was found."""
        return not self.findings


@dataclass(slots=True)
class _Walk:
    """Where the walk stands. `state` is None from the first round on whose segment is not held; `managers`: the last known."""

    genesis: Genesis
    header: Header
    state: State | None
    managers: tuple[NodeId, ...]
    model: bytes | None = None
    accuracy: float | None = None
    accuracy_round: int | None = None
    headers_only: int = 0
    payloads: int = 0
    payload_bytes: int = 0
    missing: int = 0
    aggregates: int = 0
    rollbacks: int = 0
    models: list[Digest] = field(default_factory=list)
    """Of each round, by its header; what managers go back to is among them."""
    findings: list[Finding] = field(default_factory=list)

    def find(self, where: str, text: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(where, text))

    def report(self) -> VerifyReport:
        header = self.header
        return VerifyReport(
            chain_id=chain_id_of(self.genesis).hex(),
            round=header.round,
            height=header.height,
            head_hash=header_hash(header).hex(),
            state_hash=header.model.state.hex() if header.model is not None else "",
            model_hash=header.blob.root.hex() if header.blob is not None else "",
            accuracy=self.accuracy,
            accuracy_round=self.accuracy_round,
            headers_only=self.headers_only,
            payloads=self.payloads,
            payload_bytes=self.payload_bytes,
            missing=self.missing,
            model_held=self.model is not None,
            aggregates=self.aggregates,
            rollbacks=self.rollbacks,
            findings=tuple(self.findings),
        )


async def verify_store(store: ChainReader, *, deep: bool) -> AsyncGenerator[CheckProgress | VerifyReport, None]:
    """Yield progress, and last the report. `deep` also reads every chunk row, of offers that lost too.

    Raises MachineError if there is no genesis, or none that can be read.
    """
    genesis = await store.genesis()
    if genesis is None:
        raise MachineError("the store has no genesis", hint="start the node once: it then fetches it", code="no_genesis")
    walk = _Walk(genesis, genesis_header(genesis), genesis_state(genesis), genesis.managers)
    yield CheckProgress("checking the file", 0)
    for damage in await store.check(deep=deep):
        walk.find(damage.where, damage.text)
    walk.model = await _payload(store, walk, genesis.model, "the model of round 0")
    walk.models.append(genesis.model.root)
    round_ = Round(1)
    while await _step(store, walk, round_):
        yield CheckProgress("walking the chain", round_)
        round_ = Round(round_ + 1)
    yield walk.report()


async def _step(store: ChainReader, walk: _Walk, round_: Round) -> bool:
    """Check the segment that ends in `round_`; False at the head, or where nothing more can be believed."""
    try:
        certified = await store.segment(round_)
        if certified is None:
            return await _header_step(store, walk, round_)
        parent = walk.header
        await asyncio.to_thread(_check_segment, walk, certified)
    except (PeerError, MachineError) as error:
        walk.find(f"round {round_}", str(error))
        return False
    await _check_payloads(store, walk, parent, certified)
    return True


async def _header_step(store: ChainReader, walk: _Walk, round_: Round) -> bool:
    """The round by its certified header alone, where the segment is not held."""
    found = await store.headers(round_, 1)
    if not found:
        return False
    walk.header = await asyncio.to_thread(verify_chain, walk.header, found, walk.genesis.params, walk.managers, verify_envelope)
    walk.headers_only += 1
    walk.state = None
    blob = walk.header.blob
    walk.models.append(ZERO_DIGEST if blob is None else blob.root)
    walk.model = None if blob is None else await _payload(store, walk, blob, f"the model of round {round_}")
    return True


def _check_segment(walk: _Walk, certified: CertifiedSegment) -> None:
    """Certificate, links, numbering, the ledger. Raises PeerError, MachineError at the first thing that is wrong."""
    segment = certified.segment
    header = check_proved(walk.genesis, walk.managers, walk.header, certified)
    if walk.state is not None:
        walk.state = decide_anew(walk.genesis, walk.header, walk.state, certified).state
        walk.managers = walk.state.managers
    base = base_of([card.payload for card in segment.model.cards])
    if base is not None:
        walk.accuracy, walk.accuracy_round = base[1] / MILLION, walk.header.round
    walk.header = header
    _note_model(walk, segment)


def _note_model(walk: _Walk, segment: Segment) -> None:
    """Remember the round's model, and hold one that managers went back to against the round that they named."""
    blob, target = segment.model_header.blob, rolled_back_to(segment.model)
    if target is not None and blob is not None:
        walk.rollbacks += 1
        if blob.root != (walk.models[target] if target < len(walk.models) else None):
            walk.find(
                f"block #{segment.model_header.height}", f"its model is not that of round {target}, to which managers went back"
            )
    walk.models.append(ZERO_DIGEST if blob is None else blob.root)


async def _check_payloads(store: ChainReader, walk: _Walk, parent: Header, certified: CertifiedSegment) -> None:
    """Hashes of the payloads that the segment names, and the aggregate if all of them are held."""
    segment = certified.segment
    offers = [open_envelope(update.offer, (Offer,)) for update in segment.updates if update.offer is not None]
    payloads: list[bytes | None] = []
    for offer in offers:
        where = f"the update of {short(offer.author)} in round {parent.round}"
        payloads.append(await _payload(store, walk, offer.body.blob, where))
    base, blob = walk.model, segment.model_header.blob
    if blob is None:
        return
    walk.model = base if parent.blob == blob else await _payload(store, walk, blob, f"the model of round {parent.round + 1}")
    if base is None or None in payloads or segment.model.rule == RULE:
        return
    chain = chain_id_of(walk.genesis)
    labels = [update_label(chain, parent.round, offer.author) for offer in offers]
    updates = [
        WeightedUpdate(weight, label, payload)
        for weight, label, payload in zip(segment.model.weights, labels, payloads, strict=True)
        if payload is not None
    ]
    try:
        root = await asyncio.to_thread(_aggregate_root, walk.genesis, segment.model, base, updates)
    except PeerError as error:
        walk.find(f"round {parent.round}", f"an update can't be aggregated: {error}")
        return
    if root != blob.root:
        walk.find(f"block #{segment.model_header.height}", "its model is not the aggregate of the round's updates")
        return
    walk.aggregates += 1


def _aggregate_root(genesis: Genesis, body: ModelBody, base: bytes, updates: list[WeightedUpdate]) -> Digest:
    return root_of(aggregate(body.rule, base, updates, genesis.task.tensors, body.step_limit))


async def _payload(store: ChainReader, walk: _Walk, blob: BlobRef, where: str) -> bytes | None:
    """A payload with its hash checked by the store; None, and counted, where it is not held or damaged."""
    try:
        data = await store.blob(blob.root)
    except MachineError as error:
        walk.find(where, str(error))
        return None
    if data is None:
        walk.missing += 1
        return None
    walk.payloads += 1
    walk.payload_bytes += len(data)
    return data

"""Answers to what peers ask of the chain and of the running round, and who may see which blob."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from bflcd.consensus.events import Prepared
from bflcd.consensus.recovery import proof_of
from bflcd.core.core import Core
from bflcd.core.events import Instant, OperationSaid
from bflcd.core.records import RoundRecords
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.alliance.fees import owed_text
from bflcd.ledger.alliance.membership import Membership, membership_of
from bflcd.ledger.operations.admitting import ADMIT
from bflcd.ledger.operations.application import check_operation
from bflcd.ledger.operations.applying import APPLY
from bflcd.ledger.operations.vouching import JOIN
from bflcd.ledger.quorum import quorum
from bflcd.ledger.state import State
from bflcd.net.exchange import Handlers
from bflcd.node.load.shedding import others_can_answer
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.store.protocol import ChainStore, RecordStore
from bflcd.types import MAX_COMMITTEE, ZERO_DIGEST, Digest, Epoch, NodeId, short
from bflcd.wire.codec import encode
from bflcd.wire.envelope import verify_envelope
from bflcd.wire.messages import ClosedBy
from bflcd.wire.operation import MAX_OPERATIONS_BYTES, Operation
from bflcd.wire.recovery import PreparedProof, ProposalBasis
from bflcd.wire.requests import (
    Envelopes,
    GenesisReply,
    GetEnvelopes,
    GetGenesis,
    GetHeaders,
    GetMembership,
    GetOperations,
    GetPrepared,
    GetSegment,
    Headers,
    MembershipReply,
    OperationsReply,
    PreparedReply,
    Request,
    SegmentReply,
)

CHAIN_REQUESTS: Final = (GetGenesis, GetHeaders, GetSegment, GetEnvelopes, GetOperations, GetPrepared, GetMembership)
"""What is asked of a chain and its running round."""

_OF_STRANGERS: Final = {APPLY.name: "its application waits for its block", JOIN.name: "what it joins by waits for its block"}
"""Kinds of operations that a stranger may hand in, and what it is told then."""

MAX_ENVELOPE_BYTES: Final = 16 * 1024 * 1024
"""Cards of one answer, together: below the reply's own limit."""


class Served(ChainStore, RecordStore, Protocol):
    """What peers are told of the store."""


class ChainService:
    """Serves the chain from the store, and the running round from the core."""

    def __init__(
        self,
        core: Core,
        store: Served,
        unpublished: Unpublished,
        say: Callable[[OperationSaid], Awaitable[None]],
        clock: Callable[[], Instant],
    ) -> None:
        """`say` gives the core an operation, and waits for its effects."""
        self._clock = clock
        self._core = core
        self._say = say
        self._store = store
        self._unpublished = unpublished
        self._genesis: GenesisReply | None = None

    def handlers(self) -> Handlers:
        """What is answered, by the request's kind."""
        return {
            GetGenesis: self._answer_genesis,
            GetHeaders: self._answer_headers,
            GetSegment: self._answer_segment,
            GetEnvelopes: self._answer_envelopes,
            GetOperations: self._answer_operations,
            GetPrepared: self._answer_prepared,
            GetMembership: self._answer_membership,
        }

    def may_serve(self, peer: NodeId, root: Digest, closed: ClosedBy) -> bool:
        """Whether a member may have a blob: an unpublished update is for the committee of its round only (design 5.2).

        Raises PeerError: REFUSED for a member that owes, which gets none at all: it hears why; BUSY for a judge that asks before
        offers are closed, where updates are served late.
        """
        round_, context = self._unpublished.round_of(root), self._core.context
        if peer in context.owing:
            raise PeerError(Rejection.REFUSED, f"payloads are not for who owes: you owe {owed_text(context.state, peer)}")
        if round_ is None:
            return True
        if round_ != context.round or peer not in context.committee:
            return False
        if not self._core.serves_updates(closed):
            raise PeerError(Rejection.BUSY, "not yet: show that a quorum of judges takes no further offers")
        return True

    def others_can_answer(self, request: Request[Any]) -> bool:
        """As `shedding.others_can_answer`, in the running round."""
        return others_can_answer(request, self._core.context, self._unpublished)

    def _require_chain(self, chain: Digest) -> None:
        ours = self._core.context.state.chain
        if chain != ours:
            raise PeerError(Rejection.WRONG_CHAIN, f"this node is on chain {short(ours)}")

    async def _answer_genesis(self, _: NodeId, request: GetGenesis) -> GenesisReply:
        if request.chain != ZERO_DIGEST:
            self._require_chain(request.chain)
        if self._genesis is None:
            self._genesis = GenesisReply(self._core.context.genesis)  # the same one each time: it is encoded once
        return self._genesis

    async def _answer_headers(self, _: NodeId, request: GetHeaders) -> Headers:
        self._require_chain(request.chain)
        return Headers(await self._store.headers(request.first, request.count))

    async def _answer_segment(self, _: NodeId, request: GetSegment) -> SegmentReply:
        self._require_chain(request.chain)
        certified = await self._store.segment(request.round)
        if certified is None:
            raise PeerError(Rejection.UNAVAILABLE, f"the segment of round {request.round} is not committed here")
        return SegmentReply(certified)

    async def _answer_envelopes(self, peer: NodeId, request: GetEnvelopes) -> Envelopes:
        self._require_chain(request.chain)
        context = self._core.context
        if request.round != context.round:
            raise PeerError(Rejection.UNAVAILABLE, f"this node is in round {context.round}")
        if peer not in context.committee:
            raise PeerError(Rejection.NOT_COMMITTEE, "cards and offers of a running round are for its committee")
        found, size = [], 0
        for digest in request.digests[:MAX_COMMITTEE]:
            held = self._core.signed_message(digest)
            if held is not None and size < MAX_ENVELOPE_BYTES:
                found.append(held)
                size += len(held.payload)
        return Envelopes(tuple(found))

    async def _answer_operations(self, _: NodeId, request: GetOperations) -> OperationsReply:
        self._require_chain(request.chain)
        held = (self._core.operation(id_) for id_ in request.ids)
        found, room = list[Operation](), MAX_OPERATIONS_BYTES
        for operation in held:
            if operation is None or len(encode(operation)) > room:
                continue
            room -= len(encode(operation))
            found.append(operation)
        return OperationsReply(tuple(found))

    async def _answer_membership(self, peer: NodeId, request: GetMembership) -> MembershipReply:
        self._require_chain(request.chain)
        state = self._core.context.state
        standing, text = membership_of(state, peer)
        if request.application is not None and self._takes_operations():
            operation = request.application
            if operation.kind not in _OF_STRANGERS or operation.author != peer:
                raise PeerError(Rejection.BAD_OPERATION, "a stranger may apply or join by a voucher for itself, and nothing else")
            check_operation(state, operation)
            if not all(verify_envelope(envelope) for envelope in operation.signed):
                raise PeerError(Rejection.BAD_SIGNATURE, f"the {operation.kind} is not signed by whom it names")
            await self._say(OperationSaid(operation))
            standing, text = Membership.APPLIED, _OF_STRANGERS[operation.kind]
        return MembershipReply(state.round, standing.value, text, state.managers, ADMIT.needed(state))

    def _takes_operations(self) -> bool:
        """Whether a block that follows may carry what this node is given: its rounds run, and it is not behind."""
        snapshot = self._core.snapshot(self._clock())
        return snapshot.started and not snapshot.syncing and not snapshot.context.finished

    async def _answer_prepared(self, _: NodeId, request: GetPrepared) -> PreparedReply:
        self._require_chain(request.chain)
        context = self._core.context
        if (request.round, request.parent) != (context.round, context.head_hash):
            raise PeerError(Rejection.UNAVAILABLE, f"this node is in round {context.round}, after {short(context.head_hash)}")
        return PreparedReply(highest_proof(context.head.state, await self._store.records(context.round)))


def highest_proof(state: State, records: RoundRecords) -> PreparedProof | None:
    """The highest prepared certificate among the records of the round that `state` opens, of whichever of its epochs.

    1. An epoch counts if the round's header or a quorum of managers gave it: what this manager alone has signed stands among the
       records too, perhaps for an epoch that the others gave away otherwise.
    2. A certificate needs its epoch's committee; and the basis of its proposal, if an earlier recovery changed the ledger.
    3. What a recovery carries as its proof was found by managers, and counts whoever signed it.
    4. The highest epoch goes first, then the highest view.
    """
    # 1. Which epochs there were.
    recoveries = [record.certificate for record in records.recoveries]
    given = [certificate for certificate in recoveries if len(certificate.signatures) >= quorum(len(state.managers))]
    committees = {state.epoch: state.committee} | {c.recovery.epoch: c.recovery.committee for c in given}
    # 2. What each was prepared by, and judged from.
    older = {c.proof.claim.proposal.epoch: c.proof.claim.basis for c in given if c.proof is not None}
    bases = older | {c.recovery.epoch: ProposalBasis(c.recovery.committee, c.recovery.retired) for c in given}
    proofs = [
        proof_of(record.prepared, record.epoch, committees[record.epoch], _ground_of(record.prepared, state, bases))
        for record in records.prepared
        if record.epoch in committees
    ]
    # 3. What managers have found.
    proofs += [certificate.proof for certificate in recoveries if certificate.proof is not None]
    # 4. The highest.
    return max(proofs, key=lambda proof: (proof.claim.epoch, proof.claim.view), default=None)


def _ground_of(prepared: Prepared, state: State, bases: Mapping[Epoch, ProposalBasis | None]) -> ProposalBasis | None:
    first = prepared.proposal.epoch
    return None if first == state.epoch else bases.get(first)

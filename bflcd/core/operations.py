"""Operations as a node meets them: found here, brought by peers, asked for because a proposal names them."""

from typing import Final

from bflcd.core.effects import Blame, Effect, Persist, Send, notice
from bflcd.core.events import OperationsFetched
from bflcd.core.node_events import EventKind
from bflcd.core.operation_pool import OperationPool
from bflcd.core.records import OperationRecord
from bflcd.core.signatures import require_signature
from bflcd.errors import PeerError
from bflcd.ledger.operations.application import (
    check_form,
    check_pending,
    expires,
    has_expired,
    has_its_turn,
    is_pending,
    is_settled,
)
from bflcd.ledger.operations.base import OPERATION_ROUNDS
from bflcd.ledger.operations.evidence import EVIDENCE
from bflcd.ledger.operations.registry import kind_of
from bflcd.ledger.state import State
from bflcd.types import NodeId, Round
from bflcd.wire.envelope import Verify
from bflcd.wire.operation import Operation, operation_id

_EVENT_OF: Final = {EVIDENCE.name: EventKind.EVIDENCE}
"""How a kind of operation that waits for its block is told, where not as `OPERATION`."""


class OperationHandler:
    """Takes operations in. What it keeps in the pool was checked; what it notes is durable too, what a proposal names only with
    the proposal's segment. Whoever leads next puts it into a block."""

    def __init__(self, pool: OperationPool, verify: Verify) -> None:
        self.pool = pool
        self._verify = verify

    def note(self, round_: Round, operation: Operation) -> list[Effect]:
        """Keep a verified operation that was found here, durably, and tell all members."""
        return self._kept(round_, operation, own=True, later=False)

    def said(self, state: State, operation: Operation) -> list[Effect]:
        """As `note`, for one that this node's operator, or a stranger, brought; one that no block may carry is dropped."""
        try:
            self._check(state, operation)
        except PeerError as error:
            return [notice(state.round, EventKind.OPERATION_REFUSED, f"not kept: {error}", node=operation.author.hex())]
        return self._keep(state, operation, own=True)

    def _keep(self, state: State, operation: Operation, *, own: bool) -> list[Effect]:
        return self._kept(state.round, operation, own=own, later=not has_its_turn(state, operation))

    def _kept(self, round_: Round, operation: Operation, *, own: bool, later: bool) -> list[Effect]:
        if not self.pool.add(operation, own=own, later=later):
            return []
        said = [Send(operation)] if own else []
        return [
            Persist((OperationRecord(round_, operation),)),
            *said,
            notice(
                round_,
                _EVENT_OF.get(operation.kind, EventKind.OPERATION),
                kind_of(operation).describe(operation),
                node=operation.author.hex(),
            ),
        ]

    def received(self, state: State, operation: Operation) -> list[Effect]:
        """An operation that a peer brought, and gossip passes on. Raises PeerError for what no ledger could carry.

        What ours can't carry now, that of a peer a round behind or ahead may: it is not kept, and nobody is blamed.
        """
        if is_settled(state, operation) or not self._is_worth_keeping(state, operation):
            return []
        return self._keep(state, operation, own=False)

    def shows_later_round(self, state: State, members: frozenset[NodeId], operation: Operation) -> bool:
        """Whether an operation of a later round than ours is a member's word that others are there.

        A stranger's says nothing, nor does a round that is far away: who was gone for so long hears of it from its peers. Raises
        PeerError for what no ledger could carry.
        """
        check_form(state, operation)
        if kind_of(operation).since(operation) > state.round + OPERATION_ROUNDS or operation.author not in members:
            return False
        self._require_signatures(operation)
        return True

    def closed(self, state: State, me: NodeId, *, syncing: bool) -> list[Effect]:
        """A round is committed, and `state` is the ledger after it: what can't be carried any more is forgotten, and told if this
        node had signed it. `syncing`: no round is opened, which would keep the rest durable under its own number."""
        told = [
            notice(
                state.round,
                EventKind.OPERATION_EXPIRED,
                f"{kind_of(one).describe(one)}: no block has carried it, and none does after round {expires(one)}",
                node=me.hex(),
            )
            for one in self.pool.values()
            if one.author == me and has_expired(state, one) and not is_settled(state, one)
        ]
        self.pool.settle(state)
        own = self.pool.own() if syncing else ()
        kept = [Persist(tuple(OperationRecord(state.round, one) for one in own))] if own else []
        return [*kept, *told]

    def knows(self, operation: Operation) -> bool:
        """Whether it is held: asked first, since everything else of a large one costs more."""
        return operation_id(operation) in self.pool

    def fetched(self, state: State, event: OperationsFetched) -> list[Effect]:
        """Operations that a proposal names, as a peer gave them."""
        effects: list[Effect] = []
        for operation in event.operations:
            try:
                if self._is_worth_keeping(state, operation):
                    self.pool.add(operation, wanted=True)
            except PeerError as error:
                effects.append(Blame(event.source, error.rejection, str(error)))
        return effects

    def _is_worth_keeping(self, state: State, operation: Operation) -> bool:
        """Whether a block may carry it, now or after its author's earlier ones. Raises PeerError for what none ever may."""
        check_form(state, operation)
        if not is_pending(state, operation):
            return False
        self._require_signatures(operation)
        return True

    def _check(self, state: State, operation: Operation) -> None:
        check_pending(state, operation)
        self._require_signatures(operation)

    def _require_signatures(self, operation: Operation) -> None:
        for envelope in operation.signed:
            require_signature(self._verify, envelope)

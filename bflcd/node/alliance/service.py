"""What an operator has its node sign: who is admitted, put out or taken back, who manages, what is set, that it leaves, what it
gives and pays, to which model the community goes back."""

import asyncio
from collections.abc import Awaitable, Callable

from bflcd.api.schema.alliance import AllianceView, OperationRequest, OperationView
from bflcd.core.core import Core
from bflcd.core.events import Instant, OperationSaid
from bflcd.core.snapshot import CoreSnapshot
from bflcd.crypto.identity import Identity
from bflcd.errors import OperatorError, PeerError
from bflcd.ledger.operations.application import check_operation
from bflcd.ledger.operations.keys import ROTATE
from bflcd.ledger.operations.registry import kind_of
from bflcd.ledger.operations.rollback import ROLLBACK
from bflcd.ledger.state import State, account_of
from bflcd.node.alliance.bodies import body_of, motion_to_go_back, wanted_round
from bflcd.node.alliance.old_models import OldModelSource
from bflcd.node.views.alliance import alliance_view, operation_view
from bflcd.params import BlobRef
from bflcd.types import NodeId
from bflcd.wire.envelope import seal
from bflcd.wire.keys import Rotate
from bflcd.wire.operation import Operation, operation_id


class AllianceService:
    """Signs one operation at a time: its number is the next of this node's, so the one before has to be in a block first."""

    def __init__(
        self,
        core: Core,
        identity: Identity,
        say: Callable[[OperationSaid], Awaitable[None]],
        clock: Callable[[], Instant],
        *,
        models: OldModelSource,
        coming: Callable[[State], Identity],
    ) -> None:
        """`say` gives the core an operation, and waits for its effects; `models`: what it may go back to; `coming`: the key that
        this node may rotate to."""
        self._models = models
        self._core = core
        self._identity = identity
        self._say = say
        self._clock = clock
        self._coming = coming
        self._turn = asyncio.Lock()

    def view(self) -> AllianceView:
        """Who is about to join, and what is about to change."""
        return alliance_view(self._core.snapshot(self._clock()))

    async def sign(self, request: OperationRequest) -> OperationView:
        """Sign what the operator wants, and give it to the others; a block carries it soon.

        Raises UsageError for what means nothing, OperatorError for what no block could carry.
        """
        async with self._turn:
            model = await self._old_model(self._ready(), request)
            operation = await self._signed(request, model)
            if model is not None:
                await self._models.hold(model)
                operation = await self._signed(request, model)  # to get it may have taken rounds
            me = self._identity.node_id
            await self._say(OperationSaid(operation))
            now = self._core.snapshot(self._clock())
            account = account_of(now.context.state, me)
            carried = account is not None and account.operations >= (kind_of(operation).number(operation) or 0)
            if not carried and operation_id(operation) not in map(operation_id, now.waiting):
                raise OperatorError(
                    "it was signed, and is not kept: too many operations wait for their block",
                    hint="try again later",
                    code="full",
                )
            return operation_view(operation, me)

    async def _signed(self, request: OperationRequest, model: BlobRef | None) -> Operation:
        """What is wanted, signed as things stand now. Raises UsageError, OperatorError."""
        state = self._ready().context.state
        me = self._identity.node_id
        number = self._number(state, me)
        if request.kind == ROTATE.name:
            coming = await asyncio.to_thread(self._coming, state)
            rotation = Rotate(state.chain, state.round, number, coming.node_id, me)
            operation = Operation(ROTATE.name, (seal(rotation, self._identity).envelope, seal(rotation, coming).envelope))
        else:
            kind, body = body_of(state, request, number, me, model)
            operation = Operation(kind, (seal(body, self._identity).envelope,))
        try:
            check_operation(state, operation)
        except PeerError as error:
            text = str(error).removeprefix(f"{error.rejection.value}: ")
            hint = "`bflc-cli alliance` shows how things stand"
            raise OperatorError(f"it is not signed: {text}", hint=hint, code="refused") from error
        return operation

    async def _old_model(self, snapshot: CoreSnapshot, request: OperationRequest) -> BlobRef | None:
        """The model that a rollback names, ours or another manager's, by the own headers; None for anything else.

        Raises UsageError, OperatorError.
        """
        if request.kind == ROLLBACK.name:
            return await self._models.named(snapshot.context, wanted_round(request))
        agreed = motion_to_go_back(snapshot.context.state, request)
        if agreed is None:
            return None
        await self._models.require(snapshot.context, agreed.target, agreed.model)
        return agreed.model

    def _ready(self) -> CoreSnapshot:
        snapshot = self._core.snapshot(self._clock())
        if snapshot.syncing or not snapshot.started:
            raise OperatorError("this node is catching up: it can't say how things stand", hint="wait", code="syncing")
        if snapshot.context.finished:
            raise OperatorError(
                f"the community has reached its last round, {snapshot.context.round}", hint="no block follows", code="done"
            )
        own = [one for one in snapshot.waiting if one.author == snapshot.context.me]
        if own:
            raise OperatorError(
                f"another operation of this node waits for its block: {operation_view(own[0], snapshot.context.me).text}",
                hint="try again in the next round",
                code="busy",
            )
        return snapshot

    def _number(self, state: State, me: NodeId) -> int:
        account = account_of(state, me)
        return 1 if account is None else account.operations + 1

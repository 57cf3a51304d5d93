"""The operator's way to a recovery: asks the members what they have prepared, plans, and has this manager sign (design 6.8)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Protocol

from bflcd.api.schema.recovery import RecoveryRequest, RecoveryView
from bflcd.core.core import Core
from bflcd.core.events import RecoverySigned
from bflcd.core.records import RoundRecords
from bflcd.core.round.context import RoundContext
from bflcd.core.snapshot import CoreSnapshot, RecoveriesSeen
from bflcd.errors import OperatorError, PeerError, RequestError, UsageError
from bflcd.net.exchange import OnMisbehaviour, printable
from bflcd.node.recovery.observation import Found, Observation, best_of, check_found, doubt_of, known_epochs
from bflcd.node.recovery.plan import Action, Plan, PlanInput, PlanRequest, make_plan
from bflcd.node.recovery.report import recovery_view
from bflcd.node.runtime.ports import Clock
from bflcd.node.services import highest_proof
from bflcd.types import HASH_BYTES, MAX_COMMITTEE, Digest, NodeId, Round, short
from bflcd.wire.blocks import Certificate
from bflcd.wire.envelope import Verify
from bflcd.wire.recovery import PreparedProof
from bflcd.wire.requests import GetPrepared, PreparedReply

ASK_SECONDS: Final = 3.0
"""What one member has to tell what it has prepared: a read of its store."""

MAX_ASKED: Final = 256
"""Members asked at most, seats first: whoever prepared held one."""

ASKED_AT_ONCE: Final = 32
"""Requests under way at a time: an answer has at most 32 KiB."""

ATTEMPTS: Final = 3
"""Times that the members are asked anew because the round closed meanwhile."""

MAX_REASON: Final = 200
"""Characters shown of why a member did not answer."""

logger = logging.getLogger(__name__)


class Asker(Protocol):
    """The part of the exchange that is used here."""

    async def ask(self, peer: NodeId, request: GetPrepared, *, deadline: float) -> PreparedReply:
        """As `Exchange.ask`."""
        ...


class Records(Protocol):
    """The part of the store that is used here."""

    async def records(self, round_: Round) -> RoundRecords:
        """As `RecordStore.records`."""
        ...

    async def certificate(self, round_: Round) -> Certificate | None:
        """As `ChainStore.certificate`."""
        ...


class RecoveryService:
    """Plans and signs recoveries of the running round, one request at a time.

    `peers`: connected members and the round that each says it is in; `sign` gives the core an event and waits for its effects.
    """

    def __init__(
        self,
        core: Core,
        *,
        store: Records,
        asker: Asker,
        peers: Callable[[], dict[NodeId, Round]],
        sign: Callable[[RecoverySigned], Awaitable[None]],
        verify: Verify,
        on_misbehaviour: OnMisbehaviour,
        clock: Clock,
    ) -> None:
        self._core = core
        self._clock = clock
        self._store = store
        self._asker = asker
        self._peers = peers
        self._sign = sign
        self._verify = verify
        self._on_misbehaviour = on_misbehaviour
        self._turn = asyncio.Lock()

    async def recover(self, request: RecoveryRequest) -> RecoveryView:
        """Plan a recovery of the running round, and sign it unless it is a dry run.

        Raises UsageError for ids that mean nothing, OperatorError for whatever this node does not sign.
        """
        wish = plan_request_of(request)
        async with self._turn:
            snapshot, found = await self._look_around()
            plan = make_plan(PlanInput(snapshot, self._core.recovery_refusal, self._observe(snapshot.context), found, wish))
            if request.dry_run:
                return self._view(plan, snapshot.recoveries)
            if request.expect is not None and request.expect != plan.id.hex():
                raise OperatorError(
                    "what would be signed is no longer what was shown: another manager has signed, or a member came or went",
                    hint="look at it again",
                    code="changed",
                )
            if plan.refusal is not None:
                raise OperatorError(plan.refusal.text, hint=plan.refusal.hint, code=plan.refusal.code)
            if plan.action is Action.WAIT:
                return self._view(plan, snapshot.recoveries)
            return self._view(plan, await self._have_signed(plan, snapshot.recoveries), signed=True)

    async def _look_around(self) -> tuple[CoreSnapshot, Found]:
        """The running round and what was found prepared in it. Raises OperatorError if it closes while its members are asked."""
        for _ in range(ATTEMPTS):
            context = self._require_round().context
            found = await self._find(context)
            snapshot = self._core.snapshot(self._clock())
            if snapshot.context is context:
                return snapshot, found
        raise OperatorError(
            f"rounds close faster than their members can be asked, the last one {context.round}",
            hint="this community needs no recovery",
            code="not_needed",
        )

    def _require_round(self) -> CoreSnapshot:
        """The running round, if there is one that this node takes part in. Raises OperatorError."""
        snapshot = self._core.snapshot(self._clock())
        if snapshot.syncing or not snapshot.started:
            raise OperatorError("this node is catching up: it can't say where the community stands", hint="wait", code="syncing")
        if snapshot.context.finished:
            raise OperatorError(
                f"the community has reached its last round, {snapshot.context.round}",
                hint="there is nothing to decide",
                code="done",
            )
        return snapshot

    def _observe(self, context: RoundContext) -> Observation:
        peers = {node: round_ for node, round_ in self._peers().items() if node != context.me}
        return Observation(frozenset(peers), frozenset(node for node, round_ in peers.items() if round_ > context.round))

    async def _have_signed(self, plan: Plan, before: RecoveriesSeen) -> RecoveriesSeen:
        """Have the core sign; returns what managers have signed then. Raises OperatorError if it refuses after all."""
        recovery = plan.recovery
        logger.warning("this manager signs that round %d goes on in epoch %d", recovery.round, recovery.epoch)
        await self._sign(RecoverySigned(recovery, plan.proof))
        now = await self._signed(plan, before)
        if not any(held.recovery == recovery and plan.context.me in dict(held.signatures) for held in now.held):
            raise OperatorError(
                "the recovery is not signed: the round has moved on, or the recovery does not hold",
                hint="`bflc-cli logs` says which",
                code="refused",
            )
        return now

    async def _signed(self, plan: Plan, before: RecoveriesSeen) -> RecoveriesSeen:
        """What managers have signed of the plan's round by now; if it is closed, what it was closed by."""
        now = self._core.snapshot(self._clock())
        if now.context.round == plan.recovery.round:
            return now.recoveries
        certificate = await self._store.certificate(Round(plan.recovery.round + 1))
        closed_by = None if certificate is None else certificate.recovery
        return replace(before, held=() if closed_by is None else (closed_by,))

    def _view(self, plan: Plan, recoveries: RecoveriesSeen, *, signed: bool = False) -> RecoveryView:
        snapshot = self._core.snapshot(self._clock())
        now = snapshot.context
        adopted = now.round > plan.recovery.round or (now.recovery is not None and now.recovery.recovery == plan.recovery)
        return recovery_view(plan, recoveries, max(0, snapshot.at - snapshot.opened), signed=signed, adopted=adopted)

    # -- what was prepared --------------------------------------------------------------------------------------------

    async def _find(self, context: RoundContext) -> Found:
        """The highest prepared proof that this node or a connected member holds."""
        records = await self._store.records(context.round)
        epochs = known_epochs(self._core.snapshot(self._clock()), [record.certificate for record in records.recoveries])
        own = highest_proof(context.head.state, records)
        given: dict[NodeId, PreparedProof] = {} if own is None else {context.me: own}
        silent: dict[NodeId, str] = {node: "not connected" for node in context.committee if node != context.me}
        answered, doubts = {context.me}, list[str]()
        asked = self._whom_to_ask(context)
        turns = asyncio.Semaphore(ASKED_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            tasks = {node: group.create_task(self._ask(node, context, turns), name="ask for a proof") for node in asked}
        for node, task in tasks.items():
            reply = task.result()
            if isinstance(reply, str):
                silent[node] = reply
                continue
            answered.add(node)
            silent.pop(node, None)
            if reply.proof is None:
                continue
            doubt = doubt_of(reply.proof, epochs)
            if doubt:
                doubts.append(f"what {short(node)} calls prepared is not used: {doubt}")
            else:
                given[node] = reply.proof
        best = best_of(given)
        holder, proof = (None, None) if best is None else best
        return Found(proof, holder, frozenset(answered), tuple(sorted(silent.items())), tuple(doubts))

    def _whom_to_ask(self, context: RoundContext) -> list[NodeId]:
        connected = {node for node in self._peers() if node != context.me}
        seats = [node for node in context.committee if node in connected]
        return [*seats, *sorted(connected - set(seats))][:MAX_ASKED]

    async def _ask(self, node: NodeId, context: RoundContext, turns: asyncio.Semaphore) -> PreparedReply | str:
        """What a member holds, its signatures verified; or why that is not known."""
        request = GetPrepared(context.state.chain, context.round, context.head_hash)
        try:
            async with turns:
                reply = await self._asker.ask(node, request, deadline=ASK_SECONDS)
        except (PeerError, RequestError) as error:
            return printable(str(error))[:MAX_REASON]
        try:
            if reply.proof is not None:
                check_found(reply.proof, context.first_instance, self._verify)
        except PeerError as error:
            self._on_misbehaviour(node, error.rejection, str(error))
            return f"it gave what is no proof: {error}"
        return reply


def plan_request_of(request: RecoveryRequest) -> PlanRequest:
    """The request with its ids read. Raises UsageError."""
    if request.join is not None and (request.new or request.committee is not None or request.retired is not None):
        raise UsageError("join takes a recovery as it stands: no new, committee or retired beside it", code="bad_argument")
    return PlanRequest(
        committee=None if request.committee is None else _ids(request.committee, "committee"),
        retired=None if request.retired is None else _ids(request.retired, "retired"),
        join=None if request.join is None else Digest(_bytes(request.join, "join")),
        new=request.new,
        force=request.force,
    )


def _ids(given: list[str], name: str) -> tuple[NodeId, ...]:
    if len(given) > MAX_COMMITTEE:
        raise UsageError(f"{name} takes at most {MAX_COMMITTEE} ids, not {len(given)}", code="bad_argument")
    return tuple(NodeId(_bytes(text, name)) for text in given)


def _bytes(text: str, name: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != HASH_BYTES or len(text) != 2 * HASH_BYTES:
        raise UsageError(
            f"{name}: {printable(text[:80])!r} is no id of {2 * HASH_BYTES} hexadecimal digits",
            hint="`bflc-cli --json members` shows whole ids",
            code="bad_argument",
        )
    return value

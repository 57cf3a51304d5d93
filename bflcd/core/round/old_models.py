"""Models of earlier rounds to which managers go back: whether an address is the round's own, and who has the payload when.

Invariants (docs/adr/0021-rollback.md): nothing is proposed or prepared that names another model of a round than the headers do;
what decides is proposed in view 0, by who holds the payload, and not in the block that opens the motion; at most `MAX_KEPT`
payloads are fetched in advance, and each is pinned for the running round and the next, so that no pruning comes between.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

from bflcd.core.effects import Effect, FetchBlob, FindModel, Persist, notice
from bflcd.core.events import ModelFound
from bflcd.core.node_events import EventKind
from bflcd.core.operation_pool import OperationPool
from bflcd.core.records import Pin
from bflcd.core.round.context import RoundContext
from bflcd.errors import PeerError
from bflcd.ledger.operations.application import apply_operations
from bflcd.ledger.operations.base import refused
from bflcd.ledger.operations.rollback import ROLLBACK, open_rollbacks, rollbacks_of, rolled_back_in
from bflcd.ledger.state import State
from bflcd.params import BlobRef
from bflcd.types import Digest, NodeId, Round, View, short
from bflcd.wire.operation import Operation
from bflcd.wire.rollback import Rollback

MAX_KEPT: Final = 4
"""Old models that are fetched and kept in advance: a third of hostile managers, who are never those that most are for, fill no
disk with more."""


class Payloads(Protocol):
    """What of the round's holdings is asked here."""

    @property
    def blobs(self) -> AbstractSet[Digest]:
        """Complete payloads that met their specification."""
        ...


class OldModels:
    """Those that are spoken of in one round. Pure: what it wants is returned as effects."""

    def __init__(self, context: RoundContext, pool: OperationPool, payloads: Payloads) -> None:
        self._context = context
        self._pool = pool
        self._payloads = payloads
        self._open = open_rollbacks(context.head.state)
        self._named = {Round(0): context.genesis.model, context.round: context.head_blob}
        """The models of rounds, by this node's headers."""
        self._asked: set[Round] = set()
        self._fetched: set[Digest] = set()

    def found(self, event: ModelFound) -> None:
        """Note the answer to `FindModel`."""
        self._named[event.of] = event.model

    def check(self, operations: Sequence[Operation]) -> tuple[bool, list[Effect]]:
        """Whether what the rollbacks among `operations` name is known to be right, and else what to find out first.

        Rounds that have not come are the ledger's business. Raises PeerError(BAD_OPERATION) if one names another model.
        """
        bodies = [body for body in rollbacks_of(operations) if body.target <= self._context.round]
        for body in bodies:
            self._require_right(body)
        return all(self._is_right(body) for body in bodies), self._look_up(bodies)

    def chosen(self, state: State, view: View) -> tuple[Operation, ...]:
        """What a leader proposes: all that fits, without a rollback that may be wrong, or a last word that must wait."""
        wait: list[Operation] = []

        def may(operation: Operation) -> bool:
            return operation not in wait and all(map(self._is_right, rollbacks_of([operation])))

        while True:
            chosen = self._pool.chosen(state, may)
            said = [operation for operation in chosen if operation.kind == ROLLBACK.name]
            model = rolled_back_in(apply_operations(state, chosen)) if said else None
            if model is None or (view == 0 and self._may_decide(state, model)):
                return chosen
            wait.append(said[-1])  # it decided: the ledger takes none after it

    def _may_decide(self, state: State, model: BlobRef) -> bool:
        """Whether it is held here, and the others have had a round to get it: an earlier block has opened its motion."""
        known = ROLLBACK.needed(state) == 1 or any(body.model == model for body, _ in self._open)
        return known and model.root in self._payloads.blobs

    def advance(self) -> list[Effect]:
        """Find out what is spoken of, forget what is wrong, get what may soon be decided."""
        waiting = [one for one in self._pool.values() if one.kind == ROLLBACK.name]
        if not waiting and not self._open:
            return []
        effects = self._look_up([*(body for body, _ in self._open), *rollbacks_of(waiting)])
        for operation in waiting:
            effects += self._dropped(operation)
        for blob in self._wanted(waiting):
            effects += self._fetch(blob)
        return effects

    def _look_up(self, bodies: Sequence[Rollback]) -> list[Effect]:
        wanted = {body.target for body in bodies} - self._named.keys() - self._asked
        past = sorted(target for target in wanted if target < self._context.round)
        self._asked.update(past)
        return [FindModel(self._context.round, target) for target in past]

    def _is_right(self, body: Rollback) -> bool:
        return self._named.get(body.target) == body.model

    def _require_right(self, body: Rollback) -> None:
        own = self._named.get(body.target)
        if own is not None and own != body.model:
            text = f"the model of round {body.target} is {short(own.root)}, not {short(body.model.root)}"
            raise refused(ROLLBACK.name, text)

    def _dropped(self, operation: Operation) -> list[Effect]:
        """What names another model than the headers do goes: no block may carry it, and no ledger says so."""
        try:
            self._require_right(ROLLBACK.body(operation))
        except PeerError as error:
            self._pool.discard(operation)
            node = operation.author.hex()
            return [notice(self._context.round, EventKind.OPERATION_REFUSED, f"not kept: {error}", node=node)]
        return []

    def _wanted(self, waiting: Sequence[Operation]) -> Iterator[BlobRef]:
        """Those that most managers are for, whoever said it in a block already or is about to; of equally many the oldest."""
        support: dict[BlobRef, set[NodeId]] = {}
        for body, approvals in self._open:
            if self._is_right(body):
                support.setdefault(body.model, set()).update(approvals)
        for operation in waiting:
            body = ROLLBACK.body(operation)
            if self._is_right(body):
                support.setdefault(body.model, set()).add(operation.author)
        yield from sorted(support, key=lambda model: -len(support[model]))[:MAX_KEPT]

    def _fetch(self, blob: BlobRef) -> list[Effect]:
        """Get it, at most once a round; it is pinned first, since a part of it is what a prune would drop as well.

        Nobody gives a payload to who owes, so it asks for none.
        """
        context = self._context
        if context.owes or blob.root in self._fetched or len(self._fetched) == MAX_KEPT:
            return []
        self._fetched.add(blob.root)
        pins = (Pin(blob.root, context.round), Pin(blob.root, Round(context.round + 1)))
        return [Persist(pins), FetchBlob(blob, context.committee, context.round, None, anyone=True)]

"""What a kind of operation is."""

from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.state import State
from bflcd.types import Digest, NodeId, Round

Form_contra = TypeVar("Form_contra", contravariant=True)

OPERATION_ROUNDS: Final = 100
"""Rounds after the one that it names in which a block may still carry an operation: what was dropped does not come back later."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`per_block`: operations of this kind in one block; `per_author`: of one author that wait for blocks; `max_bytes`: of
    one; `waiting`: of this kind that wait for blocks, of all authors, None where only the pool's own limit holds; `rounds`: the
    last round after `since` whose block may carry one, None for what never runs out."""

    per_block: int
    per_author: int
    max_bytes: int
    waiting: int | None = None
    rounds: int | None = OPERATION_ROUNDS


class Body(Protocol):
    """What any signed message of an operation has: at most 13 fields, `chain` the first, and a number below 128, so that gossip
    reads the chain at its fixed place (`core.relaying.chain_of_payload`)."""

    @property
    def chain(self) -> Digest:
        """The chain that it is for, and no other."""
        ...


class OperationKind(Protocol[Form_contra]):
    """One kind; what travels of it is `Form_contra`: an `Operation` in a block, a recovery certificate beside one.

    Signatures are none of its business: whoever takes an operation in verifies them. `check` and `apply` are functions of the
    state and the operation, and nothing that a round's learning gives an account makes a valid operation invalid: a leader
    chooses before it knows the round's outcome. Any method may raise PeerError for what is none of this kind.
    """

    @property
    def name(self) -> str:
        """What `Operation.kind` says."""
        ...

    @property
    def bodies(self) -> tuple[type[Body], ...]:
        """What its signed messages may hold."""
        ...

    @property
    def limits(self) -> Limits:
        """How many, how large."""
        ...

    def author(self, operation: Form_contra) -> NodeId:
        """Whom it counts for."""
        ...

    def number(self, operation: Form_contra) -> int | None:
        """Its place among its author's operations, which are applied in turn, each once; None where the rule itself refuses a
        second one."""
        ...

    def since(self, operation: Form_contra) -> Round:
        """The round in which it could be applied at the earliest, whatever the ledger says."""
        ...

    def is_settled(self, state: State, operation: Form_contra) -> bool:
        """Whether what it is for has happened already: then it changes nothing, and who passes it on is not to blame."""
        ...

    def describe(self, operation: Form_contra) -> str:
        """What it does, for people."""
        ...

    def check_form(self, operation: Form_contra) -> None:
        """Raise PeerError for what no ledger of any round could carry: who brings such a one is to blame."""
        ...

    def check(self, state: State, operation: Form_contra) -> None:
        """Raise PeerError, with the rule's name in the text, unless the operation may change `state`."""
        ...

    def apply(self, state: State, operation: Form_contra) -> State:
        """`state` changed by an operation that `check` lets pass."""
        ...


def refused(kind: str, text: str) -> PeerError:
    """The refusal of an operation: `text` says which rule of its kind it breaks."""
    return PeerError(Rejection.BAD_OPERATION, f"{kind}: {text}")

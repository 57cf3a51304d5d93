"""What members, managers and applicants sign to change who belongs to the community, and who has what (design 7).

`round`: that of its author when it signed, and no block of an earlier one can carry it; `number`: of its author's operations
(`bflcd.ledger.operations`).
"""

from dataclasses import dataclass
from typing import Annotated, Final

from bflcd.limits import Between, Size
from bflcd.types import Amount, Digest, NodeId, Round
from bflcd.wire.codec import message

ALLIANCE_BYTES: Final = 1024
"""Largest of them."""

Number = Annotated[int, Between(1, 2**53)]

Note = Annotated[str, Size(0, 256)]
"""Words for people: a name, a reason."""


@message(85, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Application:
    """A device that is no member asks to become one. `note`: what it tells the managers about itself."""

    chain: Digest
    round: Round
    note: Note


@message(120, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Vouch:
    """A manager: the first node that the voucher's key `node` signs for belongs to us, until the block of round `until`. `opens`:
    whether it is the first to say so; else it stands behind a voucher that is open."""

    chain: Digest
    round: Round
    number: Number
    node: NodeId
    until: Round
    opens: bool


@message(121, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Join:
    """A device that is no member, and the key `voucher`, which sign the same: it is `node` that the voucher is for."""

    chain: Digest
    round: Round
    node: NodeId
    voucher: NodeId


@message(86, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Admit:
    """A manager: `node` belongs to us."""

    chain: Digest
    round: Round
    number: Number
    node: NodeId


@message(87, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Refuse:
    """A manager: the application of `node` is refused."""

    chain: Digest
    round: Round
    number: Number
    node: NodeId
    reason: Note


@message(89, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Kick:
    """A manager: `node` is put out."""

    chain: Digest
    round: Round
    number: Number
    node: NodeId
    reason: Note


@message(91, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Return:
    """A manager: `node`, which was put out, belongs to us again."""

    chain: Digest
    round: Round
    number: Number
    node: NodeId


@message(122, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Leave:
    """A member goes. `heir`: the member that gets what it has, once its deposit is free."""

    chain: Digest
    round: Round
    number: Number
    heir: NodeId | None = None


@message(93, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Transfer:
    """A member gives another `amount` of its balance."""

    chain: Digest
    round: Round
    number: Number
    to: NodeId
    amount: Annotated[Amount, Between(1, 2**63 - 1)]

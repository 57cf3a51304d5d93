"""What managers sign to change who manages, and by which parameters the community works (design 7).

`round` and `number` as in `bflcd.wire.alliance`.
"""

from dataclasses import dataclass
from typing import Annotated

from bflcd.limits import Between, Size
from bflcd.types import Digest, NodeId, Round
from bflcd.wire.alliance import ALLIANCE_BYTES, Note, Number
from bflcd.wire.codec import message

ParameterName = Annotated[str, Size(1, 32)]

ParameterValue = Annotated[int, Between(0, 2**53)]


@message(94, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Appoint:
    """A manager: the member `node` manages too."""

    chain: Digest
    round: Round
    number: Number
    node: NodeId


@message(95, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Dismiss:
    """A manager: `node`, perhaps its author, manages no more."""

    chain: Digest
    round: Round
    number: Number
    node: NodeId
    reason: Note


@message(96, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class SetParameter:
    """A manager: the parameter `name` is `value` from the next round on (`bflcd.ledger.alliance.parameters`)."""

    chain: Digest
    round: Round
    number: Number
    name: ParameterName
    value: ParameterValue

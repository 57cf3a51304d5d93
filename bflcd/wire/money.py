"""What a member signs to pay the community (design 7); who gives another a part of its balance signs a transfer
(`bflcd.wire.alliance`)."""

from dataclasses import dataclass
from typing import Annotated

from bflcd.limits import Between
from bflcd.types import Amount, Digest, NodeId, Round
from bflcd.wire.alliance import ALLIANCE_BYTES, Number
from bflcd.wire.codec import message


@message(98, max_bytes=ALLIANCE_BYTES)
@dataclass(frozen=True, slots=True)
class Pay:
    """A member pays from its balance what `node`, itself or another, owes: `fee` into the pool, `deposit` as that member's.

    `paid`: the round through which `node` had paid when this was signed. So it is for one period, whoever else pays for it.
    """

    chain: Digest
    round: Round
    number: Number
    node: NodeId
    paid: Annotated[int, Between(-1, 2**53)]
    fee: Amount
    deposit: Amount

"""What committed models gave members, and took from them, read from their blocks alone."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from bflcd.api.schema.money import EarningsRow
from bflcd.ledger.operations.paying import PAY
from bflcd.ledger.operations.transfer import TRANSFER
from bflcd.store.protocol import ChainStore
from bflcd.types import NodeId, Round
from bflcd.wire.blocks import CertifiedSegment


@dataclass(slots=True)
class _Sums:
    packed: bool = False
    pay: int = 0
    taken: int = 0
    given: int = 0
    fees: int = 0
    deposits: int = 0


def earnings_of(certified: CertifiedSegment) -> Iterator[EarningsRow]:
    """One round's rows, by id: of whoever was packed, paid, pays, gives or is given something."""
    segment = certified.segment
    sums = defaultdict[NodeId, _Sums](_Sums)
    for update in segment.updates:
        if update.offer is not None:
            sums[update.offer.author].packed = True
    for node, amount in segment.model.rewards:
        sums[node].pay += amount
    for operation in segment.model.operations:
        author = operation.author
        if operation.kind == TRANSFER.name:
            transfer = TRANSFER.body(operation)
            sums[author].given += transfer.amount
            sums[transfer.to].taken += transfer.amount
        elif operation.kind == PAY.name:
            payment = PAY.body(operation)
            sums[author].fees += payment.fee
            sums[author].deposits += payment.deposit
    header = segment.model_header
    for node, one in sorted(sums.items()):
        yield EarningsRow(
            round=header.round,
            time=header.time,
            node_id=node.hex(),
            packed=one.packed,
            pay=one.pay,
            taken=one.taken,
            given=one.given,
            fees=one.fees,
            deposits=one.deposits,
        )


async def earnings_rows(store: ChainStore, first: int, count: int) -> list[EarningsRow]:
    """Of the models of rounds first, first + 1, ..., `count` of them; fewer at the head. Round 0 was never decided."""
    rows: list[EarningsRow] = []
    begin = max(1, first)
    for round_ in range(begin, begin + count):
        certified = await store.segment(Round(round_))
        if certified is None:
            break
        rows += earnings_of(certified)
    return rows

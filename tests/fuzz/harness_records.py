"""Rows of the undecided round as the store reads them back, their checksum aside."""

from collections.abc import Iterator
from contextlib import suppress

from bflcd.consensus.events import Prepared
from bflcd.core.records import OwnRecord, PreparedRecord, ProposalRecord, Record, VoteRecord
from bflcd.errors import PeerError
from bflcd.params import BlobRef
from bflcd.store.records import Kind, Row, record_of, row_of
from bflcd.types import Digest, Epoch, Round, View
from bflcd.wire.codec import number_of
from bflcd.wire.messages import Prepare
from tests.fuzz.target import Target
from tests.helpers.consensus import make_instance, make_proposal, prepared_by, vote

KINDS = tuple(Kind)
INSTANCE = make_instance()


def records() -> tuple[Record, ...]:
    root = INSTANCE.parent
    prepared: Prepared = prepared_by(INSTANCE, 0, make_proposal(1), range(3))
    prepare = vote(INSTANCE, 0, Prepare, 0, digest=root)
    return (
        VoteRecord(Round(0), Epoch(0), View(0), number_of(Prepare), root, prepare),
        PreparedRecord(Round(0), Epoch(0), prepared),
        OwnRecord(Round(0), Epoch(0), 31, prepare),
        ProposalRecord(Round(0), root, make_proposal(1), (prepare,), (prepare,), BlobRef(root, 9)),
    )


def seeds() -> Iterator[bytes]:
    """Kind, place (its length in a byte before it), body."""
    for record in records():
        row = row_of(record)
        yield bytes([KINDS.index(row.kind), len(row.place)]) + row.place + row.body


def one(data: bytes) -> None:
    if len(data) < 2:
        return
    kind, length = KINDS[data[0] % len(KINDS)], data[1]
    row = Row(Round(0), kind, data[2 : 2 + length], Digest(bytes(32)), data[2 + length :])
    with suppress(ValueError, PeerError):
        record_of(row)


TARGET = Target("records", seeds, one, share=2)

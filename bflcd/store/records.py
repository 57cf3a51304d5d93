"""Records of the undecided round: the place of each, its bytes on disk, the blobs that it pins. Pure.

A record's place is what must never be taken twice: (epoch, view, phase) of a vote, (epoch, phase) of an own offer or card,
(epoch, view) of a prepared certificate. What takes it is a digest; a second digest in a place is our bug and is refused.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import msgpack

from bflcd.consensus.events import Prepared
from bflcd.core.records import (
    OfferRecord,
    OperationRecord,
    OwnRecord,
    Pin,
    PreparedRecord,
    ProposalRecord,
    Record,
    RecoveryRecord,
    RoundRecords,
    VoteRecord,
)
from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.errors import InvariantError, PeerError
from bflcd.params import BlobRef
from bflcd.types import Digest, Epoch, Round, View, short
from bflcd.wire.codec import decode, encode
from bflcd.wire.envelope import Envelope, open_envelope, payload_digest
from bflcd.wire.messages import CardSeal, Offer, OffersClosed, ScoreCard
from bflcd.wire.operation import Operation, operation_id
from bflcd.wire.proposal import Proposal
from bflcd.wire.recovery import Recovery, RecoveryCertificate

_OWN: Final = (Offer, OffersClosed, CardSeal, ScoreCard, Recovery)
"""What an own record holds."""

_PLACE: Final = struct.Struct(">QQQ")
"""Epoch, view, phase; big endian, so that bytes sort as numbers do."""


class Kind(IntEnum):
    """Kind of a record on disk; numbers are never reused."""

    VOTE = 1
    PREPARED = 2
    OWN = 3
    PROPOSAL = 4
    OPERATION = 5
    RECOVERY = 6
    OFFER = 7


@dataclass(frozen=True, slots=True)
class Row:
    """A record as it is stored: at most one digest in each (round, kind, place)."""

    round: Round
    kind: Kind
    place: bytes
    digest: Digest
    body: bytes


Stored = VoteRecord | PreparedRecord | OwnRecord | ProposalRecord | OperationRecord | RecoveryRecord | OfferRecord
"""Records that have rows of their own; a pin is a row of another table."""


def row_of(record: Stored) -> Row:
    """A record's row."""
    match record:
        case VoteRecord():
            place = _PLACE.pack(record.epoch, record.view, record.phase)
            return Row(record.round, Kind.VOTE, place, record.digest, encode(record.envelope))
        case PreparedRecord():
            place = _PLACE.pack(record.epoch, record.prepared.view, 0)
            return Row(record.round, Kind.PREPARED, place, record.prepared.digest, _pack_prepared(record.prepared))
        case OwnRecord():
            place = _PLACE.pack(record.epoch, 0, record.phase)
            return Row(record.round, Kind.OWN, place, payload_digest(record.envelope), encode(record.envelope))
        case ProposalRecord():
            return Row(record.round, Kind.PROPOSAL, record.digest, record.digest, _pack_proposal_record(record))
        case OfferRecord(round_, envelope):
            said = payload_digest(envelope)
            return Row(round_, Kind.OFFER, said, said, encode(envelope))
        case OperationRecord():
            id_ = operation_id(record.operation)
            return Row(record.round, Kind.OPERATION, id_, id_, encode(record.operation))
        case RecoveryRecord(round_, certificate):
            what = digest(Domain.MESSAGE, encode(certificate.recovery))
            place = what + integer(len(certificate.signatures))  # a manager's own signature, later a quorum's: both stay
            return Row(round_, Kind.RECOVERY, place, what, encode(certificate))


def record_of(row: Row) -> Stored:
    """The record of a row. Raises ValueError or PeerError if its bytes are damaged."""
    try:
        return _read_record(row)
    except (TypeError, struct.error) as error:
        raise ValueError(f"a {row.kind.name.lower()} record without the fields of its kind: {error}") from error


def _read_record(row: Row) -> Stored:
    match row.kind:
        case Kind.VOTE:
            epoch, view, phase = _PLACE.unpack(row.place)
            return VoteRecord(row.round, Epoch(epoch), View(view), phase, row.digest, decode(row.body, Envelope))
        case Kind.PREPARED:
            epoch, _, _ = _PLACE.unpack(row.place)
            return PreparedRecord(row.round, Epoch(epoch), _unpack_prepared(row.body))
        case Kind.OWN:
            epoch, _, phase = _PLACE.unpack(row.place)
            return OwnRecord(row.round, Epoch(epoch), phase, decode(row.body, Envelope))
        case Kind.PROPOSAL:
            return _unpack_proposal_record(row)
        case Kind.OFFER:
            return OfferRecord(row.round, decode(row.body, Envelope))
        case Kind.OPERATION:
            return OperationRecord(row.round, decode(row.body, Operation))
        case Kind.RECOVERY:
            return RecoveryRecord(row.round, decode(row.body, RecoveryCertificate))


def round_records(rows: Iterable[Row]) -> RoundRecords:
    """All records of one round, in the order of their places; `rows` as they were stored. Raises as `record_of` does."""
    stored = tuple(rows)
    found = [record_of(row) for row in sorted(stored, key=lambda row: (row.kind, row.place))]
    signed = next((row for row in reversed(stored) if row.kind in (Kind.VOTE, Kind.OWN)), None)
    newest = None if signed is None else record_of(signed)
    return RoundRecords(
        votes=tuple(r for r in found if isinstance(r, VoteRecord)),
        prepared=tuple(r for r in found if isinstance(r, PreparedRecord)),
        own=tuple(r for r in found if isinstance(r, OwnRecord)),
        proposals=tuple(r for r in found if isinstance(r, ProposalRecord)),
        operations=tuple(r for r in found if isinstance(r, OperationRecord)),
        recoveries=tuple(r for r in found if isinstance(r, RecoveryRecord)),
        offers=tuple(r for r in found if isinstance(r, OfferRecord)),
        newest=newest if isinstance(newest, VoteRecord | OwnRecord) else None,
    )


def check_round(record: Record, head: Round) -> None:
    """Raise InvariantError for a record of a decided round: its earlier records are gone, so a contradiction would go unseen."""
    if record.round < head:
        raise InvariantError(
            f"a {type(record).__name__} of round {record.round} after the model of round {head}: that round is decided, "
            "nothing of it may be signed or stored any more"
        )


def contradiction(row: Row, held: Digest) -> InvariantError:
    """The refusal of a second digest in one place."""
    return InvariantError(
        f"a second {row.kind.name.lower()} record of round {row.round} in place {row.place.hex()}: "
        f"{short(held)} is durable, {short(row.digest)} contradicts it; nothing was stored and nothing may be sent"
    )


def pins_of(record: Record) -> frozenset[Digest]:
    """Blobs that must stay while the record's round is undecided: what a re-sent message promises, or a proposal needs.

    Raises InvariantError if an own record, a proposal's card or offer is no such message.
    """
    match record:
        case Pin():
            return frozenset((record.root,))
        case OwnRecord():
            return _blobs_named(record.envelope)
        case ProposalRecord():
            return frozenset((record.model.root,)).union(*(_blobs_named(offer) for offer in record.offers))
        case VoteRecord() | PreparedRecord() | OfferRecord() | OperationRecord() | RecoveryRecord():
            return frozenset()


def _blobs_named(envelope: Envelope) -> frozenset[Digest]:
    try:
        body: Offer | OffersClosed | CardSeal | ScoreCard | Recovery = open_envelope(envelope, _OWN).body  # type: ignore[assignment]
    except PeerError as error:
        raise InvariantError(f"what was to be stored is no own message of a round: {error}") from error
    if isinstance(body, OffersClosed | CardSeal | Recovery):
        return frozenset()
    if isinstance(body, Offer):
        return frozenset((body.blob.root,))
    return frozenset(entry.root for entry in body.entries)


def _unpack_envelopes(items: list[bytes]) -> tuple[Envelope, ...]:
    return tuple(decode(item, Envelope) for item in items)


def _pack_prepared(prepared: Prepared) -> bytes:
    fields = [prepared.view, prepared.digest, encode(prepared.proposal), [encode(p) for p in prepared.prepares]]
    return _packed(fields)


def _unpack_prepared(body: bytes) -> Prepared:
    view, digest, proposal, prepares = _unpacked(body)
    return Prepared(View(view), Digest(digest), decode(proposal, Proposal), _unpack_envelopes(prepares))


def _pack_proposal_record(record: ProposalRecord) -> bytes:
    cards, offers = [encode(card) for card in record.cards], [encode(offer) for offer in record.offers]
    operations = [encode(operation) for operation in record.operations]
    return _packed([encode(record.proposal), cards, offers, [record.model.root, record.model.size], operations])


def _unpack_proposal_record(row: Row) -> ProposalRecord:
    proposal, cards, offers, (root, size), operations = _unpacked(row.body)
    return ProposalRecord(
        row.round,
        row.digest,
        decode(proposal, Proposal),
        _unpack_envelopes(cards),
        _unpack_envelopes(offers),
        BlobRef(Digest(root), size),
        tuple(decode(operation, Operation) for operation in operations),
    )


def _packed(fields: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(fields, use_bin_type=True)
    return packed


def _unpacked(body: bytes) -> Any:
    """Fields of a body of our own disk; a row's checksum was verified before."""
    return msgpack.unpackb(body, raw=False)

"""Cheap checks of a signed message against its instance, then its signature: each distinct one is verified once (design 6.6)."""

from collections import OrderedDict
from typing import Final, TypeVar

from bflcd.consensus.events import Instance
from bflcd.crypto.hashing import Domain, digest
from bflcd.errors import PeerError, Rejection
from bflcd.types import Digest, short
from bflcd.wire.envelope import Envelope, Signed, Verify, open_envelope
from bflcd.wire.messages import Vote

REMEMBERED_PER_MEMBER: Final = 64
"""Signatures remembered per seat: prepare, commit, view-change and pre-prepare in twice the window of views."""

REMEMBERED_AT_LEAST: Final = 1024
"""Signatures remembered in the smallest committee; 32 bytes each."""

V = TypeVar("V", bound=Vote)


class Authenticator:
    """Says whether a message is of this instance and by whom it says it is."""

    __slots__ = ("_capacity", "_committee_hash", "_false", "_instance", "_seats", "_true", "_verify")

    def __init__(self, instance: Instance, verify: Verify) -> None:
        """`verify` checks one signature, and never raises."""
        self._instance = instance
        self._verify = verify
        self._seats = frozenset(instance.committee)
        self._committee_hash = instance.committee_hash
        self._capacity = max(REMEMBERED_AT_LEAST, REMEMBERED_PER_MEMBER * len(instance.committee))
        self._true: OrderedDict[Digest, None] = OrderedDict()
        self._false: OrderedDict[Digest, None] = OrderedDict()

    @property
    def committee_hash(self) -> Digest:
        """Hash of the instance's epoch and committee."""
        return self._committee_hash

    def read(self, envelope: Envelope, kinds: tuple[type[V], ...]) -> Signed[V]:
        """Decode and make every check that costs no signature. Raises PeerError: NOT_COMMITTEE, WRONG_*, or the codec's."""
        if envelope.author not in self._seats:
            raise PeerError(Rejection.NOT_COMMITTEE, f"{short(envelope.author)} has no seat in round {self._instance.round}")
        signed = open_envelope(envelope, kinds)
        body = signed.body
        for found, wanted, rejection in (
            (body.chain, self._instance.chain, Rejection.WRONG_CHAIN),
            (body.round, self._instance.round, Rejection.WRONG_ROUND),
            (body.epoch, self._instance.epoch, Rejection.WRONG_EPOCH),
            (body.committee, self._committee_hash, Rejection.WRONG_COMMITTEE),
            (body.parent, self._instance.parent, Rejection.WRONG_PARENT),
        ):
            if found != wanted:
                shown = [short(value) if isinstance(value, bytes) else value for value in (found, wanted)]
                raise PeerError(
                    rejection, f"{type(body).__name__} by {short(envelope.author)} says {shown[0]}, this instance is {shown[1]}"
                )
        return signed

    def check_signature(self, envelope: Envelope) -> None:
        """Raise PeerError(BAD_SIGNATURE) unless the author signed it."""
        key = digest(Domain.MESSAGE, envelope.author, envelope.payload, envelope.signature)
        if key in self._true:
            return
        if key not in self._false:
            valid = self._verify(envelope)
            known = self._true if valid else self._false
            known[key] = None
            if len(known) > self._capacity:
                known.popitem(last=False)
            if valid:
                return
        raise PeerError(Rejection.BAD_SIGNATURE, f"the signature is not that of {short(envelope.author)}")

"""Remembers which envelopes were verified, so that a message that is re-sent byte for byte costs one signature check.

The PBFT machine's own memory (`bflcd.consensus.authentication`) serves another end: it lasts one instance, is bounded by its
seats, and keeps failures too, so that the pure machine never asks twice about one message, whatever verifies for it.
"""

from collections import OrderedDict
from typing import Final

from bflcd.crypto.hashing import Domain, digest
from bflcd.types import Digest
from bflcd.wire.envelope import Envelope, verify_envelope

MAX_VERIFIED: Final = 16_384
"""Envelopes remembered, 32 bytes each: some rounds' worth of votes, offers and cards of the largest community."""

VERIFIED_PER_MEMBER: Final = 128
"""Envelopes remembered per member of a smaller one: a member signs some five a round."""

MIN_VERIFIED: Final = 1_024
"""Envelopes remembered in the smallest community."""


class VerifiedEnvelopes:
    """The last `limit` envelopes whose signature held; what failed is not kept, since an adversary can vary it for ever."""

    __slots__ = ("_limit", "_most", "_seen")

    def __init__(self, limit: int = MAX_VERIFIED) -> None:
        self._limit = self._most = limit
        self._seen: OrderedDict[Digest, None] = OrderedDict()

    def verify_once(self, envelope: Envelope) -> bool:
        """Whether the signature is the author's; the same author, payload and signature are checked only once."""
        key = digest(Domain.MESSAGE, envelope.author, envelope.signature, envelope.payload)
        if key in self._seen:
            self._seen.move_to_end(key)
            return True
        if not verify_envelope(envelope):
            return False
        self._seen[key] = None
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return True

    def fit(self, members: int) -> None:
        """Remember only what a community of so many can make use of: a cache that fills for hours looks like a leak."""
        self._limit = min(self._most, max(MIN_VERIFIED, VERIFIED_PER_MEMBER * members))
        while len(self._seen) > self._limit:
            self._seen.popitem(last=False)

    def __len__(self) -> int:
        return len(self._seen)

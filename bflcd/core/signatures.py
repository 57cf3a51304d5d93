"""That a message is its author's: asked last of all, since it costs the most."""

from bflcd.errors import PeerError, Rejection
from bflcd.types import short
from bflcd.wire.envelope import Envelope, Verify


def require_signature(verify: Verify, envelope: Envelope) -> None:
    """Raise PeerError(BAD_SIGNATURE) unless the envelope is its author's."""
    if not verify(envelope):
        raise PeerError(Rejection.BAD_SIGNATURE, f"the signature is not {short(envelope.author)}'s")

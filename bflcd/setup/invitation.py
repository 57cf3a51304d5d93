"""An invitation: what a new machine has to know of a community to join the right one, as one string to copy.

It proves nothing: whoever gives it chooses the chain, so it has to come over a channel that is trusted for it. With a voucher it
admits whoever uses it first.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Final

from bflcd.crypto.hashing import Domain, digest
from bflcd.crypto.identity import SEED_BYTES
from bflcd.errors import PeerError, UsageError
from bflcd.limits import Between, Size
from bflcd.types import Digest, Millis, Round
from bflcd.wire.codec import decode, encode, message
from bflcd.wire.requests import Address

PREFIX: Final = "bflc1-"

CHECK_BYTES: Final = 4
"""Of a hash, so that a mistyped string is noticed."""

MAX_ADDRESSES: Final = 8

MAX_TEXT: Final = 6 * 1024
"""Characters of a string."""


@message(138, max_bytes=4 * 1024)
@dataclass(frozen=True, slots=True)
class Invitation:
    """`round`, `head`: of a model in the chain's history; `addresses`: of members; `expires`: Unix time, 0 for never; `voucher`:
    the seed of a voucher's key, by which the first who has it is admitted."""

    chain: Digest
    round: Round
    head: Digest
    addresses: Annotated[tuple[Address, ...], Size(1, MAX_ADDRESSES)]
    expires: Annotated[Millis, Between(0, 2**53)] = Millis(0)
    voucher: Annotated[bytes, Size(SEED_BYTES, SEED_BYTES)] | None = None

    @property
    def trusted_head(self) -> str:
        """As `--trusted-head` takes it; empty for the genesis, which the chain id names."""
        return f"{self.round}:{self.head.hex()}" if self.round else ""


def invitation_text(invitation: Invitation) -> str:
    """The string."""
    data = encode(invitation)
    return PREFIX + base64.urlsafe_b64encode(_check(data) + data).decode().rstrip("=")


def read_invitation(text: str, now: Millis) -> Invitation:
    """The invitation in a string. Raises UsageError for what is none, is damaged, or has expired by `now`."""
    text = text.strip()
    body = text.removeprefix(PREFIX)
    if body == text or len(text) > MAX_TEXT or not text.isascii():
        raise _unusable(f"it does not begin with {PREFIX}" if len(text) <= MAX_TEXT else "it is too long")
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _unusable("it has characters that none has") from error
    check, data = raw[:CHECK_BYTES], raw[CHECK_BYTES:]
    if check != _check(data):
        raise _unusable("a part is missing or mistyped")
    try:
        invitation = decode(data, Invitation)
    except PeerError as error:
        raise _unusable("it is of another version") from error
    if invitation_text(invitation) != text:
        raise _unusable("its last character is mistyped")
    if 0 < invitation.expires < now:
        raise UsageError("this invitation has expired", hint="ask for a new one: `bflc-cli invite`", code="expired")
    return invitation


def _check(data: bytes) -> bytes:
    return digest(Domain.CONFIG, b"invitation", data)[:CHECK_BYTES]


def _unusable(why: str) -> UsageError:
    return UsageError(
        f"this is no invitation: {why}", hint="copy the whole line that `bflc-cli invite` prints", code="bad_invitation"
    )

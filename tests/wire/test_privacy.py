"""A claim of privacy travels within its bounds, and nothing beyond them is an offer."""

from dataclasses import replace

import msgpack
import pytest

from bflcd.errors import PeerError
from bflcd.wire.codec import decode, encode
from bflcd.wire.messages import Offer
from bflcd.wire.privacy import LEAST_EXPONENT, MOST_EPSILON, MOST_EXPONENT, PrivacyClaim
from tests.helpers.ledger import make_community, make_offer

COMMUNITY = make_community()
OFFER = make_offer(COMMUNITY, next(iter(COMMUNITY.keys))).body


@pytest.mark.parametrize("claim", [None, PrivacyClaim(0, LEAST_EXPONENT), PrivacyClaim(MOST_EPSILON, MOST_EXPONENT)])
def test_what_is_within_them_travels(claim):
    offer = replace(OFFER, privacy=claim)
    assert decode(encode(offer), Offer) == offer


@pytest.mark.parametrize(
    "claim",
    [(-1, 5), (MOST_EPSILON + 1, 5), (1000, LEAST_EXPONENT - 1), (1000, MOST_EXPONENT + 1), (True, 5), (1.5, 5), (1000,), 7],
)
def test_what_is_not_is_neither_said_nor_read(claim):
    whole = encode(replace(OFFER, privacy=PrivacyClaim(1000, 5)))
    said = claim if isinstance(claim, int) else list(claim)
    assert whole.endswith(b"\x92\xcd\x03\xe8\x05")
    forged = whole.removesuffix(b"\x92\xcd\x03\xe8\x05") + packed(said)
    with pytest.raises(PeerError):
        decode(forged, Offer)
    if isinstance(claim, tuple) and len(claim) == 2:
        with pytest.raises(ValueError, match=r"PrivacyClaim\."):
            encode(replace(OFFER, privacy=PrivacyClaim(*claim)))


def packed(value):
    return msgpack.packb(value)

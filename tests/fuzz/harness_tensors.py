"""Payloads of models and updates, against the specification that the genesis fixes (catalogue 37, 38)."""

from collections.abc import Iterator

import numpy as np

from bflcd.errors import PeerError
from bflcd.types import Digest, NodeId, Round
from bflcd.wire.tensors import split_payload, update_label
from tests.fuzz.target import Target
from tests.helpers.learning import SPEC, payload
from tests.helpers.tensors import decode_tensors, encode_tensors

LABEL = update_label(Digest(bytes(32)), Round(7), NodeId(bytes([1]) * 32))


def seeds() -> Iterator[bytes]:
    for floats in (np.zeros(9), np.linspace(-1024, 1024, 9), np.full(9, 1e-42)):
        for label in (None, LABEL):
            yield payload(floats, label=label, count=-(2**63))


def one(data: bytes) -> None:
    for label in (None, LABEL):
        try:
            arrays = decode_tensors(data, SPEC, label=label)
            counters, floats = split_payload(data, SPEC, label=label)
        except PeerError:
            continue
        assert encode_tensors(arrays, SPEC, label=label) == data, "two payloads of one value"
        assert np.isfinite(floats).all()
        assert counters.size == 1


TARGET = Target("tensors", seeds, one, share=2)
